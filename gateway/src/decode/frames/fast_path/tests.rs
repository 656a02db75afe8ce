use std::collections::BTreeMap;

use catchment_proto::wire::{DeviceMessage, Readings, device_message::Kind as MessageKind};
use proptest::prelude::*;

use super::*;
use crate::decode::{
    Decoded,
    fixture::{Fixture, NOW_MS, edited, edits},
    frames::decode_message,
};

const NOW_NS: i64 = NOW_MS * 1_000_000;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![8 => -1e3..1e3, 1 => Just(-0.0), 1 => any::<f64>()]
}

fn time() -> impl Strategy<Value = i64> {
    let near = -90_000_000_000_000..90_000_000_000_i64;
    prop_oneof![6 => near.prop_map(|ns| NOW_NS + ns), 1 => Just(0), 1 => any::<i64>()]
}

fn step() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..2_000_000_000_i64, 1 => -2_000_000_000..0_i64, 1 => any::<i64>()]
}

fn column() -> impl Strategy<Value = Column> {
    let values =
        prop_oneof![3 => prop::collection::vec(-1e3..1e3, 0..12), 1 => prop::collection::vec(value(), 0..12)];
    (0..7_u32, time(), values, 0..5, prop::collection::vec(step(), 12)).prop_map(
        |(series, first_time_ns, values, shape, steps)| {
            let count = match shape {
                0 => 0,
                1 => 1,
                2 => values.len(),
                _ => values.len().saturating_sub(1),
            };
            Column { series, first_time_ns, step_ns: steps[..count].to_vec(), values, states: vec![] }
        },
    )
}

fn named() -> impl Strategy<Value = (String, BTreeMap<String, String>)> {
    let metric = prop::sample::select(vec!["a", "b", "c", "", "9"]);
    let labels = prop::collection::btree_map(
        prop::sample::select(vec!["room", "floor", "site", "é"]),
        prop::sample::select(vec!["1", "2", ""]),
        0..3,
    );
    let owned = |labels: BTreeMap<&str, &str>| {
        labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    (metric, labels).prop_map(move |(metric, labels)| (metric.to_owned(), owned(labels)))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let define =
        (0..9_u32, named()).prop_map(|(index, (metric, labels))| SeriesName { index, metric, labels });
    let single = (named(), time(), value()).prop_map(|((metric, labels), time_ns, value)| WireReading {
        metric,
        labels,
        time_ns,
        value,
        state: String::new(),
    });
    let readings = (
        prop_oneof![Just(0), any::<u64>()],
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(define, 1..4)],
        prop::collection::vec(column(), 0..4),
        prop::collection::vec(single, 0..4),
    )
        .prop_map(|(seq, define, columns, readings)| Readings { seq, define, columns, readings });
    (readings, any::<u8>()).prop_map(|(readings, form)| match form {
        0..24 => pieces(readings),
        24..32 => [body(readings.clone()), body(readings)].concat(),
        _ => body(readings),
    })
}

fn body(readings: Readings) -> Vec<u8> {
    DeviceMessage { kind: Some(MessageKind::Readings(readings)) }.encode_to_vec()
}

/// The same message in pieces that protobuf merges: repeated fields in turn, the number at the end.
fn pieces(readings: Readings) -> Vec<u8> {
    let mut inner = Vec::new();
    for single in readings.readings {
        inner.extend(Readings { readings: vec![single], ..Readings::default() }.encode_to_vec());
        inner.extend_from_slice(&[0x7d, 1, 2, 3, 4]);
    }
    for column in readings.columns {
        let part = Column { values: column.values.clone(), ..Column::default() }.encode_to_vec();
        let column = [Column { values: Vec::new(), ..column }.encode_to_vec(), part].concat();
        inner.extend([&[keys::COLUMNS as u8, column.len() as u8][..], &column].concat());
    }
    inner.extend(
        Readings { seq: readings.seq, define: readings.define, ..Readings::default() }.encode_to_vec(),
    );
    let mut bytes = vec![keys::MESSAGE_READINGS as u8];
    prost::encode_length_delimiter(inner.len(), &mut bytes).unwrap();
    bytes.extend(inner);
    bytes
}

