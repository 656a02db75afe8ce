//! A round of a subscription: the points that have changed, read and sent, and how far that is.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use catchment_proto::wire::{SeriesPoints, WatchProgress, watch_response::Kind};

use super::{
    error::WatchError,
    hub::Hub,
    pump::POSTPONED,
    start,
    subscription::{Round, Sent, Subscription},
    token::Token,
};
use crate::{
    clock,
    query::{
        groups::Group,
        messages::MESSAGE_BYTES,
        range::Range,
        read::{self, Piece, ReadPieces},
        task::Task,
    },
};

/// Most memory of the messages of a slice of a round: a message beyond the bound adds a few ten kilobytes.
const SLICE_BYTES: usize = MESSAGE_BYTES + (64 << 10);
/// Approximate memory of a message without its points.
const MESSAGE_OVERHEAD: usize = 256;
/// Most pieces whose messages are kept for other subscriptions to the same query.
const SHARED_PIECES: usize = 256;
/// Without anything else to say, the token is renewed this often, so that what follows it stays in the change log.
const TOKEN_EVERY: Duration = Duration::from_secs(10);

/// The messages of a whole round, for another subscription to the same query that needs the same.
#[derive(Default)]
pub(super) struct Shared(Option<SharedRound>);

struct SharedRound {
    /// The pieces: their group, and the range of their points.
    pieces: Vec<(Arc<Group>, Range)>,
    /// Read when the changes before this place were known.
    cursor: u64,
    messages: Vec<(SeriesPoints, usize)>,
    points: usize,
}

/// Messages of a slice.
struct Slice {
    messages: Vec<(SeriesPoints, usize)>,
    points: usize,
    rest: VecDeque<Piece>,
}

/// Does a piece of work for a subscription: its start, a round, or a slice of one.
///
/// # Errors
/// What ends it.
pub(super) async fn work(
    hub: &Arc<Hub>,
    subscription: &Arc<Subscription>,
    shared: &mut Shared,
    task: &Task,
) -> Result<(), WatchError> {
    let resume = subscription.pending().start;
    if let Some(resume) = resume
        && !start::start(hub, subscription, resume, task).await?
    {
        return Ok(());
    }
    if subscription.outbox.is_unread() && resume.is_none() {
        return Ok(());
    }
    charge(hub, subscription)?;
    hub.watermarks.refresh(&*hub.store, &hub.log, task).await?;
    let Round { pieces, cursor } = begin(hub, subscription);
    let mut sent = false;
    let mut rest = VecDeque::new();
    if !pieces.is_empty() {
        let Some(mut held) = subscription.share.reserve(SLICE_BYTES) else {
            hub.metrics.watch.postponed.inc();
            let mut pending = subscription.pending();
            pending.round = Some(Round { pieces, cursor });
            pending.not_before = Some(Instant::now() + POSTPONED);
            return Ok(());
        };
        let slice = read(subscription, pieces, cursor, shared, task).await?;
        sent = !slice.messages.is_empty();
        hub.metrics.watch.points.inc_by(slice.points as u64);
        held.shrink_to(slice.messages.iter().map(|(_, bytes)| bytes + MESSAGE_OVERHEAD).sum());
        subscription
            .outbox
            .put(slice.messages.into_iter().map(|(series, _)| Kind::Series(series)), Some(held));
        rest = slice.rest;
    }
    if rest.is_empty() {
        hub.metrics.watch.rounds.inc();
        let progress = progress(hub, subscription, cursor, sent);
        subscription.outbox.put(progress.map(Kind::Progress), None);
    } else {
        subscription.pending().round = Some(Round { pieces: rest, cursor });
    }
    Ok(())
}

/// Reserves memory for what the query has grown by.
fn charge(hub: &Hub, subscription: &Subscription) -> Result<(), WatchError> {
    let bytes = Hub::bytes(&subscription.watched);
    let mut pending = subscription.pending();
    match pending.held.as_mut().is_none_or(|held| held.set(bytes)) {
        true => Ok(()),
        false => Err(WatchError::Memory(hub.limits.memory_max)),
    }
}

