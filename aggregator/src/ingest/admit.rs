//! The rules of a delivery stream, without sockets and clocks.
//!
//! A stream has one Start, as its first message, then batches of the shards it announced, numbered without gaps.
//! Invariant: an admitted batch may go to the store as it is.

use std::fmt;

use catchment_partial::Timestamp;
use catchment_proto::{
    Batch, BatchError, Capabilities, DictionaryDecoder, GatewayId, History, SeriesKey, SharedSeries,
    batch::SHARDS_MAX,
    wire::{self, deliver_request::Kind},
};

use super::leave_out::leave_out_after;
use crate::{
    clock_bound::ClockBound,
    store::{Delivered, GatewayEpoch, ProgressReport, RunDelivered, previous_runs},
};

/// Longest version text of a gateway, in characters; the rest is truncated.
const VERSION_CHARS_MAX: usize = 64;
/// Highest batch number: no gateway reaches it, and beyond it numbers and counts of lost batches would overflow.
const NUMBER_MAX: u64 = 1 << 48;

/// Finds a series in the store, so that the stream shares it.
pub type KnownSeries = Box<dyn Fn(&SeriesKey) -> Option<SharedSeries> + Send + Sync>;

/// A gateway's stream after its Start.
pub struct StreamAdmission {
    /// One entry per shard.
    shards: Vec<Shard>,
    /// Number of watermarks that were not believed.
    watermarks_refused: u64,
    known: KnownSeries,
    /// Memory of the series names of all shards, bytes.
    dictionary_bytes: usize,
    /// Memory of the newest message, bytes.
    message_bytes: usize,
}

impl fmt::Debug for StreamAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamAdmission").field("shards", &self.shards).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shard {
    /// How far ahead of the aggregator's clock its last watermark was, milliseconds, if beyond the tolerance.
    ahead_ms: Option<i64>,
    /// Highest number that was durable when the stream began.
    delivered: u64,
    /// Runs that delivered, as reported in the answer to the Start.
    runs: Vec<wire::RunDelivered>,
    /// The last batch number of this stream.
    last: Option<u64>,
    /// The refused batch: until the gateway resends it, later batches are skipped.
    refused: Option<Refused>,
    /// How often the shard resumed at a refused batch.
    attempt: u32,
    /// The series that the stream has named.
    dictionary: DictionaryDecoder,
}

/// A batch for which the store had no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    number: u64,
    /// It was the first batch of its shard on the stream.
    stream_start: bool,
}

/// An admitted message.
#[derive(Debug)]
pub enum Admitted {
    /// A batch to put.
    Batch {
        /// The batch.
        batch: Batch,
        /// It is the first batch of its shard on this stream.
        stream_start: bool,
        /// Its place relative to the durable batches.
        order: Order,
        /// For [`StreamAdmission::refuse`].
        attempt: u32,
        /// Windows that were left out because they are too far ahead of the clock.
        left_out: u64,
    },
    /// A message after a refused batch; the gateway resends it after that batch.
    Skipped,
    /// Raw readings, or the end of them.
    Raw(wire::RawReadings),
    /// The revocation lists that the gateway holds.
    RevocationsHeld(wire::RevocationsHeld),
    /// When certificates of devices end.
    Certificates(wire::DeviceCertificates),
    /// A watermark that advanced without partials.
    Progress(ProgressReport),
}

/// A batch number relative to the durable ones when the stream began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// New, or live.
    Next,
    /// Already durable.
    Duplicate,
    /// This many numbers before it never arrived here.
    Gap(u64),
}

/// Why a stream is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The first message is not a Start.
    #[error("the first message of a stream must be a Start")]
    NoStart,
    /// A second Start.
    #[error("a stream has one Start")]
    SecondStart,
    /// No content that this version knows.
    #[error("a message without content; this aggregator may be older than the gateway")]
    Empty,
    /// The Start's number of shards is out of range.
    #[error("a gateway has 1 to {SHARDS_MAX} shards, not {0}")]
    Shards(u32),
    /// A shard that the Start did not announce.
    #[error("there is no shard {shard}, the Start announced {shards}")]
    Shard {
        /// The shard.
        shard: u32,
        /// How many there are.
        shards: usize,
    },
    /// A number that does not follow the previous one on the stream.
    #[error("shard {shard}: batch {got} does not follow {last} on this stream")]
    Gap {
        /// The shard.
        shard: u32,
        /// Its last number on this stream.
        last: u64,
        /// The number that arrived.
        got: u64,
    },
    /// A number beyond the highest allowed.
    #[error("shard {shard}: batch number {number} is beyond {NUMBER_MAX}")]
    Number {
        /// The shard.
        shard: u32,
        /// The number that arrived.
        number: u64,
    },
    /// The batch breaks a rule of the format.
    #[error("batch: {0}")]
    Batch(#[from] BatchError),
    /// A watermark out of range, Unix milliseconds.
    #[error("a watermark of {0} ms is out of range")]
    Watermark(i64),
}

