//! MQTT clients whose sessions outlive their connections: that they exist, and the packet identifiers of their QoS 2
//! messages that are not released.

use std::{collections::BTreeSet, ops::Bound};

use super::entry::{ClientEntry, IntakeEntry};

/// Clients of a device whose sessions are kept; one more evicts the least recently used.
pub const CLIENTS_MAX: usize = 8;

/// What is kept of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) id: Box<str>,
    /// When it was last used, by [`super::State::running`].
    pub(super) used: u32,
    /// Received and not released.
    pub(super) open: BTreeSet<u16>,
}

impl Client {
    /// The identifiers after one, or all of them, in order.
    pub(super) fn open_after(&self, id: Option<u16>) -> impl Iterator<Item = u16> {
        let first = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.open.range((first, Bound::Unbounded)).copied()
    }
}

/// The clients of a device, the most recently used last.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients(Vec<Client>);

impl Clients {
    /// In the order of their use.
    pub(super) fn new(clients: Vec<Client>) -> Self {
        Self(clients)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Client> {
        self.0.iter().find(|client| &*client.id == id)
    }

    /// In the order of their use.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.0.iter()
    }

    /// All of them count as used now.
    pub(super) fn touch(&mut self, now: u32) {
        self.0.iter_mut().for_each(|client| client.used = now);
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.0.retain(|client| &*client.id != id);
    }

    /// Applies an entry that begins or ends what is kept of a client.
    pub(super) fn apply(&mut self, entry: &ClientEntry, now: u32) {
        if entry.forget {
            self.forget(&entry.client);
        }
        if entry.keep {
            self.use_client(&entry.client, now);
        }
    }

    /// Applies what an intake says of its client.
    pub(super) fn note(&mut self, intake: &IntakeEntry, now: u32) {
        if intake.client.is_empty() {
            return;
        }
        if intake.forget {
            self.forget(&intake.client);
            return;
        }
        let client = self.use_client(&intake.client, now);
        client.open.extend(intake.received.iter().filter_map(|id| u16::try_from(*id).ok()));
        for id in intake.released.iter().filter_map(|id| u16::try_from(*id).ok()) {
            client.open.remove(&id);
        }
    }

    /// The client, now the most recently used; a new one if it was unknown.
    fn use_client(&mut self, id: &str, now: u32) -> &mut Client {
        let known = self.0.iter().position(|client| &*client.id == id);
        let mut client = match known {
            Some(at) => self.0.remove(at),
            None => Client { id: id.into(), used: 0, open: BTreeSet::new() },
        };
        client.used = now;
        if self.0.len() >= CLIENTS_MAX {
            self.0.remove(0);
        }
        self.0.push_mut(client)
    }
}
