//! Words that are no JSON, and names as devices write them.

use super::*;

#[test]
fn a_word_for_no_number_costs_its_reading_alone_and_is_named() {
    for word in tokens::WORDS {
        for line in [
            format!(r#"{{"a":{word},"b":1}}"#),
            format!(r#"{{"b":1,"a": {word} }}"#),
            format!(r#"[{{"a":{word},"b":1}}]"#),
            format!(r#"{{"values":{{"b":1,"a":{word}}}}}"#),
            format!(r#"{{"b":1,"a":{{"x":{word}}}}}"#),
        ] {
            let mut fixture = Fixture::new();
            // Also where the names are known.
            fixture.json(r#"{"a":1,"b":1}"#, 1);
            fixture.readings();
            assert_eq!(fixture.json(&line, 2), Decoded::Message, "{line}");
            assert_eq!(fixture.readings(), ["b=1.0"], "{line}");
            let message = &fixture.intake.refusals[0].message;
            assert!(message.contains(&format!("is {word};")), "{message}");
            assert_eq!(fixture.refusals(), [(NotANumber, 1)], "{line}");
        }
        let mut fixture = Fixture::new();
        fixture.json(format!(r#"{{"ts":{word},"a":1,"b":[{word}]}}"#), 1);
        assert!(fixture.intake.refusals[0].message.ends_with(&format!("; {word} is not")));
        assert_eq!(fixture.refusals(), [(Malformed, 2)], "{word}");
        let mut fixture = Fixture::new();
        assert_eq!(fixture.json(word, 1), Decoded::Refused);
        assert!(fixture.intake.refusals[0].message.contains(word));
        assert_eq!(fixture.refusals(), [(NotANumber, 1)], "{word}");
        let mut fixture = Fixture::new();
        fixture.json(format!(r#"[{word},{{"a":1}}]"#), 1);
        assert_eq!(
            (fixture.readings(), fixture.refusals()),
            (vec!["a=1.0".to_owned()], vec![(Malformed, 1)])
        );
    }
}

#[test]
fn a_word_is_no_text_wherever_a_text_is_due() {
    for word in tokens::WORDS {
        for (line, reason) in [
            (format!(r#"{{"labels":{{"r":{word}}},"a":1}}"#), BadLabel),
            (format!(r#"{{"labels":{{"q":"1","r": {word} }},"values":{{"a":1}}}}"#), BadLabel),
            (format!(r#"[{{"labels":{{"r":{word}}},"a":1}}]"#), BadLabel),
            (format!(r#"{{"labels":{word},"a":1}}"#), BadLabel),
            (format!(r#"{{"hello":{{"epoch":{word}}}}}"#), Malformed),
        ] {
            let mut fixture = Fixture::new();
            fixture.json(&line, 1);
            assert_eq!(fixture.readings(), [""; 0], "{line}");
            let message = &fixture.intake.refusals[0].message;
            assert!(message.contains(word) && !message.contains("u0000"), "{message}");
            assert_eq!(fixture.refusals(), [(reason, 1)], "{line}");
        }
    }
    // What only looks like a mark of ours is what it is.
    let mut fixture = Fixture::new();
    fixture.json(r#"{"a":"\u0000nan","b":1}"#, 1);
    assert_eq!((fixture.readings(), fixture.refusals()), (vec!["b=1.0".to_owned()], vec![(BadState, 1)]));
    let mut fixture = Fixture::new();
    fixture.json(r#"{"labels":{"r":["\u0000nan"]},"a":1}"#, 1);
    assert_eq!((fixture.readings().len(), fixture.refusals()), (0, vec![(BadLabel, 1)]));
}

#[test]
fn one_metric_is_never_summed_of_two_names() {
    let mut fixture = Fixture::new();
    fixture.json(r#"{"PM2.5":1}"#, 1);
    fixture.json(r#"{"PM2_5":2}"#, 2);
    fixture.json(r#"{"PM2.5":3}"#, 3);
    fixture.json(r#"{"x_y":4}"#, 4);
    fixture.json(r#"{"x":{"y":5}}"#, 5);
    fixture.json(r#"{"x.y":6}"#, 6);
    fixture.json(r#"{"labels":{"room":"3"},"values":{"x.y":7}}"#, 7);
    // Flattened, a name is the same as if it was written so.
    assert_eq!(fixture.readings(), ["PM2_5=1.0", "PM2_5=3.0", "x_y=4.0", "x_y=5.0"]);
    assert!(fixture.intake.refusals[0].message.contains("\"PM2_5\" and \"PM2.5\""));
    assert_eq!(fixture.refusals(), [(BadMetric, 1), (BadMetric, 1), (BadMetric, 1)]);
    // Long names whose mapped ones are short enough.
    let long = "\u{e4}".repeat(150);
    let mut fixture = Fixture::new();
    fixture.json(format!(r#"{{"{long}":{{"a":1,"b":2}}}}"#), 1);
    let mapped = "_".repeat(150);
    assert_eq!(fixture.readings(), [format!("{mapped}_a=1.0"), format!("{mapped}_b=2.0")]);
}
