use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{DictionaryError, Labels, MetricName, Name, SeriesKey, Span, wire};

fn key(metric: &str) -> SeriesKey {
    SeriesKey {
        device: Name::new("d").unwrap(),
        metric: MetricName::new(metric).unwrap(),
        labels: Labels::none(),
    }
}

fn past() -> History {
    let mut history = History::default();
    for index in [7, 3, 5] {
        let width = Width::from_millis(10_000).unwrap();
        history.push(2, Span::over([Window::from_index(index, width).unwrap()].into_iter()).unwrap());
    }
    history
}

fn sample() -> Batch {
    let width = Width::from_millis(10_000).unwrap();
    let entry = |series, index, part, revision| Entry {
        series,
        window: Window::from_index(index, width).unwrap(),
        part,
        revision,
        body: Bytes::from_static(b"body"),
    };
    Batch {
        shard: 1,
        number: 7,
        watermark: Timestamp::from_millis(1_700_000_000_000),
        live: false,
        names_epoch: 0,
        history: past(),
        refused: vec![
            RefusedReadings { hour: -3, readings: 7 },
            RefusedReadings { hour: 480_000, readings: 1 },
        ],
        width,
        series: vec![key("a").into(), key("b").into()],
        entries: vec![entry(0, 170_000_000, 90, 95), entry(1, 169_999_999, 12, 12), entry(0, -3, 100, 4_000)],
    }
}

#[test]
fn a_batch_survives_the_wire() {
    let batch = sample();
    let wire = wire::Batch::from(&batch);
    let mut encoded = Vec::new();
    batch.encode(&mut encoded);
    assert_eq!(wire::Batch::decode(encoded.as_slice()), Ok(wire.clone()));
    assert_eq!(Batch::try_from(wire), Ok(batch));
}

#[test]
fn errors_name_what_is_wrong() {
    let broken = |change: fn(&mut wire::Batch)| {
        let mut wire = wire::Batch::from(&sample());
        change(&mut wire);
        Batch::try_from(wire).unwrap_err()
    };
    assert_eq!(broken(|w| w.shard = 256), BatchError::Shard(256));
    assert_eq!(broken(|w| w.live = true), BatchError::Number { number: 7, live: true });
    assert_eq!(broken(|w| w.number = 0), BatchError::Number { number: 0, live: false });
    assert!(matches!(broken(|w| w.width_ms = 0), BatchError::Width(_)));
    assert_eq!(broken(|w| w.part.truncate(2)), BatchError::Column { column: "part", length: 2, expected: 3 });
    assert_eq!(broken(|w| w.series_index[1] = 2), BatchError::Index { entry: 1, series: 2, count: 2 });
    assert_eq!(broken(|w| w.series_index[0] = -1), BatchError::Range(0));
    assert_eq!(broken(|w| w.body_bytes[2] = 5), BatchError::Bodies(12));
    assert_eq!(broken(|w| w.body_bytes[2] = 3), BatchError::Bodies(12));
    assert_eq!(broken(|w| w.refused = vec![Default::default(); 65]), BatchError::Refused(65));
    assert_eq!(broken(|w| w.continues = true), BatchError::Continues);
    assert!(matches!(
        broken(|w| w.series[1].metric.clear()),
        BatchError::Dictionary(DictionaryError::Series { index: 1, .. })
    ));
    assert_eq!(broken(|w| w.part[0] = -1), BatchError::Range(0));
    assert_eq!(broken(|w| w.window[2] = i64::MIN), BatchError::Range(2));
    assert_eq!(broken(|w| w.revision[1] = u64::MAX), BatchError::Range(1));
    assert_eq!(broken(|w| w.watermark_ms = i64::MAX), BatchError::Watermark(i64::MAX));
}

proptest! {
    /// Any numbers from a peer give a batch or an error.
    #[test]
    fn any_columns_are_safe(
        window in prop::collection::vec(any::<i64>(), 0..4),
        part in prop::collection::vec(any::<i64>(), 0..4),
        revision in prop::collection::vec(any::<u64>(), 0..4),
        width_ms in any::<u32>(),
        watermark_ms in any::<i64>(),
    ) {
        let count = window.len();
        let wire = wire::Batch {
            number: 1, width_ms, watermark_ms, window, part, revision,
            series: vec![(&key("a")).into()],
            series_index: vec![0; count],
            body_bytes: vec![0; count],
            ..Default::default()
        };
        if let Ok(batch) = Batch::try_from(wire) {
            prop_assert_eq!(Batch::try_from(wire::Batch::from(&batch)), Ok(batch));
        }
    }
}
