//! The driver against a scripted gateway over a duplex pipe: numbering, resending, refusals, giving up.
//!
//! Time is paused: waits elapse at once, in order.

use std::{sync::Mutex, time::Duration};

use catchment_proto::{frame, wire};
use prost::Message as _;
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, split,
    },
    sync::mpsc,
};

use super::*;

mod codecs;
mod windows;

/// Hands out the prepared connections in order; then none.
struct Script(Mutex<Vec<DuplexStream>>);

impl Dial for Script {
    type Stream = DuplexStream;

    async fn dial(&self) -> Result<DuplexStream, DialError> {
        let next = self.0.lock().unwrap().pop();
        next.ok_or_else(|| DialError { reason: "nobody listens".to_owned(), lasting: false })
    }
}

/// A script of connections, and the gateway's ends of them.
fn script(connections: usize) -> (Script, Vec<DuplexStream>) {
    let (mut near, far): (Vec<_>, Vec<_>) = (0..connections).map(|_| tokio::io::duplex(4096)).unzip();
    near.reverse();
    (Script(Mutex::new(near)), far)
}

/// The gateway's side of one connection that speaks JSON lines.
struct Gateway {
    lines: Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
    write: tokio::io::WriteHalf<DuplexStream>,
}

impl Gateway {
    fn new(stream: DuplexStream) -> Self {
        let (read, write) = split(stream);
        Self { lines: BufReader::new(read).lines(), write }
    }

