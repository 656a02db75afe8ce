//! The sessions of a device with a shard on a real folder, driven by the protocols' decoders: what it refuses, and what
//! the replies say then.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use catchment_partial::Timestamp;
use catchment_proto::{
    Name, frame,
    wire::{Column, DeviceMessage, Reading as WireReading, Readings, SeriesName, device_message},
};

use super::{takeover::TAKEOVER_GRACE, *};
use crate::{
    Settings,
    clock::{Clock, ManualClock},
    config::tests::given,
    decode::{DecodeLimits, line_protocol::Precision},
    intake::{Intake, Outcome, Reply, TimeRules},
    metrics::Metrics,
    mqtt::{
        connection::MqttOptions,
        tests::bytes::{connect, publish, release},
    },
    session::protocol::{DecodeStop, Decoder, Protocol, ProtocolOptions},
    shard::{Backpressure, Setup, Shard, ShardFacts, ShardLimits},
};

mod readings_rate;
mod states;

const SERIES_MAX: usize = 3;
const NOW_MS: i64 = 1_700_000_000_000;

/// A device with one session.
struct Device {
    _folder: tempfile::TempDir,
    shard: Shard,
    device_sessions: DeviceSessions,
    decoder: Decoder,
    clock: Arc<ManualClock>,
    metrics: Arc<Metrics>,
}

impl Device {
    fn new(kind: Protocol) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { series_max: Some(SERIES_MAX), ..given() };
        let config = settings.check().unwrap();
        let metrics = Metrics::new();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOW_MS).unwrap()));
        let setup = Setup {
            folder: folder.path(),
            index: 0,
            facts: ShardFacts::default(),
            window: config.window,
            metric_parts: Arc::default(),
            limits: ShardLimits::of(&config, 1),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            metrics: Arc::clone(&metrics),
            budget: Arc::default(),
        };
        let (shard, _) = Shard::open(&setup).unwrap();
        let mut device_sessions =
            DeviceSessions::new(Name::new("press").unwrap(), 4, SERIES_MAX, Arc::clone(&metrics));
        assert_eq!(device_sessions.attach(1), None);
        Self { _folder: folder, shard, device_sessions, decoder: Self::decoder(kind), clock, metrics }
    }

    /// The beginning of a connection.
    fn decoder(kind: Protocol) -> Decoder {
        let protocols = ProtocolOptions {
            precision: Precision::Nanoseconds,
            json: Arc::default(),
            mqtt: MqttOptions { topics: Arc::default(), receive_max: NonZeroU16::new(8).unwrap() },
        };
        Decoder::new(kind, DecodeLimits::default(), SERIES_MAX, &protocols)
    }

    /// A device whose MQTT client has opened a kept session.
    fn mqtt(version: u8) -> Self {
        let mut device = Self::new(Protocol::Mqtt);
        let (_, stop) = device.decode(&connect(version, 0, "c"));
        let DecodeStop::Open(open) = stop else { panic!("{stop:?}") };
        device.device_sessions.open(1, &open, &mut device.shard).unwrap();
        device.decoder.accept(false);
        device
    }

    fn decode(&mut self, bytes: &[u8]) -> (Intake, DecodeStop) {
        let (intake, _, stop) = self.decode_slice(bytes);
        (intake, stop)
    }

    /// A slice of the bytes, and how many those are.
    fn decode_slice(&mut self, bytes: &[u8]) -> (Intake, usize, DecodeStop) {
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let rules = TimeRules { now: at(NOW_MS), oldest: at(0), newest: at(NOW_MS + 60_000) };
        let mut intake = Intake::default();
        let (consumed, stop) = self.decoder.decode(bytes, None, &rules, &mut intake);
        (intake, consumed, stop)
    }

    /// Decodes all of the bytes and hands each intake on, as a session does: how many readings were refused.
    fn feed(&mut self, bytes: &[u8]) -> (u32, Vec<Reply>) {
        let (mut refused, mut replies, mut rest) = (0, Vec::new(), bytes);
        loop {
            let (mut intake, consumed, stop) = self.decode_slice(rest);
            rest = &rest[consumed..];
            let (redelivered, more) = self.hand_on(&mut intake);
            (refused, replies) = (refused + redelivered, [replies, more].concat());
            if stop == DecodeStop::More {
                return (refused, replies);
            }
        }
    }

    fn hand_on(&mut self, intake: &mut Intake) -> (u32, Vec<Reply>) {
        let answer = loop {
            match self.device_sessions.take(1, intake, &mut self.shard) {
                Err(Backpressure::Sync) => std::thread::sleep(Duration::from_millis(1)),
                answer => break answer.unwrap(),
            }
        };
        let IntakeOutcome::Taken { refusals, .. } = answer else { panic!("{answer:?}") };
        intake.amend_replies(&refusals);
        let _bytes = self.decoder.replies(&intake.replies).unwrap();
        (refusals.iter().map(|refusal| refusal.count).sum(), std::mem::take(&mut intake.replies))
    }

    fn taken(&self) -> u64 {
        self.metrics.readings.get()
    }
}

