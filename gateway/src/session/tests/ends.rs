//! Sessions that are ended from outside, in each protocol: the end is prompt whatever the device does, says why where the
//! protocol can, and nothing is taken after it.

use std::{cell::RefCell, rc::Rc, time::Duration};

use catchment_journal::{Commit, Position};
use catchment_proto::{Name, frame, wire};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::super::{
    CloseReason, Context, EndSignal, SessionHandle, protocol::Protocol, run, stream::SessionStream,
};
use crate::device::DeviceSessions;

/// A session that runs, and the device's end of its connection.
pub(super) struct Running<S = DuplexStream> {
    pub(super) device: S,
    pub(super) signal: EndSignal,
    pub(super) handle: Rc<SessionHandle>,
    pub(super) context: Rc<Context>,
    pub(super) device_sessions: Rc<RefCell<DeviceSessions>>,
    _folder: tempfile::TempDir,
}

/// Starts a session of a protocol; the result is that of the session, as its device sees it.
pub(super) fn start(protocol: Option<Protocol>) -> (Running, impl Future<Output = CloseReason>) {
    start_over(duplex(256 << 10), protocol)
}

/// Like [`start`], over a stream of which these are the device's end and the session's.
pub(super) fn start_over<S: SessionStream>(
    (device, stream): (S, S),
    protocol: Option<Protocol>,
) -> (Running<S>, impl Future<Output = CloseReason>) {
    let folder = tempfile::tempdir().unwrap();
    let context = Context::testing(folder.path());
    let signal = EndSignal::new(context.ending.child_token());
    let metrics = std::sync::Arc::clone(&context.metrics);
    let mut device_sessions = DeviceSessions::new(Name::new("press").unwrap(), 4, 10, metrics);
    assert_eq!(device_sessions.attach(1), None);
    let handle = SessionHandle::new(signal.clone(), None);
    context.session_table.insert(1, &handle);
    let device_sessions = Rc::new(RefCell::new(device_sessions));
    let held = Rc::clone(&handle);
    let session = run(stream, Ok(protocol), 1, held, Rc::clone(&device_sessions), Rc::clone(&context));
    (Running { device, signal, handle, context, device_sessions, _folder: folder }, session)
}

