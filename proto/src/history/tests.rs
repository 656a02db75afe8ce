use proptest::prelude::*;

use super::*;

fn span(from_ms: i64, to_ms: i64) -> Span {
    Span { from: Timestamp::from_millis(from_ms).unwrap(), to: Timestamp::from_millis(to_ms).unwrap() }
}

#[test]
fn unknown_times_are_not_claimed() {
    let mut history = History::default();
    assert_eq!((history.of_last(1), history.wire(Width::MIN)), (None, None));
    history.push(1, span(10, 20));
    history.push(2, span(0, 15));
    assert_eq!(history.of_last(0), Some(span(0, 15)));
    assert_eq!(history.of_last(2), Some(span(0, 15)));
    assert_eq!(history.of_last(3), Some(span(0, 20)));
    assert_eq!(history.of_last(4), None, "batches before the first known one");
    history.forget();
    history.push(1, span(30, 40));
    assert_eq!((history.of_last(1), history.of_last(2)), (Some(span(30, 40)), None));
}

#[test]
fn a_year_of_batches_is_kept_in_a_few_ranges() {
    let mut history = History::default();
    let batches = 3_000_000_i64;
    for number in 0..batches {
        history.push(1, span(number * 10, number * 10 + 10));
    }
    assert_eq!(history.ranges.len(), RANGES_MAX);
    for lost in [1, 10, 100, 1_000, 100_000, batches] {
        let least = (batches - lost) * 10;
        let said = history.of_last(lost as u64).unwrap().from.as_millis();
        assert!(said <= least && batches * 10 - said <= 3 * lost * 10, "of {lost}: {said}, not {least}");
    }
    let message = history.wire(Width::from_millis(10).unwrap()).unwrap();
    assert!(prost::Message::encoded_len(&message) < 320, "{message:?}");
}

#[test]
fn a_message_is_accepted_or_refused() {
    let message = wire::BatchHistory { batches: vec![1], from: vec![-3], length: vec![2], unit_ms: 1000 };
    let read = |message: &wire::BatchHistory| History::read(Some(message));
    assert_eq!(read(&message).unwrap().of_last(1), Some(span(-3000, -1000)));
    assert_eq!(History::read(None), Ok(History::default()));
    let broken = |change: fn(&mut wire::BatchHistory)| {
        let mut message = message.clone();
        change(&mut message);
        read(&message).unwrap_err()
    };
    assert_eq!(broken(|m| m.length.clear()), HistoryError::Columns);
    assert_eq!(broken(|m| m.from.push(1)), HistoryError::Columns);
    assert_eq!(broken(|m| m.unit_ms = 0), HistoryError::Unit);
    assert_eq!(broken(|m| m.batches = vec![1; 65]), HistoryError::TooMany(65));
    let extreme = wire::BatchHistory {
        batches: vec![u64::MAX; 2],
        from: vec![i64::MIN; 2],
        length: vec![u64::MAX; 2],
        unit_ms: u32::MAX,
    };
    assert!(read(&extreme).unwrap().of_last(u64::MAX).is_some());
}

proptest! {
    /// Compares with all single batches: the times reported for the last of them are no less than what they cover, even
    /// after a round trip over the wire.
    #[test]
    fn reported_times_are_never_less_than_the_batches_cover(
        spans in prop::collection::vec((-2_000_000_i64..2_000_000, 0_i64..50_000), 1..300),
        unit in 1_u32..20_000,
    ) {
        let mut history = History::default();
        let mut all = Vec::new();
        for (from, length) in spans {
            let span = span(from, from + length);
            history.push(1, span);
            all.push(span);
            let unit = Width::from_millis(unit).unwrap();
            let travelled = History::read(history.wire(unit).as_ref()).unwrap();
            for (counted, _) in all.iter().enumerate().rev().step_by(7) {
                let truth = all[counted..].iter().copied().reduce(Span::join).unwrap();
                let batches = (all.len() - counted) as u64;
                for said in [history.of_last(batches).unwrap(), travelled.of_last(batches).unwrap()] {
                    prop_assert_eq!(said.join(truth), said);
                }
            }
            prop_assert_eq!(travelled.of_last(all.len() as u64 + 1), None);
        }
        prop_assert_eq!(History::read(history.wire(Width::MIN).as_ref()).unwrap(), history);
    }
}
