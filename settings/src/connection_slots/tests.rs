use std::sync::atomic::AtomicUsize;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A slot that can be evicted.
fn acquire(slots: &Arc<ConnectionSlots>, addr: &str) -> ConnectionSlot {
    let slot = slots.try_acquire(ip(addr)).unwrap();
    slot.on_evict(|| ());
    slot
}

/// Records the order of evictions.
#[derive(Clone, Default)]
struct Evicted(Arc<Mutex<Vec<u32>>>);

impl Evicted {
    fn note(&self, slot: &ConnectionSlot, number: u32) {
        let evicted = Arc::clone(&self.0);
        slot.on_evict(move || evicted.lock().unwrap().push(number));
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn silent_connections_are_evicted_and_used_ones_stay() {
    let slots = ConnectionSlots::new(3, 3);
    let evicted = Evicted::default();
    let held: Vec<ConnectionSlot> = (0..3)
        .map(|number| {
            let slot = acquire(&slots, "192.0.2.1");
            evicted.note(&slot, number);
            slot
        })
        .collect();
    held[0].mark_used();
    let next = acquire(&slots, "192.0.2.2");
    assert_eq!(evicted.take(), [1], "the oldest silent one");
    assert!(held[1].is_evicted() && !held[0].is_evicted() && !held[2].is_evicted());
    assert_eq!(slots.taken(), 3);
    next.mark_used();
    held[2].mark_used();
    assert_eq!(slots.try_acquire(ip("192.0.2.3")).unwrap_err(), Full::All);
    // Evicted slots are not released twice.
    drop(held);
    assert_eq!(slots.taken(), 1);
    drop(next);
    assert_eq!(slots.taken(), 0);
    let state = slots.lock();
    assert!(state.addresses.is_empty() && state.silent.slots.is_empty() && state.silent.by_count.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crowd_from_one_address_costs_that_address() {
    let slots = ConnectionSlots::new(10, 10);
    let evicted = Evicted::default();
    let honest = acquire(&slots, "192.0.2.1");
    evicted.note(&honest, 0);
    let mut crowd = Vec::new();
    for number in 1..100 {
        let slot = acquire(&slots, "198.51.100.7");
        evicted.note(&slot, number);
        crowd.push(slot);
    }
    let gone = evicted.take();
    assert_eq!(gone, (1..=90).collect::<Vec<_>>());
    assert!(!honest.is_evicted());
}

#[tokio::test(start_paused = true)]
async fn slots_per_address_are_bounded_and_an_ipv6_64_is_one_address() {
    let slots = ConnectionSlots::new(10, 2);
    let first = acquire(&slots, "2001:db8::1");
    let second = acquire(&slots, "2001:db8::ffff:1");
    first.mark_used();
    second.mark_used();
    assert_eq!(slots.try_acquire(ip("2001:db8::2")).unwrap_err(), Full::Address);
    let _other = acquire(&slots, "2001:db8:0:1::1");
    let mapped = ["192.0.2.1", "::ffff:192.0.2.1"].map(|addr| acquire(&slots, addr));
    mapped.iter().for_each(ConnectionSlot::mark_used);
    assert_eq!(slots.try_acquire(ip("192.0.2.1")).unwrap_err(), Full::Address);
    drop(first);
    // A silent connection is evicted for another one from its address.
    let silent = acquire(&slots, "2001:db8::3");
    let _next = acquire(&slots, "2001:db8::4");
    assert!(silent.is_evicted());
    assert_eq!(slots.taken(), 5);
}

#[tokio::test(start_paused = true)]
async fn late_connections_are_evicted_and_crowds_for_another_address() {
    let slots = ConnectionSlots::evicting_after(4, 4, Duration::from_secs(2));
    let busy: Vec<ConnectionSlot> = (0..4).map(|_| acquire(&slots, "192.0.2.1")).collect();
    busy.iter().for_each(ConnectionSlot::mark_used);
    assert!(slots.try_acquire(ip("192.0.2.1")).is_err());
    let _other = acquire(&slots, "192.0.2.2");
    assert!(busy[0].is_evicted() && !busy[1].is_evicted());
    _other.mark_used();
    let start = Instant::now();
    let _next = slots.acquire(ip("192.0.2.1")).await.unwrap();
    assert!(busy[1].is_evicted() && !busy[2].is_evicted());
    assert!(start.elapsed() >= Duration::from_secs(2) && start.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_connection_gets_the_next_free_slot() {
    let slots = ConnectionSlots::new(1, 1);
    let first = acquire(&slots, "192.0.2.1");
    first.mark_used();
    let waiting = {
        let slots = Arc::clone(&slots);
        tokio::spawn(async move { slots.acquire(ip("192.0.2.2")).await.is_ok() })
    };
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    drop(first);
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_not_served_yet_is_not_evicted() {
    let slots = ConnectionSlots::new(2, 1);
    let first = slots.try_acquire(ip("192.0.2.1")).unwrap();
    let other = slots.try_acquire(ip("192.0.2.2")).unwrap();
    assert_eq!(slots.try_acquire(ip("192.0.2.1")).unwrap_err(), Full::Address);
    assert_eq!(slots.try_acquire(ip("192.0.2.3")).unwrap_err(), Full::All);
    let waiting = {
        let slots = Arc::clone(&slots);
        tokio::spawn(async move { drop(slots.acquire_patiently(ip("192.0.2.1")).await) })
    };
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    first.on_evict(|| ());
    waiting.await.unwrap();
    assert!(first.is_evicted() && !other.is_evicted());
}

#[tokio::test(start_paused = true)]
async fn an_active_connection_is_evicted_last() {
    let slots = ConnectionSlots::new(2, 2);
    let (first, second) = (acquire(&slots, "::1"), acquire(&slots, "::1"));
    first.touch();
    let _third = acquire(&slots, "::1");
    assert!(second.is_evicted() && !first.is_evicted());
    // A callback set after the eviction is called at once.
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    second.on_evict(move || _ = count.fetch_add(1, Relaxed));
    assert_eq!(called.load(Relaxed), 1);
}
