//! The core, step by step, with a process whose answers are given.

use std::{collections::VecDeque, num::NonZeroU16, sync::Arc};

use catchment_partial::{Timestamp, Width};

use super::*;
use crate::{
    decode::{DecodeLimits, line_protocol::Precision},
    device::{Opened, Welcome},
    intake::{Reason, TimeRules},
    metrics::Metrics,
    mqtt::{
        connection::{MqttOptions, Open},
        tests::bytes::{connect, publish},
    },
    session::{protocol::ProtocolOptions, responses::Response},
};

/// A process with scripted answers.
struct Scripted {
    metrics: Arc<Metrics>,
    admission: Admission,
    admitted: usize,
    outcomes: VecDeque<Result<IntakeOutcome, Backpressure>>,
    /// Messages of each intake that was handed on.
    taken: Vec<usize>,
    /// Readings counted as refused.
    refused: u64,
    /// How long the device has to wait.
    readings_wait: Duration,
}

impl Environment for Scripted {
    fn rules(&self) -> TimeRules {
        TimeRules { now: Timestamp::MIN, oldest: Timestamp::MIN, newest: Timestamp::MAX }
    }

    fn mono(&self) -> Duration {
        Duration::ZERO
    }

    fn window_width(&self) -> Option<Width> {
        None
    }

