//! Memory of everything that waits in ingest: bytes of a stream in transport, messages from their arrival until they
//! are durable, and the series names that streams refer to.
//!
//! There is one budget (`ingest_bytes_max`), of which each gateway has a share (`ingest_bytes_per_gateway_max`). A
//! stream is read only when a whole message fits into both. Until then it waits, HTTP/2 flow control slows its
//! gateway, and nothing is dropped. A stream that waits for the share waits only for batches of its own gateway;
//! streams that wait for the whole take turns in order of arrival.
//! However many streams there are, at least a quarter of the budget is for messages and names, and at least half of
//! that for messages, so waiting streams always make progress. When names exceed their part, the stream with the
//! least recently used names ends; its gateway names its series again on the next stream.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use catchment_proto::{GatewayId, batch::BATCH_BYTES_MAX};
use tokio::sync::Notify;

/// Most bytes that transport holds of a stream that is not read: its flow-control window.
pub(crate) const STREAM_BYTES: usize = 1 << 20;
/// Memory reserved for a message until its size is known: encoded, decoded, and its new names.
pub(crate) const MESSAGE_BYTES: usize = 4 * BATCH_BYTES_MAX;
/// Smallest budget: an eighth of it holds a message.
pub(crate) const BYTES_LEAST: usize = 8 * MESSAGE_BYTES;
/// Smallest share of a gateway: half of it holds a message.
pub(crate) const SHARE_LEAST: usize = 2 * MESSAGE_BYTES;
/// Most streams of one gateway at once, including those that have not sent their Start.
const STREAMS_MAX: usize = 8;

/// Bounds of memory, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteBounds {
    /// Of all streams together, at least [`BYTES_LEAST`].
    pub(crate) max: usize,
    /// Of one gateway's streams, at least [`SHARE_LEAST`].
    pub(crate) per_gateway_max: usize,
    /// Reserved for a message while it is read.
    pub(crate) message: usize,
    /// Fixed cost of each stream.
    pub(crate) stream: usize,
}

/// Memory in use, and waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByteCounts {
    /// All memory in use.
    pub(crate) used: usize,
    /// Series names, part of `used`.
    pub(crate) names: usize,
    /// Memory of the gateway that uses the most.
    pub(crate) gateway_most: usize,
    /// Streams waiting now.
    pub(crate) waiting: usize,
    /// How often a stream had to wait for its gateway's share.
    pub(crate) share_waits: u64,
    /// How often a stream had to wait for the whole.
    pub(crate) waits: u64,
    /// How often the stream of a backlog had to wait for tables.
    pub(crate) tables_waits: u64,
}

/// The budget, shared by all streams.
#[derive(Debug)]
pub(crate) struct IngestBytes {
    bounds: ByteBounds,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    streams: HashMap<u64, Stream>,
    gateways: HashMap<GatewayId, Gateway>,
    /// Messages and names.
    used: usize,
    names: usize,
    /// Counts uses of names, over all streams.
    uses: u64,
    /// Streams that wait for the whole, in order of their turns.
    waiting: VecDeque<u64>,
    share_waits: u64,
    waits: u64,
    tables_waits: u64,
}

#[derive(Debug, Default)]
struct Gateway {
    used: usize,
    names: usize,
    streams: usize,
    /// Streams that wait for the share.
    waiting: Vec<u64>,
}

#[derive(Debug)]
struct Stream {
    gateway: GatewayId,
    waker: Option<Waker>,
    messages: usize,
    names: usize,
    /// When its names were last used, by the counter `uses`.
    used_at: u64,
    /// Signalled when the stream must end because of its names.
    evicted: Arc<Notify>,
    is_evicted: bool,
}

/// A stream's part of the budget, released on drop.
#[derive(Debug)]
pub(crate) struct StreamBytes {
    bytes: Arc<IngestBytes>,
    id: u64,
    evicted: Arc<Notify>,
}

impl IngestBytes {
    /// A budget of which nothing is in use.
    pub(crate) fn new(bounds: ByteBounds) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a stream of a gateway; `None` if it already has the most allowed.
    pub(crate) fn enter(self: &Arc<Self>, gateway: &GatewayId) -> Option<StreamBytes> {
        let mut state = self.lock();
        let of = state.gateways.entry(gateway.clone()).or_default();
        if of.streams >= STREAMS_MAX {
            return None;
        }
        of.streams += 1;
        let (id, evicted) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        let stream = Stream {
            gateway: gateway.clone(),
            waker: None,
            messages: 0,
            names: 0,
            used_at: 0,
            evicted: Arc::clone(&evicted),
            is_evicted: false,
        };
        state.streams.insert(id, stream);
        Some(StreamBytes { bytes: Arc::clone(self), id, evicted })
    }

