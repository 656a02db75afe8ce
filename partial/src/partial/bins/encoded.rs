//! Encoded bins, checked but not decoded: they are counted, and added to others, from their bytes.

use super::super::codec::{DecodeError, Reader};
use super::super::mapping::{MAX_KEY, MIN_KEY};
use super::{Bin, Bins, Ends, MAX_BINS};

/// Bins that follow each other without a gap and have counts below 128 take two bytes each: 0 and the count. This many
/// are read at once.
const AT_ONCE: usize = 4;
/// The bits that are 0 in such bins, as a little-endian integer.
const GAPS_AND_TOP_BITS: u64 = 0x80ff_80ff_80ff_80ff;

/// The encoding of bins that [`Bins::decode`] accepts.
#[derive(Clone, Copy)]
pub(in crate::partial) struct EncodedBins<'a> {
    len: usize,
    ends: Option<(i32, i32)>,
    /// Number of values; saturates.
    pub(in crate::partial) count: u64,
    /// The bins, after their number.
    bytes: &'a [u8],
}

/// Receives bins by rising key.
trait Visit {
    /// A bin; its count is at least 1.
    fn one(&mut self, key: i32, count: u64);

    /// Bins with this and the following keys.
    fn several(&mut self, key: i32, counts: [u64; AT_ONCE]) {
        (key..).zip(counts).for_each(|(key, count)| self.one(key, count));
    }
}

/// Reads bins; those before an error are visited.
#[inline]
fn visit(reader: &mut Reader<'_>, len: usize, visitor: &mut impl Visit) -> Result<(), DecodeError> {
    const KEY: DecodeError = DecodeError::Invalid("a key of the sketch is out of range");
    let mut next: Option<i64> = None;
    let mut left = len;
    while left > 0 {
        if let Some(start) = next.and_then(|next| i32::try_from(next).ok()) {
            let read = visit_runs(reader, start, left, visitor);
            next = Some(i64::from(start) + read as i64);
            left -= read;
            if left == 0 {
                break;
            }
        }
        let key = match next {
            None => Some(reader.zigzag()?),
            Some(next) => next.checked_add_unsigned(reader.varint()?),
        };
        let key = key.filter(|key| (MIN_KEY.into()..=MAX_KEY.into()).contains(key)).ok_or(KEY)?;
        let count = reader.varint()?;
        if count == 0 {
            return Err(DecodeError::Invalid("a bin of the sketch is empty"));
        }
        visitor.one(i32::try_from(key).map_err(|_| KEY)?, count);
        (next, left) = (Some(key + 1), left - 1);
    }
    Ok(())
}

/// Reads bins without a gap, as long as there are several, of which the first has the key `next`; returns their number.
#[inline]
fn visit_runs(reader: &mut Reader<'_>, mut next: i32, most: usize, visitor: &mut impl Visit) -> usize {
    let mut rest = reader.rest();
    let mut read = 0;
    while read + AT_ONCE <= most
        && next <= MAX_KEY - AT_ONCE as i32
        && let Some((bytes, behind)) = rest.split_first_chunk()
        && let Some(counts) = several(*bytes)
    {
        visitor.several(next, counts);
        (rest, next, read) = (behind, next + AT_ONCE as i32, read + AT_ONCE);
    }
    *reader = Reader::new(rest);
    read
}

/// The counts of bins without a gap, if all of these bytes are such.
#[inline]
fn several(bytes: [u8; 2 * AT_ONCE]) -> Option<[u64; AT_ONCE]> {
    /// Carries into the top bit of each count but 0.
    const FULL: u64 = 0x7f00_7f00_7f00_7f00;
    const TOP_BITS: u64 = 0x8000_8000_8000_8000;
    let word = u64::from_le_bytes(bytes);
    let alike = word & GAPS_AND_TOP_BITS == 0 && (word + FULL) & TOP_BITS == TOP_BITS;
    alike.then(|| [8, 24, 40, 56].map(|shift| word >> shift & 0xff))
}

/// What is known of bins after reading them once.
#[derive(Default)]
struct Survey {
    ends: Option<(i32, i32)>,
    count: u64,
}

impl Survey {
    #[inline]
    fn add(&mut self, first: i32, last: i32, count: u64) {
        self.ends = Some((self.ends.map_or(first, |ends| ends.0), last));
        self.count = self.count.saturating_add(count);
    }
}

impl Visit for Survey {
    #[inline]
    fn one(&mut self, key: i32, count: u64) {
        self.add(key, key, count);
    }

    #[inline]
    fn several(&mut self, key: i32, counts: [u64; AT_ONCE]) {
        self.add(key, key + (AT_ONCE as i32 - 1), counts.iter().sum());
    }
}

/// Adds bins to those at hand, from the place of the one before on.
struct Adder<'b> {
    own: &'b mut [Bin],
    at: usize,
    missing: Vec<Bin>,
}

impl Adder<'_> {
    /// Moves to the first own bin whose key is not less.
    #[inline]
    fn seek(&mut self, key: i32) {
        let Some(bin) = self.own.get(self.at).filter(|bin| bin.key < key) else { return };
        // Keys rise by at least 1 from bin to bin.
        let most = self.at.saturating_add((i64::from(key) - i64::from(bin.key)) as usize);
        self.at = match self.own.get(most) {
            Some(bin) if bin.key == key => most,
            _ => {
                let between = self.own.get(self.at..most.min(self.own.len())).unwrap_or_default();
                self.at + between.partition_point(|bin| bin.key < key)
            }
        };
    }
}

