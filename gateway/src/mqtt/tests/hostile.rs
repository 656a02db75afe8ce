//! Bytes that no well-meaning client sends, and bytes in pieces.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

/// A session with everything in it.
fn session(version: u8) -> Vec<u8> {
    let mut bytes = connect_with(version, 0, &[0x11, 0, 0, 0, 9], "press");
    bytes.extend(publish(version, 0, 0, "telemetry/m", b"1"));
    bytes.extend(publish(version, 1, 1, "telemetry", b"{\"ts\":1000,\"values\":{\"a\":1,\"b\":true}}"));
    bytes.extend(publish(version, 2, 2, "influx", b"env,room=3 t=1,h=2i"));
    if version == 5 {
        bytes.extend(publish_with(5, 1, 3, "telemetry/x", &[0x23, 0, 1, 0x01, 1], b"1"));
        bytes.extend(publish_with(5, 1, 4, "", &[0x23, 0, 1], b"1"));
    }
    bytes.extend(release(2));
    let properties = if version == 5 { vec![0] } else { vec![] };
    bytes.extend(packet(0x82, &[vec![0, 7], properties.clone(), text("a/#"), vec![1]].concat()));
    bytes.extend(packet(0xa2, &[vec![0, 8], properties, text("a/#")].concat()));
    bytes.extend(PING);
    bytes.extend([0xe0, 0]);
    bytes
}

/// What a whole session came to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    values: Vec<f64>,
    messages: usize,
    refusals: usize,
    answers: Vec<u8>,
    end: Option<Stop>,
}

/// Feeds a session's bytes in pieces as a socket would; bounded, or it fails.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut side = Side::new();
    let mut outcome = Outcome::default();
    let mut buffer: Vec<u8> = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let (intake, stop, used) = side.feed_some(&buffer);
            assert!(used <= buffer.len());
            buffer.drain(..used);
            outcome.values.extend(intake.readings.iter().map(|reading| reading.value));
            outcome.messages += intake.messages.len();
            outcome.refusals += intake.refusals.len();
            let mut out = BytesMut::new();
            for reply in &intake.replies {
                if let Err(violation) = side.connection.put(reply, &mut out) {
                    outcome.end = Some(Stop::Broken(violation));
                    return outcome;
                }
            }
            outcome.answers.extend_from_slice(&out);
            match stop {
                Stop::More => break,
                Stop::Enough => {}
                Stop::Open(_) => outcome.answers.extend(side.connection.accept(false)),
                Stop::Broken(ref why) => {
                    outcome.answers.extend(side.connection.close_packet(why));
                    outcome.end = Some(stop);
                    return outcome;
                }
                Stop::Done => {
                    outcome.end = Some(stop);
                    return outcome;
                }
            }
        }
    }
    outcome
}

#[test]
fn a_session_is_the_same_wherever_it_is_cut() {
    for version in [4, 5] {
        let bytes = session(version);
        let whole = run([&bytes[..]]);
        assert_eq!(whole.end, Some(Stop::Done));
        assert_eq!(whole.values.len(), if version == 5 { 7 } else { 5 });
        assert_eq!(whole.refusals, 0);
        for at in 0..bytes.len() {
            assert_eq!(run([&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
        }
        assert_eq!(run(bytes.chunks(1)), whole);
    }
}

#[test]
fn many_messages_are_handed_on_in_several_intakes() {
    let mut side = Side::open(4);
    let bytes = publish(4, 0, 0, "telemetry/m", b"1").repeat(20_000);
    let (first, stop, used) = side.feed_some(&bytes);
    assert_eq!(stop, Stop::Enough);
    let (second, stop) = side.feed(&bytes[used..]);
    assert_eq!((first.messages.len() + second.messages.len(), stop), (20_000, Stop::More));
    // Packets that hold nothing are bounded too.
    let (pings, stop, _) = side.feed_some(&PING.repeat(20_000));
    assert_eq!((pings.replies.len() < 20_000, stop), (true, Stop::Enough));
}

#[test]
fn good_messages_before_a_bad_one_are_taken() {
    for bad in [&[0x10, 0xff, 0xff, 0xff, 0xff, 0x01][..], &[0xf0, 0], &[0, 0], &[0x62, 1, 0], &[0x40, 0]] {
        let mut side = Side::open(5);
        let bytes = [&publish(5, 1, 1, "telemetry/m", b"1")[..], bad].concat();
        let (intake, stop, _) = side.feed_some(&bytes);
        assert_eq!(intake.readings.len(), 1);
        assert!(matches!(stop, Stop::Broken(_)), "{bad:?}: {stop:?}");
    }
}

#[test]
fn a_packet_beyond_the_bound_is_not_waited_for() {
    // The payload may be as long as any message, whatever the topic.
    let fits = publish(5, 1, 1, "telemetry", &[b' '; MESSAGE_MAX]);
    assert_eq!(Side::open(5).feed(&fits).1, Stop::More);
    let header = [0x32, 0x80, 0x80, 0x08];
    let (reason, goodbye) = Side::open(5).broken(&header);
    assert_eq!(reason, DisconnectReasonCode::PacketTooLarge);
    assert!(is_disconnect(&goodbye, 0x95));
    // A payload between both bounds is refused alone.
    let (intake, stop) = Side::open(5).feed(&publish(5, 1, 1, "telemetry", &[b' '; MESSAGE_MAX + 1]));
    assert_eq!((stop, intake.refusals.len()), (Stop::More, 1));
}

#[test]
fn mutated_sessions_end_or_go_on_and_nothing_else() {
    let sessions = [session(4), session(5)];
    let mut random = StdRng::seed_from_u64(7);
    let mut ends = [0_usize; 2];
    for number in 0..20_000 {
        let mut bytes = sessions[number % 2].clone();
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes[at] = random.random(),
                1 => bytes[at] ^= 1 << random.random_range(0..8),
                2 => _ = bytes.remove(at),
                _ => bytes.insert(at, random.random()),
            }
        }
        let cut = random.random_range(0..bytes.len());
        let outcome = run([&bytes[..cut], &bytes[cut..]]);
        ends[usize::from(matches!(outcome.end, Some(Stop::Broken(_))))] += 1;
        assert!(outcome.values.len() < 100 && outcome.answers.len() < 2_000, "{outcome:?}");
        assert!(outcome.values.iter().all(|value| !value.is_infinite()));
    }
    assert!(ends[0] > 1_000 && ends[1] > 1_000, "both occur: {ends:?}");
}