impl Refusal {
    /// Label of the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoStart | Self::SecondStart | Self::Empty => "protocol",
            Self::Shards(_) | Self::Shard { .. } => "shard",
            Self::Gap { .. } => "gap",
            Self::Batch(_) | Self::Number { .. } => "malformed",
            Self::Watermark(_) => "watermark",
        }
    }

    /// gRPC code for the gateway.
    pub fn code(&self) -> tonic::Code {
        match self {
            Self::Gap { .. } | Self::NoStart | Self::SecondStart => tonic::Code::FailedPrecondition,
            Self::Empty => tonic::Code::Unimplemented,
            Self::Shards(_)
            | Self::Shard { .. }
            | Self::Number { .. }
            | Self::Batch(_)
            | Self::Watermark(_) => tonic::Code::InvalidArgument,
        }
    }
}

/// Reads the first message of a stream: the data folder (gateway epoch) and the gateway's version.
///
/// # Errors
/// [`Refusal::NoStart`], [`Refusal::Shards`].
pub fn start(gateway: GatewayId, message: wire::DeliverRequest) -> Result<(GatewayEpoch, String), Refusal> {
    let Some(Kind::Start(start)) = message.kind else {
        return Err(Refusal::NoStart);
    };
    if start.shards == 0 || start.shards > SHARDS_MAX {
        return Err(Refusal::Shards(start.shards));
    }
    let version = start.version.chars().filter(|c| !c.is_control()).take(VERSION_CHARS_MAX).collect();
    let wire::Start { epoch: id, epoch_created_ms: created_ms, shards, run, previous_runs: previous, .. } =
        start;
    let previous_runs = previous_runs(&previous);
    Ok((GatewayEpoch { gateway, id, created_ms, shards, run, previous_runs }, version))
}

impl StreamAdmission {
    /// A stream of `shards` shards, and the durable batches of each (missing entries: none).
    pub fn new(shards: u32, delivered: Vec<Delivered>) -> Self {
        let run = |run: RunDelivered| wire::RunDelivered {
            run: run.run,
            number: run.number,
            previous_runs: run.previous.into_iter().take_while(|run| *run != 0).collect(),
        };
        let shard = |Delivered { number, runs }| Shard {
            ahead_ms: None,
            delivered: number,
            runs: runs.into_iter().map(run).collect(),
            last: None,
            refused: None,
            attempt: 0,
            dictionary: DictionaryDecoder::default(),
        };
        let delivered = delivered.into_iter().chain(std::iter::repeat_with(Delivered::default));
        Self {
            shards: delivered.take(shards as usize).map(shard).collect(),
            watermarks_refused: 0,
            known: Box::new(|_| None),
            dictionary_bytes: 0,
            message_bytes: 0,
        }
    }

    /// Shares the series that `known` finds.
    pub fn with_known_series(self, known: KnownSeries) -> Self {
        Self { known, ..self }
    }

    /// Memory of the stream's series names, bytes.
    pub fn dictionary_bytes(&self) -> usize {
        self.dictionary_bytes
    }

    /// Memory of the newest message, bytes.
    pub fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// The answer to the Start.
    pub fn resume(&self) -> wire::Resume {
        wire::Resume {
            delivered: self.shards.iter().map(|shard| shard.delivered).collect(),
            runs: self.shards.iter().map(|shard| wire::ShardRuns { runs: shard.runs.clone() }).collect(),
            capabilities: Capabilities::OURS.names(),
            ..wire::Resume::default()
        }
    }

    /// Records that the store refused a batch of this attempt. Returns whether the gateway must be notified: it
    /// resends from the first refused batch on, so later ones need no refusal of their own.
    pub fn refuse(&mut self, shard: u32, number: u64, stream_start: bool, attempt: u32) -> bool {
        let Some(shard) = self.shards.get_mut(shard as usize) else { return false };
        if shard.refused.is_some() || shard.attempt != attempt {
            return false;
        }
        shard.refused = Some(Refused { number, stream_start });
        true
    }

    /// Whether the result of a batch of this attempt counts: no earlier batch of the attempt was refused.
    pub fn is_current(&self, shard: u32, attempt: u32) -> bool {
        self.shards
            .get(shard as usize)
            .is_some_and(|shard| shard.refused.is_none() && shard.attempt == attempt)
    }

    fn shard(&mut self, number: u32) -> Result<&mut Shard, Refusal> {
        let shards = self.shards.len();
        self.shards.get_mut(number as usize).ok_or(Refusal::Shard { shard: number, shards })
    }

    /// Number of watermarks of this stream that were not believed. Such a watermark leaves the shard's unchanged:
    /// with batches in flight and windows waiting for late readings, nobody can tell how much of the time up to now
    /// is delivered.
    pub fn watermarks_refused(&self) -> u64 {
        self.watermarks_refused
    }

