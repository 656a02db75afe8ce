//! Devices that repeatedly disconnect in the middle of a message: the cut message is resent and counts once.

use catchment_tests::{connection::Protocol, device::Sample, model::QueryRequest, this_second, world::World};

#[tokio::test]
async fn connections_that_break_off_within_a_message_lose_and_double_nothing() {
    let world = World::small().await;
    let from = this_second() - 3000;
    for protocol in [Protocol::Json, Protocol::Frames] {
        let mut device = world.device(0, &format!("{protocol:?}"), protocol);
        for n in 0..300 {
            let sample = Sample::one(from + n * 7, "temperature", n as f64);
            match n % 5 {
                // Each cut is at another offset: in the length, in the number, in the value, before the end.
                3 => device.send_torn(&sample, (n / 5) as usize * 3).await,
                _ => device.send(&sample).await,
            }
        }
        device.settle().await;
        assert!(device.refused().is_empty(), "{:?}", device.refused());
    }
    let all = QueryRequest::new("temperature", from, from + 4000);
    world.agrees(&[all.clone().step(1000).by(&["device"]), all]).await;
}
