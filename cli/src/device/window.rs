//! Unacknowledged messages, in order. Pure: no sockets, no clock.
//!
//! Bounded by messages and bytes; the driver takes nothing from its channel while the window is full.

use std::collections::VecDeque;

/// One message to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<B> {
    /// Grows by at least one per message, from 1 or higher.
    pub seq: u64,
    /// Payload; see the codec.
    pub body: B,
}

/// A message that left the window, with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled<B, T> {
    /// The message.
    pub message: Message<B>,
    /// When it was first taken into the window.
    pub since: T,
    /// Number of refusals that it received.
    pub refused: u32,
    /// Whether it is durable at the gateway; otherwise it was refused as a whole.
    pub durable: bool,
}

#[derive(Debug)]
struct Entry<B, T> {
    message: Message<B>,
    bytes: usize,
    since: T,
    /// Ordinal of the message on the current connection; 0: not sent on it yet.
    ordinal: u64,
    refused: u32,
    unreadable: bool,
}

/// Unacknowledged messages; `T` is a point in time.
#[derive(Debug)]
pub struct Window<B, T> {
    entries: VecDeque<Entry<B, T>>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    durable: u64,
}

impl<B, T: Copy> Window<B, T> {
    /// An empty window with bounds on messages and bytes (a single message may exceed the bytes).
    pub fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, messages_max, bytes_max, durable: 0 }
    }

    /// Whether there is room for another message.
    pub fn has_room(&self) -> bool {
        self.entries.len() < self.messages_max && self.bytes < self.bytes_max
    }

    /// Number of unacknowledged messages.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The highest sequence number that the gateway reported as durable.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Adds a message.
    ///
    /// # Errors
    /// Returns a message that is already durable (from an earlier run of the same epoch).
    pub fn push(&mut self, message: Message<B>, bytes: usize, now: T) -> Result<(), Message<B>> {
        if message.seq <= self.durable {
            return Err(message);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let entry = Entry { message, bytes, since: now, ordinal: 0, refused: 0, unreadable: false };
        self.entries.push_back(entry);
        Ok(())
    }

    /// Starts a new connection: every message is sent and judged again.
    pub fn restart(&mut self) {
        for entry in &mut self.entries {
            (entry.ordinal, entry.refused, entry.unreadable) = (0, 0, false);
        }
    }

    /// Passes each message not yet sent on the current connection to `send`, in order; `send` returns its
    /// ordinal.
    pub fn unsent(&mut self, mut send: impl FnMut(&Message<B>) -> u64) {
        let sent = self.entries.partition_point(|entry| entry.ordinal > 0);
        for entry in self.entries.iter_mut().skip(sent) {
            entry.ordinal = send(&entry.message);
        }
    }

    /// Records that everything up to `ack` is durable; returns the messages that this settles.
    pub fn acknowledge(&mut self, ack: u64) -> Vec<Settled<B, T>> {
        self.durable = self.durable.max(ack);
        self.take_while(|entry| entry.message.seq <= ack)
    }

    /// Records a refusal of the message sent with this ordinal; returns the message if it is still here. `unreadable`:
    /// the gateway may not have been able to read the message's number; then it acknowledges the message only together
    /// with later ones.
    pub fn refuse(&mut self, ordinal: u64, unreadable: bool) -> Option<&Message<B>> {
        let index = self.entries.partition_point(|entry| entry.ordinal > 0 && entry.ordinal < ordinal);
        let entry = self.entries.get_mut(index).filter(|entry| entry.ordinal == ordinal)?;
        entry.refused = entry.refused.saturating_add(1);
        entry.unreadable |= unreadable;
        Some(&entry.message)
    }

    /// As [`Self::refuse`], for a refusal that names the sequence number.
    pub fn refuse_seq(&mut self, seq: u64, unreadable: bool) -> Option<&Message<B>> {
        let index = self.entries.partition_point(|entry| entry.message.seq < seq);
        let entry = self.entries.get(index).filter(|entry| entry.message.seq == seq && entry.ordinal > 0)?;
        let ordinal = entry.ordinal;
        self.refuse(ordinal, unreadable)
    }

    /// Whether messages are left, but possibly none that will ever be acknowledged.
    pub fn is_only_unreadable(&self) -> bool {
        !self.entries.is_empty() && self.entries.iter().all(|entry| entry.unreadable)
    }

    /// Gives up the unreadable messages; see [`Self::is_only_unreadable`].
    pub fn give_up_unreadable(&mut self) -> Vec<Settled<B, T>> {
        self.take_while(|entry| entry.unreadable)
    }

    fn take_while(&mut self, settled: impl Fn(&Entry<B, T>) -> bool) -> Vec<Settled<B, T>> {
        let mut out = Vec::new();
        while let Some(entry) = self.entries.pop_front_if(|entry| settled(entry)) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            let durable = entry.message.seq <= self.durable;
            out.push(Settled { message: entry.message, since: entry.since, refused: entry.refused, durable });
        }
        out
    }
}