fn frame_of(readings: Readings) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&DeviceMessage { kind: Some(device_message::Kind::Readings(readings)) }, &mut bytes);
    bytes
}

fn invented(number: u32) -> WireReading {
    let labels = [("n".to_owned(), number.to_string())].into();
    WireReading { metric: "x".to_owned(), labels, value: 1.0, ..WireReading::default() }
}

/// Of two messages with one number the second is dropped as sent again: two programs must not share an epoch without a
/// word.
#[test]
fn two_programs_with_one_epoch_are_told_and_one_that_came_back_is_not() {
    let mut device = Device::new(Protocol::Json);
    let Device { shard, device_sessions, clock, metrics, .. } = &mut device;
    let mut intake = Intake::default();
    intake.end_message(Some(1), 1);
    let hello = |device_sessions: &mut DeviceSessions, shard: &Shard, session| {
        device_sessions.hello(session, Arc::from("boot"), shard)
    };
    hello(device_sessions, shard, 1);
    assert_eq!(device_sessions.attach(2), None);
    hello(device_sessions, shard, 2);
    // What was on its way when the program connected again.
    device_sessions.take(1, &intake, shard).unwrap();
    clock.advance(2 * TAKEOVER_GRACE);
    device_sessions.take(2, &intake, shard).unwrap();
    assert_eq!(metrics.epochs_shared.get(), 0);
    for _ in 0..2 {
        device_sessions.take(1, &intake, shard).unwrap();
        assert_eq!(metrics.epochs_shared.get(), 1, "once");
    }
}

#[test]
fn a_column_is_taken_however_many_names_came_since_its_definition() {
    let mut device = Device::new(Protocol::Frames);
    let define = vec![SeriesName { index: 2, metric: "a".to_owned(), labels: [].into() }];
    device.feed(&frame_of(Readings { define, ..Readings::default() }));
    // One by one, and many at once: two further series are within the bound.
    for number in 0..5_000 {
        device.feed(&frame_of(Readings { readings: vec![invented(number)], ..Readings::default() }));
    }
    let many = |from| (from..from + 5_000).map(invented).collect();
    device.feed(&frame_of(Readings { readings: many(5_000), ..Readings::default() }));
    assert_eq!(device.taken(), 2);
    let column = || vec![Column { series: 2, values: vec![1.0, 2.0], ..Column::default() }];
    let columns = frame_of(Readings { columns: column(), ..Readings::default() });
    assert_eq!(device.feed(&columns).0, 0);
    assert_eq!(device.taken(), 4);
    // Within one message too, in front of more names than any table holds.
    let both = Readings { columns: column(), readings: many(10_000), ..Readings::default() };
    assert_eq!(device.feed(&frame_of(both)).0, 5_000);
    assert_eq!(device.feed(&columns).0, 0);
    assert_eq!(device.taken(), 8);
}

#[test]
fn lines_of_known_series_are_taken_in_front_of_many_new_names() {
    let mut lines = String::from("{\"a\":1}\n");
    (0..5_000)
        .for_each(|n| lines.push_str(&format!("{{\"values\":{{\"x\":1}},\"labels\":{{\"n\":\"{n}\"}}}}\n")));
    let mut influx = String::from("m a=1\n");
    (0..5_000).for_each(|n| influx.push_str(&format!("m,n={n} x=1\n")));
    for (kind, text) in [(Protocol::Json, lines), (Protocol::LineProtocol, influx)] {
        let mut device = Device::new(kind);
        for round in 1..4 {
            let (refused, _) = device.feed(text.as_bytes());
            assert_eq!((refused, device.taken()), (4_998, 3 * round), "{kind:?}");
        }
    }
}

