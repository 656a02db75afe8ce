use proptest::prelude::*;

use super::*;

/// The lines of a stream that arrives in pieces of `step` bytes, as a session reads it.
pub(in crate::decode) fn split_lines(mut lines: Lines, stream: &[u8], step: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut buffer = Vec::new();
    let mut pieces = stream.chunks(step.max(1));
    loop {
        let piece = pieces.next();
        buffer.extend_from_slice(piece.unwrap_or_default());
        loop {
            let next = if piece.is_some() { lines.next(&buffer) } else { lines.finish(&buffer) };
            let consumed = match next {
                Next::Line { line, consumed } => {
                    out.push(String::from_utf8_lossy(line).into_owned());
                    consumed
                }
                Next::TooLong { consumed } => {
                    out.push("TOO LONG".to_owned());
                    consumed
                }
                Next::More { consumed } => {
                    buffer.drain(..consumed);
                    break;
                }
            };
            buffer.drain(..consumed);
        }
        assert!(buffer.len() <= lines.bytes_max + 1, "the buffer is bounded");
        if piece.is_none() {
            assert!(buffer.is_empty());
            return out;
        }
    }
}

fn influx(stream: &str, step: usize) -> Vec<String> {
    split_lines(Lines::line_protocol(40), stream.as_bytes(), step)
}

#[test]
fn line_protocol_ends_lines_outside_of_quotes() {
    let cases: &[(&str, &[&str])] = &[
        ("a b=1\nc d=2\n", &["a b=1", "c d=2"]),
        ("a b=1", &["a b=1"]),
        ("\n \r\n# a \"comment\n  # x\na b=1\r\n", &["a b=1\r"]),
        ("a s=\"x\ny\",t=1\nc d=2\n", &["a s=\"x\ny\",t=1", "c d=2"]),
        ("a s=\"x\\\"\ny\\\\\" 5\nc d=2\n", &["a s=\"x\\\"\ny\\\\\" 5", "c d=2"]),
        ("a r=1,s=\"x\ny\"\nc d=2\n", &["a r=1,s=\"x\ny\"", "c d=2"]),
        ("a r=\"x\",s=\"x\ny\"\nc d=2\n", &["a r=\"x\",s=\"x\ny\"", "c d=2"]),
        // Quotes elsewhere are characters.
        ("a\",t=\" b\"=1\nc d=2\n", &["a\",t=\" b\"=1", "c d=2"]),
        ("a b=1\"\nc d=2\n", &["a b=1\"", "c d=2"]),
        ("a b=1 \"\nc d=2\n", &["a b=1 \"", "c d=2"]),
        ("a\\ b c\\==\"\n\"\nc d=2\n", &["a\\ b c\\==\"\n\"", "c d=2"]),
        // A backslash does not hide a line end outside of quotes.
        ("a\\\nc d=2\n", &["a\\", "c d=2"]),
        // Never closed: bad up to the next quote, or to the bound.
        ("a s=\"x\nb d=1\nc s=\"y\"\nc d=2\n", &["a s=\"x\nb d=1\nc s=\"y\"", "c d=2"]),
        ("a s=\"0123456789012345678901234567890123456789\nc d=2\n", &["TOO LONG", "c d=2"]),
        ("#456789012345678901234567890123456789012345\nc d=2\n", &["TOO LONG", "c d=2"]),
    ];
    for (stream, expected) in cases {
        for step in 1..=stream.len() {
            assert_eq!(influx(stream, step), *expected, "{stream:?} in pieces of {step}");
        }
    }
}

#[test]
fn a_long_line_is_told_once_whatever_it_holds() {
    for filler in [" ", "x", "\"", "\\", "a b=\"", "\u{e9}"] {
        let stream = format!("a b=1\n{}\nc d=2\n", filler.repeat(200));
        for (lines, step) in [(Lines::json(40), 1), (Lines::line_protocol(40), 1), (Lines::json(40), 7)] {
            assert_eq!(
                split_lines(lines, stream.as_bytes(), step),
                ["a b=1", "TOO LONG", "c d=2"],
                "{filler:?}"
            );
        }
    }
}

/// Text in which quotes and line ends matter.
fn quoted_text() -> impl Strategy<Value = String> {
    let words = ["a", " ", "b=", "\"", "\\", "\n", "\n", ",", "=", "#", "1", "\r\n", "c d=\"x\"", "\x0c"];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_the_pieces(text in quoted_text(), step in 1..30_usize) {
        prop_assert_eq!(influx(&text, step), influx(&text, text.len()));
        let json = |step| split_lines(Lines::json(20), text.as_bytes(), step);
        prop_assert_eq!(json(step), json(text.len()));
    }

    #[test]
    fn any_bytes_are_cut(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1..40_usize) {
        let lines = split_lines(Lines::line_protocol(50), &bytes, step);
        prop_assert_eq!(lines, split_lines(Lines::line_protocol(50), &bytes, 1000));
    }
}