impl Visit for Adder<'_> {
    #[inline]
    fn one(&mut self, key: i32, count: u64) {
        self.seek(key);
        match self.own.get_mut(self.at) {
            Some(bin) if bin.key == key => {
                bin.count = bin.count.saturating_add(count);
                self.at += 1;
            }
            _ => self.missing.push(Bin { key, count }),
        }
    }

    #[inline]
    fn several(&mut self, key: i32, counts: [u64; AT_ONCE]) {
        if self.own.get(self.at).is_none_or(|bin| bin.key != key) {
            self.seek(key);
        }
        let own = self.own.get_mut(self.at..).and_then(|own| own.first_chunk_mut::<AT_ONCE>());
        match own {
            Some(own) if own[0].key == key && own[AT_ONCE - 1].key == key + (AT_ONCE as i32 - 1) => {
                for (bin, count) in own.iter_mut().zip(counts) {
                    bin.count = bin.count.saturating_add(count);
                }
                self.at += AT_ONCE;
            }
            _ => (key..).zip(counts).for_each(|(key, count)| self.one(key, count)),
        }
    }
}

impl Visit for Vec<Bin> {
    #[inline]
    fn one(&mut self, key: i32, count: u64) {
        self.push(Bin { key, count });
    }
}

impl<'a> EncodedBins<'a> {
    /// Reads bins and checks them.
    pub(in crate::partial) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let len = reader.count(MAX_BINS, "the sketch has too many bins")?;
        let from = reader.rest();
        let mut survey = Survey::default();
        visit(reader, len, &mut survey)?;
        let bytes = from.get(..from.len() - reader.remaining()).unwrap_or_default();
        Ok(Self { len, ends: survey.ends, count: survey.count, bytes })
    }

    pub(in crate::partial) fn ends(&self) -> Ends {
        Ends { len: self.len, keys: self.ends }
    }

    fn visit(&self, visitor: &mut impl Visit) {
        let read = visit(&mut Reader::new(self.bytes), self.len, visitor);
        debug_assert_eq!(read, Ok(()), "the bytes were checked");
    }

    pub(in crate::partial) fn decode(&self) -> Bins {
        let mut bins = Vec::with_capacity(self.len);
        self.visit(&mut bins);
        Bins(bins)
    }
}

impl Bins {
    /// As [`Bins::merge`] with what [`EncodedBins::decode`] makes of these.
    pub(in crate::partial) fn merge_encoded(&mut self, other: &EncodedBins<'_>) {
        if self.0.is_empty() {
            *self = other.decode();
            return;
        }
        let at = other.ends.map_or(0, |(first, _)| self.place(first));
        let mut adder = Adder { own: &mut self.0, at, missing: Vec::new() };
        other.visit(&mut adder);
        let missing = adder.missing;
        self.insert_between(&missing, missing.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs of neighbouring keys, and single ones.
    fn bins() -> impl Strategy<Value = Bins> {
        let count = prop_oneof![8 => 1..128_u64, 2 => 1..100_000_u64, 1 => Just(u64::MAX)];
        let run = (-400..400_i32, 1..60_usize, 1..4_i32, count);
        (prop::collection::vec(run, 0..8), any::<bool>()).prop_map(|(runs, far)| {
            let mut bins = Bins::default();
            for (first, len, step, count) in runs {
                (0..len as i32).for_each(|n| bins.add(first + n * step, count));
            }
            if far {
                (0..MAX_BINS as i32 - 100).for_each(|n| bins.add(1_000 + n, 1));
            }
            bins
        })
    }

    proptest! {
        #[test]
        fn adding_encoded_bins_equals_adding_them(a in bins(), b in bins()) {
            let mut bytes = Vec::new();
            b.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            let encoded = EncodedBins::read(&mut reader).unwrap();
            prop_assert_eq!(reader.remaining(), 0);
            prop_assert_eq!(&encoded.decode(), &b);
            prop_assert_eq!(encoded.count, b.iter().fold(0_u64, |sum, bin| sum.saturating_add(bin.count)));
            let ends = b.iter().next().zip(b.iter().next_back()).map(|(low, high)| (low.key, high.key));
            prop_assert_eq!((encoded.ends, encoded.len), (ends, b.iter().len()));
            let (mut expected, mut found) = (a.clone(), a);
            expected.merge(&b);
            found.merge_encoded(&encoded);
            prop_assert_eq!(&found, &expected);
            prop_assert!(found.heap() <= MAX_BINS * size_of::<Bin>());
        }
    }

    #[test]
    fn keys_beyond_the_greatest_are_refused_at_any_place() {
        for before in 0..9 {
            let mut bins = Bins::default();
            (0..8).for_each(|n| bins.add(MAX_KEY - before + n, 1));
            let mut bytes = Vec::new();
            bins.encode(&mut bytes);
            assert_eq!(EncodedBins::read(&mut Reader::new(&bytes)).is_ok(), before >= 7, "{before}");
        }
    }
}
