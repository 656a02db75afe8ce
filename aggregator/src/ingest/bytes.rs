//! Memory of all that waits in ingest: what transport holds of a stream, messages from their arrival until they are durable,
//! and the names of series that streams refer to.
//!
//! One budget (`ingest_bytes_max`), of which a gateway has a share (`ingest_bytes_per_gateway_max`). A stream is read only when
//! a whole message fits into both; until then it waits, HTTP/2's flow control slows its gateway, and nothing is dropped. Who
//! waits for the share waits for its own batches alone; who waits for the whole has its turn in the order of arrival.
//! At least a quarter of the budget is for messages and names, however many streams there are, and at least half of that for
//! messages: so what waits always gets on. Names that take more end the stream that used its names longest ago: its gateway
//! names its series again on the next.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use catchment_proto::{GatewayId, batch::BATCH_BYTES_MAX};
use tokio::sync::Notify;

/// What transport may hold of a stream that is not read: its window of flow control.
pub(crate) const STREAM_BYTES: usize = 1 << 20;
/// What one message may take until its size is known: itself, decoded, and its new names.
pub(crate) const MESSAGE_BYTES: usize = 4 * BATCH_BYTES_MAX;
/// Least budget: an eighth of it holds a message.
pub(crate) const BYTES_LEAST: usize = 8 * MESSAGE_BYTES;
/// Least share of a gateway: half of it holds a message.
pub(crate) const SHARE_LEAST: usize = 2 * MESSAGE_BYTES;
/// Streams of one gateway at once, those that have not begun included.
const STREAMS_MAX: usize = 8;

/// Bounds of memory, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteBounds {
    /// Of all streams, at least [`BYTES_LEAST`].
    pub(crate) max: usize,
    /// Of those of one gateway, at least [`SHARE_LEAST`].
    pub(crate) per_gateway_max: usize,
    /// What a message is taken for while it is read.
    pub(crate) message: usize,
    /// What each stream takes for itself.
    pub(crate) stream: usize,
}

/// How much is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByteCounts {
    /// All of it.
    pub(crate) used: usize,
    /// Names, of that.
    pub(crate) names: usize,
    /// What the gateway with the most uses.
    pub(crate) gateway_most: usize,
    /// Streams that wait now.
    pub(crate) waiting: usize,
    /// Times that a stream had to wait for its gateway's share.
    pub(crate) share_waits: u64,
    /// Times that a stream had to wait for the whole.
    pub(crate) waits: u64,
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
    /// Times that a stream used its names.
    uses: u64,
    /// Streams that wait for the whole, in the order in which they have their turn.
    waiting: VecDeque<u64>,
    share_waits: u64,
    waits: u64,
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
    /// When its names were used last, in uses of all streams.
    used_at: u64,
    /// Its names are to go.
    evicted: Arc<Notify>,
    is_evicted: bool,
}

/// A stream's part of the budget; dropping it gives everything back.
#[derive(Debug)]
pub(crate) struct StreamBytes {
    bytes: Arc<IngestBytes>,
    id: u64,
    evicted: Arc<Notify>,
}

impl IngestBytes {
    /// Nothing is in use.
    pub(crate) fn new(bounds: ByteBounds) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream of a gateway begins; `None`: it has as many as it may have.
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

    /// What is in use now.
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
        }
    }
}

impl State {
    /// Messages and names may take so much together.
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

    /// Takes room for a message, or queues the stream.
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
            // The streams behind it need not wait for this gateway's share.
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

    /// Wakers of those who may have their turn now: the first in the queue, and those of a gateway whose share got
    /// room.
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

    /// Ends the stream that used its names longest ago, of a gateway or of all, if names take more than `max`. The one that uses
    /// its names right now is the last to go.
    fn make_room(&mut self, of: Option<&GatewayId>, max: usize, now: u64) {
        let concerned = |stream: &&mut Stream| of.is_none_or(|gateway| stream.gateway == *gateway);
        let all = self.streams.values_mut().filter(concerned).filter(|stream| !stream.is_evicted);
        let mut all: Vec<&mut Stream> = all.filter(|stream| stream.names > 0).collect();
        // What evicted streams have is as good as gone.
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

    /// Reads the stream if a message fits. A message that comes keeps the room of the largest until [`StreamBytes::read`].
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

    /// So much is what was read, decoded.
    pub(super) fn read(&self, bytes: usize) {
        self.with(|state, bounds| {
            state.change(self.id, |held| *held = held.saturating_sub(bounds.message).saturating_add(bytes));
            state.next(bounds, None)
        });
    }

    /// So much is durable, or dropped.
    pub(super) fn release(&self, bytes: usize) {
        self.with(|state, bounds| {
            state.change(self.id, |held| *held = held.saturating_sub(bytes));
            let gateway = state.streams.get(&self.id).map(|stream| stream.gateway.clone());
            state.next(bounds, gateway.as_ref())
        });
    }

    /// Everything that was read is dropped.
    pub(super) fn release_all(&self) {
        let held = self.bytes.lock().streams.get(&self.id).map_or(0, |stream| stream.messages);
        self.release(held);
    }

    /// The stream does not want to read now: others have their turn.
    pub(super) fn pass(&self) {
        self.with(
            |state, bounds| if state.leave_queue(self.id) { state.next(bounds, None) } else { Vec::new() },
        );
    }

    /// Records the size of the stream's names and that they were just used. Beyond half of the gateway's share, the gateway's
    /// stream with the least recently used names ends; beyond half of the whole budget, that of any gateway.
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

    /// Resolves when the stream is to end because of its names.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl State {
    /// As [`State::next`], for somebody else.
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
