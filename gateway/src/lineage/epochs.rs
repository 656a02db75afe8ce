//! The epochs of one data folder, and how its own batch numbers map into them.
//!
//! A folder begins with the epoch of its identity. It begins a new one when it went back to an older state, or when
//! another copy of it delivers. Its own numbers continue; on the wire they begin again. Batches that hold only
//! readings folded before the two lines diverged keep the names of the earlier epoch, so that they replace what the
//! other line delivered of the same windows instead of adding to it. Batches that a run folded since then have names
//! of that run, which are the same in every copy of the folder that holds them, whatever epochs the copies begin.
//!
//! Batches that only the other line holds are missing. To report them, number 1 of each shard stands for them: no
//! batch has that number, and later batches say which times it covers. Pure; [`super::Lineage`] keeps the epochs on
//! disk.

use catchment_partial::{Timestamp, Width};
use catchment_proto::{History, Span, wire};
use prost::Message;

/// Epochs that are kept. Batches of older ones left the outbox long ago.
pub const EPOCHS_MAX: usize = 256;
/// Format of the file.
const VERSION: u8 = 2;
/// The earlier format, without `left_out_to`.
const VERSION_BEFORE: u8 = 1;

/// One epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Random, not 0.
    pub id: u64,
    /// When it began, Unix milliseconds.
    pub created_ms: i64,
    /// By shard; missing ones begin at 0.
    pub shards: Vec<ShardEpoch>,
    /// Number 1 of each shard stands for windows that only another line holds, none of which ends later than this;
    /// `None`: number 1 is a batch.
    pub left_out_to: Option<Timestamp>,
}

/// Where an epoch begins in one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardEpoch {
    /// Own number of the last batch before it.
    pub offset: u64,
    /// (own number, epoch) in order: names from this number on belong to this epoch. Lower numbers keep their names.
    pub names: Vec<(u64, u64)>,
}

/// The epochs of a folder, in order; the last is the present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs {
    first: Epoch,
    later: Vec<Epoch>,
}

/// How the batch numbers of one shard map into the present epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    offset: u64,
    /// See [`Epoch::left_out_to`].
    left_out_to: Option<Timestamp>,
    present: u64,
    /// See [`ShardEpoch::names`].
    names: Vec<(u64, u64)>,
}

#[derive(Clone, PartialEq, Message)]
struct EpochsRecord {
    #[prost(message, repeated, tag = "1")]
    epochs: Vec<EpochRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct EpochRecord {
    #[prost(fixed64, tag = "1")]
    id: u64,
    #[prost(sint64, tag = "2")]
    created_ms: i64,
    #[prost(message, repeated, tag = "3")]
    shards: Vec<ShardRecord>,
    #[prost(sfixed64, optional, tag = "4")]
    left_out_to_ns: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct ShardRecord {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(uint64, repeated, tag = "2")]
    names_from: Vec<u64>,
    #[prost(fixed64, repeated, tag = "3")]
    names: Vec<u64>,
}

impl Epochs {
    /// Only the epoch of the folder's identity.
    pub fn first(id: u64, created_ms: i64) -> Self {
        Self { first: Epoch { id, created_ms, shards: Vec::new(), left_out_to: None }, later: Vec::new() }
    }

    /// The present epoch.
    pub fn present(&self) -> &Epoch {
        self.later.last().unwrap_or(&self.first)
    }

    /// Whether an epoch was begun after the folder's first.
    pub fn have_forked(&self) -> bool {
        !self.later.is_empty()
    }

    /// Whether these may be the epochs of the folder whose identity has this epoch. A full list has forgotten it.
    pub fn may_be_of(&self, folder: u64) -> bool {
        self.first.id == folder || self.later.len() >= EPOCHS_MAX - 2
    }

    /// Whether the folder has begun this epoch.
    pub fn holds(&self, id: u64) -> bool {
        std::iter::once(&self.first).chain(&self.later).any(|epoch| epoch.id == id)
    }

    /// Begins an epoch. Its time is later than that of the one before, so that an aggregator takes it for the present
    /// one.
    pub fn begin(&mut self, mut epoch: Epoch) {
        epoch.created_ms = epoch.created_ms.max(self.present().created_ms.saturating_add(1));
        self.later.push(epoch);
        if self.later.len() >= EPOCHS_MAX {
            self.first = self.later.remove(0);
        }
    }

