use super::*;

fn bounds(slots: usize, slots_per_operator: usize) -> Bounds {
    Bounds { slots, slots_per_operator, waiting: 100, waiting_per_operator: 100, memory: 1_000 }
}

fn started(scheduler: &mut Scheduler<&'static str>, operator: &'static str) -> QueryId {
    match scheduler.submit(&operator) {
        Arrival::Started(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn turns_go_to_the_operator_that_has_used_least() {
    let mut scheduler = Scheduler::new(bounds(100, 50));
    let heavy: Vec<_> = (0..5).map(|_| started(&mut scheduler, "heavy")).collect();
    let first = scheduler.next_to_run().unwrap();
    assert_eq!(first, heavy[0]);
    let light = started(&mut scheduler, "light");
    scheduler.end_turn(first, 5, true);
    assert_eq!(scheduler.next_to_run(), Some(light), "one of one before four of five");
    scheduler.end_turn(light, 5, true);
    // From here on both alternate, and the heavy ones take turns among themselves.
    let mut order = Vec::new();
    for _ in 0..10 {
        let id = scheduler.next_to_run().unwrap();
        order.push(id);
        scheduler.end_turn(id, 5, true);
    }
    let l = light;
    assert_eq!(order.iter().filter(|id| **id == l).count(), 5, "{order:?}");
    let others: Vec<_> = order.iter().copied().filter(|id| *id != l).collect();
    assert_eq!(others, [heavy[1], heavy[2], heavy[3], heavy[4], heavy[0]]);
}

#[test]
fn an_operator_that_returns_does_not_get_ahead_of_those_that_stayed() {
    let mut scheduler = Scheduler::new(bounds(100, 50));
    let stays = started(&mut scheduler, "stays");
    let (mut of_stays, mut of_returns) = (0, 0);
    let mut returns = started(&mut scheduler, "returns");
    for _ in 0..100 {
        let id = scheduler.next_to_run().unwrap();
        if id == stays {
            of_stays += 1;
            scheduler.end_turn(id, 5, true);
        } else {
            of_returns += 1;
            scheduler.end_turn(id, 5, false);
            scheduler.remove(id);
            returns = started(&mut scheduler, "returns");
        }
    }
    assert!((45..=55).contains(&of_stays), "{of_stays} and {of_returns}, last {returns}");
}

#[test]
fn a_newcomer_finds_a_slot_when_others_have_the_most_allowed() {
    let mut scheduler = Scheduler::new(bounds(64, 64));
    // Half of the remaining slots, one after the other.
    for (operator, most) in [("a", 32), ("b", 16), ("c", 8), ("d", 4), ("e", 2), ("f", 1)] {
        let mut slots = 0;
        while let Arrival::Started(_) = scheduler.submit(&operator) {
            slots += 1;
        }
        assert_eq!(slots, most, "{operator}");
    }
    assert!(matches!(scheduler.submit(&"g"), Arrival::Started(_)));
}

#[test]
fn a_freed_slot_goes_to_the_operator_with_the_fewest() {
    let mut scheduler = Scheduler::new(bounds(4, 2));
    let a: Vec<_> = (0..2).map(|_| started(&mut scheduler, "a")).collect();
    let Arrival::Waiting(third) = scheduler.submit(&"a") else { panic!() };
    let b = started(&mut scheduler, "b");
    let Arrival::Waiting(of_b) = scheduler.submit(&"b") else { panic!("one is left, b has one") };
    scheduler.remove(a[0]);
    assert!(scheduler.has_slot(third) != scheduler.has_slot(of_b), "one of them");
    assert!(scheduler.has_slot(of_b) || scheduler.has_slot(third));
    scheduler.remove(b);
    assert!(scheduler.has_slot(of_b) && scheduler.has_slot(third));
    assert_eq!(scheduler.waiting(), 0);
}

#[test]
fn beyond_its_queue_an_operator_is_refused_and_others_are_not() {
    let mut scheduler = Scheduler::new(Bounds {
        slots: 2,
        slots_per_operator: 1,
        waiting: 8,
        waiting_per_operator: 3,
        memory: 0,
    });
    started(&mut scheduler, "a");
    for _ in 0..3 {
        assert!(matches!(scheduler.submit(&"a"), Arrival::Waiting(_)));
    }
    assert_eq!(scheduler.submit(&"a"), Arrival::Refused(3));
    started(&mut scheduler, "b");
    assert!(matches!(scheduler.submit(&"b"), Arrival::Waiting(_)));
}

#[test]
fn an_idle_query_gets_no_turn_and_one_woken_in_its_turn_gets_another() {
    let mut scheduler = Scheduler::new(bounds(8, 8));
    let id = started(&mut scheduler, "a");
    assert_eq!(scheduler.next_to_run(), Some(id));
    assert_eq!(scheduler.next_to_run(), None);
    scheduler.end_turn(id, 1, false);
    assert_eq!(scheduler.next_to_run(), None, "it waits for its reader");
    scheduler.mark_ready(id);
    scheduler.mark_ready(id);
    assert_eq!(scheduler.next_to_run(), Some(id));
    scheduler.mark_ready(id);
    scheduler.end_turn(id, 1, false);
    assert_eq!(scheduler.next_to_run(), Some(id), "woken in its turn");
    scheduler.remove(id);
    scheduler.end_turn(id, 1, true);
    assert_eq!((scheduler.next_to_run(), scheduler.slots(), scheduler.ready_count()), (None, 0, 0));
    assert!(scheduler.operators.is_empty() && scheduler.queries.is_empty() && scheduler.order.is_empty());
}

#[test]
fn memory_is_shared_like_slots() {
    let mut scheduler = Scheduler::new(bounds(8, 8));
    let (a, b) = (started(&mut scheduler, "a"), started(&mut scheduler, "b"));
    assert!(scheduler.reserve_memory(a, 500));
    assert!(!scheduler.reserve_memory(a, 1), "half, alone");
    assert!(scheduler.reserve_memory(b, 250));
    assert!(!scheduler.reserve_memory(b, 1));
    scheduler.release_memory(a, 100);
    assert!(scheduler.reserve_memory(b, 50));
    scheduler.remove(a);
    scheduler.remove(b);
    assert_eq!(scheduler.memory(), 0);
}

#[test]
fn counts_agree_after_any_operations() {
    // A fixed walk over all operations: the counts equal the content.
    let mut scheduler = Scheduler::new(Bounds {
        slots: 5,
        slots_per_operator: 3,
        waiting: 6,
        waiting_per_operator: 4,
        memory: 100,
    });
    let operators = ["a", "b", "c", "d"];
    let (mut seed, mut live, mut in_turn) = (7_u64, Vec::new(), Vec::new());
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (seed >> 33) as usize;
        match pick % 6 {
            0 | 1 => match scheduler.submit(&operators[pick / 7 % 4]) {
                Arrival::Started(id) | Arrival::Waiting(id) => live.push(id),
                Arrival::Refused(_) => {}
            },
            2 => in_turn.extend(scheduler.next_to_run()),
            3 if !in_turn.is_empty() => {
                let id = in_turn.swap_remove(pick / 7 % in_turn.len());
                scheduler.end_turn(id, pick as u64 % 9, pick.is_multiple_of(2));
            }
            4 if !live.is_empty() => {
                let id = live.swap_remove(pick / 7 % live.len());
                in_turn.retain(|other| *other != id);
                scheduler.remove(id);
            }
            _ if !live.is_empty() => {
                let id = live[pick / 7 % live.len()];
                scheduler.mark_ready(id);
                scheduler.reserve_memory(id, pick % 10);
            }
            _ => {}
        }
        let phases =
            |wanted: fn(Phase) -> bool| scheduler.queries.values().filter(|q| wanted(q.phase)).count();
        assert_eq!(scheduler.waiting, phases(|phase| phase == Phase::Waiting));
        assert_eq!(scheduler.slots, phases(|phase| phase != Phase::Waiting));
        assert_eq!(scheduler.ready, phases(|phase| phase == Phase::Ready));
        assert_eq!(in_turn.len(), phases(|phase| matches!(phase, Phase::Running { .. })));
        assert_eq!(scheduler.bytes, scheduler.queries.values().map(|query| query.bytes).sum::<usize>());
        assert!(scheduler.slots <= 5 && scheduler.waiting <= 6 && scheduler.bytes <= 100);
        let slots = scheduler.operators.values().filter(|known| known.order_key.is_some()).count();
        assert_eq!(scheduler.order.len(), slots);
    }
}