    fn takes_states(&self) -> bool {
        true
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn readings_wait(&self) -> Duration {
        self.readings_wait
    }

    fn note_refused(&mut self, readings: u64) {
        self.refused += readings;
    }

    fn admit(&mut self, _: SessionIdentity<'_>) -> Admission {
        self.admitted += 1;
        self.admission
    }

    fn hello(&mut self, _: &str) -> Welcome {
        Welcome { highest: 3, durable_at: Position::ZERO }
    }

    fn open(&mut self, _: &Open, _: Option<Duration>) -> Result<Opened, Backpressure> {
        Ok(Opened { present: false, durable_at: Position::ZERO, taken_over: None })
    }

    fn take(&mut self, intake: &Intake) -> Result<IntakeOutcome, Backpressure> {
        self.taken.push(intake.messages.len());
        self.outcomes.pop_front().unwrap_or_else(|| Ok(taken(1, Vec::new(), false)))
    }
}

fn taken(ack: u64, refusals: Vec<Refusal>, slow: bool) -> IntakeOutcome {
    IntakeOutcome::Taken { ack, durable_at: Position::ZERO, refusals, slow }
}

fn core(kind: Protocol) -> (ReadCore, Rc<ResponseQueue>, Scripted) {
    let mqtt = MqttOptions { topics: Arc::default(), receive_max: NonZeroU16::MAX };
    let options = ProtocolOptions { precision: Precision::Nanoseconds, json: Arc::default(), mqtt };
    let decoder = Decoder::new(kind, DecodeLimits::default(), 10, &options);
    let responses = Rc::<ResponseQueue>::default();
    let process = Scripted {
        metrics: Metrics::new(),
        admission: Admission::Admitted,
        admitted: 0,
        outcomes: VecDeque::new(),
        taken: Vec::new(),
        refused: 0,
        readings_wait: Duration::ZERO,
    };
    (ReadCore::new(kind, decoder, Rc::clone(&responses)), responses, process)
}

/// How many of the responses are acknowledgements, and how many are not.
fn drained(responses: &ResponseQueue) -> (usize, usize) {
    let (mut acks, mut others) = (0, 0);
    responses.drain_ready(Position::ZERO, |response| match response {
        Response::Ack { .. } => acks += 1,
        Response::Encoded { .. } => others += 1,
    });
    (acks, others)
}

fn fill(responses: &ResponseQueue) {
    while responses.has_room() {
        responses.push(Position::ZERO, vec![0; 1000]);
    }
}

#[test]
fn messages_without_room_are_tried_again_and_acknowledged_once() {
    let (mut core, responses, mut process) = core(Protocol::Json);
    process.outcomes =
        [Err(Backpressure::Sync), Err(Backpressure::Room("journal".into())), Ok(taken(2, Vec::new(), true))]
            .into();
    let bytes = b"{\"a\":1}\n{\"a\":2}\n{\"a\":";
    assert_eq!(core.step(bytes, None, &mut process), Step::Pause(Pause::Sync));
    assert_eq!(core.step(bytes, None, &mut process), Step::Pause(Pause::Room));
    assert_eq!(drained(&responses), (0, 0));
    assert_eq!(core.step(bytes, None, &mut process), Step::Pause(Pause::Slow));
    assert_eq!(core.step(bytes, None, &mut process), Step::ReadMore { consumed: 16 });
    assert_eq!((drained(&responses), process.taken.as_slice()), ((1, 0), &[2, 2, 2][..]));
    assert_eq!(
        (process.metrics.pace.waits.get(), process.metrics.pace.slowed.get(), process.admitted),
        (2, 1, 1)
    );
}

#[test]
fn refusals_wait_for_room_and_are_dropped_one_by_one_for_a_device_that_does_not_read() {
    let (mut core, responses, mut process) = core(Protocol::Json);
    fill(&responses);
    let bytes = b"nonsense\nnonsense\nnonsense\n";
    assert_eq!(core.step(bytes, None, &mut process), Step::AwaitRoom);
    assert_eq!((core.step(bytes, None, &mut process), process.taken.len()), (Step::AwaitRoom, 0));
    core.give_up_room();
    assert_eq!(core.step(bytes, None, &mut process), Step::AwaitRoom, "the next one is asked for again");
    drained(&responses);
    assert_eq!(core.step(bytes, None, &mut process), Step::ReadMore { consumed: 27 });
    assert_eq!(process.metrics.answers_dropped.get(), 1);
    assert_eq!((drained(&responses), process.taken.as_slice()), ((1, 2), &[3][..]));
}

#[test]
fn what_the_sessions_of_the_device_refuse_is_said_before_the_acknowledgement() {
    let (mut core, responses, mut process) = core(Protocol::Frames);
    let refusal =
        Refusal { reason: Reason::TooManySeries, message: "x".into(), ordinal: 1, seq: None, count: 1 };
    process.outcomes = [Ok(taken(1, vec![refusal.clone(), refusal], false))].into();
    fill(&responses);
    let bytes = [0; 4];
    assert_eq!(core.step(&bytes, None, &mut process), Step::AwaitRoom);
    assert_eq!(process.taken, Vec::<usize>::new(), "an empty frame is refused first");
    drained(&responses);
    assert_eq!(core.step(&bytes, None, &mut process), Step::ReadMore { consumed: 4 });
    assert_eq!(drained(&responses), (1, 3));
}

#[test]
fn replies_of_mqtt_and_welcomes_are_never_dropped() {
    let (mut core, responses, mut process) = core(Protocol::Mqtt);
    let opening = connect(5, 2, "c");
    assert_eq!(core.step(&opening, None, &mut process), Step::ReadMore { consumed: opening.len() });
    assert_eq!((drained(&responses), process.admitted), ((0, 1), 1));
    fill(&responses);
    let message = publish(5, 1, 1, "telemetry", b"{\"a\":1}");
    assert_eq!(core.step(&message, None, &mut process), Step::AwaitRoom);
    core.give_up_room();
    assert_eq!(core.step(&message, None, &mut process), Step::Close(CloseReason::Unread));

    let (mut core, responses, mut process) = self::core(Protocol::Json);
    fill(&responses);
    let hello = b"{\"hello\":{\"epoch\":\"e\"}}\n";
    assert_eq!(core.step(hello, None, &mut process), Step::AwaitRoom);
    drained(&responses);
    assert_eq!(core.step(hello, None, &mut process), Step::ReadMore { consumed: hello.len() });
    fill(&responses);
    assert_eq!(core.step(hello, None, &mut process), Step::AwaitRoom);
    core.give_up_room();
    assert_eq!(core.step(hello, None, &mut process), Step::Close(CloseReason::Unread));
}

#[test]
fn a_session_closes_when_nothing_more_can_be_taken_of_it() {
    for (outcome, why) in [
        (Ok(IntakeOutcome::Ended), CloseReason::Replaced),
        (Err(Backpressure::Failed("disk".into())), CloseReason::Failed),
        (Err(Backpressure::Devices(7)), CloseReason::DevicesFull),
    ] {
        let (mut core, responses, mut process) = core(Protocol::Json);
        process.outcomes = [outcome].into();
        assert_eq!(core.step(b"{\"a\":1}\n", None, &mut process), Step::Close(why));
        assert_eq!(drained(&responses), (0, 0));
        core.end(why, &mut process);
        assert_eq!(drained(&responses).1, usize::from(why.to_device().is_some()));
    }
    let (mut core, responses, mut process) = core(Protocol::Json);
    process.admission = Admission::Full;
    assert_eq!(core.step(b"{\"a\":1}\n", None, &mut process), Step::Close(CloseReason::TooMany));
    assert_eq!((drained(&responses), process.taken.len()), ((0, 0), 0));
}

#[test]
fn a_device_beyond_its_rate_is_decoded_no_further_until_it_has_tokens() {
    let (mut core, responses, mut process) = core(Protocol::Json);
    let (first, both) = (b"{\"a\":1}\n", b"{\"a\":2}\n{\"a\":3}\n");
    assert_eq!(core.step(first, None, &mut process), Step::ReadMore { consumed: first.len() });
    process.readings_wait = Duration::from_secs(9);
    // Without bytes there is nothing to wait for.
    assert_eq!(core.step(b"", None, &mut process), Step::ReadMore { consumed: 0 });
    for closing in [None, Some(Closing::Orderly)] {
        let step = core.step(both, closing, &mut process);
        assert_eq!(step, Step::Pause(Pause::Rate(Duration::from_secs(9))));
    }
    assert_eq!((process.taken.len(), drained(&responses)), (1, (1, 0)), "what was taken is acknowledged");
    assert_eq!(process.metrics.pace.rate_waits.get(), 2);
    process.readings_wait = Duration::ZERO;
    assert_eq!(core.step(both, None, &mut process), Step::ReadMore { consumed: both.len() });
    assert_eq!((process.taken, process.refused), (vec![1, 2], 0));
}

#[test]
fn a_client_beyond_its_rate_may_still_open_its_session() {
    let (mut core, _, mut process) = core(Protocol::Mqtt);
    process.readings_wait = Duration::from_secs(9);
    let bytes = [connect(5, 0, "c"), publish(5, 0, 1, "telemetry", br#"{"a":1}"#)].concat();
    assert!(matches!(core.step(&bytes, None, &mut process), Step::Pause(Pause::Rate(_))));
    assert!(!core.decoder().is_opening() && process.taken.is_empty());
}

#[test]
fn readings_that_nobody_acknowledges_are_counted_when_their_session_ends() {
    let refused = |process: &Scripted, count: u64| {
        let line = format!("catchment_gateway_readings_refused_total{{reason=\"ended\"}} {count}\n");
        assert_eq!(process.refused, count);
        assert!(process.metrics.text().contains(&line), "{line}");
    };
    let published = [
        publish(5, 0, 0, "telemetry", br#"{"a":1,"b":2}"#),
        publish(5, 1, 1, "telemetry", br#"{"a":1}"#),
        publish(5, 2, 2, "telemetry", br#"{"a":1}"#),
        publish(5, 0, 0, "telemetry", br#"{"a":1}"#),
    ]
    .concat();
    for (kind, bytes, lost) in [
        (Protocol::LineProtocol, b"m a=1,b=2\nm a=3\n".to_vec(), 3),
        // What is acknowledged by number or by reply is sent again.
        (Protocol::Json, b"{\"a\":1}\n".to_vec(), 0),
        (Protocol::Mqtt, published, 3),
    ] {
        let (mut core, _, mut process) = core(kind);
        if kind == Protocol::Mqtt {
            let opening = connect(5, 2, "c");
            assert_eq!(core.step(&opening, None, &mut process), Step::ReadMore { consumed: opening.len() });
        }
        process.outcomes = [Err(Backpressure::Room("journal".into()))].into();
        assert_eq!(core.step(&bytes, None, &mut process), Step::Pause(Pause::Room), "{kind:?}");
        assert!(core.compact() > 0);
        core.end(CloseReason::Stopping, &mut process);
        refused(&process, lost);
        assert_eq!(core.compact(), 0);
        core.end(CloseReason::Stopping, &mut process);
        refused(&process, lost);
    }
    // One session too many: nothing of it was taken. And what was taken is not lost.
    for (admission, lost) in [(Admission::Full, 1), (Admission::Admitted, 0)] {
        let (mut core, _, mut process) = core(Protocol::LineProtocol);
        process.admission = admission;
        core.step(b"m a=1\n", None, &mut process);
        core.end(CloseReason::TooMany, &mut process);
        refused(&process, lost);
    }
}