    /// The bounds.
    pub(crate) fn bounds(&self) -> ByteBounds {
        self.bounds
    }

    /// Memory in use now.
    pub(crate) fn counts(&self) -> ByteCounts {
        let state = self.lock();
        let fixed = |streams: usize| streams.saturating_mul(self.bounds.stream);
        let gateways = state.gateways.values();
        ByteCounts {
            used: state.used.saturating_add(fixed(state.streams.len())),
            names: state.names,
            gateway_most: gateways.clone().map(|one| one.used + fixed(one.streams)).max().unwrap_or(0),
            waiting: state.waiting.len() + gateways.map(|one| one.waiting.len()).sum::<usize>(),
            share_waits: state.share_waits,
            waits: state.waits,
            tables_waits: state.tables_waits,
        }
    }
}

impl State {
    /// What messages and names together may take.
    fn room(&self, bounds: &ByteBounds) -> usize {
        let fixed = self.streams.len().saturating_mul(bounds.stream);
        bounds.max.saturating_sub(fixed).max(bounds.max / 4)
    }

    fn change(&mut self, id: u64, change: impl Fn(&mut usize)) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        change(&mut stream.messages);
        if let Some(gateway) = self.gateways.get_mut(&stream.gateway) {
            change(&mut gateway.used);
        }
        change(&mut self.used);
    }

    /// Removes a stream from the queues; returns whether it was in one.
    fn leave_queue(&mut self, id: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|other| *other != id);
        let mut stood = before != self.waiting.len();
        let gateway = self.streams.get(&id).and_then(|stream| self.gateways.get_mut(&stream.gateway));
        if let Some(gateway) = gateway {
            let before = gateway.waiting.len();
            gateway.waiting.retain(|other| *other != id);
            stood |= before != gateway.waiting.len();
        }
        stood
    }

    /// Reserves room for a message, or queues the stream.
    fn reserve(&mut self, id: u64, bounds: &ByteBounds, waker: &Waker) -> bool {
        let room = self.room(bounds);
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        stream.waker = Some(waker.clone());
        let Some(gateway) = self.gateways.get_mut(&stream.gateway) else { return false };
        let own = gateway.used.saturating_add(gateway.streams.saturating_mul(bounds.stream));
        if own.saturating_add(bounds.message) > bounds.per_gateway_max && gateway.used > gateway.names {
            if !gateway.waiting.contains(&id) {
                gateway.waiting.push(id);
                self.share_waits += 1;
            }
            // Streams queued after it need not wait for this gateway's share.
            self.waiting.retain(|other| *other != id);
            return false;
        }
        let is_next = self.waiting.front().is_none_or(|first| *first == id);
        let fits = self.used == self.names || self.used.saturating_add(bounds.message) <= room;
        if !is_next || !fits {
            if !self.waiting.contains(&id) {
                self.waiting.push_back(id);
                self.waits += 1;
            }
            return false;
        }
        self.leave_queue(id);
        self.change(id, |bytes| *bytes = bytes.saturating_add(bounds.message));
        true
    }

    /// Wakers of the streams that may proceed: the first in the queue, and those of a gateway whose share got room.
    fn next(&mut self, bounds: &ByteBounds, gateway: Option<&GatewayId>) -> Vec<Waker> {
        let mut ids = Vec::new();
        if self.used == self.names || self.used.saturating_add(bounds.message) <= self.room(bounds) {
            ids.extend(self.waiting.front().copied());
        }
        if let Some(gateway) = gateway.and_then(|gateway| self.gateways.get(gateway)) {
            ids.extend(&gateway.waiting);
        }
        ids.into_iter().filter_map(|id| self.streams.get_mut(&id)?.waker.take()).collect()
    }

    /// If names take more than `max`, ends the stream (of one gateway, or of all) that used its names longest ago. A
    /// stream using its names right now goes last.
    fn make_room(&mut self, of: Option<&GatewayId>, max: usize, now: u64) {
        let concerned = |stream: &&mut Stream| of.is_none_or(|gateway| stream.gateway == *gateway);
        let all = self.streams.values_mut().filter(concerned).filter(|stream| !stream.is_evicted);
        let mut all: Vec<&mut Stream> = all.filter(|stream| stream.names > 0).collect();
        // Names of evicted streams are as good as freed.
        if all.iter().map(|stream| stream.names).sum::<usize>() <= max {
            return;
        }
        all.sort_by_key(|stream| (stream.used_at == now, stream.used_at));
        if let Some(stream) = all.first_mut() {
            stream.is_evicted = true;
            stream.evicted.notify_one();
        }
    }
}