/// One connection, all of its frames decoded one way.
struct Way {
    fixture: Fixture,
    aliases: SeriesAliases,
}

impl Way {
    fn new(readings_max: usize) -> Self {
        let mut fixture = Fixture::new();
        // So few that the table starts anew within a test.
        fixture.table = crate::intake::SeriesTable::new(4);
        fixture.limits.readings_max = readings_max;
        Self { fixture, aliases: SeriesAliases::new(7) }
    }

    /// The result, and whether it was the fast path.
    fn decode(&mut self, body: &[u8], fast_first: bool) -> (Decoded, bool) {
        let Fixture { table, rules, limits, intake, .. } = &mut self.fixture;
        let mut sink = Sink::new(intake, table, rules, limits, 3);
        if fast_first && decode(body, &mut self.aliases, &mut sink).is_some() {
            sink.end_message();
            return (Decoded::Message, true);
        }
        (decode_message(body, &mut self.aliases, &mut sink), false)
    }
}

fn compare(bodies: &[Vec<u8>], readings_max: usize) -> usize {
    let (mut one, mut other) = (Way::new(readings_max), Way::new(readings_max));
    let mut taken = 0;
    for body in bodies {
        let (decoded, fast) = one.decode(body, true);
        taken += usize::from(fast);
        assert_eq!(decoded, other.decode(body, false).0, "{body:x?}");
        assert_eq!(format!("{:?}", one.fixture.intake), format!("{:?}", other.fixture.intake), "{body:x?}");
        for index in 0..10 {
            assert_eq!(one.aliases.meaning(index), other.aliases.meaning(index), "{index} {body:x?}");
        }
    }
    taken
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn both_ways_come_to_the_same(
        messages in prop::collection::vec((message(), edits()), 1..12), readings_max in 0..40_usize
    ) {
        let bodies: Vec<_> = messages.into_iter().map(|(body, edits)| edited(body, &edits)).collect();
        compare(&bodies, readings_max);
    }

    #[test]
    fn random_bytes_within_a_message_come_to_the_same(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let mut body = vec![keys::MESSAGE_READINGS as u8, bytes.len() as u8];
        body.extend(bytes);
        compare(&[body.clone(), body], 10);
    }
}

#[test]
fn what_encoders_write_goes_the_direct_way() {
    let labels = || [("room".to_owned(), "3".to_owned()), ("floor".to_owned(), "2".to_owned())].into();
    let readings = Readings {
        seq: 7,
        define: vec![SeriesName { index: 1, metric: "a".to_owned(), labels: labels() }],
        columns: vec![Column {
            series: 1,
            first_time_ns: NOW_NS,
            step_ns: vec![1],
            values: vec![1.0, 2.0, 3.0],
            states: vec![],
        }],
        readings: vec![WireReading {
            metric: "b".to_owned(),
            labels: labels(),
            time_ns: NOW_NS,
            value: 1.0,
            state: String::new(),
        }],
    };
    let bodies = [body(readings.clone()), body(readings.clone()), pieces(readings)];
    assert_eq!(compare(&bodies, 100), 2);
}

#[test]
fn a_malformed_end_undoes_the_beginning() {
    let good = Readings {
        seq: 1,
        columns: vec![Column { series: 1, values: vec![1.0; 5], ..Column::default() }],
        ..Readings::default()
    };
    let bad =
        Column { series: 1, first_time_ns: NOW_NS, step_ns: vec![1], values: vec![1.0; 3], states: vec![] };
    let bad = bad.encode_to_vec();
    let mut inner = good.encode_to_vec();
    inner.extend([&[keys::COLUMNS as u8, bad.len() as u8][..], &bad].concat());
    let mut bytes = vec![keys::MESSAGE_READINGS as u8, inner.len() as u8];
    bytes.extend(inner);
    for cut in 1..bytes.len() - 2 {
        let mut cut_short = bytes[..bytes.len() - cut].to_vec();
        cut_short[1] -= cut as u8;
        compare(
            &[
                body(Readings {
                    define: vec![SeriesName { index: 1, metric: "a".to_owned(), ..SeriesName::default() }],
                    ..Readings::default()
                }),
                cut_short,
                bytes.clone(),
            ],
            100,
        );
    }
}
