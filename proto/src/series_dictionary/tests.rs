use catchment_partial::{Width, Window};
use proptest::prelude::*;
use prost::bytes::Bytes;

use super::*;
use crate::{Batch, BatchError, Entry, Labels, MetricName, Name};

fn batch(number: u64, metrics: &[u8]) -> Batch {
    let width = Width::from_millis(10_000).unwrap();
    let mut series: Vec<SharedSeries> = Vec::new();
    let mut entries = Vec::new();
    for metric in metrics {
        let (device, metric) = (Name::new("d").unwrap(), MetricName::new(&format!("m{metric}")).unwrap());
        let key = SeriesKey { device, metric, labels: Labels::none() };
        let place = series.iter().position(|known| *known.key() == key).unwrap_or_else(|| {
            series.push(key.into());
            series.len() - 1
        });
        let window = Window::from_index(number as i64, width).unwrap();
        let body = Bytes::from(vec![number as u8; entries.len() % 3]);
        entries.push(Entry { series: place as u32, window, part: number, revision: number, body });
    }
    Batch {
        shard: 0,
        number,
        watermark: None,
        live: false,
        names_epoch: 0,
        history: Default::default(),
        refused: Vec::new(),
        width,
        series,
        entries,
    }
}

proptest! {
    #[test]
    fn omitted_names_are_restored(all in prop::collection::vec(prop::collection::vec(0..9_u8, 0..12), 1..8)) {
        let (mut encoder, mut decoder) = (DictionaryEncoder::default(), DictionaryDecoder::default());
        let mut told = std::collections::BTreeSet::new();
        for (number, metrics) in (1..).zip(&all) {
            let batch = batch(number, metrics);
            let short = encoder.encode((&batch).into());
            let new = metrics.iter().filter(|metric| told.insert(**metric)).count();
            prop_assert_eq!(short.series.len(), new, "each name is sent once");
            prop_assert_eq!(decoder.decode(short), Ok(batch));
        }
    }
}

#[test]
fn a_batch_that_names_all_series_starts_a_new_dictionary() {
    let mut decoder = DictionaryDecoder::default();
    for number in 1..4 {
        let batch = batch(number, &[3, 1, 1]);
        assert_eq!(decoder.decode((&batch).into()), Ok(batch));
        assert_eq!(decoder.len(), 2);
    }
}

#[test]
fn the_dictionary_is_bounded_on_both_sides() {
    let series = |from: usize, to: usize| {
        let name = |n| wire::SeriesRef { device: "d".into(), metric: format!("m{n}"), labels: Vec::new() };
        (from..to).map(name).collect::<Vec<_>>()
    };
    let (mut encoder, mut decoder) = (DictionaryEncoder::default(), DictionaryDecoder::default());
    let mut send = |from, to| encoder.encode(wire::Batch { series: series(from, to), ..Default::default() });
    let mut at = 0;
    while at + 65_536 <= DICTIONARY_SERIES_MAX {
        let batch = send(at, at + 65_536);
        assert_eq!(batch.continues, at > 0);
        decoder.add(&batch.series, batch.continues, &|_| None).unwrap();
        at += 65_536;
    }
    assert_eq!(
        decoder.add(&series(0, 1), true, &|_| None),
        Err(DictionaryError::TooMany(DICTIONARY_SERIES_MAX + 1))
    );
    let batch = send(at, at + 1);
    assert!(!batch.continues, "the sender starts a new dictionary");
    decoder.add(&batch.series, batch.continues, &|_| None).unwrap();
    assert_eq!(decoder.len(), 1);
}

#[test]
fn an_index_out_of_range_stays_out_of_range() {
    let mut bad = wire::Batch::from(&batch(1, &[1, 2]));
    bad.series_index = vec![0, 7];
    let (mut encoder, mut decoder) = (DictionaryEncoder::default(), DictionaryDecoder::default());
    assert!(matches!(decoder.decode(encoder.encode(bad)), Err(BatchError::Index { entry: 1, .. })));
}

#[test]
fn a_dictionary_counts_its_memory_and_shares_known_series() {
    let message = || wire::Batch::from(&batch(1, &[1, 2]));
    let mut own = DictionaryDecoder::default();
    let read = own.decode(message()).unwrap();
    let series: usize = read.series.iter().map(SharedSeries::bytes).sum();
    assert_eq!(own.added_bytes(), series);
    assert!(own.bytes() > series && series > 2 * read.series[0].encoded().len());
    let kept = read.series[0].clone();
    let known = |key: &SeriesKey| (key == kept.key()).then(|| kept.clone());
    let mut sharing = DictionaryDecoder::default();
    let shared = sharing.decode_sharing(message(), &known).unwrap();
    assert_eq!(shared, read);
    kept.set_cached_id(7);
    assert_eq!((shared.series[0].cached_id(), shared.series[1].cached_id()), (7, 0), "one series");
    assert_eq!(sharing.added_bytes(), read.series[1].bytes());
    sharing.decode_sharing(message(), &known).unwrap();
    assert_eq!(sharing.added_bytes(), read.series[1].bytes(), "a new dictionary");
    assert!(sharing.bytes() < own.bytes());
}