    /// Expects a hello and replies that everything up to `ack` is durable.
    async fn welcome(&mut self, ack: u64) {
        assert_eq!(self.lines.next_line().await.unwrap().unwrap(), r#"{"hello":{"epoch":"e"}}"#);
        self.say(&format!(r#"{{"welcome":{{"epoch":"e","ack":{ack}}}}}"#)).await;
    }

    async fn say(&mut self, line: &str) {
        self.write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The sequence numbers of the next `count` messages.
    async fn take(&mut self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.len() < count {
            let line = self.lines.next_line().await.unwrap().expect("the device still sends");
            let message: serde_json::Value = serde_json::from_str(&line).unwrap();
            seqs.push(message["seq"].as_u64().unwrap());
        }
        seqs
    }

    /// Waits until the device has closed the connection.
    async fn closed(&mut self) {
        assert_eq!(self.lines.next_line().await.unwrap(), None);
    }
}

fn message(seq: u64) -> Message<Values> {
    let readings = vec![("a".to_owned(), Value::Number(0.5)), ("b".to_owned(), Value::Bool(true))];
    Message { seq, body: Values { time_ms: 1000, labels: Vec::new(), readings } }
}

fn source(seqs: impl IntoIterator<Item = u64>) -> mpsc::Receiver<Message<Values>> {
    let (sender, source) = mpsc::channel(100);
    for seq in seqs {
        sender.try_send(message(seq)).unwrap();
    }
    source
}

fn options() -> Options {
    Options::new("e".to_owned())
}

/// An event in short.
fn note<B>(event: &Event<'_, B>) -> String {
    match event {
        Event::Welcomed(ack) => format!("welcome {ack}"),
        Event::Disconnected { reason, .. } => (*reason).to_owned(),
        Event::Settled { message, refused, durable, .. } => format!("{} {refused} {durable}", message.seq),
        Event::AlreadyDurable(message) => format!("{} before", message.seq),
        Event::Refused(refusal, message) => {
            format!("{} refused: {}", message.map_or(0, |m| m.seq), refusal.code)
        }
    }
}

/// Runs a device with its gateway; returns the result and the device's events.
async fn run(
    dial: &Script,
    options: &Options,
    source: mpsc::Receiver<Message<Values>>,
    gateway: impl Future<Output = ()>,
) -> (Result<(), DeliverError>, Vec<String>) {
    let mut notes = Vec::new();
    let (result, ()) =
        tokio::join!(deliver(dial, JsonLines, options, source, |event| notes.push(note(&event))), gateway);
    (result, notes)
}

#[tokio::test(start_paused = true)]
async fn everything_is_sent_in_order_and_acknowledged() {
    let (dial, mut far) = script(1);
    let gateway = async {
        let mut gateway = Gateway::new(far.remove(0));
        gateway.welcome(0).await;
        assert_eq!(gateway.take(3).await, [1, 2, 3]);
        gateway.say(r#"{"ack":2}"#).await;
        gateway.say(r#"{"ack":3}"#).await;
        gateway.closed().await;
    };
    let (result, notes) = run(&dial, &options(), source(1..=3), gateway).await;
    assert_eq!(result, Ok(()));
    assert_eq!(notes, ["welcome 0", "1 0 true", "2 0 true", "3 0 true"]);
}

#[tokio::test(start_paused = true)]
async fn only_messages_above_the_welcomes_ack_are_resent() {
    let (dial, mut far) = script(2);
    let gateway = async {
        let mut first = Gateway::new(far.remove(0));
        first.welcome(0).await;
        assert_eq!(first.take(4).await, [1, 2, 3, 4]);
        first.say(r#"{"ack":1}"#).await;
        drop(first);
        // Message 2 had become durable before the connection broke.
        let mut second = Gateway::new(far.remove(0));
        second.welcome(2).await;
        assert_eq!(second.take(2).await, [3, 4]);
        second.say(r#"{"ack":4}"#).await;
        second.closed().await;
    };
    let (result, notes) = run(&dial, &options(), source(1..=4), gateway).await;
    assert_eq!(result, Ok(()));
    let closed = "the gateway closed the connection";
    assert_eq!(notes, ["welcome 0", "1 0 true", closed, "welcome 2", "2 0 true", "3 0 true", "4 0 true"]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_run_of_the_epoch_is_not_repeated() {
    let (dial, mut far) = script(1);
    let gateway = async {
        let mut gateway = Gateway::new(far.remove(0));
        gateway.welcome(2).await;
        assert_eq!(gateway.take(1).await, [3]);
        gateway.say(r#"{"ack":3}"#).await;
        gateway.closed().await;
    };
    let (result, notes) = run(&dial, &options(), source(1..=3), gateway).await;
    assert_eq!(result, Ok(()));
    assert_eq!(notes, ["welcome 2", "1 before", "2 before", "3 0 true"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_window_leaves_the_rest_with_the_caller() {
    let (dial, mut far) = script(1);
    let options = Options { messages_max: 2, ..options() };
    let gateway = async {
        let mut gateway = Gateway::new(far.remove(0));
        gateway.welcome(0).await;
        assert_eq!(gateway.take(2).await, [1, 2]);
        let third = tokio::time::timeout(Duration::from_secs(1), gateway.take(1)).await;
        assert!(third.is_err(), "sent beyond the window: {third:?}");
        gateway.say(r#"{"ack":1}"#).await;
        assert_eq!(gateway.take(1).await, [3]);
        gateway.say(r#"{"ack":3}"#).await;
        gateway.closed().await;
    };
    let (result, _) = run(&dial, &options, source(1..=3), gateway).await;
    assert_eq!(result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_reported_with_their_message() {
    let (dial, mut far) = script(1);
    let gateway = async {
        let mut gateway = Gateway::new(far.remove(0));
        gateway.welcome(0).await;
        assert_eq!(gateway.take(3).await, [1, 2, 3]);
        gateway.say(r#"{"error":{"code":"not_a_number","message":"x","line":2,"seq":1}}"#).await;
        // The hello was line 1, so line 4 is message 3, whose number could not be read: no ack will come.
        gateway.say(r#"{"error":{"code":"too_long","message":"x","line":4}}"#).await;
        gateway.say(r#"{"ack":2}"#).await;
        gateway.closed().await;
    };
    let (result, notes) = run(&dial, &options(), source(1..=3), gateway).await;
    assert_eq!(result, Ok(()));
    let refused = ["1 refused: not_a_number", "3 refused: too_long"];
    assert_eq!(notes, ["welcome 0", refused[0], refused[1], "1 1 true", "2 0 true", "3 1 false"]);
}

#[tokio::test(start_paused = true)]
async fn a_stall_reports_the_last_reason() {
    let (dial, _) = script(0);
    let options = Options { patience: Some(Duration::from_secs(3)), ..options() };
    let (result, notes) = run(&dial, &options, source([1]), async {}).await;
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "nothing was acknowledged for 3s: nobody listens");
    assert!(notes.len() > 3, "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_never_acknowledges_exhausts_patience() {
    let (dial, mut far) = script(1);
    let options = Options { patience: Some(Duration::from_secs(3)), ..options() };
    let gateway = async {
        let mut gateway = Gateway::new(far.remove(0));
        gateway.welcome(0).await;
        gateway.closed_after(1).await;
    };
    let (result, _) = run(&dial, &options, source([1]), gateway).await;
    assert!(matches!(result, Err(DeliverError::Stalled { .. })), "{result:?}");
}

impl Gateway {
    async fn closed_after(&mut self, messages: usize) {
        self.take(messages).await;
        self.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_hello_and_another_protocol_end_at_once() {
    for (answer, expected) in [
        (
            r#"{"error":{"code":"malformed","message":"no epoch","line":1}}"#,
            "refuses the hello: no epoch (malformed)",
        ),
        ("HTTP/1.1 400 Bad Request", "is the peer a Catchment gateway?"),
    ] {
        let (dial, mut far) = script(1);
        let gateway = async {
            let mut gateway = Gateway::new(far.remove(0));
            gateway.lines.next_line().await.unwrap();
            gateway.say(answer).await;
        };
        let (result, _) = run(&dial, &options(), source([1]), gateway).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_name_their_series_anew_on_each_connection() {
    async fn next(stream: &mut DuplexStream) -> wire::device_message::Kind {
        let length = stream.read_u32().await.unwrap() as usize;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        wire::DeviceMessage::decode(body.as_slice()).unwrap().kind.unwrap()
    }
    async fn say(stream: &mut DuplexStream, kind: wire::gateway_message::Kind) {
        let mut out = Vec::new();
        frame::put(&wire::GatewayMessage { kind: Some(kind) }, &mut out);
        stream.write_all(&out).await.unwrap();
    }
    let (dial, mut far) = script(2);
    let gateway = async {
        for (connection, seqs) in [(0, vec![1, 2]), (1, vec![2])] {
            let mut stream = far.remove(0);
            assert!(
                matches!(next(&mut stream).await, wire::device_message::Kind::Hello(hello) if hello.epoch == "e")
            );
            let welcome = wire::Welcome { epoch: "e".to_owned(), ack: connection };
            say(&mut stream, wire::gateway_message::Kind::Welcome(welcome)).await;
            let mut named = Vec::new();
            for seq in seqs {
                let wire::device_message::Kind::Readings(readings) = next(&mut stream).await else {
                    panic!()
                };
                assert_eq!(readings.seq, seq);
                named.extend(readings.define.iter().map(|name| name.index));
                let values: Vec<f64> =
                    readings.columns.iter().flat_map(|column| column.values.clone()).collect();
                assert_eq!(values, [0.5, 1.0]);
                assert!(readings.columns.iter().all(|column| named.contains(&column.series)));
            }
            assert_eq!(named, [1, 2]);
            if connection == 1 {
                say(&mut stream, wire::gateway_message::Kind::Ack(wire::Ack { ack: 2 })).await;
                assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            }
        }
    };
    let options = options();
    let delivered = deliver(&dial, Frames::default(), &options, source(1..=2), |_| ());
    let (result, ()) = tokio::join!(delivered, gateway);
    assert_eq!(result, Ok(()));
}
