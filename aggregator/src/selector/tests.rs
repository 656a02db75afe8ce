use catchment_proto::{Labels, MetricName, Name};
use proptest::prelude::*;

use super::*;

fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
    let gateway = GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() };
    let key = SeriesKey {
        device: Name::new("press-17").unwrap(),
        metric: MetricName::new("temperature").unwrap(),
        labels: Labels::new(labels.iter().copied()).unwrap(),
    };
    Selector::parse(selector).unwrap().matches(&gateway, &key)
}

#[test]
fn names_and_labels_select() {
    for (selector, expected) in [
        ("temperature", true),
        ("humidity", false),
        ("temperature{}", true),
        (r#"temperature{site="berlin"}"#, true),
        (r#"temperature{site='berlin', gateway="g1", device="press-17", room="3"}"#, true),
        (r#"{site="berlin"}"#, true),
        (r#"{__name__="temperature"}"#, true),
        (r#"{__name__=~"temp.*|hum.*"}"#, true),
        (r#"temperature{site!="berlin"}"#, false),
        (r#"temperature{device=~"press-.*"}"#, true),
        (r#"temperature{device=~"press"}"#, false),
        (r#"temperature{device=~"ress-17"}"#, false),
        (r#"temperature{device!~"press-.*"}"#, false),
        (r#"temperature{device!~"press"}"#, true),
        (r#"temperature{room=~"[0-9]"}"#, true),
    ] {
        assert_eq!(matches(selector, &[("room", "3")]), expected, "{selector}");
    }
}

#[test]
fn a_missing_label_is_the_empty_string() {
    assert!(matches(r#"temperature{room=""}"#, &[]));
    assert!(!matches(r#"temperature{room=""}"#, &[("room", "3")]));
    assert!(!matches(r#"temperature{room!=""}"#, &[]));
    assert!(matches(r#"temperature{room!="3"}"#, &[]));
    assert!(matches(r#"temperature{room=~"|3"}"#, &[]));
    assert!(!matches(r#"temperature{room=~".+"}"#, &[]));
}

#[test]
fn expressions_match_whole_values_of_any_characters() {
    let value = "a\nb";
    assert!(matches(r#"temperature{note=~"a.b"}"#, &[("note", value)]));
    assert!(!matches(r#"temperature{note=~"a"}"#, &[("note", value)]));
    assert!(!matches(r#"temperature{note=~"b$"}"#, &[("note", value)]));
    assert!(!matches(r#"temperature{note=~"x|a"}"#, &[("note", "ay")]));
    assert!(matches(r#"temperature{note="say \"hi\" \\ é"}"#, &[("note", "say \"hi\" \\ é")]));
}

#[test]
fn invalid_selectors_are_refused_with_a_readable_reason() {
    let refused = |text: &str| Selector::parse(text).unwrap_err().to_string();
    for (text, part) in [
        ("", "empty"),
        ("  ", "empty"),
        ("temperature{", "cannot be read"),
        ("temperature{site=berlin}", "cannot be read"),
        ("temperature[5m]", "range"),
        ("sum(temperature)", "function"),
        ("temperature + 1", "expression"),
        ("temperature offset 5m", "offset"),
        ("temperature @ 0", "offset"),
        ("1", "expression"),
        (r#"{site="a" or site="b"}"#, "or"),
        (r#"temperature{a=~"("}"#, "regex"),
        (r#"temperature{a=~"a)|(b"}"#, "regex"),
        (r#"temperature{a=~"(\\w{200}){200}"}"#, "regex"),
        ("{}", "cannot be read"),
    ] {
        let message = refused(text);
        assert!(message.contains(part) && !message.contains('\n'), "{text:?}: {message}");
    }
    assert_eq!(Selector::parse(&"x".repeat(5_000)).unwrap_err(), SelectorError::TooLong(5_000));
    let many = (0..65).map(|i| format!("l{i}=\"x\"")).collect::<Vec<_>>().join(",");
    assert_eq!(Selector::parse(&format!("{{{many}}}")).unwrap_err(), SelectorError::TooMany(65));
}

#[test]
fn lists_accept_an_empty_selector_and_only_their_labels() {
    for all in ["", " ", "{}", "{ }"] {
        assert!(Selector::parse_or_all(all).unwrap().matches_with(|_| ""));
    }
    let selector = Selector::parse_or_all(r#"{site="berlin",room="3"}"#).unwrap();
    assert!(selector.only(&["site", "room"]).is_ok());
    let message = selector.only(&["site", "gateway"]).unwrap_err().to_string();
    assert!(message.contains("\"room\"") && message.contains("site, gateway"), "{message}");
}

#[test]
fn raw_strings_are_taken_verbatim() {
    for (selector, expected) in [
        (r"temperature{room=~`r-\d+`}", true),
        (r"temperature{room=`r-17`}", true),
        (r"temperature{room=`r-\d+`}", false),
        (r#"temperature{room=~`r-\d+`,device="press-17"}"#, true),
        (r#"temperature{room!=`"`}"#, true),
        (r#"temperature{room!="`"}"#, true),
        (r#"temperature{room!='`', device=~`press-\d\d`}"#, true),
        (r#"temperature{room!="\"`", device=~`press-\d\d`}"#, true),
    ] {
        assert_eq!(matches(selector, &[("room", "r-17")]), expected, "{selector}");
    }
    assert!(matches("temperature{note=`a\nb`}", &[("note", "a\nb")]));
    assert!(matches(r#"temperature{note=`say "hi" \`}"#, &[("note", r#"say "hi" \"#)]));
    assert!(Selector::parse("temperature{room=~`r-}").is_err());
}

#[test]
fn a_metric_may_be_named_like_a_keyword() {
    let words = "on by without ignoring group_left group_right bool offset and or unless atan2 sum avg count min max \
                 group stddev stdvar topk bottomk quantile count_values start end step smoothed anchored inf nan ON Sum \
                 fill fill_left fill_right limitk limit_ratio rate matching where";
    let gateway = GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() };
    for word in words.split_whitespace() {
        let key = SeriesKey {
            device: Name::new("d").unwrap(),
            metric: MetricName::new(word).unwrap(),
            labels: Labels::new([(word, "x")]).unwrap(),
        };
        for text in [
            word.to_owned(),
            format!(" {word} {{ }}"),
            format!("{word}{{device=\"d\",{word}=`x`}}"),
            format!("{{__name__=\"{word}\",{word}=\"x\"}}"),
        ] {
            let selector = Selector::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(selector.matches(&gateway, &key), "{text}");
        }
        assert!(Selector::parse(&format!("{word}[5m]")).is_err());
    }
    assert!(Selector::parse("on{__name__=\"a\"}").is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in r#"[a-z_{}()\[\]="'`~!,.:@+\-*/^%0-9 \\\néx]{0,60}"#) {
        let _ = Selector::parse(&text);
        let _ = Selector::parse_or_all(&text);
    }

    #[test]
    fn no_pattern_panics(pattern in "[a-c(){}|?*+.^$0-9,\\[\\]-]{0,30}") {
        let _ = Selector::parse(&format!("m{{a=~\"{pattern}\"}}"));
    }
}
