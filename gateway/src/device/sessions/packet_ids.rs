//! The packet identifiers of an MQTT client: which messages of QoS 2 were received and not released.
//!
//! Those of a persistent session are kept in the shard, durable with the readings; those of any other live as long as
//! the connection.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    fold::{IntakeEntry, State},
    intake::MqttEffect,
};

/// A client with an open session.
#[derive(Debug)]
pub(super) struct MqttSession {
    id: Arc<str>,
    persistent: bool,
    /// Received and not released; of a session that ends with its connection.
    open: BTreeSet<u16>,
}

/// Of a client of which nothing is kept.
static NO_IDS: BTreeSet<u16> = BTreeSet::new();

/// Changes that some messages make to a client's identifiers, before the messages are taken. What they cost depends on
/// the messages, not on the identifiers that wait to be released: a client of version 3.1.1 may have 65,535 of them.
pub(super) struct PacketIds<'a> {
    id: &'a str,
    persistent: bool,
    before: &'a BTreeSet<u16>,
    received: BTreeSet<u16>,
    released: BTreeSet<u16>,
    forget: bool,
}

/// Changes of a client's identifiers outside of the shard.
#[derive(Debug, Default)]
pub(super) struct PacketIdChanges {
    received: BTreeSet<u16>,
    released: BTreeSet<u16>,
    forget: bool,
}

impl MqttSession {
    /// `open`: what was kept of the identifiers of a session that now ends with its connection.
    pub(super) fn new(id: Arc<str>, persistent: bool, open: BTreeSet<u16>) -> Self {
        Self { id, persistent, open }
    }

    pub(super) fn is(&self, id: &str) -> bool {
        *self.id == *id
    }

    /// The messages have been taken: applies their changes.
    pub(super) fn apply(&mut self, changed: PacketIdChanges) {
        self.open.extend(changed.received);
        for id in &changed.released {
            self.open.remove(id);
        }
        self.persistent &= !changed.forget;
    }
}

impl<'a> PacketIds<'a> {
    pub(super) fn new(client: &'a MqttSession, device: u32, state: &'a State) -> Self {
        let kept = || state.client(device, &client.id).unwrap_or(&NO_IDS);
        Self {
            id: &client.id,
            persistent: client.persistent,
            before: if client.persistent { kept() } else { &client.open },
            received: BTreeSet::new(),
            released: BTreeSet::new(),
            forget: false,
        }
    }

    /// Whether a message was taken before.
    pub(super) fn is_duplicate(&self, effect: MqttEffect) -> bool {
        let MqttEffect::Qos2 { id, redelivered: true, .. } = effect else { return false };
        self.received.contains(&id) || (self.before.contains(&id) && !self.released.contains(&id))
    }

    /// Notes a message that was not taken before.
    pub(super) fn record(&mut self, effect: MqttEffect) {
        match effect {
            MqttEffect::None => {}
            MqttEffect::Qos2 { id, .. } => {
                self.released.remove(&id);
                self.received.insert(id);
            }
            MqttEffect::Release(id) => {
                self.received.remove(&id);
                if self.before.contains(&id) {
                    self.released.insert(id);
                }
            }
            MqttEffect::Forget => self.forget = self.persistent,
        }
    }

