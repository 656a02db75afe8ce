//! Reading and numbering lines, and counting their outcomes.

use std::cell::RefCell;

use super::*;
use crate::device::Refusal;

/// Messages as (number, line, last of line), the number of lines refused, and the refusals.
fn read(input: &[u8]) -> (Vec<(u64, u64, bool)>, u64, Vec<String>) {
    let (sender, mut source) = mpsc::channel(100);
    let said = RefCell::new(Vec::new());
    let read = read_lines(input, || 7, |refusal| said.borrow_mut().push(refusal), sender);
    let mut messages = Vec::new();
    while let Ok(message) = source.try_recv() {
        messages.push((message.seq, message.body.line, message.body.last_of_line));
    }
    (messages, read.refused, said.into_inner())
}

#[test]
fn every_message_has_a_number_that_depends_on_the_input_alone() {
    let (messages, refused, said) = read(b"{\"a\":1}\n\nbad\n[{\"a\":1},{\"a\":2}]\r\n{\"a\":3}");
    assert_eq!(messages, [(1, 1, true), (3, 4, false), (4, 4, true), (5, 5, true)]);
    assert_eq!(refused, 1);
    assert!(said[0].starts_with("line 3: not JSON"), "{said:?}");
}

#[test]
fn an_unusable_line_is_refused_alone() {
    let mut input = vec![b'x'; LINE_BYTES_MAX as usize + 10];
    input.extend_from_slice(b"\n{\"a\":1}\n\xff\n{\"a\":2}\n");
    let (messages, refused, said) = read(&input);
    assert_eq!(messages, [(2, 2, true), (4, 4, true)]);
    assert_eq!(refused, 2);
    assert_eq!(said, ["line 1: longer than 1 MiB", "line 3: not valid UTF-8"]);
}

fn line(line: u64, last_of_line: bool) -> Message<RawLine> {
    Message { seq: line, body: RawLine { members: String::new(), line, last_of_line, refused_beside: false } }
}

#[test]
fn a_line_is_acknowledged_when_all_its_messages_are() {
    let mut counts = SendCounts::default();
    let said = RefCell::new(Vec::new());
    let mut settle = |message: Message<RawLine>, refused, durable| {
        let waited = std::time::Duration::ZERO;
        counts.observe(&Event::Settled { message: &message, refused, durable, waited }, |s| {
            said.borrow_mut().push(s)
        });
    };
    settle(line(1, true), 0, true);
    settle(line(2, false), 1, true);
    settle(line(2, true), 0, true);
    settle(line(3, true), 0, false);
    settle(line(4, true), 0, true);
    let refusal = Refusal {
        code: "not_a_number".to_owned(),
        message: "\"a\"\nis a string".to_owned(),
        about: crate::device::About::Seq(2),
    };
    counts.observe(&Event::Refused(&refusal, Some(&line(2, true))), |s| said.borrow_mut().push(s));
    counts.observe(&Event::AlreadyDurable(&line(5, true)), |_| ());
    assert_eq!(counts.summary(1), "3 lines acknowledged, 3 refused\n");
    assert_eq!(said.into_inner(), ["refused: line 2: \"a\"; is a string (not_a_number)"]);
}

#[test]
fn a_failing_connection_is_reported_once_for_each_reason() {
    let mut counts = SendCounts::default();
    let said = RefCell::new(Vec::new());
    for reason in ["refused", "refused", "closed"] {
        let event = Event::Disconnected { reason, retry_in: std::time::Duration::ZERO };
        counts.observe(&event, |s| said.borrow_mut().push(s));
    }
    assert_eq!(said.into_inner(), ["refused; retrying", "closed; retrying"]);
}

#[test]
fn an_interrupted_send_says_how_to_repeat_it() {
    assert!(
        resend_hint("e-7", None).contains("from its beginning")
            && resend_hint("e-7", None).contains("--epoch=e-7 ")
    );
    let text = resend_hint("it's 7", Some(Path::new("a.jsonl")));
    assert!(text.contains("send a.jsonl again") && text.contains(r"--epoch='it'\''s 7' "), "{text}");
    assert!(resend_hint("x", Some(Path::new("-"))).contains("the same input"));
}
