use super::*;

fn bounds(places: usize, places_each: usize) -> Bounds {
    Bounds { places, places_each, waiting: 100, waiting_each: 100, memory: 1_000 }
}

fn begun(turns: &mut Turns<&'static str>, operator: &'static str) -> QueryId {
    match turns.arrive(&operator) {
        Arrival::Begun(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn turns_go_to_the_operator_that_has_used_least() {
    let mut turns = Turns::new(bounds(100, 50));
    let heavy: Vec<_> = (0..5).map(|_| begun(&mut turns, "heavy")).collect();
    let first = turns.next().unwrap();
    assert_eq!(first, heavy[0]);
    let light = begun(&mut turns, "light");
    turns.end_turn(first, 5, true);
    assert_eq!(turns.next(), Some(light), "one of one before four of five");
    turns.end_turn(light, 5, true);
    // From here both alternate, and the heavy ones take turns among themselves.
    let mut order = Vec::new();
    for _ in 0..10 {
        let id = turns.next().unwrap();
        order.push(id);
        turns.end_turn(id, 5, true);
    }
    let l = light;
    assert_eq!(order.iter().filter(|id| **id == l).count(), 5, "{order:?}");
    let others: Vec<_> = order.iter().copied().filter(|id| *id != l).collect();
    assert_eq!(others, [heavy[1], heavy[2], heavy[3], heavy[4], heavy[0]]);
}

#[test]
fn an_operator_that_comes_back_does_not_get_ahead_of_those_who_stayed() {
    let mut turns = Turns::new(bounds(100, 50));
    let stays = begun(&mut turns, "stays");
    let (mut of_stays, mut of_returns) = (0, 0);
    let mut returns = begun(&mut turns, "returns");
    for _ in 0..100 {
        let id = turns.next().unwrap();
        if id == stays {
            of_stays += 1;
            turns.end_turn(id, 5, true);
        } else {
            of_returns += 1;
            turns.end_turn(id, 5, false);
            turns.leave(id);
            returns = begun(&mut turns, "returns");
        }
    }
    assert!((45..=55).contains(&of_stays), "{of_stays} and {of_returns}, last {returns}");
}

#[test]
fn a_newcomer_finds_a_place_when_others_have_all_that_they_may() {
    let mut turns = Turns::new(bounds(64, 64));
    // Half of what is left, one after the other.
    for (operator, most) in [("a", 32), ("b", 16), ("c", 8), ("d", 4), ("e", 2), ("f", 1)] {
        let mut places = 0;
        while let Arrival::Begun(_) = turns.arrive(&operator) {
            places += 1;
        }
        assert_eq!(places, most, "{operator}");
    }
    assert!(matches!(turns.arrive(&"g"), Arrival::Begun(_)));
}

#[test]
fn a_place_that_becomes_free_goes_to_the_operator_with_the_fewest() {
    let mut turns = Turns::new(bounds(4, 2));
    let a: Vec<_> = (0..2).map(|_| begun(&mut turns, "a")).collect();
    let Arrival::Waiting(third) = turns.arrive(&"a") else { panic!() };
    let b = begun(&mut turns, "b");
    let Arrival::Waiting(of_b) = turns.arrive(&"b") else { panic!("one is left, b has one") };
    turns.leave(a[0]);
    assert!(turns.has_place(third) != turns.has_place(of_b), "one of them");
    assert!(turns.has_place(of_b) || turns.has_place(third));
    turns.leave(b);
    assert!(turns.has_place(of_b) && turns.has_place(third));
    assert_eq!(turns.waiting(), 0);
}

#[test]
fn beyond_its_queue_an_operator_is_refused_and_others_are_not() {
    let mut turns = Turns::new(Bounds { places: 2, places_each: 1, waiting: 8, waiting_each: 3, memory: 0 });
    begun(&mut turns, "a");
    for _ in 0..3 {
        assert!(matches!(turns.arrive(&"a"), Arrival::Waiting(_)));
    }
    assert_eq!(turns.arrive(&"a"), Arrival::Refused(3));
    begun(&mut turns, "b");
    assert!(matches!(turns.arrive(&"b"), Arrival::Waiting(_)));
}

#[test]
fn what_is_idle_gets_no_turn_and_what_is_woken_in_its_turn_gets_another() {
    let mut turns = Turns::new(bounds(8, 8));
    let id = begun(&mut turns, "a");
    assert_eq!(turns.next(), Some(id));
    assert_eq!(turns.next(), None);
    turns.end_turn(id, 1, false);
    assert_eq!(turns.next(), None, "it waits for its reader");
    turns.ready(id);
    turns.ready(id);
    assert_eq!(turns.next(), Some(id));
    turns.ready(id);
    turns.end_turn(id, 1, false);
    assert_eq!(turns.next(), Some(id), "woken in its turn");
    turns.leave(id);
    turns.end_turn(id, 1, true);
    assert_eq!((turns.next(), turns.places(), turns.ready_count()), (None, 0, 0));
    assert!(turns.operators.is_empty() && turns.queries.is_empty() && turns.order.is_empty());
}

#[test]
fn memory_is_shared_as_places_are() {
    let mut turns = Turns::new(bounds(8, 8));
    let (a, b) = (begun(&mut turns, "a"), begun(&mut turns, "b"));
    assert!(turns.take(a, 500));
    assert!(!turns.take(a, 1), "half, alone");
    assert!(turns.take(b, 250));
    assert!(!turns.take(b, 1));
    turns.give(a, 100);
    assert!(turns.take(b, 50));
    turns.leave(a);
    turns.leave(b);
    assert_eq!(turns.bytes(), 0);
}

#[test]
fn counts_agree_after_anything() {
    // A fixed walk over all operations: what is counted equals what is there.
    let mut turns =
        Turns::new(Bounds { places: 5, places_each: 3, waiting: 6, waiting_each: 4, memory: 100 });
    let operators = ["a", "b", "c", "d"];
    let (mut seed, mut live, mut in_turn) = (7_u64, Vec::new(), Vec::new());
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (seed >> 33) as usize;
        match pick % 6 {
            0 | 1 => match turns.arrive(&operators[pick / 7 % 4]) {
                Arrival::Begun(id) | Arrival::Waiting(id) => live.push(id),
                Arrival::Refused(_) => {}
            },
            2 => in_turn.extend(turns.next()),
            3 if !in_turn.is_empty() => {
                let id = in_turn.swap_remove(pick / 7 % in_turn.len());
                turns.end_turn(id, pick as u64 % 9, pick.is_multiple_of(2));
            }
            4 if !live.is_empty() => {
                let id = live.swap_remove(pick / 7 % live.len());
                in_turn.retain(|other| *other != id);
                turns.leave(id);
            }
            _ if !live.is_empty() => {
                let id = live[pick / 7 % live.len()];
                turns.ready(id);
                turns.take(id, pick % 10);
            }
            _ => {}
        }
        let phases = |wanted: fn(Phase) -> bool| turns.queries.values().filter(|q| wanted(q.phase)).count();
        assert_eq!(turns.waiting, phases(|phase| phase == Phase::Waiting));
        assert_eq!(turns.places, phases(|phase| phase != Phase::Waiting));
        assert_eq!(turns.ready, phases(|phase| phase == Phase::Ready));
        assert_eq!(in_turn.len(), phases(|phase| matches!(phase, Phase::Turn { .. })));
        assert_eq!(turns.bytes, turns.queries.values().map(|query| query.bytes).sum::<usize>());
        assert!(turns.places <= 5 && turns.waiting <= 6 && turns.bytes <= 100);
        let places = turns.operators.values().filter(|known| known.place.is_some()).count();
        assert_eq!(turns.order.len(), places);
    }
}