impl StreamBytes {
    fn with(&self, change: impl FnOnce(&mut State, &ByteBounds) -> Vec<Waker>) {
        let wakers = change(&mut self.bytes.lock(), &self.bytes.bounds);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Counts that the stream waits for tables.
    pub(super) fn note_tables_wait(&self) {
        self.bytes.lock().tables_waits += 1;
    }

    /// Reads the stream if a message fits. A message keeps the reservation of the largest until
    /// [`StreamBytes::read`].
    pub(super) fn poll_read<T>(
        &self,
        task: &mut Context<'_>,
        read: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut reserved = false;
        self.with(|state, bounds| {
            reserved = state.reserve(self.id, bounds, task.waker());
            if reserved { Vec::new() } else { state.next_but(bounds, self.id) }
        });
        if !reserved {
            return Poll::Pending;
        }
        let read = read(task);
        if read.is_pending() {
            self.read(0);
        }
        read
    }

    /// Replaces the reservation by the decoded size of the message.
    pub(super) fn read(&self, bytes: usize) {
        self.with(|state, bounds| {
            state.change(self.id, |held| *held = held.saturating_sub(bounds.message).saturating_add(bytes));
            state.next(bounds, None)
        });
    }

    /// Releases the bytes of messages that are durable or dropped.
    pub(super) fn release(&self, bytes: usize) {
        self.with(|state, bounds| {
            state.change(self.id, |held| *held = held.saturating_sub(bytes));
            let gateway = state.streams.get(&self.id).map(|stream| stream.gateway.clone());
            state.next(bounds, gateway.as_ref())
        });
    }

    /// Releases everything that was read; it is dropped.
    pub(super) fn release_all(&self) {
        let held = self.bytes.lock().streams.get(&self.id).map_or(0, |stream| stream.messages);
        self.release(held);
    }

    /// Leaves the queues: the stream does not want to read now, so others have their turn.
    pub(super) fn pass(&self) {
        self.with(
            |state, bounds| if state.leave_queue(self.id) { state.next(bounds, None) } else { Vec::new() },
        );
    }

    /// Records the size of the stream's names and that they were just used. If names exceed half of the gateway's
    /// share, the gateway's stream with the least recently used names ends; if they exceed half of the room for
    /// messages and names, that of any gateway.
    pub(super) fn names(&self, bytes: usize) {
        let mut state = self.bytes.lock();
        let state = &mut *state;
        let bounds = &self.bytes.bounds;
        state.uses += 1;
        let now = state.uses;
        let Some(stream) = state.streams.get_mut(&self.id) else { return };
        let before = std::mem::replace(&mut stream.names, bytes);
        stream.used_at = now;
        let gateway = stream.gateway.clone();
        let moved = |held: &mut usize| *held = held.saturating_sub(before).saturating_add(bytes);
        moved(&mut state.used);
        moved(&mut state.names);
        let Some(own) = state.gateways.get_mut(&gateway) else { return };
        moved(&mut own.used);
        moved(&mut own.names);
        if own.names > bounds.per_gateway_max / 2 {
            state.make_room(Some(&gateway), bounds.per_gateway_max / 2, now);
        } else if state.names > state.room(bounds) / 2 {
            state.make_room(None, state.room(bounds) / 2, now);
        }
    }

    /// Resolves when the stream must end because of its names.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl State {
    /// Like [`State::next`], unless `id` itself is next.
    fn next_but(&mut self, bounds: &ByteBounds, id: u64) -> Vec<Waker> {
        if self.waiting.front() == Some(&id) { Vec::new() } else { self.next(bounds, None) }
    }
}

impl Drop for StreamBytes {
    fn drop(&mut self) {
        self.with(|state, bounds| {
            state.leave_queue(self.id);
            let Some(stream) = state.streams.remove(&self.id) else { return Vec::new() };
            let held = stream.messages.saturating_add(stream.names);
            state.used = state.used.saturating_sub(held);
            state.names = state.names.saturating_sub(stream.names);
            if let Some(gateway) = state.gateways.get_mut(&stream.gateway) {
                gateway.used = gateway.used.saturating_sub(held);
                gateway.names = gateway.names.saturating_sub(stream.names);
                gateway.streams = gateway.streams.saturating_sub(1);
                if gateway.streams == 0 {
                    state.gateways.remove(&stream.gateway);
                }
            }
            state.next(bounds, Some(&stream.gateway))
        });
    }
}

#[cfg(test)]
mod tests;