fn outcome(replies: &[Reply]) -> Outcome {
    match replies {
        [Reply::Published(_, message) | Reply::Received(_, message)] => message.outcome.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn mqtt_is_answered_by_what_became_of_the_readings() {
    for (version, qos) in [(4, 1), (4, 2), (5, 1), (5, 2)] {
        let mut device = Device::mqtt(version);
        let mut send = |id: u16, payload: &str| {
            let (_, replies) = device.feed(&publish(version, qos, id, "telemetry", payload.as_bytes()));
            outcome(&replies)
        };
        assert_eq!(send(1, r#"{"a":1,"b":1}"#), Outcome::Taken(None));
        let Outcome::Taken(Some(words)) = send(2, r#"{"c":1,"d":1,"e":1}"#) else { panic!("taken in part") };
        assert_eq!(words, "2 readings of new series: a device may have 3 series, the gateway's series_max");
        let Outcome::BadPayload(words) = send(3, r#"{"d":1,"a":null}"#) else { panic!("refused") };
        assert!(words.contains("; 1 readings of new series"), "both reasons: {words}");
        assert_eq!(send(4, r#"{"a":1}"#), Outcome::Taken(None));
        assert_eq!(device.taken(), 4);
    }
}

#[test]
fn replies_of_one_intake_keep_to_their_own_messages() {
    let mut device = Device::mqtt(5);
    let all = [
        publish(5, 1, 1, "telemetry", br#"{"a":1,"b":1,"c":1}"#),
        publish(5, 0, 0, "telemetry", br#"{"d":1}"#),
        publish(5, 2, 2, "telemetry", br#"{"d":1}"#),
        release(9),
        publish(5, 1, 3, "telemetry", br#"{"a":1}"#),
        publish(5, 1, 4, "telemetry", br#"{"a":1,"d":1}"#),
    ];
    let (refused, replies) = device.feed(&all.concat());
    let outcomes: Vec<_> = replies
        .into_iter()
        .filter_map(|mut reply| reply.message_mut().map(|message| message.outcome.clone()))
        .map(|outcome| (outcome.is_refused(), outcome == Outcome::Taken(None)))
        .collect();
    assert_eq!(refused, 3);
    assert_eq!(outcomes, [(false, true), (true, false), (false, true), (false, false)]);
}

#[test]
fn the_identifier_of_a_refused_message_is_free_again() {
    let mut device = Device::mqtt(5);
    let message = |id, payload: &str| publish(5, 2, id, "telemetry", payload.as_bytes());
    device.feed(&message(1, r#"{"a":1,"b":1,"c":1}"#));
    assert!(outcome(&device.feed(&message(2, r#"{"d":1}"#)).1).is_refused());
    // A new message, not the refused one again, even where its first copy was lost; and room for as many as may be on
    // their way.
    let mut repeated = message(2, r#"{"a":1}"#);
    repeated[0] |= 8;
    assert_eq!(outcome(&device.feed(&repeated).1), Outcome::Taken(None));
    for id in 3..9 {
        assert_eq!(outcome(&device.feed(&message(id, r#"{"a":1}"#)).1), Outcome::Taken(None));
    }
    assert_eq!(device.taken(), 3 + 7);
    // Version 3.1.1 knows no refusal: its client releases the identifier, and until then the message is the same.
    let mut device = Device::mqtt(4);
    device.feed(&publish(4, 2, 1, "telemetry", br#"{"a":1,"b":1,"c":1}"#));
    device.feed(&publish(4, 2, 2, "telemetry", br#"{"d":1}"#));
    device.feed(&publish(4, 2, 2, "telemetry", br#"{"a":1}"#));
    assert_eq!(device.taken(), 3);
    device.feed(&release(2));
    device.feed(&publish(4, 2, 2, "telemetry", br#"{"a":1}"#));
    assert_eq!(device.taken(), 4);
}
