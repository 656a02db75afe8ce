//! What is kept of MQTT clients whose sessions outlive their connections: that they exist, and the identifiers of
//! their messages of QoS 2 that are not released.

use std::collections::BTreeSet;

use super::{
    device::Device,
    entry::{ClientEntry, IntakeEntry},
    state::{ApplyError, State},
};

/// Clients of a device whose sessions are kept; beyond, the one longest unused is forgotten.
pub const CLIENTS_MAX: usize = 8;

/// What is kept of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) id: Box<str>,
    /// When it was last used, by [`State::running`].
    pub(super) used: u32,
    /// Received and not released.
    pub(super) open: BTreeSet<u16>,
}

impl Device {
    /// The client, which is used with the device: moved to the end of the order of use; a new one if it was unknown.
    fn client(&mut self, id: &str) -> &mut Client {
        let known = self.clients.iter().position(|client| &*client.id == id);
        let mut client = match known {
            Some(at) => self.clients.remove(at),
            None => Client { id: id.into(), used: 0, open: BTreeSet::new() },
        };
        client.used = self.used;
        if self.clients.len() >= CLIENTS_MAX {
            self.clients.remove(0);
        }
        self.clients.push_mut(client)
    }

    /// What an intake says of its client.
    pub(super) fn note(&mut self, intake: &IntakeEntry) {
        if intake.client.is_empty() {
            return;
        }
        if intake.forget {
            self.clients.retain(|client| *client.id != *intake.client);
            return;
        }
        let client = self.client(&intake.client);
        client.open.extend(intake.received.iter().filter_map(|id| u16::try_from(*id).ok()));
        for id in intake.released.iter().filter_map(|id| u16::try_from(*id).ok()) {
            client.open.remove(&id);
        }
    }
}

impl State {
    pub(super) fn keep_client(&mut self, entry: &ClientEntry) -> Result<(), ApplyError> {
        self.before_change(entry.device);
        let unknown = ApplyError::Unknown { device: entry.device, series: None };
        let device = self.devices.get_mut(entry.device).ok_or(unknown)?;
        device.used = self.running;
        if entry.forget {
            device.clients.retain(|client| *client.id != *entry.client);
        }
        if entry.keep {
            device.client(&entry.client);
        }
        Ok(())
    }

    /// Packet identifiers that a device's client has not released; `None` when nothing is kept of the client.
    pub fn client(&self, device: u32, id: &str) -> Option<&BTreeSet<u16>> {
        let clients = &self.devices.get(device)?.clients;
        clients.iter().find(|client| &*client.id == id).map(|client| &client.open)
    }
}
