//! For tests: a store in memory, and helpers that build partials, batches and identities.

mod memory_store;
mod one_slot;

use std::collections::BTreeMap;

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{Batch, Entry, GatewayId, History, Labels, MetricName, Name, SeriesKey};

pub(crate) use self::{
    memory_store::{Fault, MemoryStore},
    one_slot::{TakenSlot, caller, one_slot_runner},
};

/// The identity of a gateway.
pub(crate) fn gateway(site: &str, name: &str) -> GatewayId {
    GatewayId { site: Name::new(site).unwrap(), name: Name::new(name).unwrap() }
}

/// A partial of readings: Unix milliseconds and value.
pub(crate) fn partial(readings: &[(i64, f64)]) -> Partial {
    let mut partial = Partial::empty();
    for (ms, value) in readings {
        partial.push(Timestamp::from_millis(*ms).unwrap(), *value);
    }
    partial
}

/// A partial of states: Unix milliseconds and text.
pub(crate) fn states(readings: &[(i64, &str)]) -> Partial {
    let mut partial = Partial::empty();
    for (ms, state) in readings {
        partial.push_state(Timestamp::from_millis(*ms).unwrap(), state);
    }
    partial
}

fn encoded(partial: &Partial, window: Window) -> bytes::Bytes {
    let mut body = Vec::new();
    partial.encode(window.start(), &mut body);
    body.into()
}

/// A series' key.
pub(crate) fn key(device: &str, metric: &str, labels: &[(&str, &str)]) -> SeriesKey {
    SeriesKey {
        device: Name::new(device).unwrap(),
        metric: MetricName::new(metric).unwrap(),
        labels: Labels::new(labels.iter().copied()).unwrap(),
    }
}

/// A batch of one series: windows of ten seconds, each with the readings that fall into it.
pub(crate) fn batch(number: u64, series: SeriesKey, readings: &[(i64, f64)], watermark_ms: i64) -> Batch {
    let push = |partial: &mut Partial, time, value| partial.push(time, value);
    batch_of(number, series, readings.iter().copied(), push, watermark_ms)
}

/// As [`batch`], of states.
pub(crate) fn state_batch(number: u64, series: SeriesKey, states: &[(i64, &str)]) -> Batch {
    batch_of(
        number,
        series,
        states.iter().copied(),
        |partial, time, state| partial.push_state(time, state),
        1,
    )
}

fn batch_of<T>(
    number: u64,
    series: SeriesKey,
    readings: impl Iterator<Item = (i64, T)>,
    push: impl Fn(&mut Partial, Timestamp, T),
    watermark_ms: i64,
) -> Batch {
    let width = catchment_partial::Width::from_millis(10_000).unwrap();
    let mut windows: BTreeMap<Window, Partial> = BTreeMap::new();
    for (ms, reading) in readings {
        let time = Timestamp::from_millis(ms).unwrap();
        push(windows.entry(Window::containing(time, width)).or_default(), time, reading);
    }
    let entries = windows.into_iter().map(|(window, partial)| Entry {
        series: 0,
        window,
        part: number,
        revision: number,
        body: encoded(&partial, window),
    });
    let entries: Vec<Entry> = entries.collect();
    Batch {
        shard: 0,
        number,
        watermark: Timestamp::from_millis(watermark_ms),
        live: number == 0,
        names_epoch: 0,
        history: History::default(),
        refused: Vec::new(),
        width,
        series: if entries.is_empty() { Vec::new() } else { vec![series.into()] },
        entries,
    }
}
