//! The rate of a device's readings, over its sessions.

use std::num::NonZeroU32;

use catchment_settings::token_bucket::Rate;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limited(per_second: u32) -> Device {
    let mut device = Device::new(Protocol::Json);
    assert_eq!(device.device_sessions.attach(2), None);
    device.device_sessions.limit_readings(Some(Rate::new(NonZeroU32::new(per_second).unwrap(), 5 * SECOND)));
    device
}

impl Device {
    fn wait(&self) -> Duration {
        self.device_sessions.readings_wait(self.shard.mono())
    }
}

#[test]
fn all_sessions_of_a_device_share_its_tokens_and_nothing_is_refused() {
    let mut device = limited(10);
    let lines = |count: usize| "{\"a\":1,\"b\":2}\n".repeat(count);
    assert_eq!(device.feed(lines(20).as_bytes()).0, 0);
    assert_eq!(device.wait(), Duration::ZERO, "ten of the burst are left");
    device.decoder = Device::decoder(Protocol::Json);
    // Another session takes them, and thirty more: they are taken, and the device has to wait.
    let (intake, _) = device.decode(lines(20).as_bytes());
    let outcome = loop {
        match device.device_sessions.take(2, &intake, &mut device.shard) {
            Err(Backpressure::Sync) => std::thread::sleep(Duration::from_millis(1)),
            outcome => break outcome.unwrap(),
        }
    };
    assert!(matches!(outcome, IntakeOutcome::Taken { refusals, .. } if refusals.is_empty()));
    assert_eq!((device.taken(), device.wait()), (80, Duration::from_millis(3_100)));
    device.clock.advance(3 * SECOND);
    assert_eq!(device.wait(), Duration::from_millis(100));
    device.clock.advance(SECOND);
    assert_eq!(device.wait(), Duration::ZERO);
}

#[test]
fn readings_that_were_sent_before_and_states_count_too() {
    let mut device = limited(1);
    device.device_sessions.hello(1, "e".into(), &device.shard);
    assert!(matches!(device.decode(b"{\"hello\":{\"epoch\":\"e\"}}\n").1, DecodeStop::Hello(_)));
    for _ in 0..3 {
        device.feed(b"{\"seq\":1,\"values\":{\"a\":1,\"mode\":\"auto\"}}\n");
    }
    assert_eq!(device.taken(), 2);
    assert_eq!(device.wait(), 2 * SECOND, "six of five");
}

#[test]
fn a_device_is_shown_as_delayed_while_one_of_its_sessions_waits() {
    let device = Device::new(Protocol::Json);
    let (metrics, sessions) =
        (device.metrics, std::rc::Rc::new(std::cell::RefCell::new(device.device_sessions)));
    let (first, second) = (DelayGuard::new(&sessions), DelayGuard::new(&sessions));
    assert_eq!(metrics.devices_delayed.get(), 1);
    drop(first);
    assert_eq!(metrics.devices_delayed.get(), 1);
    drop(second);
    assert_eq!(metrics.devices_delayed.get(), 0);
}
