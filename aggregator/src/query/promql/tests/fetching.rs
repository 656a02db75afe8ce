//! Panes of fetches, against the readings.

use catchment_promql::Grouping;
use proptest::prelude::*;

use super::*;

/// Readings of device `d{number}`: one each `distance_ms`, a counter that is reset at times.
fn counter(number: i64, distance_ms: i64, count: i64) -> Vec<(i64, f64)> {
    (0..count).map(|n| (10_000 + n * distance_ms + number, ((n * 7 + number) % 23) as f64)).collect()
}

async fn store_of(devices: i64) -> Arc<MemoryStore> {
    let store = MemoryStore::default();
    for number in 0..devices {
        let series =
            key(&format!("d{number:03}"), "m", &[("room", if number % 2 == 0 { "even" } else { "odd" })]);
        put(&store, "g1", number as u64 + 1, series, &counter(number, 3_700, 40)).await;
    }
    Arc::new(store)
}

const MINUTELY: Grid = Grid { start_ms: 60_000, step_ms: 30_000, count: 5 };

#[tokio::test]
async fn series_come_in_the_order_of_their_labels_with_the_readings_of_each_range() {
    let store = store_of(150).await;
    let columns = Columns { sum: true, deviations: true, extent: true, counter: true, ..Columns::default() };
    let asked =
        fetch(&[("__name__", "=", "m"), ("device", "!=", "d003")], MINUTELY, FetchRange::Ms(45_000), columns);
    let (alignment, series, begun) = fetched(&store, asked).await.unwrap();
    assert_eq!((alignment.width_ms, alignment.range_ms, begun), (10_000, 50_000, 1));
    assert_eq!(series.len(), 149);
    assert_eq!(shown(&series[3].labels), "__name__=m,device=d004,room=even,site=berlin");
    assert!(series.is_sorted_by(|a, b| a.labels < b.labels) && series.iter().all(|of| !of.is_windows));
    for of in &series {
        let number: i64 = of.labels.get("device").trim_start_matches('d').parse().unwrap();
        let readings = counter(number, 3_700, 40);
        for end in MINUTELY.times() {
            let range = end - 50_000..end;
            let panes: Vec<_> = figures(of).iter().filter(|(start, _)| range.contains(start)).collect();
            let inside: Vec<_> = readings.iter().filter(|(ms, _)| range.contains(ms)).collect();
            assert_eq!(panes.iter().map(|(_, figures)| figures.count).sum::<f64>(), inside.len() as f64);
            assert_eq!(
                panes.iter().map(|(_, figures)| figures.sum).sum::<f64>(),
                inside.iter().map(|(_, value)| value).sum::<f64>()
            );
            let last = panes.last().unwrap().1.last;
            assert_eq!(
                (last.sample_ms, last.value),
                (inside.last().unwrap().0 + 1, inside.last().unwrap().1)
            );
        }
    }
}

#[tokio::test]
async fn series_of_two_gateways_are_one_unless_a_condition_names_the_gateway() {
    let store = MemoryStore::default();
    put(&store, "g1", 1, key("d", "m", &[]), &[(10_000, 5.0), (20_000, 9.0)]).await;
    put(&store, "g2", 1, key("d", "m", &[]), &[(30_000, 2.0), (41_000, 3.0)]).await;
    let store = Arc::new(store);
    let columns = Columns { counter: true, ..SUMS };
    let ask = |conditions: &[(&str, &str, &str)]| {
        let asked = fetch(conditions, Grid::instant(60_000), FetchRange::Ms(60_000), columns);
        let store = Arc::clone(&store);
        async move { fetched(&store, asked).await.unwrap().1 }
    };
    let one = ask(&[("__name__", "=", "m")]).await;
    assert_eq!(one.len(), 1);
    assert_eq!(shown(&one[0].labels), "__name__=m,device=d,site=berlin");
    let [(10_000, of)] = figures(&one[0]) else { panic!("{one:?}") };
    assert_eq!((of.count, of.sum, of.first.value, of.last.value), (4.0, 19.0, 5.0, 3.0));
    assert_eq!((of.correction, of.resets, of.changes), (9.0, 1.0, 3.0));
    let apart = ask(&[("__name__", "=", "m"), ("gateway", "=~", "g.*")]).await;
    let labels: Vec<_> = apart.iter().map(|of| shown(&of.labels)).collect();
    assert_eq!(labels, ["g1", "g2"].map(|name| format!("__name__=m,device=d,gateway={name},site=berlin")));
    assert_eq!(figures(&apart[1])[0].1.sum, 5.0);
}

