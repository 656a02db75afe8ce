//! When an intake is large, and what it holds.

use std::num::NonZeroU16;

use catchment_partial::{Timestamp, Width};

use super::*;
use crate::intake::{Message, Outcome, Reason};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

fn second() -> Option<Width> {
    Width::from_millis(1_000).ok()
}

fn reading(series: u32, ms: i64) -> Reading {
    Reading { series, time: at(ms), value: 1.0 }
}

fn refusal(count: u32) -> Refusal {
    Refusal { reason: Reason::BadState, message: "x".repeat(100), ordinal: 1, seq: None, count }
}

/// How many times something is added before the intake is large.
fn until_large(mut intake: Intake, mut add: impl FnMut(&mut Intake, i64)) -> usize {
    let mut count = 0;
    while !intake.is_large() {
        add(&mut intake, count);
        count += 1;
    }
    count as usize
}

fn measured(width: Option<Width>) -> Intake {
    let mut intake = Intake::default();
    intake.measure_by(width);
    intake
}

#[test]
fn an_intake_of_many_windows_is_large_sooner_and_one_of_few_is_not() {
    let messages = |step_ms: i64, width: Option<Width>| {
        10 * until_large(measured(width), |intake, count| {
            intake.readings.extend((0..10).map(|n| reading(0, (10 * count + n) * step_ms)));
        })
    };
    assert_eq!(messages(-1_000, second()), LARGE.div_ceil(1 + WINDOW_COST).next_multiple_of(10));
    assert_eq!(messages(0, second()), LARGE.next_multiple_of(10));
    assert_eq!(messages(1_000, None), LARGE.next_multiple_of(10), "the width is not known");
    assert!((LARGE / 5..LARGE / 4).contains(&messages(100, second())), "ten readings a window");
    let mut emptied = measured(second());
    emptied.readings.push(Reading { series: 0, time: Timestamp::MIN, value: 0.0 });
    emptied.readings.push(Reading { series: u32::MAX, time: Timestamp::MAX, value: 0.0 });
    assert!(!emptied.is_large(), "no more windows than readings");
    emptied.reuse();
    assert!(!emptied.is_large());
}

#[test]
fn windows_of_all_series_count_wherever_in_a_message_they_are() {
    // A device of a thousand series that sends all of them together: each message opens a thousand windows.
    let together = until_large(measured(second()), |intake, count| {
        intake.readings.extend((0..1_000).map(|series| reading(series, count * 1_000)));
    });
    assert_eq!(together, 2, "the first opens the windows that each series has open anyway");
    // The readings that a sample would see are of one time.
    let hidden = until_large(measured(second()), |intake, _| {
        let times = (0..1_000).map(|n| if [0, 500, 999].contains(&n) { 0 } else { n * 1_000 });
        intake.readings.extend(times.map(|ms| reading(0, ms)));
    });
    assert_eq!(hidden, 1);
}

#[test]
fn series_that_are_new_and_refused_readings_are_work_too() {
    let fresh = until_large(measured(second()), |intake, count| {
        let metric = MetricName::new(&format!("m{count}")).unwrap();
        intake.fresh.push((count as u32, metric, Labels::none()));
    });
    assert_eq!(fresh, LARGE.div_ceil(FRESH_COST));
    let refused = until_large(measured(second()), |intake, _| intake.refusals.push(refusal(1_000)));
    assert_eq!(refused, LARGE.div_ceil(1_000 * REFUSED_COST));
    let mut emptied = measured(second());
    emptied.refusals.push(refusal(u32::MAX));
    assert!(emptied.is_large());
    emptied.reuse();
    assert!(!emptied.is_large());
}

#[test]
fn few_refusals_and_replies_are_in_hand_at_once() {
    let refusals = until_large(measured(second()), |intake, _| intake.refusals.push(refusal(1)));
    assert_eq!(refusals, REFUSALS_MAX);
    assert_eq!(until_large(measured(second()), |intake, _| intake.replies.push(Reply::Pong)), REPLIES_MAX);
}

#[test]
fn an_intake_that_waits_holds_what_it_needs() {
    let mut intake = measured(second());
    intake.readings.reserve(LARGE);
    intake.messages.reserve(LARGE);
    intake.readings.extend((0..10).map(|n| reading(0, n)));
    intake.end_message(None, 1);
    intake.refusals.push(refusal(1));
    let bytes = 10 * size_of::<Reading>() + size_of::<MessageMeta>() + size_of::<Refusal>() + 100;
    assert_eq!((intake.compact(), intake.compact()), (bytes, bytes));
    assert_eq!(Intake::default().compact(), 0);
}

#[test]
fn readings_without_a_reply_are_those_of_messages_that_nobody_acknowledges() {
    let mut intake = Intake::default();
    for (ordinal, count) in [(1, 2), (2, 3), (4, 5), (5, 7)] {
        intake.readings.extend((0..count).map(|n| reading(0, n)));
        intake.end_message(None, ordinal);
    }
    assert_eq!(intake.unanswered_readings(), 17);
    let message = |ordinal| Message { ordinal, outcome: Outcome::Taken(None) };
    intake.replies.push(Reply::Published(NonZeroU16::MIN, message(2)));
    intake.replies.push(Reply::Pong);
    intake.replies.push(Reply::Received(NonZeroU16::MIN, message(3)));
    intake.replies.push(Reply::Received(NonZeroU16::MIN, message(4)));
    assert_eq!(intake.unanswered_readings(), 9);
}
