//! Which resolution serves which piece of a range. Pure.

use catchment_partial::Timestamp;

use crate::store::tables::resolution::Resolution;

/// From when on each resolution is complete: what starts before was removed. By number of the resolution, each at
/// most the one before.
pub(in crate::store) type Floors = [Timestamp; 4];

/// Nothing was removed.
pub(in crate::store) const ALL_KEPT: Floors = [Timestamp::MIN; 4];

/// A span of time, and the resolution whose rows that start in it are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Piece {
    pub(in crate::store) from: Timestamp,
    pub(in crate::store) to: Timestamp,
    pub(in crate::store) resolution: Resolution,
}

/// The coarsest resolution whose rows each lie within one point of this width; points begin at multiples of it.
/// `None`: one point for everything.
pub(in crate::store) fn coarsest_for(step_ms: Option<i64>) -> Resolution {
    let fits = |resolution: &Resolution| {
        let Some(interval) = resolution.interval() else { return true };
        step_ms.is_none_or(|step| step % i64::from(interval.as_millis()) == 0)
    };
    Resolution::ALL.into_iter().rev().find(fits).unwrap_or(Resolution::Windows)
}

/// The coarsest resolutions that a reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Coarsest {
    /// Where windows are stored.
    pub(in crate::store) beside_windows: Resolution,
    /// Where they were removed.
    pub(in crate::store) without_windows: Resolution,
}

/// Divides `[from, to)` into pieces, in order: the coarsest resolution that the reader takes whose intervals lie wholly
/// in the range, finer ones at its ends and where a resolution is not complete; for an interval that holds one of the
/// sorted times `fine`, windows. Where windows were removed, the finest resolution that is left stands for them.
pub(in crate::store) fn pieces(
    from: Timestamp,
    to: Timestamp,
    coarsest: Coarsest,
    floors: &Floors,
    fine: &[Timestamp],
) -> Vec<Piece> {
    let mut all = Vec::new();
    // Beyond each floor other resolutions are complete.
    let mut at = from;
    for resolution in Resolution::ALL.into_iter().rev() {
        let next = match resolution.finer() {
            Some(finer) => floor(floors, finer).min(to),
            None => to,
        };
        // From the floor of this resolution to that of the next finer one, this is the finest.
        let begin = at.max(floor(floors, resolution));
        if begin < next {
            let coarsest = match resolution {
                Resolution::Windows => coarsest.beside_windows,
                _ => coarsest.without_windows,
            };
            split(begin, next, coarsest.max(resolution), resolution, fine, &mut all);
        }
        at = at.max(next);
    }
    all
}

fn floor(floors: &Floors, resolution: Resolution) -> Timestamp {
    floors.get(usize::from(resolution.number())).copied().unwrap_or(Timestamp::MIN)
}

fn split(
    from: Timestamp,
    to: Timestamp,
    coarsest: Resolution,
    finest: Resolution,
    fine: &[Timestamp],
    all: &mut Vec<Piece>,
) {
    if from >= to {
        return;
    }
    let (Some(interval), Some(finer)) = (coarsest.interval().filter(|_| coarsest > finest), coarsest.finer())
    else {
        return push(Piece { from, to, resolution: coarsest }, all);
    };
    let nanos = interval.as_nanos();
    let begin_of =
        |time: Timestamp| Timestamp::from_nanos(time.as_nanos().div_euclid(nanos).saturating_mul(nanos));
    let first = begin_of(from.saturating_add_nanos(nanos - 1));
    let last = begin_of(to);
    if first >= last {
        return split(from, to, finer, finest, fine, all);
    }
    split(from, first, finer, finest, fine, all);
    let mut at = first;
    let inside = fine.get(fine.partition_point(|time| *time < first)..).unwrap_or_default();
    for time in inside.iter().take_while(|time| **time < last) {
        let begin = begin_of(*time);
        if begin < at {
            // Its interval was split for the time before.
            continue;
        }
        push(Piece { from: at, to: begin, resolution: coarsest }, all);
        at = begin.saturating_add_nanos(nanos);
        split(begin, at, finer, finest, fine, all);
    }
    push(Piece { from: at, to: last, resolution: coarsest }, all);
    split(last, to, finer, finest, fine, all);
}

