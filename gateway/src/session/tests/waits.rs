//! Sessions that wait: what they hold meanwhile.

use std::{num::NonZeroU32, rc::Rc, time::Duration};

use catchment_settings::token_bucket::Rate;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

use super::{
    super::CloseReason,
    ends::{start, start_over},
};
use crate::session::protocol::Protocol;

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_holds_what_it_has_read_and_no_buffer() {
    let (mut running, session) = start(Some(Protocol::Json));
    let rate = Rate::new(NonZeroU32::MIN, Duration::from_secs(5));
    running.device_sessions.borrow_mut().limit_readings(Some(rate));
    let metrics = std::sync::Arc::clone(&running.context.metrics);
    let device = async {
        let values: Vec<_> = (0..10).map(|n| format!("\"v{n}\":1")).collect();
        running.device.write_all(format!("{{{}}}\n", values.join(",")).as_bytes()).await.unwrap();
        while metrics.readings.get() < 10 {
            sleep(Duration::from_millis(1)).await;
        }
        let waiting = &running.context.session_table.waiting;
        assert_eq!(waiting.held(), 0);
        // It has sent twice as much as its burst: it waits for five seconds.
        running.device.write_all(b"{\"v0\":2}\n").await.unwrap();
        sleep(Duration::from_millis(100)).await;
        assert_eq!((waiting.held(), metrics.pace.rate_waits.get()), (9, 1));
        running.signal.end(CloseReason::Revoked);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(waiting.held(), 0);
    };
    let (why, ()) = tokio::join!(session, device);
    assert_eq!(why, CloseReason::Revoked);
}

#[tokio::test]
async fn a_session_that_waits_notices_that_its_connection_is_broken_and_gives_its_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let device = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (mut running, session) = start_over((device, stream), Some(Protocol::Json));
    let rate = Rate::new(NonZeroU32::MIN, Duration::from_secs(1));
    running.device_sessions.borrow_mut().limit_readings(Some(rate));
    let metrics = std::sync::Arc::clone(&running.context.metrics);
    let device = async {
        let line = b"{\"a\":1,\"b\":2,\"c\":3}\n";
        running.device.write_all(&line.repeat(100)).await.unwrap();
        while metrics.readings.get() < 300 {
            sleep(Duration::from_millis(1)).await;
        }
        // It waits for five minutes, and looks again each second.
        running.device.write_all(line).await.unwrap();
        while metrics.pace.rate_waits.get() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let silence = || running.context.session_table.silence(1, Instant::now());
        assert_eq!(silence(), None);
        rustix::net::sockopt::set_socket_linger(&running.device, Some(Duration::ZERO)).unwrap();
        drop(running.device);
        let noticed = async {
            while silence().is_none() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), noticed).await.expect("the reset is noticed");
        assert_eq!(silence(), Some(Duration::MAX));
        running.signal.end(CloseReason::Displaced);
    };
    let handle = Rc::clone(&running.handle);
    let (why, ()) = tokio::join!(session, device);
    assert_eq!((why, handle.silence_if_alive()), (CloseReason::Displaced, None), "its program is gone");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_there_is_no_room_and_waiting_sessions_hold_all_that_they_may() {
    let (mut running, session) = start(Some(Protocol::Json));
    let metrics = std::sync::Arc::clone(&running.context.metrics);
    let context = Rc::clone(&running.context);
    let device = async {
        let waiting = &context.session_table.waiting;
        let guards = (waiting.hold(usize::MAX / 2), waiting.wait_for_room());
        running.device.write_all(b"{\"a\":1}\n").await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(metrics.readings.get(), 1, "it was reading already");
        // Longer than the device may be silent, or a message unfinished.
        running.device.write_all(b"{\"a\":2}\n").await.unwrap();
        sleep(Duration::from_secs(100_000)).await;
        assert_eq!(metrics.readings.get(), 1);
        drop(guards);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(metrics.readings.get(), 2);
        let guards = (waiting.hold(usize::MAX / 2), waiting.wait_for_room());
        running.device.write_all(b"{\"a\":3}\n").await.unwrap();
        sleep(Duration::from_millis(1)).await;
        running.signal.end(CloseReason::Revoked);
        sleep(Duration::from_millis(1)).await;
        drop(guards);
    };
    let (why, ()) = tokio::join!(session, device);
    assert_eq!(why, CloseReason::Revoked, "its end is not waited for");
}
