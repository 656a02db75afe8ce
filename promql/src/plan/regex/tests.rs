use super::*;

fn matches(pattern: &str, value: &str) -> bool {
    whole(pattern, COMPILED_BYTES_MAX).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(value)
}

#[test]
fn patterns_mean_what_they_mean_in_go() {
    let cases = [
        ("a", "a", true),
        ("a", "ab", false),
        ("a|b", "b", true),
        ("a|b", "ab", false),
        (".*", "two\nlines", true),
        ("", "", true),
        // Classes are of ASCII.
        (r"\d", "5", true),
        (r"\d", "٣", false),
        (r"\D", "٣", true),
        (r"\w+", "sensor_1", true),
        (r"\w", "é", false),
        (r"\W", "é", true),
        (r"\s", "\u{a0}", false),
        (r"\S", "\u{a0}", true),
        (r"\s", "\x0b", false),
        (r"[\d_]+", "1_2", true),
        (r"[^\d]", "٣", true),
        (r"[\D5]+", "a5", true),
        (r"é\b.*", "éa", true),
        (r"[[:alpha:]]+", "ab", true),
        (r"[[:^alpha:]]+", "12", true),
        (r"[[:word:]-]+", "a-b", true),
        // What is literal in Go is an operator in Rust, or none at all.
        (r"a{b}", "a{b}", true),
        (r"a{,2}", "a{,2}", true),
        (r"a{2,3}", "aaa", true),
        (r"a{2}", "aa", true),
        (r"\<", "<", true),
        (r"\_\-\/", "_-/", true),
        (r"[a&&b]+", "a&b", true),
        (r"[[a]+", "[a", true),
        (r"[]a]+", "]a", true),
        (r"[a--b]", "a", false),
        (r"[+--]+", "+,-", true),
        (r"[a~~b]+", "a~b", true),
        (r"[-a]+", "-a", true),
        (r"[a-]+", "-a", true),
        (r"[\]\\]+", r"]\", true),
        // Escapes that Rust lacks.
        (r"\Qa.b\E.", "a.bc", true),
        (r"\Qa.b", "a.b", true),
        (r"\Qa.b", "axb", false),
        (r"\012", "\n", true),
        (r"\0", "\0", true),
        (r"\x41\x{42}", "AB", true),
        (r"[\x41-\x43]+", "ABC", true),
        (r"\a\f\t\n\r\v", "\x07\x0c\t\n\r\x0b", true),
        (r"\pL\p{Greek}", "aλ", true),
        (r"\PL", "1", true),
        (r"[\p{Lu}1]+", "A1", true),
        (r"\p{^L}", "1", true),
        // Groups and flags.
        ("(?i)ABC", "abc", true),
        ("(?i:A)b", "aB", false),
        ("(?P<name>a)(?<other>b)(?:c)", "abc", true),
        ("(?s-m:.)", "\n", true),
        ("(?-s:.)", "\n", false),
        ("web-(0[1-9]|1[0-9])", "web-17", true),
        ("^a$", "a", true),
    ];
    for (pattern, value, wanted) in cases {
        if pattern == "[a--b]" {
            // A range that goes down, in Go as well.
            assert!(whole(pattern, COMPILED_BYTES_MAX).is_err());
            continue;
        }
        assert_eq!(matches(pattern, value), wanted, "{pattern} {value:?}");
    }
}

#[test]
fn what_go_refuses_is_refused() {
    for pattern in [
        "(",
        "a)|(b",
        r"\1",
        r"\y",
        r"\8",
        "(?x)a b",
        "(?u)a",
        "(?=a)",
        "[a",
        "[b-a]",
        r"\",
        "[[:word]:]x(",
        r"\p{a=b}",
        "*",
    ] {
        assert!(whole(pattern, COMPILED_BYTES_MAX).is_err(), "{pattern}");
    }
    let large = whole(r"(\pL{90}){90}", COMPILED_BYTES_MAX).unwrap_err();
    assert_eq!(large, "it is too large");
}

#[test]
fn small_patterns_fit_the_least_bound() {
    for pattern in [".*", ".+", "web-.*", "a|b|c", r"r-\d+", "(?i)berlin"] {
        assert!(whole(pattern, 0).is_ok(), "{pattern}");
    }
}
