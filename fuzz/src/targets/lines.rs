//! The line splitter: the same lines however the bytes arrive, in a bounded buffer.

use catchment_gateway::decode::{Lines, Next};

use super::{Target, magnitude, pieces, signature};

pub(super) const TARGET: Target = Target {
    name: "lines",
    run,
    seeds: || {
        vec![b"a b=1\nc s=\"x\ny\",t=1\n# \"\n\n{\"a\":1}\r\n".to_vec(), b"a\\ s=\"x\\\"\n\" 5\nb".to_vec()]
    },
    tokens: &[
        b"\n", b"\"", b"\\", b" ", b"a b=\"", b"=", b",", b"#", b"\r\n", b"a b=1\n", b"\" 1\n", b"\x0c",
    ],
    fixed_bytes: 16 << 10,
    bytes_per_input_byte: 100,
};

/// Longest line.
const BYTES_MAX: usize = 200;

/// A line, as split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SplitLine {
    Line(Vec<u8>),
    TooLong,
}

/// Feeds bytes in pieces, as a session does, and passes on each line. `slack`: bytes that may remain unread.
pub(super) fn drain_lines(
    lines: &mut Lines,
    bytes_max: usize,
    input: &[u8],
    mut sizes: impl Iterator<Item = usize>,
    mut each: impl FnMut(Option<&[u8]>),
) {
    let (mut buffer, mut rest) = (Vec::new(), input);
    loop {
        let (piece, behind) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
        let ended = piece.is_empty();
        rest = behind;
        buffer.extend_from_slice(piece);
        let mut consumed = 0;
        loop {
            let left = &buffer[consumed..];
            let next = if ended { lines.finish(left) } else { lines.next(left) };
            match next {
                Next::Line { line, consumed: used } => {
                    assert!(used > 0 && line.len() <= bytes_max, "a line exceeds its bound");
                    each(Some(line));
                    consumed += used;
                }
                Next::TooLong { consumed: used } => {
                    assert!(used > 0);
                    each(None);
                    consumed += used;
                }
                Next::More { consumed: used } => {
                    consumed += used;
                    break;
                }
            }
        }
        buffer.drain(..consumed);
        assert!(buffer.len() <= bytes_max, "the buffer exceeds its bound");
        if ended {
            assert!(buffer.is_empty(), "bytes are left at the end");
            return;
        }
    }
}

fn split_lines(mut lines: Lines, input: &[u8], sizes: impl Iterator<Item = usize>) -> Vec<SplitLine> {
    let mut out = Vec::new();
    drain_lines(&mut lines, BYTES_MAX, input, sizes, |line| {
        out.push(line.map_or(SplitLine::TooLong, |line| SplitLine::Line(line.to_vec())));
    });
    out
}

fn run(input: &[u8]) -> u64 {
    let mut kinds = Vec::new();
    for make in [Lines::json, Lines::line_protocol] {
        let whole = split_lines(make(BYTES_MAX), input, std::iter::empty());
        assert_eq!(
            whole,
            split_lines(make(BYTES_MAX), input, pieces(input)),
            "the result depends on the pieces"
        );
        let bytes: usize =
            whole.iter().map(|cut| if let SplitLine::Line(line) = cut { line.len() } else { 0 }).sum();
        assert!(bytes <= input.len());
        let shapes = whole.iter().take(4).map(|cut| match cut {
            SplitLine::Line(line) => magnitude(line.len()) / 2 + u32::from(line.contains(&b'"')) * 100,
            SplitLine::TooLong => u32::MAX,
        });
        kinds.push(shapes.collect::<Vec<_>>());
    }
    signature(kinds)
}
