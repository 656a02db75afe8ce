//! Rows into panes, against the readings.

use catchment_partial::Timestamp;
use catchment_promql::{FetchRange, Grid};
use proptest::prelude::*;

use super::*;
use crate::testing::partial;

const ALL: Columns = Columns {
    sum: true,
    deviations: true,
    extent: true,
    counter: true,
    sketch: false,
    single_windows: false,
};

/// Rows of windows of so many milliseconds.
fn rows(readings: &[(i64, f64)], width_ms: u32) -> Vec<(Window, Vec<u8>)> {
    let width = Width::from_millis(width_ms).unwrap();
    let of = |(ms, _): &(i64, f64)| Window::containing(Timestamp::from_millis(*ms).unwrap(), width);
    let windows = readings.chunk_by(|a, b| of(a) == of(b));
    let encoded = windows.map(|readings| {
        let (window, mut body) = (of(&readings[0]), Vec::new());
        partial(readings).encode(window.start(), &mut body);
        (window, body)
    });
    encoded.collect()
}

fn folded(cuts: &Cuts, wanted: Wanted, rows: &[(Window, Vec<u8>)]) -> PaneList {
    let mut fold = Fold::new(cuts, wanted);
    rows.iter().for_each(|(window, body)| fold.push(*window, body).unwrap());
    fold.end();
    fold.finish().0
}

proptest! {
    #[test]
    fn panes_hold_exactly_the_readings_of_their_segments(
        mut readings in prop::collection::vec((0_i64..2_000, -9_i32..9), 0..120),
        start in 0_i64..1_500, step in 1_i64..400, count in 1_usize..9, range in 1_i64..500,
        width in prop_oneof![Just(1_u32), Just(10), Just(70)],
    ) {
        readings.sort_unstable();
        readings.dedup_by_key(|(ms, _)| *ms);
        let readings: Vec<_> = readings.into_iter().map(|(ms, value)| (ms, f64::from(value))).collect();
        let grid = Grid { start_ms: start, step_ms: step, count };
        let cuts = Cuts::new(grid, FetchRange::Ms(range), i64::from(width));
        let PaneList::Figures(panes) = folded(&cuts, Wanted::Figures(ALL), &rows(&readings, width)) else {
            panic!("figures")
        };
        let mut found = panes.iter();
        for (segment, (from, to)) in cuts.segments.iter().enumerate() {
            let inside: Vec<_> = readings.iter().filter(|(ms, _)| (*from..*to).contains(ms)).collect();
            if inside.is_empty() {
                continue;
            }
            let Pane { segment: at, start_ms, end_ms, of } = found.next().unwrap();
            prop_assert_eq!(*at, segment);
            prop_assert!(from <= start_ms && start_ms <= &inside[0].0 && end_ms <= to);
            prop_assert_eq!(of.count as usize, inside.len());
            prop_assert_eq!(of.sum, inside.iter().map(|(_, value)| value).sum::<f64>());
            let last = inside[inside.len() - 1];
            prop_assert_eq!((of.last.value, of.last.sample_ms), (last.1, last.0 + 1));
            let pairs = inside.windows(2).map(|pair| (pair[0].1, pair[1].1));
            let resets: Vec<f64> = pairs.clone().filter(|(a, b)| b < a).map(|(a, _)| a).collect();
            prop_assert_eq!(of.correction, resets.iter().sum::<f64>());
            prop_assert_eq!(of.resets as usize, resets.len());
            prop_assert_eq!(of.changes as usize, pairs.filter(|(a, b)| a != b).count());
        }
        prop_assert_eq!(found.next(), None);
        let only = Columns { counter: true, ..Columns::default() };
        let PaneList::Figures(light) = folded(&cuts, Wanted::Figures(only), &rows(&readings, width)) else {
            panic!("figures")
        };
        let counter = |pane: &Pane<Figures>| {
            let Figures { count, first, last, correction, resets, changes, .. } = pane.of;
            (pane.segment, count, first, last, correction, resets, changes)
        };
        prop_assert_eq!(light.iter().map(counter).collect::<Vec<_>>(), panes.iter().map(counter).collect::<Vec<_>>());
    }
}

#[test]
fn a_window_across_a_border_is_said_and_one_beside_the_ranges_is_left_out() {
    let grid = Grid { start_ms: 100, step_ms: 1_000, count: 2 };
    let cuts = Cuts::new(grid, FetchRange::Ms(50), 10);
    assert_eq!(*cuts.segments, [(50, 100), (1_050, 1_100)]);
    let mut fold = Fold::new(&cuts, Wanted::Windows);
    for (ms, width_ms, expected) in
        [(10, 10, true), (40, 30, false), (300, 70, true), (1_040, 20, true), (1_040, 60, false)]
    {
        let rows = rows(&[(ms, 1.0)], width_ms);
        assert_eq!(fold.push(rows[0].0, &rows[0].1).is_ok(), expected, "{ms} {width_ms}");
    }
    fold.end();
    assert_eq!(fold.finish().0.len(), 0);
}

#[test]
fn of_the_last_windows_of_two_gateways_the_later_one_counts_and_one_window_is_merged() {
    let cuts = Cuts::new(Grid::instant(300_000), FetchRange::Lookback, 10_000);
    let of = |readings: &[(i64, f64)]| folded(&cuts, Wanted::LastWindow, &rows(readings, 10_000));
    let counts = |list: &PaneList| match list {
        PaneList::Windows(panes) => {
            panes.iter().map(|pane| (pane.start_ms, pane.of.count(), pane.of.sum())).collect::<Vec<_>>()
        }
        PaneList::Figures(_) => panic!("windows"),
    };
    let (early, late) =
        (of(&[(5_000, 1.0), (11_000, 2.0)]), of(&[(13_000, 4.0), (20_000, 8.0), (21_000, 16.0)]));
    assert_eq!(counts(&early), [(10_000, 1, 2.0)]);
    for (mut own, other) in [(early.clone(), late.clone()), (late.clone(), early.clone())] {
        assert!(!own.add(other, Wanted::LastWindow));
        assert_eq!(counts(&own), [(20_000, 2, 24.0)]);
    }
    let mut own = early.clone();
    own.add(early, Wanted::LastWindow);
    assert_eq!(counts(&own), [(10_000, 2, 4.0)]);
    let ends = |readings: &[(i64, f64)]| folded(&cuts, Wanted::EndWindows, &rows(readings, 10_000));
    let (long, single) = (ends(&[(15_000, 1.0), (21_000, 2.0), (35_000, 4.0)]), ends(&[(1_000, 8.0)]));
    assert_eq!(counts(&long), [(10_000, 1, 1.0), (30_000, 1, 4.0)]);
    assert_eq!(counts(&single), [(0, 1, 8.0); 2]);
    for (mut own, other) in [(long.clone(), single.clone()), (single, long)] {
        own.add(other, Wanted::EndWindows);
        assert_eq!(counts(&own), [(0, 1, 8.0), (30_000, 1, 4.0)]);
    }
}
