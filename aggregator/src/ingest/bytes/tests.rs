use std::task::Waker;

use super::*;
use crate::testing::gateway;

const BOUNDS: ByteBounds = ByteBounds { max: 1_000, per_gateway_max: 400, message: 100, stream: 10 };

/// Reads a message of `bytes`, if the budget allows it.
fn takes(stream: &StreamBytes, bytes: usize) -> bool {
    let read = stream.poll_read(&mut Context::from_waker(Waker::noop()), |_| Poll::Ready(()));
    if read.is_ready() {
        stream.read(bytes);
    }
    read.is_ready()
}

fn is_evicted(stream: &StreamBytes) -> bool {
    let mut evicted = std::pin::pin!(stream.evicted());
    evicted.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn a_gateway_at_its_share_waits_and_the_others_do_not() {
    let bytes = IngestBytes::new(BOUNDS);
    let (bad, good) =
        (bytes.enter(&gateway("b", "bad")).unwrap(), bytes.enter(&gateway("b", "good")).unwrap());
    assert_eq!((0..50).filter(|_| takes(&bad, 90)).count(), 4, "90 each, and 10 for the stream");
    assert!(bytes.counts().gateway_most <= BOUNDS.per_gateway_max);
    assert_eq!((bytes.counts().share_waits, bytes.counts().waiting), (1, 1));
    assert!(takes(&good, 50));
    bad.release(90);
    assert!(takes(&bad, 90) && !takes(&bad, 90));
    drop(bad);
    assert_eq!((bytes.counts().used, bytes.counts().waiting), (60, 0));
}

#[test]
fn streams_together_never_exceed_the_whole_and_take_turns_in_order() {
    let bytes = IngestBytes::new(BOUNDS);
    let streams: Vec<StreamBytes> =
        (0..20).map(|n| bytes.enter(&gateway("b", &format!("g{n}"))).unwrap()).collect();
    let mut served = 0;
    for stream in &streams {
        while takes(stream, 77) {
            served += 1;
            assert!(bytes.counts().used <= BOUNDS.max);
            if served % 3 == 0 {
                break;
            }
        }
    }
    assert!(bytes.counts().used > BOUNDS.max - 2 * BOUNDS.message, "it is used");
    let waiting = bytes.counts().waiting;
    assert!(waiting > 10 && bytes.counts().waits >= waiting as u64);
    // Freed room goes to the stream that has waited longest, not to the one that asks next.
    let first = streams.len() - waiting;
    streams[0].release(77 * 3);
    assert!(!takes(&streams[19], 77) && !takes(&streams[0], 77));
    assert!(takes(&streams[first], 77), "the first in line");
    streams[first + 1].pass();
    assert!(takes(&streams[first + 2], 77), "a stream that does not want to read is skipped");
}

#[test]
fn waiting_streams_are_woken_one_by_one() {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let bytes = IngestBytes::new(ByteBounds { per_gateway_max: 1_000, ..BOUNDS });
    let full = bytes.enter(&gateway("b", "full")).unwrap();
    while takes(&full, 100) {}
    full.pass();
    let flags: Vec<Arc<Flag>> = (0..3).map(|_| Arc::new(Flag(false.into()))).collect();
    let waiting: Vec<StreamBytes> = flags
        .iter()
        .zip(0..)
        .map(|(flag, n)| {
            let stream = bytes.enter(&gateway("b", &format!("g{n}"))).unwrap();
            let waker = Waker::from(Arc::clone(flag));
            let read = stream.poll_read(&mut Context::from_waker(&waker), |_| Poll::Ready(()));
            assert!(read.is_pending());
            stream
        })
        .collect();
    let woken =
        || flags.iter().map(|flag| flag.0.load(std::sync::atomic::Ordering::Relaxed)).collect::<Vec<_>>();
    assert_eq!(woken(), [false; 3]);
    full.release(500);
    assert_eq!(woken(), [true, false, false]);
    // It finds nothing to read: the next one gets its turn.
    let read = waiting[0].poll_read(&mut Context::from_waker(Waker::noop()), |_| Poll::<()>::Pending);
    assert!(read.is_pending());
    assert_eq!(woken(), [true, true, false]);
    // It ends.
    let mut waiting = waiting;
    drop(waiting.remove(1));
    assert_eq!(woken(), [true; 3]);
}

#[test]
fn however_many_streams_there_are_one_message_at_a_time_is_read() {
    let bytes = IngestBytes::new(BOUNDS);
    let streams: Vec<StreamBytes> =
        (0..500).map(|n| bytes.enter(&gateway("b", &format!("g{n}"))).unwrap()).collect();
    for stream in &streams {
        assert!(takes(stream, 100));
        stream.release(100);
    }
    assert!(takes(&streams[0], 100) && takes(&streams[1], 100) && !takes(&streams[2], 100));
}

#[test]
fn least_recently_used_names_are_evicted_first_and_from_a_gateway_with_too_many() {
    let bytes = IngestBytes::new(BOUNDS);
    let [a, b, c] = ["a", "b", "c"].map(|name| bytes.enter(&gateway("b", name)).unwrap());
    a.names(150);
    b.names(190);
    c.names(100);
    assert!(![&a, &b, &c].into_iter().any(is_evicted));
    a.names(160);
    c.names(150);
    assert_eq!([&a, &b, &c].map(is_evicted), [false, true, false]);
    c.names(160);
    assert_eq!([&a, &c].map(is_evicted), [false, false], "evicted streams count as gone");
    drop(b);
    c.names(201);
    assert_eq!([&a, &c].map(is_evicted), [false, true], "more than half of its share");
    drop((a, c));
    assert_eq!(bytes.counts(), ByteCounts { share_waits: 0, waits: 0, ..ByteCounts::default() });
}

#[test]
fn the_streams_of_a_gateway_are_limited() {
    let bytes = IngestBytes::new(BOUNDS);
    let bad = gateway("b", "bad");
    let mut streams: Vec<StreamBytes> = std::iter::from_fn(|| bytes.enter(&bad)).take(100).collect();
    assert_eq!(streams.len(), STREAMS_MAX);
    assert!(bytes.enter(&gateway("b", "good")).is_some());
    streams.pop();
    assert!(bytes.enter(&bad).is_some());
}