    /// How the batch numbers of a shard map into the present epoch.
    pub fn numbering(&self, shard: usize) -> Numbering {
        let present = self.present();
        let offset = present.shards.get(shard).map_or(0, |shard| shard.offset);
        let mut names = vec![(0, self.first.id)];
        for epoch in std::iter::once(&self.first).chain(&self.later) {
            names.extend(epoch.shards.get(shard).into_iter().flat_map(|shard| &shard.names));
        }
        Numbering { offset, left_out_to: present.left_out_to, present: present.id, names }
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let shard = |shard: &ShardEpoch| ShardRecord {
            offset: shard.offset,
            names_from: shard.names.iter().map(|(from, _)| *from).collect(),
            names: shard.names.iter().map(|(_, epoch)| *epoch).collect(),
        };
        let epoch = |epoch: &Epoch| EpochRecord {
            id: epoch.id,
            created_ms: epoch.created_ms,
            shards: epoch.shards.iter().map(shard).collect(),
            left_out_to_ns: epoch.left_out_to.map(Timestamp::as_nanos),
        };
        let epochs = std::iter::once(&self.first).chain(&self.later).map(epoch).collect();
        let mut bytes = vec![VERSION];
        EpochsRecord { epochs }.encode_raw(&mut bytes);
        bytes
    }

    /// Reads the bytes of [`Self::encode`]; `None`: they are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&(VERSION | VERSION_BEFORE), bytes) = bytes.split_first()? else { return None };
        let shard = |shard: ShardRecord| ShardEpoch {
            offset: shard.offset,
            names: shard.names_from.into_iter().zip(shard.names).collect(),
        };
        let epoch = |epoch: EpochRecord| Epoch {
            id: epoch.id,
            created_ms: epoch.created_ms,
            shards: epoch.shards.into_iter().map(shard).collect(),
            left_out_to: epoch.left_out_to_ns.map(Timestamp::from_nanos),
        };
        let mut epochs = EpochsRecord::decode(bytes).ok()?.epochs.into_iter().map(epoch);
        let first = epochs.next()?;
        let later: Vec<Epoch> = epochs.collect();
        std::iter::once(&first).chain(&later).all(|epoch| epoch.id != 0).then_some(())?;
        Some(Self { first, later })
    }
}

impl Numbering {
    /// How many numbers of the present epoch no batch has.
    fn left_out(&self) -> u64 {
        u64::from(self.left_out_to.is_some())
    }

    /// The number of a batch in the present epoch; 0: it is of an earlier one.
    pub fn wire(&self, own: u64) -> u64 {
        own.checked_sub(self.offset).map_or(0, |since| since.saturating_add(self.left_out()))
    }

    /// The own number of a batch of the present epoch; for a number that no batch has, the last own number before the
    /// epoch.
    pub fn own(&self, wire: u64) -> u64 {
        self.offset.saturating_add(wire.saturating_sub(self.left_out()))
    }

    /// Whether an aggregator that has the batches up to this own number may not know yet that batches are left out.
    pub fn is_unreported(&self, own: u64) -> bool {
        self.left_out_to.is_some() && own <= self.offset
    }

    /// The times that batches up to an own number cover, in the numbers of the present epoch. The batches left out
    /// come before the first of them. A history that cannot be read here cannot be read by the aggregator either, and
    /// is sent unchanged.
    pub fn history(&self, up_to: u64, message: Option<wire::BatchHistory>) -> Option<wire::BatchHistory> {
        let Some(to) = self.left_out_to else { return message };
        let (Ok(history), Ok(unit)) = (
            History::read(message.as_ref()),
            message.as_ref().map_or(Ok(Width::MIN), |message| Width::from_millis(message.unit_ms)),
        ) else {
            return message;
        };
        let left_out = Span { from: Timestamp::MIN, to };
        history.since(up_to.saturating_sub(self.offset), left_out).wire(unit)
    }

