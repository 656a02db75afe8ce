use super::*;

const MILLI: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(1);

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// A door at which the connections are numbered.
fn door(max: usize) -> Door<u32> {
    Door::new(max, PATIENCE)
}

/// Starts all that may start; the address `blocked` may not, before the time that it is given.
fn started(door: &mut Door<u32>, now: Duration, blocked: Option<(IpAddr, Duration)>) -> (Vec<u32>, Vec<u32>) {
    let (mut started, mut refused) = (Vec::new(), Vec::new());
    loop {
        let next = door.next(now, |addr| match blocked {
            Some((crowd, until)) if crowd == addr && until > now => Err(until),
            _ => Ok(()),
        });
        match next {
            Next::Start(connection, ()) => started.push(connection),
            Next::Refuse(connection) => refused.push(connection),
            Next::Wait(_) => return (started, refused),
        }
    }
}

#[test]
fn addresses_take_turns_and_one_that_must_wait_delays_no_other() {
    let mut door = door(100);
    for number in 0..4 {
        assert_eq!(door.arrive(ip(1), number, MILLI), None);
    }
    for number in 4..6 {
        door.arrive(ip(2), number, MILLI);
    }
    let blocked = Some((ip(1), 50 * MILLI));
    assert_eq!(started(&mut door, 2 * MILLI, blocked), (vec![4, 5], vec![]));
    assert_eq!(door.next(2 * MILLI, |_| Ok(())), Next::Wait(Some(50 * MILLI)));
    door.arrive(ip(2), 6, 40 * MILLI);
    door.arrive(ip(2), 7, 40 * MILLI);
    assert_eq!(door.len(), 6);
    // The address that arrived first comes first, and then they take turns.
    assert_eq!(started(&mut door, 50 * MILLI, None), (vec![6, 0, 7, 1, 2, 3], vec![]));
    assert_eq!(door.next(50 * MILLI, |_| Ok(())), Next::Wait(None));
    assert!(door.queues.is_empty() && door.turns.is_empty() && door.by_count.is_empty() && door.len() == 0);
}

#[test]
fn who_has_waited_too_long_is_refused_when_nobody_may_start() {
    let mut door = door(100);
    let forever = Some((ip(1), Duration::MAX));
    for number in 0..3 {
        door.arrive(ip(1), number, number * MILLI);
    }
    assert_eq!(started(&mut door, 10 * MILLI, forever), (vec![], vec![]));
    // It is looked at again just in time.
    assert_eq!(door.next(11 * MILLI, |_| Ok(())), Next::Wait(Some(PATIENCE)));
    assert_eq!(started(&mut door, PATIENCE, forever), (vec![], vec![0]));
    assert_eq!(started(&mut door, PATIENCE + 2 * MILLI, forever), (vec![], vec![1, 2]));
    assert_eq!(door.len(), 0);
}

#[test]
fn a_crowd_loses_its_newest_to_other_addresses() {
    let mut door = door(4);
    for number in 0..4 {
        assert_eq!(door.arrive(ip(1), number, MILLI), None);
    }
    assert_eq!(door.arrive(ip(1), 4, MILLI), Some(4), "the crowd itself takes no place");
    assert_eq!(door.arrive(ip(2), 5, MILLI), Some(3));
    assert_eq!(door.arrive(ip(3), 6, MILLI), Some(2));
    assert_eq!(door.arrive(ip(4), 7, MILLI), Some(1));
    assert_eq!(door.arrive(ip(5), 8, MILLI), Some(8), "nobody has more than one");
    assert_eq!(started(&mut door, MILLI, None), (vec![0, 5, 6, 7], vec![]));
}

#[test]
fn many_addresses_that_may_not_start_are_asked_a_few_at_a_time() {
    let mut door = door(10_000);
    for number in 0..1_000_u16 {
        let [high, low] = number.to_be_bytes();
        door.arrive([10, 0, high, low].into(), u32::from(number), MILLI);
    }
    let mut asked = 0;
    let next = door.next(2 * MILLI, |_| {
        asked += 1;
        Err::<(), _>(7 * MILLI)
    });
    assert_eq!((asked, next), (LOOKS_MAX, Next::Wait(Some(3 * MILLI))));
}