/// A CONNECT of MQTT 5 or 3.1.1.
fn connect(version: u8) -> Vec<u8> {
    let mut body = [&[0, 4][..], b"MQTT", &[version, 2, 0, 0]].concat();
    if version == 5 {
        body.push(0);
    }
    body.extend([0, 1, b'c']);
    [&[0x10, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

/// Whether what was taken becomes durable.
#[derive(Clone, Copy, Debug)]
enum Commits {
    AtOnce,
    Never,
}

/// A message that is taken.
fn message(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Json => b"{\"a\":1}\n".to_vec(),
        Protocol::LineProtocol => b"m a=1\n".to_vec(),
        Protocol::Mqtt => connect(5),
        Protocol::Frames => {
            let hello = wire::device_message::Kind::Hello(wire::Hello { epoch: "e".to_owned() });
            let mut bytes = Vec::new();
            frame::put(&wire::DeviceMessage { kind: Some(hello) }, &mut bytes);
            bytes
        }
    }
}

/// The session's end by a reason, while its device waits for an answer: what it then reads, and how long that took.
async fn ended_by(
    protocol: Option<Protocol>,
    first: &[u8],
    why: CloseReason,
    commits: Commits,
) -> (CloseReason, Vec<u8>, Duration) {
    let (mut running, session) = start(protocol);
    if let Commits::AtOnce = commits {
        let commit = Commit { durable: Position::new(u64::MAX), poisoned: None, full: false };
        running.context.commit_waiters.synced(&commit);
    }
    let device = async {
        running.device.write_all(first).await.unwrap();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        let signal = running.signal.clone();
        // From another thread, as the registry does.
        std::thread::spawn(move || signal.end(why)).join().unwrap();
        let mut words = Vec::new();
        running.device.read_to_end(&mut words).await.unwrap();
        (words, begun.elapsed())
    };
    let (closed, (words, took)) = tokio::join!(session, device);
    (closed, words, took)
}

#[tokio::test(start_paused = true)]
async fn every_protocol_hears_why_as_far_as_it_has_words() {
    for (why, mqtt) in [
        (CloseReason::Revoked, 0x87),
        (CloseReason::Expired, 0x87),
        (CloseReason::Untrusted, 0x87),
        (CloseReason::ConnectionAge, 0xa0),
    ] {
        let said = |words: &[u8]| String::from_utf8_lossy(words).contains(why.reason());
        let code = format!("\"code\":\"{}\"", why.reason());
        for (protocol, first) in [
            (None, &b""[..]),
            (None, b"{\"a\":"),
            (Some(Protocol::Json), b""),
            (None, &message(Protocol::Json)),
        ] {
            let (closed, words, _) = ended_by(protocol, first, why, Commits::AtOnce).await;
            assert_eq!(closed, why);
            let words = String::from_utf8_lossy(&words).into_owned();
            assert!(words.contains(&code), "{why:?} {protocol:?} {first:?}: {words}");
        }
        for first in [&b""[..], &[0, 0, 1], &message(Protocol::Frames)] {
            let (closed, words, _) = ended_by(Some(Protocol::Frames), first, why, Commits::AtOnce).await;
            assert_eq!((closed, said(&words)), (why, true), "{words:?}");
        }
        // An MQTT client hears it in a DISCONNECT once it is connected, if its version has reasons.
        let (closed, words, _) = ended_by(Some(Protocol::Mqtt), &connect(5), why, Commits::AtOnce).await;
        assert_eq!(closed, why);
        assert!(words.windows(3).any(|bytes| bytes[0] == 0xe0 && bytes[2] == mqtt), "{words:?}");
        for (protocol, first) in [
            (Protocol::Mqtt, connect(4)),
            (Protocol::LineProtocol, message(Protocol::LineProtocol)),
            (Protocol::LineProtocol, b"m a=".to_vec()),
        ] {
            let (closed, words, _) = ended_by(Some(protocol), &first, why, Commits::AtOnce).await;
            assert_eq!((closed, said(&words)), (why, false), "{words:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_trusted_any_more_is_closed_within_a_second_whatever_it_waits_for() {
    for protocol in [Protocol::Json, Protocol::Frames, Protocol::LineProtocol, Protocol::Mqtt] {
        // The acknowledgement never becomes durable.
        let (closed, _, took) =
            ended_by(Some(protocol), &message(protocol), CloseReason::Revoked, Commits::Never).await;
        assert_eq!(closed, CloseReason::Revoked);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    // Its answers are stuck because it does not read.
    let (mut running, session) = start(Some(Protocol::Json));
    let device = async {
        let lines = "nonsense\n".repeat(1_000);
        let filling = async { while running.device.write_all(lines.as_bytes()).await.is_ok() {} };
        assert!(
            tokio::time::timeout(Duration::from_secs(5), filling).await.is_err(),
            "the session waits for room"
        );
        running.signal.end(CloseReason::Revoked);
        Instant::now()
    };
    let (closed, begun) = tokio::join!(async { (session.await, Instant::now()) }, device);
    assert_eq!(closed.0, CloseReason::Revoked);
    assert!(closed.1 - begun < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_after_the_end_not_even_what_was_read_before() {
    let (mut running, session) = start(Some(Protocol::Json));
    // More than a session reads at once.
    let lines = "{\"a\":1}\n".repeat(50_000);
    let metrics = std::sync::Arc::clone(&running.context.metrics);
    let (device, signal) = (&mut running.device, running.signal.clone());
    let writing = async {
        let _ = device.write_all(lines.as_bytes()).await;
    };
    let ending = async {
        while metrics.messages.get() == 0 {
            tokio::task::yield_now().await;
        }
        signal.end(CloseReason::Revoked);
        metrics.messages.get()
    };
    let (closed, (), taken) = tokio::join!(session, writing, ending);
    assert_eq!((closed, metrics.messages.get()), (CloseReason::Revoked, taken));
    assert!((1..50_000).contains(&taken), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_counts_and_a_stopping_gateway_says_so() {
    let (running, session) = start(Some(Protocol::Json));
    running.context.session_table.end(1, CloseReason::Displaced);
    running.signal.end(CloseReason::Revoked);
    running.context.ending.cancel();
    drop(running.device);
    assert_eq!(session.await, CloseReason::Displaced);
    let (running, session) = start(Some(Protocol::Json));
    running.context.ending.cancel();
    drop(running.device);
    assert_eq!(session.await, CloseReason::Stopping);
    assert!(EndSignal::new(CancellationToken::new()).why().is_none());
}
