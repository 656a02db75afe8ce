//! The window alone.

use super::super::*;

fn window() -> Window<(), u32> {
    Window::new(3, 100)
}

fn message(seq: u64) -> Message<()> {
    Message { seq, body: () }
}

fn send_all(window: &mut Window<(), u32>, mut ordinal: u64) -> Vec<u64> {
    let mut sent = Vec::new();
    window.unsent(|message| {
        sent.push(message.seq);
        ordinal += 1;
        ordinal
    });
    sent
}

#[test]
fn it_is_bounded_by_messages_and_bytes() {
    let mut window = window();
    assert_eq!(window.push(message(1), 99, 0), Ok(()));
    assert!(window.has_room());
    assert_eq!(window.push(message(2), 1, 0), Ok(()));
    assert!(!window.has_room(), "bytes");
    window.acknowledge(1);
    assert!(window.has_room());
    assert_eq!(window.push(message(3), 1, 0), Ok(()));
    assert_eq!(window.push(message(4), 1, 0), Ok(()));
    assert!(!window.has_room(), "messages");
}

#[test]
fn acks_never_go_back_and_may_skip_numbers() {
    let mut window = window();
    for seq in [2, 5, 9] {
        window.push(message(seq), 1, 7).unwrap();
    }
    assert_eq!(send_all(&mut window, 1), [2, 5, 9]);
    let settled: Vec<u64> = window.acknowledge(6).into_iter().map(|settled| settled.message.seq).collect();
    assert_eq!(settled, [2, 5]);
    assert_eq!(window.acknowledge(1), []);
    assert_eq!(window.durable(), 6);
    assert_eq!(window.push(message(6), 1, 7), Err(message(6)));
    window.restart();
    assert_eq!(send_all(&mut window, 1), [9]);
    assert_eq!(send_all(&mut window, 2), [0; 0]);
}

#[test]
fn refusals_find_their_message_and_are_judged_anew_after_a_reconnect() {
    let mut window = window();
    for seq in 1..=3 {
        window.push(message(seq), 1, 7).unwrap();
    }
    assert_eq!(window.refuse(2, false), None, "nothing was sent");
    assert_eq!(window.refuse_seq(2, false), None, "nothing was sent");
    send_all(&mut window, 1);
    assert_eq!(window.refuse(3, true), Some(&message(2)));
    assert_eq!(window.refuse_seq(3, true), Some(&message(3)));
    assert_eq!(window.refuse(9, false), None);
    assert!(!window.is_only_unreadable());
    window.restart();
    send_all(&mut window, 1);
    window.refuse(3, false);
    window.refuse(3, true);
    window.refuse_seq(3, true);
    let settled = window.acknowledge(1);
    assert_eq!((settled[0].refused, settled[0].durable, settled[0].since), (0, true, 7));
    assert!(window.is_only_unreadable());
    let settled = window.give_up_unreadable();
    assert_eq!(
        settled.iter().map(|s| (s.message.seq, s.refused, s.durable)).collect::<Vec<_>>(),
        [(2, 2, false), (3, 1, false)]
    );
    assert!(window.is_empty());
}
