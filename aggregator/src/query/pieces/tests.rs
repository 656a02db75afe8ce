use catchment_partial::Timestamp;
use catchment_proto::wire::AggregateRequest;

use super::{
    super::{
        groups::Groups,
        plan::{Grouping, Plan},
    },
    *,
};
use crate::{
    store::{SeriesEntry, SeriesId},
    testing::{MemoryStore, gateway, key},
};

/// Groups of so many series each, by device, with windows at these seconds.
fn groups(sizes: &[usize], windows: (i64, i64)) -> GroupsLeft {
    let mut groups = Groups::new(&Grouping::By(vec!["device".to_owned()]));
    let time = |seconds| Timestamp::from_millis(seconds * 1_000).unwrap();
    let mut id = 0;
    for (group, size) in sizes.iter().enumerate() {
        for _ in 0..*size {
            id += 1;
            groups.push(
                0,
                &SeriesEntry {
                    id: SeriesId::new(id),
                    gateway: gateway("berlin", "g1"),
                    key: key(&format!("d{group:05}"), "m", &[]),
                    windows: (time(windows.0), time(windows.1)),
                    rows_from: time(windows.0),
                    last_reading: time(windows.1),
                },
            );
        }
    }
    Box::new(groups.into_groups())
}

fn query(to_ms: i64, step_ms: i64, aggregate: &str) -> Query {
    let aggregates = vec![aggregate.to_owned()];
    let request =
        AggregateRequest { selector: "m".to_owned(), to_ms, step_ms, aggregates, ..Default::default() };
    Query::new(Arc::new(MemoryStore::default()), Plan::new(request).unwrap())
}

/// Sizes of groups and ranges of all pieces, in order, by task.
fn all(mut pieces: Pieces) -> Vec<Vec<(usize, i64, i64)>> {
    let shown = |piece: &Piece| (piece.group.series.len(), piece.range.from_ms, piece.range.to_ms);
    let mut tasks = Vec::new();
    while let Some(work) = pieces.next() {
        match work {
            Work::Pieces(pieces) => tasks.push(pieces.iter().map(shown).collect()),
            Work::Span(piece) | Work::Large(piece) => tasks.push(vec![shown(&piece)]),
            Work::Nothing => {}
        }
    }
    assert!(pieces.is_empty());
    tasks
}

#[test]
fn small_groups_share_a_task_and_large_ones_do_not() {
    let sizes = [1, 1, 63, 2, 65, 1];
    let tasks = |aggregate| all(Pieces::new(&query(100_000, 0, aggregate), groups(&sizes, (0, 50))));
    let sizes = |tasks: Vec<Vec<(usize, _, _)>>| -> Vec<Vec<usize>> {
        tasks.into_iter().map(|pieces| pieces.into_iter().map(|(size, ..)| size).collect()).collect()
    };
    assert_eq!(sizes(tasks("mean")), [vec![1, 1], vec![63], vec![2], vec![65], vec![1]]);
    let mut large = Pieces::new(&query(100_000, 0, "mean"), groups(&[65], (0, 50)));
    assert!(matches!(large.next(), Some(Work::Large(_))));
    let mut ordered = Pieces::new(&query(100_000, 0, "increase"), groups(&[65], (0, 50)));
    assert!(matches!(ordered.next(), Some(Work::Pieces(_))), "series are followed in one order");
}

#[test]
fn a_long_range_is_split_at_points_and_sparse_series_in_longer_spans() {
    let query = query(100_000_000, 10_000, "mean");
    let mut pieces = Pieces::new(&query, groups(&[1], (5, 99_999)));
    let mut spans = Vec::new();
    while let Some(Work::Span(piece)) = pieces.next() {
        spans.push((piece.range.from_ms, piece.range.to_ms));
        pieces.learn(4_096, false);
    }
    assert_eq!(spans, [(5_000, 40_960_000), (40_960_000, 81_920_000), (81_920_000, 99_999_001)]);
    let mut pieces = Pieces::new(&query, groups(&[1], (5, 99_999)));
    pieces.next();
    pieces.learn(3, false);
    let Some(Work::Span(second)) = pieces.next() else { panic!("a span") };
    assert_eq!((second.range.from_ms, second.range.to_ms), (40_960_000, 99_999_001));
}

#[test]
fn groups_without_windows_in_the_range_are_passed_step_by_step() {
    let query = query(100_000, 0, "mean");
    let mut pieces = Pieces::new(&query, groups(&[1; 3_000], (200_000, 300_000)));
    let mut steps = 0;
    while let Some(work) = pieces.next() {
        assert!(matches!(work, Work::Nothing));
        steps += 1;
    }
    assert_eq!(steps, 2, "each of bounded work");
}
