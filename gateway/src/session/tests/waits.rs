//! Sessions that wait: what they hold meanwhile.

use std::{num::NonZeroU32, time::Duration};

use catchment_settings::token_bucket::Rate;
use tokio::{io::AsyncWriteExt as _, time::sleep};

use super::{super::CloseReason, ends::start};
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