/// Adds a piece, or extends the last one by it.
fn push(piece: Piece, all: &mut Vec<Piece>) {
    if piece.from >= piece.to {
        return;
    }
    match all.last_mut() {
        Some(last) if last.resolution == piece.resolution && last.to == piece.from => last.to = piece.to,
        _ => all.push(piece),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000).unwrap()
    }

    #[test]
    fn a_range_takes_the_coarsest_resolution_inside_and_finer_ones_at_its_ends() {
        let of = |from, to, coarsest, fine: &[Timestamp]| {
            let coarsest = Coarsest { beside_windows: coarsest, without_windows: coarsest };
            let found = pieces(from, to, coarsest, &ALL_KEPT, fine);
            found.iter().map(|p| (p.from.as_millis() / 1_000, p.resolution.number())).collect::<Vec<_>>()
        };
        let half = at(0).saturating_add_nanos(30_000_000_000);
        assert_eq!(
            of(half, at(1_440 * 2 + 61), Resolution::Day, &[]),
            [(30, 0), (60, 1), (3_600, 2), (86_400, 3), (172_800, 2), (176_400, 1)]
        );
        assert_eq!(
            of(at(0), at(120), Resolution::Hour, &[at(61)]),
            [(0, 2), (3_600, 1), (3_660, 0), (3_720, 1)]
        );
        assert_eq!(of(at(0), at(120), Resolution::Windows, &[at(61)]), [(0, 0)]);
        assert_eq!(coarsest_for(Some(60_000)), Resolution::Minute);
        assert_eq!(coarsest_for(Some(90_000)), Resolution::Windows);
        assert_eq!(coarsest_for(Some(7_200_000)), Resolution::Hour);
        assert_eq!(coarsest_for(None), Resolution::Day);
    }

    proptest! {
        #[test]
        fn pieces_cover_the_range_once_with_whole_intervals(
            (from, to) in (-5_000..5_000_i64, -5_000..5_000_i64),
            coarsest in 0..4_usize,
            floors in prop::collection::vec(-4..4_i64, 4),
            fine in prop::collection::btree_set(-5_000..5_000_i64, 0..4),
        ) {
            let mut days = floors;
            days.sort_by(|a, b| b.cmp(a));
            let floors: Floors = std::array::from_fn(|n| at(days[n] * 1_440));
            let fine: Vec<Timestamp> = fine.into_iter().map(at).collect();
            let coarsest = Resolution::ALL[coarsest];
            let both = Coarsest { beside_windows: coarsest, without_windows: coarsest };
            let found = pieces(at(from), at(to), both, &floors, &fine);
            let mut next = at(from).max(floors[3]);
            for Piece { from, to: end, resolution } in &found {
                prop_assert_eq!(*from, next);
                prop_assert!(from < end);
                next = *end;
                prop_assert!(*from >= floors[resolution.number() as usize], "it is complete");
                let finest = Resolution::ALL.into_iter().find(|r| floors[r.number() as usize] <= *from).unwrap();
                prop_assert!(*resolution <= coarsest || *resolution == finest);
                if let Some(interval) = resolution.interval().filter(|_| *resolution > finest) {
                    prop_assert_eq!(from.as_nanos() % interval.as_nanos(), 0);
                    prop_assert_eq!(end.as_nanos() % interval.as_nanos(), 0);
                    prop_assert!(!fine.iter().any(|time| (*from..*end).contains(time)));
                }
            }
            if at(from).max(floors[3]) < at(to) {
                prop_assert_eq!(next, at(to));
            }
        }
    }
}