    /// The epoch that the names of a batch belong to; 0: the present one.
    pub fn names_epoch(&self, own: u64) -> u64 {
        let epoch = self.names.iter().rev().find(|(from, _)| *from <= own).map_or(0, |(_, epoch)| *epoch);
        if epoch == self.present { 0 } else { epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(id: u64, created_ms: i64, offset: u64, names: &[(u64, u64)]) -> Epoch {
        let shards = vec![ShardEpoch { offset, names: names.to_vec() }];
        Epoch { id, created_ms, shards, left_out_to: None }
    }

    #[test]
    fn without_a_fork_numbers_and_names_are_as_they_are() {
        let numbering = Epochs::first(7, 1).numbering(3);
        assert_eq!((numbering.wire(5), numbering.own(5), numbering.names_epoch(5)), (5, 5, 0));
        assert_eq!(Numbering::default().names_epoch(5), 0);
    }

    #[test]
    fn each_batch_keeps_the_names_that_it_was_folded_under() {
        let mut epochs = Epochs::first(7, 100);
        epochs.begin(epoch(8, 50, 10, &[(14, 5), (16, 8)]));
        epochs.begin(epoch(9, 300, 20, &[(25, 9)]));
        let numbering = epochs.numbering(0);
        assert_eq!((numbering.wire(21), numbering.own(1)), (1, 21));
        let names: Vec<u64> = [13, 14, 15, 16, 24, 25].map(|own| numbering.names_epoch(own)).into();
        assert_eq!(names, [7, 5, 5, 8, 8, 0]);
        assert_eq!(Epochs::decode(&epochs.encode()), Some(epochs.clone()));
        assert_eq!((epochs.present().id, epochs.present().created_ms), (9, 300));
        assert_eq!(epochs.later[0].created_ms, 101, "later than the one before, whatever the clock says");
    }

    #[test]
    fn what_is_left_out_has_a_number_and_stands_before_all_that_follows() {
        let mut epochs = Epochs::first(7, 100);
        let to = Timestamp::from_nanos(90_000_000);
        epochs.begin(Epoch { left_out_to: Some(to), ..epoch(9, 200, 20, &[]) });
        assert_eq!(Epochs::decode(&epochs.encode()), Some(epochs.clone()));
        let numbering = epochs.numbering(0);
        assert_eq!([19, 20, 21, 22].map(|own| numbering.wire(own)), [0, 1, 2, 3]);
        assert_eq!([0, 1, 2, 3].map(|wire| numbering.own(wire)), [20, 20, 21, 22]);
        assert!(numbering.is_unreported(20) && !numbering.is_unreported(21));

        let span = |from, to| Span { from: Timestamp::from_nanos(from), to: Timestamp::from_nanos(to) };
        let mut history = History::default();
        history.push(22, span(0, 10_000_000));
        let reported = numbering.history(22, history.wire(Width::MIN));
        let reported = History::read(reported.as_ref()).unwrap();
        assert_eq!(reported.of_last(2), Some(span(0, 10_000_000)), "21 and 22");
        assert_eq!(reported.of_last(3), Some(Span { from: Timestamp::MIN, to }));
        assert_eq!(reported.of_last(4), None, "there are no more");
        let first = History::read(numbering.history(20, None).as_ref()).unwrap();
        assert_eq!(first.of_last(1), Some(Span { from: Timestamp::MIN, to }));
        let mut short = History::default();
        short.push(1, span(0, 1));
        assert_eq!(numbering.history(22, short.wire(Width::MIN)), None, "21 is not known");
    }

    #[test]
    fn a_list_of_the_version_before_is_read() {
        let mut epochs = Epochs::first(7, 100);
        epochs.begin(epoch(9, 200, 20, &[(15, 8)]));
        let mut bytes = epochs.encode();
        bytes[0] = VERSION_BEFORE;
        assert_eq!(Epochs::decode(&bytes), Some(epochs.clone()));
        assert_eq!(epochs.numbering(0).wire(21), 1);
    }

    #[test]
    fn the_list_is_bounded() {
        let mut epochs = Epochs::first(1, 0);
        for id in 2..1000 {
            epochs.begin(epoch(id, 0, id, &[(id, id)]));
        }
        assert_eq!(epochs.later.len(), EPOCHS_MAX - 1);
        assert_eq!(epochs.numbering(0).names_epoch(998), 998);
    }

    #[test]
    fn other_bytes_are_no_list() {
        assert_eq!(Epochs::decode(&[]), None);
        assert_eq!(Epochs::decode(&[VERSION]), None);
        assert_eq!(Epochs::decode(&[3, 1]), None);
    }
}
