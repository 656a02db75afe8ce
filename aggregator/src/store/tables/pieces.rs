//! Which resolution serves which piece of a range. Pure.

use catchment_partial::Timestamp;

use crate::store::{Steps, tables::resolution::Resolution};

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

/// A time at which an interval cannot be read as one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Mark {
    pub(in crate::store) at: Timestamp,
    /// What starts there must be read from windows; otherwise a point begins there, which an interval may begin too.
    pub(in crate::store) windows: bool,
}

/// The marks of starts that are read from windows, sorted, and of the points that are listed in a range.
pub(in crate::store) fn marks(
    fine: Vec<Timestamp>,
    steps: &Steps,
    from: Timestamp,
    to: Timestamp,
) -> Vec<Mark> {
    let mut marks: Vec<Mark> = fine.into_iter().map(|at| Mark { at, windows: true }).collect();
    let before = marks.len();
    marks.extend(steps.listed(from, to).map(|at| Mark { at, windows: false }));
    if before > 0 && marks.len() > before {
        marks.sort_unstable();
    }
    marks
}

/// The coarsest resolution of rows that may each lie within one of these points; where listed points begin within one,
/// marks say so.
pub(in crate::store) fn coarsest_for(steps: &Steps) -> Resolution {
    let fits = |resolution: &Resolution| match (resolution.interval(), steps) {
        (None, _) | (_, Steps::Whole | Steps::At(_)) => true,
        (Some(interval), Steps::Every(step)) => step % i64::from(interval.as_millis()) == 0,
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
/// in the range, finer ones at its ends, where a resolution is not complete, and for an interval that one of the sorted
/// marks divides. Where windows were removed, the finest resolution that is left stands for them.
pub(in crate::store) fn pieces(
    from: Timestamp,
    to: Timestamp,
    coarsest: Coarsest,
    floors: &Floors,
    marks: &[Mark],
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
            split(begin, next, coarsest.max(resolution), resolution, marks, &mut all);
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
    marks: &[Mark],
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
        return split(from, to, finer, finest, marks, all);
    }
    split(from, first, finer, finest, marks, all);
    let mut at = first;
    let inside = marks.get(marks.partition_point(|mark| mark.at < first)..).unwrap_or_default();
    for mark in inside.iter().take_while(|mark| mark.at < last) {
        let begin = begin_of(mark.at);
        if begin < at || (begin == mark.at && !mark.windows) {
            // Its interval was split for the mark before, or is not divided by it.
            continue;
        }
        push(Piece { from: at, to: begin, resolution: coarsest }, all);
        at = begin.saturating_add_nanos(nanos);
        split(begin, at, finer, finest, marks, all);
    }
    push(Piece { from: at, to: last, resolution: coarsest }, all);
    split(last, to, finer, finest, marks, all);
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
            let marks = marks(fine.to_vec(), &Steps::Whole, from, to);
            let found = pieces(from, to, coarsest, &ALL_KEPT, &marks);
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
        assert_eq!(coarsest_for(&Steps::Every(60_000)), Resolution::Minute);
        assert_eq!(coarsest_for(&Steps::Every(90_000)), Resolution::Windows);
        assert_eq!(coarsest_for(&Steps::Every(7_200_000)), Resolution::Hour);
        assert_eq!(coarsest_for(&Steps::Whole), Resolution::Day);
    }

    #[test]
    fn days_of_a_zone_take_hours_or_minutes_where_they_begin_and_days_between() {
        let of = |starts: &[i64]| {
            let steps = Steps::At(starts.iter().map(|minute| minute * 60_000).collect());
            let (from, to) = (at(0), at(5 * 1_440));
            let day = coarsest_for(&steps);
            let coarsest = Coarsest { beside_windows: day, without_windows: day };
            let found = pieces(from, to, coarsest, &ALL_KEPT, &marks(Vec::new(), &steps, from, to));
            found.iter().map(|p| (p.from.as_millis() / 60_000, p.resolution.number())).collect::<Vec<_>>()
        };
        assert_eq!(of(&[0, 1_440, 2_880]), [(0, 3)], "days of UTC");
        assert_eq!(of(&[-60, 1_380, 2_820]), [(0, 2), (2_880, 3)], "an hour before");
        assert_eq!(of(&[-60, 4_260]), [(0, 3), (2_880, 2), (4_320, 3)]);
        assert_eq!(of(&[30, 2_910]), [(0, 1), (60, 2), (1_440, 3), (2_880, 1), (2_940, 2), (4_320, 3)]);
    }

    proptest! {
        #[test]
        fn pieces_cover_the_range_once_with_whole_intervals(
            (from, to) in (-5_000..5_000_i64, -5_000..5_000_i64),
            coarsest in 0..4_usize,
            floors in prop::collection::vec(-4..4_i64, 4),
            fine in prop::collection::btree_set(-5_000..5_000_i64, 0..4),
            starts in prop::collection::btree_set(-5_000..5_000_i64, 0..6),
        ) {
            let mut days = floors;
            days.sort_by(|a, b| b.cmp(a));
            let floors: Floors = std::array::from_fn(|n| at(days[n] * 1_440));
            let fine: Vec<Timestamp> = fine.into_iter().map(at).collect();
            let coarsest = Resolution::ALL[coarsest];
            let both = Coarsest { beside_windows: coarsest, without_windows: coarsest };
            let steps = Steps::At(starts.iter().map(|minute| minute * 60_000).collect());
            let marks = marks(fine.clone(), &steps, at(from), at(to));
            let found = pieces(at(from), at(to), both, &floors, &marks);
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
                    for start in steps.listed(*from, *end) {
                        prop_assert_eq!(start.as_nanos() % interval.as_nanos(), 0, "no row lies in two points");
                    }
                }
            }
            if at(from).max(floors[3]) < at(to) {
                prop_assert_eq!(next, at(to));
            }
        }
    }
}
