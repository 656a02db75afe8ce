use std::sync::atomic::AtomicUsize;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A place that may be taken away.
fn sit(places: &Arc<Places>, addr: &str) -> Place {
    let place = places.try_take(ip(addr)).unwrap();
    place.give_way(|| ());
    place
}

/// Notes in which order places were taken away.
#[derive(Clone, Default)]
struct Evicted(Arc<Mutex<Vec<u32>>>);

impl Evicted {
    fn note(&self, place: &Place, number: u32) {
        let evicted = Arc::clone(&self.0);
        place.give_way(move || evicted.lock().unwrap().push(number));
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn the_silent_give_way_and_those_that_were_heard_stay() {
    let places = Places::new(3, 3);
    let evicted = Evicted::default();
    let held: Vec<Place> = (0..3)
        .map(|number| {
            let place = sit(&places, "192.0.2.1");
            evicted.note(&place, number);
            place
        })
        .collect();
    held[0].heard();
    let next = sit(&places, "192.0.2.2");
    assert_eq!(evicted.take(), [1], "the oldest silent one");
    assert!(held[1].is_evicted() && !held[0].is_evicted() && !held[2].is_evicted());
    assert_eq!(places.taken(), 3);
    next.heard();
    held[2].heard();
    assert_eq!(places.try_take(ip("192.0.2.3")).unwrap_err(), Full::All);
    // What was taken away is not given back twice.
    drop(held);
    assert_eq!(places.taken(), 1);
    drop(next);
    assert_eq!(places.taken(), 0);
    let state = places.lock();
    assert!(state.addresses.is_empty() && state.silent.seats.is_empty() && state.silent.crowds.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crowd_from_one_address_costs_that_address() {
    let places = Places::new(10, 10);
    let evicted = Evicted::default();
    let honest = sit(&places, "192.0.2.1");
    evicted.note(&honest, 0);
    let mut crowd = Vec::new();
    for number in 1..100 {
        let place = sit(&places, "198.51.100.7");
        evicted.note(&place, number);
        crowd.push(place);
    }
    let gone = evicted.take();
    assert_eq!(gone, (1..=90).collect::<Vec<_>>());
    assert!(!honest.is_evicted());
}

#[tokio::test(start_paused = true)]
async fn an_address_has_its_places_and_a_network_of_ipv6_is_one() {
    let places = Places::new(10, 2);
    let first = sit(&places, "2001:db8::1");
    let second = sit(&places, "2001:db8::ffff:1");
    first.heard();
    second.heard();
    assert_eq!(places.try_take(ip("2001:db8::2")).unwrap_err(), Full::Address);
    let _other = sit(&places, "2001:db8:0:1::1");
    let mapped = ["192.0.2.1", "::ffff:192.0.2.1"].map(|addr| sit(&places, addr));
    mapped.iter().for_each(Place::heard);
    assert_eq!(places.try_take(ip("192.0.2.1")).unwrap_err(), Full::Address);
    drop(first);
    // One that is silent gives way to another of its address.
    let silent = sit(&places, "2001:db8::3");
    let _next = sit(&places, "2001:db8::4");
    assert!(silent.is_evicted());
    assert_eq!(places.taken(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_should_be_over_gives_way_late_or_to_another_address() {
    let places = Places::giving_way_after(4, 4, Duration::from_secs(2));
    let busy: Vec<Place> = (0..4).map(|_| sit(&places, "192.0.2.1")).collect();
    busy.iter().for_each(Place::heard);
    assert!(places.try_take(ip("192.0.2.1")).is_err());
    let _other = sit(&places, "192.0.2.2");
    assert!(busy[0].is_evicted() && !busy[1].is_evicted());
    _other.heard();
    let start = Instant::now();
    let _next = places.take(ip("192.0.2.1")).await.unwrap();
    assert!(busy[1].is_evicted() && !busy[2].is_evicted());
    assert!(start.elapsed() >= Duration::from_secs(2) && start.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_has_the_next_free_place() {
    let places = Places::new(1, 1);
    let first = sit(&places, "192.0.2.1");
    first.heard();
    let waiting = {
        let places = Arc::clone(&places);
        tokio::spawn(async move { places.take(ip("192.0.2.2")).await.is_ok() })
    };
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    drop(first);
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_has_looked_at_gives_way_to_nobody() {
    let places = Places::new(2, 1);
    let first = places.try_take(ip("192.0.2.1")).unwrap();
    let other = places.try_take(ip("192.0.2.2")).unwrap();
    assert_eq!(places.try_take(ip("192.0.2.1")).unwrap_err(), Full::Address);
    assert_eq!(places.try_take(ip("192.0.2.3")).unwrap_err(), Full::All);
    let waiting = {
        let places = Arc::clone(&places);
        tokio::spawn(async move { drop(places.take_patiently(ip("192.0.2.1")).await) })
    };
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    first.give_way(|| ());
    waiting.await.unwrap();
    assert!(first.is_evicted() && !other.is_evicted());
}

#[tokio::test(start_paused = true)]
async fn who_has_used_its_place_gives_way_last() {
    let places = Places::new(2, 2);
    let (first, second) = (sit(&places, "::1"), sit(&places, "::1"));
    first.renew();
    let _third = sit(&places, "::1");
    assert!(second.is_evicted() && !first.is_evicted());
    // It hears of it also when it asks later.
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    second.give_way(move || _ = count.fetch_add(1, Relaxed));
    assert_eq!(called.load(Relaxed), 1);
}
