//! States in JSON: where they are refused, and how many bytes of them a message may have.

use super::*;
use crate::intake::MESSAGE_STATE_BYTES_MAX;

#[test]
fn states_that_the_aggregator_cannot_take_are_refused_and_numbers_are_not() {
    let line = r#"{"temperature":21.5,"mode":"auto","door_open":true,"note":"a\nb"}"#;
    let mut fixture = Fixture::new();
    for supported in [false, true, false] {
        fixture.intake.states.refuse(!supported);
        for ordinal in 1..3 {
            fixture.json(line, ordinal);
            fixture.check();
            fixture.messages();
            if supported {
                assert_eq!(fixture.readings(), ["temperature=21.5", "mode=auto", "door_open=1.0/true"]);
                assert_eq!(fixture.refusals(), [(BadState, 1)]);
            } else {
                assert_eq!(fixture.readings(), ["temperature=21.5", "door_open=1.0"]);
                assert!(fixture.intake.refusals[0].message.starts_with("\"mode\" is a text: "));
                assert_eq!(fixture.refusals(), [(StatesUnsupported, 1), (StatesUnsupported, 1)]);
            }
        }
    }
}

#[test]
fn the_states_of_a_message_are_bounded_in_bytes() {
    let mut fixture = Fixture::new();
    fixture.table = SeriesTable::new(10_000);
    fixture.limits.message_bytes_max = 16 << 20;
    let members: Vec<_> = (0..9_000).map(|n| format!("\"m{n}\":\"{n:060}\"")).collect();
    let line = format!("{{{}}}", members.join(","));
    for ordinal in 1..4 {
        fixture.json(&line, ordinal);
        fixture.check();
        fixture.messages();
        assert!(fixture.intake.states.bytes() <= MESSAGE_STATE_BYTES_MAX);
        let taken = fixture.readings().len();
        assert_eq!(taken, MESSAGE_STATE_BYTES_MAX / 60);
        let refused: u32 = fixture.refusals().iter().map(|refusal| refusal.1).sum();
        assert_eq!(taken + refused as usize, 9_000);
    }
    // The same text again and again takes no room.
    let members: Vec<_> = (0..9_000).map(|n| format!("\"m{n}\":\"{:060}\"", n % 7)).collect();
    for ordinal in 4..6 {
        fixture.json(format!("{{{}}}", members.join(",")), ordinal);
        assert_eq!((fixture.intake.states.bytes(), fixture.readings().len()), (7 * 60, 9_000));
    }
}
