use catchment_proto::wire::{Hello, Readings};
use proptest::prelude::*;

use super::*;
use crate::decode::fixture::{Fixture, NOW_MS, at};
use Reason::*;

const NOW_NS: i64 = NOW_MS * 1_000_000;
const MS: i64 = 1_000_000;

struct Connection {
    fixture: Fixture,
    aliases: SeriesAliases,
}

impl Connection {
    fn new() -> Self {
        Self { fixture: Fixture::new(), aliases: SeriesAliases::new(10) }
    }

    fn body(&mut self, body: &[u8]) -> Decoded {
        let Fixture { table, rules, limits, intake, .. } = &mut self.fixture;
        decode_frame(body, 5, &mut self.aliases, table, rules, limits, intake)
    }

    fn send(&mut self, readings: Readings) -> Decoded {
        self.body(&DeviceMessage { kind: Some(Kind::Readings(readings)) }.encode_to_vec())
    }

    /// Sends one column of the series 1, which is `a`.
    fn column(&mut self, first_time_ns: i64, step_ns: &[i64], values: &[f64]) {
        let column = Column {
            series: 1,
            first_time_ns,
            step_ns: step_ns.to_vec(),
            values: values.to_vec(),
            states: vec![],
        };
        let readings =
            Readings { define: vec![named(1, "a", &[])], columns: vec![column], ..Readings::default() };
        assert_eq!(self.send(readings), Decoded::Message);
        self.fixture.check();
    }
}