/// Continues the round in progress, or begins one with everything that has changed.
fn begin(hub: &Hub, subscription: &Subscription) -> Round {
    // Before the changes are taken: those before this place were marked.
    let cursor = hub.cursor.load(Ordering::Acquire);
    let watched = &subscription.watched;
    let selected = watched.selected();
    let mut pending = subscription.pending();
    if pending.round.is_none() {
        let announced = pending.begin_round((watched, &selected.groups), cursor, clock::now_ms());
        pending.not_before = None;
        if let Some(reset) = announced {
            hub.metrics.watch.resets.inc();
            subscription.outbox.put([Kind::Reset(reset)], None);
        }
    }
    pending.round.take().unwrap_or(Round { pieces: VecDeque::new(), cursor })
}

/// Reads a slice of a round, or takes what another subscription to the same query has read.
async fn read(
    subscription: &Subscription,
    pieces: VecDeque<Piece>,
    cursor: u64,
    shared: &mut Shared,
    task: &Task,
) -> Result<Slice, WatchError> {
    let watched = &subscription.watched;
    let wanted = pieces.len() <= SHARED_PIECES && watched.subscribers().len() > 1;
    if let Some(known) = shared.0.as_ref().filter(|known| wanted && known.is_of(&pieces, cursor)) {
        return Ok(Slice { messages: known.messages.clone(), points: known.points, rest: VecDeque::new() });
    }
    let names = wanted.then(|| pieces.iter().map(|of| (Arc::clone(&of.group), of.range.clone())).collect());
    let read = read::read_pieces(Arc::clone(&watched.query), task.clone(), pieces).await?;
    let ReadPieces { messages, points, rest, damaged, .. } = read;
    if let Some(first) = damaged.iter().map(|damaged| damaged.span.0.as_millis()).min() {
        let mut pending = subscription.pending();
        let known = pending.damaged_from_ms.map_or(first, |known| known.min(first));
        pending.damaged_from_ms = Some(known);
    }
    let messages: Vec<_> = messages.into_iter().map(|message| (message.series, message.bytes)).collect();
    shared.0 = names.filter(|_| rest.is_empty() && damaged.is_empty()).map(|pieces| SharedRound {
        pieces,
        cursor,
        messages: messages.clone(),
        points,
    });
    Ok(Slice { messages, points, rest })
}

impl SharedRound {
    /// Whether it answers these pieces, with the changes before this place.
    fn is_of(&self, pieces: &VecDeque<Piece>, cursor: u64) -> bool {
        let same = |(known, piece): (&(Arc<Group>, Range), &Piece)| {
            Arc::ptr_eq(&known.0, &piece.group) && known.1 == piece.range
        };
        cursor <= self.cursor && pieces.len() == self.pieces.len() && self.pieces.iter().zip(pieces).all(same)
    }
}

/// How far the subscription was sent, unless that is nothing new.
fn progress(hub: &Hub, subscription: &Subscription, cursor: u64, points: bool) -> Option<WatchProgress> {
    let (from_ms, now_ms) = (subscription.from_ms, clock::now_ms());
    let known = hub.watermarks.at(cursor);
    let complete = known.map(|of| of.complete_until_ms(hub, &subscription.watched, from_ms, now_ms));
    let mut pending = subscription.pending();
    let last = pending.sent;
    let mut complete_until_ms = complete.unwrap_or(last.and_then(|last| last.complete_until_ms));
    if let (Some(until_ms), Some(damaged_ms)) = (complete_until_ms, pending.damaged_from_ms) {
        complete_until_ms = Some(until_ms.min(damaged_ms));
    }
    let (merged, at) = (pending.merged, Instant::now());
    let news = last.is_none_or(|last| {
        let old = at.saturating_duration_since(last.at) >= TOKEN_EVERY && last.cursor != cursor;
        old || (last.complete_until_ms, last.merged) != (complete_until_ms, merged)
    });
    if !points && !news {
        return None;
    }
    let added = merged.saturating_sub(last.map_or(0, |last| last.merged));
    hub.metrics.watch.merged.inc_by(added);
    pending.sent = Some(Sent { cursor, complete_until_ms, merged, at });
    let token = Token {
        run: hub.run,
        cursor,
        from_ms,
        open_from_ms: complete_until_ms.unwrap_or(from_ms),
        query: subscription.watched.hash,
    };
    Some(WatchProgress { token: token.encode(), complete_until_ms, merged })
}
