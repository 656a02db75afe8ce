//! The batch used by benchmarks, here and in the aggregator's store.

use catchment_partial::{Partial, Width, Window};
use catchment_proto::{Batch, Entry, History, Labels, MetricName, Name, SeriesKey};

/// A batch of `count` series, with one window of ten readings each.
pub(crate) fn batch(number: u64, count: u32) -> Batch {
    let width = Width::from_millis(10_000).unwrap();
    let window = Window::from_index(170_000_000 + number as i64, width).unwrap();
    let mut partial = Partial::empty();
    for i in 0..10 {
        partial.push(window.start().saturating_add_nanos(i * 1_000_000_000), 21.5 + i as f64 / 100.0);
    }
    let mut body = Vec::new();
    partial.encode(window.start(), &mut body);
    let series = |i: u32| SeriesKey {
        device: Name::new(&format!("device-{:05}", i / 10)).unwrap(),
        metric: MetricName::new(["temperature", "humidity", "pressure"][i as usize % 3]).unwrap(),
        labels: Labels::new([("place", format!("{}", i % 10).as_str())]).unwrap(),
    };
    let part = |i: u32| number * 1_000_000 + u64::from(i) * 60;
    Batch {
        shard: 0,
        number,
        watermark: Some(window.end()),
        live: false,
        names_epoch: 0,
        history: History::default(),
        refused: Vec::new(),
        width,
        series: (0..count).map(|i| series(i).into()).collect(),
        entries: (0..count)
            .map(|i| Entry {
                series: i,
                window,
                part: part(i),
                revision: part(i) + 54_321,
                body: body.clone().into(),
            })
            .collect(),
    }
}
