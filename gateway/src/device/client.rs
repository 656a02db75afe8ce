//! The packet identifiers of an MQTT client: which messages of QoS 2 were received and not released.
//!
//! Of a session that outlives its connection they are the shard's, durable with the readings; of any other they live
//! as long as the connection.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    fold::{IntakeEntry, State},
    intake::Mark,
};

/// A client with an open session.
#[derive(Debug)]
pub(super) struct Client {
    id: Arc<str>,
    persistent: bool,
    /// Received and not released; of a session that ends with its connection.
    open: BTreeSet<u16>,
}

/// What some messages change of a client's identifiers, before it is taken.
pub(super) struct Marks<'a> {
    id: &'a str,
    persistent: bool,
    before: BTreeSet<u16>,
    received: BTreeSet<u16>,
    released: BTreeSet<u16>,
    forget: bool,
}

/// What has changed of a client's identifiers, apart from the shard's.
#[derive(Debug, Default)]
pub(super) struct Changed {
    received: BTreeSet<u16>,
    released: BTreeSet<u16>,
    forget: bool,
}

impl Client {
    pub(super) fn new(id: Arc<str>, persistent: bool) -> Self {
        Self { id, persistent, open: BTreeSet::new() }
    }

    pub(super) fn is(&self, id: &str) -> bool {
        *self.id == *id
    }

    /// What the messages changed has been taken.
    pub(super) fn settle(&mut self, changed: Changed) {
        self.open.extend(changed.received);
        self.open.retain(|id| !changed.released.contains(id));
        self.persistent &= !changed.forget;
    }
}

impl<'a> Marks<'a> {
    pub(super) fn new(client: &'a Client, device: u32, state: &State) -> Self {
        let kept = || state.client(device, &client.id).cloned().unwrap_or_default();
        Self {
            id: &client.id,
            persistent: client.persistent,
            before: if client.persistent { kept() } else { client.open.clone() },
            received: BTreeSet::new(),
            released: BTreeSet::new(),
            forget: false,
        }
    }

    /// Notes a message; false when it was taken before.
    pub(super) fn is_new(&mut self, mark: Mark) -> bool {
        match mark {
            Mark::None => {}
            Mark::Once { id, again } => {
                let open = self.received.contains(&id)
                    || (self.before.contains(&id) && !self.released.contains(&id));
                if again && open {
                    return false;
                }
                self.released.remove(&id);
                self.received.insert(id);
            }
            Mark::Release(id) => {
                self.received.remove(&id);
                if self.before.contains(&id) {
                    self.released.insert(id);
                }
            }
            Mark::Forget => self.forget = self.persistent,
        }
        true
    }

    /// Puts what the journal must know into the entry of the readings; returns the rest.
    pub(super) fn end(self, entry: &mut IntakeEntry) -> Changed {
        let received: BTreeSet<u16> = self.received.difference(&self.before).copied().collect();
        if !self.persistent {
            return Changed { received, released: self.released, forget: false };
        }
        if !received.is_empty() || !self.released.is_empty() || self.forget {
            entry.client = self.id.to_owned();
            entry.forget = self.forget;
            entry.received = received.into_iter().map(u32::from).collect();
            entry.released = self.released.into_iter().map(u32::from).collect();
        }
        Changed { forget: self.forget, ..Changed::default() }
    }
}