    /// The largest lead of a shard's last watermark over the aggregator's clock, milliseconds, if beyond the
    /// tolerance.
    pub fn ahead_ms(&self) -> Option<i64> {
        self.shards.iter().filter_map(|shard| shard.ahead_ms).max()
    }

    /// Judges a message after the Start. Batches go to [`crate::store::IngestStore::put`] in this order, each with its
    /// `stream_start`.
    ///
    /// # Errors
    /// [`Refusal`]: the stream must end.
    pub fn admit(
        &mut self,
        message: wire::DeliverRequest,
        clock_bound: ClockBound,
    ) -> Result<Admitted, Refusal> {
        self.message_bytes = 0;
        match message.kind.ok_or(Refusal::Empty)? {
            Kind::Start(_) => Err(Refusal::SecondStart),
            Kind::Raw(readings) => Ok(Admitted::Raw(readings)),
            Kind::Revocations(held) => Ok(Admitted::RevocationsHeld(held)),
            Kind::Certificates(told) => Ok(Admitted::Certificates(told)),
            Kind::Progress(wire::Progress { shard, watermark_ms, number, history }) => {
                let waits = self.shard(shard)?.refused.is_some();
                if number > NUMBER_MAX {
                    return Err(Refusal::Number { shard, number });
                }
                let watermark =
                    Timestamp::from_millis(watermark_ms).ok_or(Refusal::Watermark(watermark_ms))?;
                let mut history = History::read(history.as_ref()).map_err(BatchError::from)?;
                clock_bound.latest_window().into_iter().for_each(|latest| history.cap(latest));
                let watermark = self.accepted_watermark(shard, watermark, clock_bound);
                // While a batch waits, nothing later is complete.
                let report = ProgressReport { shard, watermark, last: number, history };
                Ok(if waits { Admitted::Skipped } else { Admitted::Progress(report) })
            }
            Kind::Batch(batch) => self.batch(batch, clock_bound),
        }
    }

    /// Returns the watermark unless it is ahead of the clock beyond the tolerance.
    fn accepted_watermark(
        &mut self,
        shard: u32,
        watermark: Timestamp,
        clock_bound: ClockBound,
    ) -> Option<Timestamp> {
        let ahead_ms = clock_bound.too_far_ahead(watermark.as_millis());
        self.shards.get_mut(shard as usize)?.ahead_ms = ahead_ms;
        self.watermarks_refused += u64::from(ahead_ms.is_some());
        ahead_ms.is_none().then_some(watermark)
    }

    fn batch(&mut self, message: wire::Batch, clock_bound: ClockBound) -> Result<Admitted, Refusal> {
        let shards = self.shards.len();
        let number = message.shard;
        let shard = self.shards.get_mut(number as usize).ok_or(Refusal::Shard { shard: number, shards })?;
        let before = shard.dictionary.bytes();
        let mut batch = shard.dictionary.decode_sharing(message, &*self.known)?;
        self.dictionary_bytes =
            self.dictionary_bytes.saturating_sub(before).saturating_add(shard.dictionary.bytes());
        self.message_bytes = batch.memory().saturating_add(shard.dictionary.added_bytes());
        let latest = clock_bound.latest_stored();
        let left_out = latest.map_or(0, |latest| leave_out_after(&mut batch, latest) as u64);
        if batch.live {
            return Ok(Admitted::Batch {
                batch,
                stream_start: false,
                order: Order::Next,
                attempt: shard.attempt,
                left_out,
            });
        }
        let got = batch.number;
        if got > NUMBER_MAX {
            return Err(Refusal::Number { shard: batch.shard, number: got });
        }
        // A resent batch takes the place of the refused one.
        let again = shard.refused;
        if again.is_some_and(|refused| refused.number != got) {
            return Ok(Admitted::Skipped);
        }
        if again.is_some() {
            (shard.refused, shard.last) = (None, got.checked_sub(1));
            shard.attempt = shard.attempt.wrapping_add(1);
        }
        if let Some(last) = shard.last
            && last.checked_add(1) != Some(got)
        {
            return Err(Refusal::Gap { shard: batch.shard, last, got });
        }
        let stream_start = shard.last.replace(got).is_none();
        let (stream_start, attempt) =
            (again.map_or(stream_start, |refused| refused.stream_start), shard.attempt);
        let skipped = got.saturating_sub(shard.delivered).saturating_sub(1);
        let order = match stream_start && skipped > 0 && again.is_none() {
            true => Order::Gap(skipped),
            false if got <= shard.delivered => Order::Duplicate,
            false => Order::Next,
        };
        clock_bound.latest_window().into_iter().for_each(|latest| batch.history.cap(latest));
        batch.watermark = batch
            .watermark
            .and_then(|watermark| self.accepted_watermark(batch.shard, watermark, clock_bound));
        Ok(Admitted::Batch { batch, stream_start, order, attempt, left_out })
    }
}

#[cfg(test)]
mod tests;
