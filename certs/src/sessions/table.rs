//! A part of a server's sessions: by identity, by end of validity and by age.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hashbrown::HashTable;

use super::session::Session;
use crate::identity::Identity;

/// A part of the sessions. Everything but the sessions themselves costs some 60 bytes for each.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Arc<Session>>>,
    /// Slots without a session.
    free: Vec<u32>,
    by_identity: HashTable<u32>,
    /// The last second in which the certificate is valid, since 1970, and the slot. Without those that have ended by it.
    by_expiry: BTreeSet<(u64, u32)>,
    /// When the maximum age is reached, milliseconds since the registry was made, and the slot; likewise.
    by_age: BTreeSet<(u64, u32)>,
}

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Whole seconds since 1970.
    pub(super) wall_seconds: u64,
    /// Milliseconds since the registry was made.
    pub(super) age_ms: u64,
}

/// Seconds since 1970; before that 0.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

impl Table {
    /// Adds a session. Returns its slot, and how many sessions its identity has now. `hash`: of an identity.
    pub(super) fn insert(&mut self, session: &Arc<Session>, hash: impl Fn(&Identity) -> u64) -> (u32, u32) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(Arc::clone(session));
        }
        let identity = &session.peer.identity;
        let slots = &self.slots;
        let hash_of_slot = |slot: &u32| at(slots, *slot).map_or(0, |session| hash(&session.peer.identity));
        self.by_identity.insert_unique(hash(identity), slot, hash_of_slot);
        self.by_expiry.insert((seconds(session.peer.not_after), slot));
        if session.age_end_ms != u64::MAX {
            self.by_age.insert((session.age_end_ms, slot));
        }
        let count = self.of_identity(identity, hash(identity)).count();
        (slot, u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Removes a session.
    pub(super) fn remove(&mut self, session: &Session, slot: u32, hash: u64) {
        if let Ok(entry) = self.by_identity.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        self.by_expiry.remove(&(seconds(session.peer.not_after), slot));
        self.by_age.remove(&(session.age_end_ms, slot));
        if self.slots.get_mut(slot as usize).and_then(Option::take).is_some() {
            self.free.push(slot);
        }
    }

    /// The sessions of an identity.
    pub(super) fn of_identity(&self, identity: &Identity, hash: u64) -> impl Iterator<Item = &Arc<Session>> {
        let sessions = self.by_identity.iter_hash(hash).filter_map(|slot| at(&self.slots, *slot));
        sessions.filter(move |session| session.peer.identity == *identity)
    }

    /// Up to `most` sessions whose certificate has expired; each is returned once.
    pub(super) fn take_expired(&mut self, now: Now, most: usize) -> Vec<Arc<Session>> {
        let slots = &self.slots;
        take_until(&mut self.by_expiry, now.wall_seconds, most)
            .filter_map(|slot| at(slots, slot).cloned())
            .collect()
    }

    /// Up to `most` sessions that have reached their maximum age; each is returned once.
    pub(super) fn take_aged(&mut self, now: Now, most: usize) -> Vec<Arc<Session>> {
        let slots = &self.slots;
        let until = now.age_ms.saturating_add(1);
        take_until(&mut self.by_age, until, most).filter_map(|slot| at(slots, slot).cloned()).collect()
    }

    /// The sessions of up to `most` slots from one on, and the slot that follows; `None`: there are no more.
    pub(super) fn slice(&self, from: usize, most: usize) -> (Vec<Arc<Session>>, Option<usize>) {
        let rest = self.slots.get(from..).unwrap_or_default();
        let slice = rest.get(..most).unwrap_or(rest);
        let next = (rest.len() > slice.len()).then_some(from + slice.len());
        (slice.iter().flatten().cloned().collect(), next)
    }

    /// How long until the next session expires or reaches its maximum age.
    pub(super) fn next_due(&self, now: Now) -> Option<Duration> {
        let expiry = self
            .by_expiry
            .first()
            .map(|(last, _)| Duration::from_secs(last.saturating_add(1).saturating_sub(now.wall_seconds)));
        let age = self.by_age.first().map(|(end, _)| Duration::from_millis(end.saturating_sub(now.age_ms)));
        expiry.into_iter().chain(age).min()
    }

    /// Number of sessions.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

fn at(slots: &[Option<Arc<Session>>], slot: u32) -> Option<&Arc<Session>> {
    slots.get(slot as usize)?.as_ref()
}

/// Takes up to `most` entries before a time.
fn take_until(order: &mut BTreeSet<(u64, u32)>, before: u64, most: usize) -> impl Iterator<Item = u32> {
    let due = move || {
        order.first().filter(|(time, _)| *time < before).copied().inspect(|first| _ = order.remove(first))
    };
    std::iter::from_fn(due).map(|(_, slot)| slot).take(most)
}