#[tokio::test]
async fn windows_are_a_series_of_their_own_and_the_last_one_is_a_single_window() {
    let store = MemoryStore::default();
    put(&store, "g1", 1, key("d", "m", &[]), &[(1_000, 1.0), (11_000, 2.0), (12_000, 4.0), (35_000, 8.0)])
        .await;
    let store = Arc::new(store);
    let grid = Grid { start_ms: 20_000, step_ms: 10_000, count: 4 };
    let name = [("__name__", "=", "m:window")];
    let (_, last, _) = fetched(&store, fetch(&name, grid, FetchRange::Lookback, SUMS)).await.unwrap();
    assert_eq!(last.len(), 1);
    assert!(last[0].is_windows);
    assert_eq!(shown(&last[0].labels), "__name__=m:window,device=d,site=berlin");
    let sums = |of: &FetchedSeries| -> Vec<_> {
        windows(of).iter().map(|(start, partial)| (*start, partial.count(), partial.sum())).collect()
    };
    assert_eq!(sums(&last[0]), [(10_000, 2, 6.0), (30_000, 1, 8.0)], "before the first time, only the last");
    let over = fetch(&name, Grid::instant(40_000), FetchRange::Ms(40_000), SUMS);
    assert_eq!(sums(&fetched(&store, over).await.unwrap().1[0]), [(0, 4, 15.0)]);
    let sketch = Columns { sketch: true, ..Columns::default() };
    let of_numbers = fetch(&[("__name__", "=", "m")], Grid::instant(40_000), FetchRange::Ms(30_000), sketch);
    let of_numbers = fetched(&store, of_numbers).await.unwrap().1;
    assert!(!of_numbers[0].is_windows);
    assert_eq!(sums(&of_numbers[0]), [(10_000, 3, 14.0)]);
}

#[tokio::test]
async fn groups_are_sums_of_their_series_however_many() {
    let store = store_of(150).await;
    let sum = |numbers: &mut dyn Iterator<Item = i64>| -> f64 {
        numbers.flat_map(|number| counter(number, 3_700, 40)).map(|(_, value)| value).sum()
    };
    let ask = |group, name: &'static str| {
        let asked = fetch(&[("__name__", "=", name)], Grid::instant(200_000), FetchRange::Ms(200_000), SUMS);
        let (store, asked) = (Arc::clone(&store), Fetch { group: Some(group), ..asked });
        async move { fetched(&store, asked).await.unwrap().1 }
    };
    let rooms = ask(Grouping::By(vec!["room".into()]), "m").await;
    assert_eq!(rooms.iter().map(|of| shown(&of.labels)).collect::<Vec<_>>(), ["room=even", "room=odd"]);
    assert_eq!(figures(&rooms[1])[0].1.sum, sum(&mut (0..75).map(|n| 2 * n + 1)));
    let one = ask(Grouping::Without(vec!["device".into(), "room".into(), "site".into()]), "m:window").await;
    assert_eq!((one.len(), shown(&one[0].labels)), (1, String::new()));
    assert_eq!((windows(&one[0])[0].1.sum(), windows(&one[0])[0].1.count()), (sum(&mut (0..150)), 6_000));
    let devices = ask(Grouping::Without(vec!["room".into()]), "m").await;
    assert_eq!(devices.len(), 150);
}

