//! A device that moves to another gateway of its site counts once, where it was seen last.

use std::time::Duration;

use catchment_certs::Role;
use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::{
    DevicePage, FleetRequest, PageRequest, SummaryRequest, fleet_client::FleetClient,
};
use catchment_tests::{
    delivery::Delivery, eventually::eventually, now_ms, process::run, query, world::World,
};
use tokio::task::block_in_place;
use tonic::transport::Channel;

/// A stream of a gateway of Rome that delivers a reading of each device, of so long ago.
async fn deliver(world: &World, gateway: &str, devices: &[&str], ago: Duration) -> Delivery {
    let identity = world.pki.identity(Role::Gateway, "rome", gateway);
    let now = now_ms() / 1_000 * 1_000;
    let time = now - i64::try_from(ago.as_millis()).unwrap();
    let mut delivery =
        Delivery::start(query::channel(world.aggregator.addr(), &identity), 9, now - 7_200_000).await;
    let devices: Vec<String> = devices.iter().map(|device| (*device).to_owned()).collect();
    let mut partial = Partial::empty();
    partial.push(Timestamp::from_millis(time).unwrap(), 20.5);
    delivery.deliver_devices(&devices, "temperature", time, &partial, now - 4_000).await;
    delivery
}

fn names(page: &DevicePage) -> Vec<(&str, &str)> {
    page.devices.iter().map(|one| (one.gateway.as_str(), one.device.as_str())).collect()
}

async fn page(fleet: &mut FleetClient<Channel>, request: PageRequest) -> DevicePage {
    fleet.page_devices(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_moved_is_silent_and_counted_where_it_was_seen_last() {
    let world = World::builder().start().await;
    let hour = Duration::from_secs(3_600);
    // One moved, one is silent at the gateway that it never left, one is silent since it moved.
    let _left = deliver(&world, "a", &["moved", "quiet", "lost"], hour).await;
    let moved = deliver(&world, "b", &["moved"], Duration::from_secs(5)).await;
    let _lost = deliver(&world, "c", &["lost"], hour / 2).await;
    let mut fleet = FleetClient::new(world.operator());

    let summary = fleet.summarize(SummaryRequest::default()).await.unwrap().into_inner();
    let total = summary.total.unwrap();
    assert_eq!((total.devices, total.silent, summary.sites[0].silent), (3, 2, 2));

    let all = page(&mut fleet, PageRequest { sort: "worst".to_owned(), ..PageRequest::default() }).await;
    let order = [("a", "quiet"), ("c", "lost"), ("b", "moved"), ("a", "lost"), ("a", "moved")];
    assert_eq!((names(&all), all.total), (order.to_vec(), 5));
    let marks: Vec<bool> = all.devices.iter().map(|one| one.moved).collect();
    assert_eq!(marks, [false, false, false, true, true]);
    let silent = |selector: &str| PageRequest {
        selector: selector.to_owned(),
        problems: true,
        ..PageRequest::default()
    };
    assert_eq!(
        names(&page(&mut fleet, silent("")).await),
        [("c", "lost"), ("a", "quiet")],
        "in order of names"
    );
    // Whoever asks for one gateway alone is told the same.
    let of_a = page(&mut fleet, silent(r#"{gateway="a"}"#)).await;
    assert_eq!((names(&of_a), of_a.found, of_a.total), (vec![("a", "quiet")], 1, 3));

    let mut list = fleet.list_devices(FleetRequest::default()).await.unwrap().into_inner();
    let mut marked = Vec::new();
    while let Some(one) = list.message().await.unwrap() {
        marked.extend(one.moved.then_some((one.gateway, one.device)));
    }
    let expected = [("a", "lost"), ("a", "moved")];
    assert_eq!(marked, expected.map(|(gateway, device)| (gateway.to_owned(), device.to_owned())));
    block_in_place(|| shown(&world));

    // Its certificate ends soon: once.
    moved.tell_certificate("moved", now_ms() / 1_000 + 86_400).await;
    eventually("a certificate that ends soon", async || {
        let summary = fleet.summarize(SummaryRequest::default()).await.unwrap().into_inner();
        let counted = summary.total.unwrap().expiring;
        if counted == 1 { Ok(()) } else { Err(format!("{counted}")) }
    })
    .await;
    let expiring = PageRequest { expires_within_s: 2 * 86_400, ..PageRequest::default() };
    assert_eq!(names(&page(&mut fleet, expiring).await), [("b", "moved")]);
}

/// `catchment top` marks it.
fn shown(world: &World) {
    let url = format!("https://{}", world.aggregator.addr());
    let operator = world.pki.operator();
    let connection = ["--aggregator", &url, "--identity", operator.to_str().unwrap()];
    let arguments = [&["top", "--once", "--ascii", "--view", "devices"], &connection[..]].concat();
    let text = String::from_utf8(run("catchment", &arguments, "").stdout).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains(" moved ")).count(), 3, "{text}");
}