fn pairs(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn named(index: u32, metric: &str, labels: &[(&str, &str)]) -> SeriesName {
    SeriesName { index, metric: metric.to_owned(), labels: pairs(labels) }
}

fn values(series: u32, values: &[f64]) -> Column {
    Column { series, values: values.to_vec(), ..Column::default() }
}

fn values_of(values: &[f64]) -> Column {
    self::values(1, values)
}

fn single(metric: &str, labels: &[(&str, &str)], time_ns: i64, value: f64) -> Reading {
    Reading { metric: metric.to_owned(), labels: pairs(labels), time_ns, value, ..Reading::default() }
}

#[test]
fn columns_take_their_times_from_steps() {
    // First time, steps, values, readings, refusals.
    type Case = (i64, &'static [i64], &'static [f64], &'static [&'static str], &'static [(Reason, u32)]);
    let cases: &[Case] = &[
        (NOW_NS, &[], &[1.0, 2.0], &["a=1.0", "a=2.0"], &[]),
        (NOW_NS, &[MS], &[1.0, 2.0, -0.0], &["a=1.0", "a=2.0@1.0", "a=0.0@2.0"], &[]),
        (NOW_NS, &[MS, -3 * MS], &[1.0, 2.0, 3.0], &["a=1.0", "a=2.0@1.0", "a=3.0@-2.0"], &[]),
        (NOW_NS, &[MS], &[1.0], &["a=1.0"], &[]),
        (0, &[MS], &[1.0, 2.0], &["a=1.0", "a=2.0"], &[]),
        (NOW_NS, &[], &[], &[], &[]),
        (NOW_NS, &[MS, MS], &[1.0, 2.0], &[], &[(Malformed, 2)]),
        (NOW_NS, &[MS, MS], &[1.0, 2.0, 3.0, 4.0], &[], &[(Malformed, 4)]),
        (NOW_NS, &[MS, MS], &[], &[], &[(Malformed, 1)]),
        (NOW_NS, &[i64::MAX], &[1.0, 2.0, 3.0], &["a=1.0"], &[(TooFarAhead, 1), (TooFarAhead, 1)]),
        (i64::MIN, &[i64::MIN, i64::MAX], &[1.0, 2.0, 3.0], &[], &[(TooOld, 1), (TooOld, 1), (TooOld, 1)]),
        // A value out of time does not spoil the next.
        (NOW_NS, &[120_000 * MS, -120_000 * MS], &[1.0, 2.0, 3.0], &["a=1.0", "a=3.0"], &[(TooFarAhead, 1)]),
        (NOW_NS, &[MS], &[f64::NAN, f64::INFINITY, 3.0], &["a=3.0@2.0"], &[(NotANumber, 1), (NotANumber, 1)]),
    ];
    for (first, steps, values, readings, refusals) in cases {
        let mut connection = Connection::new();
        connection.column(*first, steps, values);
        assert_eq!(connection.fixture.readings(), *readings, "{first} {steps:?} {values:?}");
        assert_eq!(connection.fixture.refusals(), *refusals, "{first} {steps:?} {values:?}");
        assert_eq!(connection.fixture.intake.messages.len(), 1);
    }
}

#[test]
fn definitions_hold_for_the_connection_until_named_anew() {
    let mut connection = Connection::new();
    let define = vec![named(1, "a", &[]), named(10, "a", &[("room", "3")]), named(2, "b-c", &[])];
    connection.send(Readings { define, columns: vec![values(10, &[1.0])], ..Readings::default() });
    let columns = vec![values(1, &[2.0]), values(2, &[3.0, 4.0]), values(3, &[5.0])];
    connection.send(Readings { columns, ..Readings::default() });
    let define = vec![named(1, "z", &[]), named(10, "a", &[("site", "x")])];
    connection.send(Readings {
        define,
        columns: vec![values(1, &[6.0]), values(10, &[7.0])],
        ..Readings::default()
    });
    assert_eq!(connection.fixture.readings(), ["a{room=3}=1.0", "a=2.0", "z=6.0"]);
    // Values of a definition that was refused do not land in the series that the index meant before.
    let refusals = [(BadMetric, 1), (BadMetric, 2), (Malformed, 1), (BadLabel, 1), (BadLabel, 1)];
    assert_eq!(connection.fixture.refusals(), refusals);

    let define = vec![named(0, "a", &[]), named(11, "a", &[]), named(u32::MAX, "a", &[])];
    connection.send(Readings {
        define,
        columns: vec![values(0, &[1.0]), values(11, &[1.0])],
        ..Readings::default()
    });
    let refusals = [(Malformed, 1), (TooManySeries, 1), (TooManySeries, 1), (Malformed, 1), (Malformed, 1)];
    assert_eq!(connection.fixture.refusals(), refusals);
    assert_eq!((0..20).filter(|index| connection.aliases.meaning(*index).is_some()).count(), 3);
}

#[test]
fn single_readings_and_sequence_numbers() {
    let mut connection = Connection::new();
    let readings = vec![
        single("a", &[("room", "3")], 0, 1.0),
        single("a", &[], NOW_NS + MS, 2.0),
        single("9", &[], 0, 3.0),
        single("a", &[("gateway", "x")], 0, 3.0),
        single("a", &[], 1, 3.0),
        single("a", &[], i64::MAX, 3.0),
        single("a", &[], 0, f64::NAN),
    ];
    connection.send(Readings { seq: 7, readings, ..Readings::default() });
    connection.send(Readings::default());
    assert_eq!(connection.fixture.intake.refusals[0].seq, Some(7));
    assert_eq!(connection.fixture.messages(), [(Some(7), 5, 2), (None, 5, 2)]);
    assert_eq!(connection.fixture.readings(), ["a{room=3}=1.0", "a=2.0@1.0"]);
    let refusals = [(BadMetric, 1), (BadLabel, 1), (TooOld, 1), (TooFarAhead, 1), (NotANumber, 1)];
    assert_eq!(connection.fixture.refusals(), refusals);
}

fn state(metric: &str, value: f64, state: &str) -> Reading {
    Reading { state: state.to_owned(), ..single(metric, &[], 0, value) }
}

#[test]
fn a_state_goes_with_the_value_nan_which_earlier_versions_refuse() {
    let mut connection = Connection::new();
    let long = "x".repeat(65);
    let readings = vec![
        state("a", f64::NAN, "auto"),
        state("b", 1.0, "true"),
        state("c", 0.0, "false"),
        state("d", 0.0, "auto"),
        state("d", 1.0, "false"),
        state("d", f64::INFINITY, "auto"),
        state("d", f64::NAN, &long),
        state("d", f64::NAN, "a\n"),
    ];
    connection.send(Readings { readings, ..Readings::default() });
    connection.fixture.check();
    assert_eq!(connection.fixture.readings(), ["a=auto", "b=1.0/true", "c=0.0/false"]);
    assert_eq!(connection.fixture.refusals(), [(BadState, 1); 5]);

    let states = |values: &[f64], states: &[&str]| Column {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        ..values_of(values)
    };
    let columns = vec![
        states(&[f64::NAN, 2.0, 1.0, f64::NAN], &["on", "", "true", ""]),
        states(&[f64::NAN, f64::NAN], &["on"]),
    ];
    let define = vec![named(1, "a", &[])];
    connection.send(Readings { define, columns, ..Readings::default() });
    assert_eq!(connection.fixture.readings(), ["a=on", "a=2.0", "a=1.0/true"]);
    assert_eq!(connection.fixture.refusals(), [(NotANumber, 1), (Malformed, 2)]);
}

#[test]
fn readings_are_bounded_over_columns_and_singles() {
    let mut connection = Connection::new();
    connection.fixture.limits.readings_max = 3;
    let message = Readings {
        define: vec![named(1, "a", &[])],
        columns: vec![values(1, &[1.0, 2.0]), values(1, &[3.0, 4.0, 5.0])],
        readings: vec![single("a", &[], 0, 6.0)],
        ..Readings::default()
    };
    connection.send(message);
    assert_eq!(connection.fixture.readings(), ["a=1.0", "a=2.0", "a=3.0"]);
    assert_eq!(connection.fixture.refusals(), [(TooManyReadings, 2), (TooManyReadings, 1)]);
}

#[test]
fn hellos_and_what_is_no_message() {
    let mut connection = Connection::new();
    let hello = |epoch: String| DeviceMessage { kind: Some(Kind::Hello(Hello { epoch })) }.encode_to_vec();
    assert_eq!(connection.body(&hello("boot".to_owned())), Decoded::Hello { epoch: "boot".to_owned() });
    assert!(connection.fixture.intake.is_empty());
    let broken =
        [hello(String::new()), hello("x".repeat(65)), Vec::new(), vec![0x12, 0x05, 0x08], vec![0xff; 20]];
    for body in broken {
        assert_eq!(connection.body(&body), Decoded::Refused, "{body:?}");
        assert_eq!(connection.fixture.refusals(), [(Malformed, 1)], "{body:?}");
    }
    connection.fixture.limits.message_bytes_max = 5;
    assert_eq!(connection.body(&hello("boot".to_owned())), Decoded::Refused);
    assert_eq!(connection.fixture.refusals(), [(TooLong, 1)]);
    assert!(connection.fixture.messages().is_empty());
}

fn any_readings() -> impl Strategy<Value = Readings> {
    let metric = prop::sample::select(vec!["a", "b", "c-d", ""]);
    let label = prop::sample::select(vec!["room", "site", "x", ""]);
    let define = (0..13_u32, metric.clone(), label.clone()).prop_map(|(i, m, l)| named(i, m, &[(l, "1")]));
    let column = (
        0..13_u32,
        any::<i64>(),
        prop::collection::vec(any::<i64>(), 0..4),
        prop::collection::vec(any::<f64>(), 0..5),
        prop::collection::vec(prop::sample::select(vec!["", "on", "true"]), 0..5),
    )
        .prop_map(|(series, first_time_ns, step_ns, values, states)| Column {
            series,
            first_time_ns,
            step_ns,
            values,
            states: states.into_iter().map(str::to_owned).collect(),
        });
    let reading =
        (metric, label, any::<i64>(), any::<f64>()).prop_map(|(m, l, t, v)| single(m, &[(l, "1")], t, v));
    let many = |n| 0..n;
    (
        any::<u64>(),
        prop::collection::vec(define, many(6)),
        prop::collection::vec(column, many(6)),
        prop::collection::vec(reading, many(6)),
    )
        .prop_map(|(seq, define, columns, readings)| Readings { seq, define, columns, readings })
}

proptest! {
    #[test]
    fn each_value_is_taken_or_counted_as_refused(messages in prop::collection::vec(any_readings(), 1..4)) {
        let mut connection = Connection::new();
        connection.fixture.rules.oldest = at(-1_000_000_000_000);
        connection.fixture.rules.newest = at(4_000_000_000_000);
        for message in messages {
            let columns: usize = message.columns.iter().map(|column| column.values.len()).sum();
            let sent = columns + message.readings.len();
            let (define, empty) = (message.define.len(), message.columns.iter().filter(|c| c.values.is_empty()).count());
            prop_assert_eq!(connection.send(message), Decoded::Message);
            connection.fixture.check();
            let refused: u32 = connection.fixture.refusals().iter().map(|refusal| refusal.1).sum();
            let reported = connection.fixture.readings().len() + refused as usize;
            connection.fixture.messages();
            // Beside values there may be a refusal for each definition and for each column without values.
            prop_assert!((sent..=sent + define + empty).contains(&reported), "{} of {}", reported, sent);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), readings in any_readings()) {
        let mut connection = Connection::new();
        connection.body(&bytes);
        let mut body = DeviceMessage { kind: Some(Kind::Readings(readings)) }.encode_to_vec();
        let at = at.index(body.len());
        body[at] = bytes.first().copied().unwrap_or(0);
        connection.body(&body);
        connection.fixture.check();
    }
}

#[test]
fn a_definition_outlives_the_sessions_table_of_names() {
    let mut connection = Connection::new();
    connection.fixture.table = SeriesTable::new(3);
    let define = vec![named(1, "a", &[]), named(2, "b", &[("room", "3")])];
    connection.send(Readings { define, ..Readings::default() });
    for round in 0..5_000 {
        let readings = vec![single("x", &[("n", &round.to_string())], 0, 1.0)];
        connection.send(Readings { readings, ..Readings::default() });
    }
    let forgotten = connection.aliases.series(1, connection.fixture.table.generation());
    assert_eq!(forgotten, None, "the table has started anew");
    connection.fixture.readings();
    connection.send(Readings { columns: vec![values(1, &[2.0]), values(2, &[3.0])], ..Readings::default() });
    let Intake { fresh, .. } = &connection.fixture.intake;
    assert_eq!(fresh.len(), 2, "the device learns what they mean");
    connection.send(Readings { columns: vec![values(1, &[4.0])], ..Readings::default() });
    assert_eq!(connection.fixture.intake.fresh.len(), 2, "and knows it from then on");
    assert_eq!(connection.fixture.readings(), ["a=2.0", "b{room=3}=3.0", "a=4.0"]);
    assert_eq!(connection.fixture.refusals(), []);
}