#[tokio::test]
async fn wider_windows_that_come_up_late_move_all_times() {
    let store = MemoryStore::default();
    let g = epoch("g1", 1);
    let narrow: Vec<_> = (1..12).map(|n| (n * 10_000, 1.0)).collect();
    store.put(&g, batch(1, key("d1", "m", &[]), &narrow, 1), true).await.unwrap();
    // Not the series that is looked at first.
    let wide = wide_batch(2, key("d2", "m", &[]), &[(5_000, 1.0), (65_000, 2.0)], 60_000);
    store.put(&g, wide, false).await.unwrap();
    let store = Arc::new(store);
    let grid = Grid { start_ms: 70_000, step_ms: 30_000, count: 3 };
    let asked = fetch(&[("__name__", "=", "m")], grid, FetchRange::Ms(30_000), SUMS);
    let (alignment, series, begun) = fetched(&store, asked).await.unwrap();
    assert_eq!((alignment.width_ms, alignment.range_ms, begun), (60_000, 60_000, 2));
    let panes = |of: &FetchedSeries| -> Vec<_> {
        figures(of).iter().map(|(start, figures)| (*start, figures.count)).collect()
    };
    assert_eq!(panes(&series[0]), [(10_000, 5.0), (60_000, 6.0)]);
    assert_eq!(panes(&series[1]), [(0, 1.0), (60_000, 1.0)]);
}

#[tokio::test]
async fn too_much_is_refused_in_words_before_anything_is_read() {
    let store = store_of(3).await;
    let grid = Grid { start_ms: 0, step_ms: 1, count: 20_000_000 };
    let refused = fetched(&store, fetch(&[("__name__", "=", "m")], grid, FetchRange::Ms(1), SUMS)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert_eq!(
        refused.message(),
        "3 series or more at 20000000 steps are more than 50000000 values: select fewer series, or use a wider step or a shorter range"
    );
    let grid = Grid { start_ms: 0, step_ms: 10_000, count: 400_000 };
    let sketch = Columns { sketch: true, ..Columns::default() };
    let refused = fetched(&store, fetch(&[("__name__", "=", "m")], grid, FetchRange::Ms(1), sketch)).await;
    let text = refused.unwrap_err().message().to_owned();
    assert!(text.contains("each series takes up to") && text.contains("raise query_memory"), "{text}");
}

#[tokio::test]
async fn what_is_not_there_gives_nothing() {
    let store = store_of(2).await;
    for conditions in [[("__name__", "=", "other")], [("__name__", "=", "m:other")], [("device", "=", "d")]] {
        let asked = fetch(&conditions, MINUTELY, FetchRange::Ms(60_000), SUMS);
        assert_eq!(fetched(&store, asked).await.unwrap().1, []);
    }
    let far = Grid::instant(90_000_000_000);
    let asked = fetch(&[("__name__", "=", "m")], far, FetchRange::Lookback, SUMS);
    assert_eq!(fetched(&store, asked).await.unwrap().1, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn counts_in_any_range_are_those_of_the_readings(
        start in 0_i64..300_000, step in 1_i64..90_000, count in 1_usize..6, range in 1_i64..200_000,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let grid = Grid { start_ms: start, step_ms: step, count };
        let series = runtime.block_on(async {
            let asked = fetch(&[("__name__", "=", "m")], grid, FetchRange::Ms(range), SUMS);
            fetched(&store_of(3).await, asked).await.unwrap().1
        });
        let down = |ms: i64| ms.div_euclid(10_000) * 10_000;
        for number in 0..3 {
            let name = format!("d{number:03}");
            let of = series.iter().find(|of| of.labels.get("device") == name);
            for end in grid.times().map(down) {
                let range = end - down(range + 9_999)..end;
                let inside = counter(number, 3_700, 40).iter().filter(|(ms, _)| range.contains(ms)).count();
                let panes = of.map(figures).unwrap_or_default().iter();
                let found: f64 = panes.filter(|(start, _)| range.contains(start)).map(|(_, of)| of.count).sum();
                prop_assert_eq!(found, inside as f64);
            }
        }
    }
}