    /// Puts what the journal must know into the entry of the readings; returns the rest.
    pub(super) fn end(self, entry: &mut IntakeEntry) -> PacketIdChanges {
        let received: BTreeSet<u16> = self.received.difference(self.before).copied().collect();
        if !self.persistent {
            return PacketIdChanges { received, released: self.released, forget: false };
        }
        if !received.is_empty() || !self.released.is_empty() || self.forget {
            entry.client = self.id.to_owned();
            entry.forget = self.forget;
            entry.received = received.into_iter().map(u32::from).collect();
            entry.released = self.released.into_iter().map(u32::from).collect();
        }
        PacketIdChanges { forget: self.forget, ..PacketIdChanges::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{ConfigureEntry, DeviceEntry, Entry};

    /// A shard's state that keeps these identifiers of client `c` of device 0.
    fn state(open: &[u32]) -> State {
        let mut state = State::default();
        state
            .apply(1, &Entry::Configure(ConfigureEntry { width_ms: 10, ..ConfigureEntry::default() }))
            .unwrap();
        state.apply(2, &Entry::Device(DeviceEntry { index: 0, name: "d".into() })).unwrap();
        let entry = IntakeEntry { client: "c".into(), received: open.to_vec(), ..IntakeEntry::default() };
        state.apply(3, &Entry::Intake(entry)).unwrap();
        state
    }

    /// Whether each is new, and the entry of all.
    fn run(client: &mut MqttSession, state: &State, effects: &[MqttEffect]) -> (Vec<bool>, IntakeEntry) {
        let mut all = PacketIds::new(client, 0, state);
        let mut is_new = |effect: MqttEffect| {
            let known = all.is_duplicate(effect);
            if !known {
                all.record(effect);
            }
            !known
        };
        let new = effects.iter().map(|effect| is_new(*effect)).collect();
        let mut entry = IntakeEntry::default();
        let changed = all.end(&mut entry);
        client.apply(changed);
        (new, entry)
    }

    fn once(id: u16, redelivered: bool) -> MqttEffect {
        MqttEffect::Qos2 { id, redelivered, ends_refused: false }
    }

    #[test]
    fn what_is_kept_counts_once_until_it_is_released() {
        let effects = [
            once(1, true),
            once(2, true),
            once(2, true),
            once(3, false),
            MqttEffect::Release(1),
            once(1, true),
            MqttEffect::Release(3),
            MqttEffect::Release(9),
            // Without the flag: a client that has lost its own state.
            once(4, false),
            once(4, true),
        ];
        let new = [false, true, false, true, true, true, true, true, true, false];
        let mut kept = MqttSession::new("c".into(), true, BTreeSet::new());
        let (seen, entry) = run(&mut kept, &state(&[1, 4]), &effects);
        assert_eq!(seen, new);
        assert_eq!((entry.client.as_str(), entry.received, entry.released), ("c", vec![2], vec![]));
        // A session that ends with its connection: the same, and nothing of it in the journal.
        let mut passing = MqttSession::new("c".into(), false, BTreeSet::from([1, 4]));
        let (seen, entry) = run(&mut passing, &State::default(), &effects);
        assert_eq!((seen.as_slice(), entry), (&new[..], IntakeEntry::default()));
        assert_eq!(
            run(&mut passing, &State::default(), &[once(1, true), once(2, true), once(3, true)]).0,
            [false, false, true]
        );
    }

    #[test]
    fn a_release_and_the_end_of_a_session_are_for_the_journal() {
        let mut client = MqttSession::new("c".into(), true, BTreeSet::new());
        let (_, entry) = run(&mut client, &state(&[1, 2]), &[MqttEffect::Release(2)]);
        assert_eq!((entry.client.as_str(), entry.received, entry.released), ("c", vec![], vec![2]));
        let (_, entry) = run(&mut client, &state(&[1]), &[MqttEffect::None, once(1, true)]);
        assert_eq!(entry, IntakeEntry::default(), "nothing has changed");
        let (_, entry) = run(&mut client, &state(&[1]), &[MqttEffect::Forget]);
        assert_eq!((entry.client.as_str(), entry.forget), ("c", true));
        assert!(!client.persistent, "nothing more is kept of it");
    }

    #[test]
    fn identifiers_that_wait_are_looked_up_where_they_are() {
        let ids: Vec<u32> = (1..=65_535).collect();
        let (shard, all) = (state(&ids), ids.iter().map(|id| *id as u16).collect());
        let kept = MqttSession::new("c".into(), true, BTreeSet::new());
        let passing = MqttSession::new("c".into(), false, all);
        assert!(std::ptr::eq(PacketIds::new(&kept, 0, &shard).before, shard.client(0, "c").unwrap()));
        assert!(std::ptr::eq(PacketIds::new(&passing, 0, &shard).before, &passing.open));
    }
}
