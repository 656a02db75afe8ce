//! Mutates inputs: bits, ranges, tokens of the grammar, extreme numbers, two inputs in one.

use rand::{RngExt as _, rngs::SmallRng};

/// Longest input: several times the message bound that the targets set, so that inputs exceed it.
pub const INPUT_BYTES_MAX: usize = 16 << 10;

/// Numbers that tend to break decoders, as text.
const NUMBERS: [&[u8]; 18] = [
    b"0",
    b"-0",
    b"-1",
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"1E+308",
    b"4.9e-324",
    b"9007199254740993",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"0.00000000000000000000000000000000000000000000000000000000000000000000000000001",
    b"1700000000000",
    b"1700000000000000000",
    b"NaN",
];

/// Bytes with a meaning in many decoders, including texts that are not UTF-8.
const BYTES: [&[u8]; 20] = [
    b"\n",
    b"\r\n",
    b"\0",
    b"\"",
    b"\\",
    b"\\\"",
    b" ",
    b"\xff",
    b"\xc0\x80",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf0\x9f\x98",
    b"\xef\xbb\xbf",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
];

fn range(random: &mut SmallRng, length: usize, longest: usize) -> std::ops::Range<usize> {
    let start = random.random_range(0..=length);
    let size = random.random_range(0..=longest.min(length - start));
    start..start + size
}

fn pick<'t>(random: &mut SmallRng, of: &[&'t [u8]]) -> &'t [u8] {
    if of.is_empty() { b"" } else { of[random.random_range(0..of.len())] }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// The run of digits at or after an offset.
fn digits(input: &[u8], from: usize) -> Option<std::ops::Range<usize>> {
    let start = from + input.get(from..)?.iter().position(u8::is_ascii_digit)?;
    let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(start..start + length)
}

fn once(random: &mut SmallRng, input: &mut Vec<u8>, other: &[u8], tokens: &[&[u8]]) {
    let length = input.len();
    let at = random.random_range(0..=length);
    match random.random_range(0..14) {
        0 if length > 0 => input[at % length] ^= 1 << random.random_range(0..8),
        1 if length > 0 => input[at % length] = random.random(),
        2 => drop(input.drain(range(random, length, 32))),
        3 => {
            let copied = input[range(random, length, 64)].to_vec();
            insert(input, at, &copied);
        }
        4 | 5 => insert(input, at, pick(random, tokens)),
        6 => {
            let range = range(random, length, 8);
            input.splice(range, pick(random, tokens).iter().copied());
        }
        7 => insert(input, at, pick(random, &BYTES)),
        8 => {
            let number = pick(random, &NUMBERS);
            match digits(input, at) {
                Some(range) => drop(input.splice(range, number.iter().copied())),
                None => insert(input, at, number),
            }
        }
        9 => {
            // Two inputs in one.
            let from = random.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        10 => {
            let copied = other[range(random, other.len(), 200)].to_vec();
            insert(input, at, &copied);
        }
        11 => {
            // Many repetitions: depth, length, number.
            let source = if random.random() { tokens } else { &BYTES[..] };
            let token = pick(random, source).to_vec();
            let times = 1 << random.random_range(0..12);
            insert(input, at, &token.repeat(times));
        }
        12 => {
            let number: u32 = match random.random_range(0..4) {
                0 => random.random(),
                1 => u32::MAX,
                _ => random.random_range(0..300),
            };
            let bytes = if random.random() { number.to_be_bytes() } else { number.to_le_bytes() };
            let end = length.min(at + bytes.len());
            input.splice(at..end, bytes);
        }
        _ => input.truncate(at),
    }
}

/// Makes a new input from an existing one, with parts of another.
pub fn mutate(random: &mut SmallRng, input: &[u8], other: &[u8], tokens: &[&[u8]]) -> Vec<u8> {
    let mut new = input.to_vec();
    for _ in 0..1 << random.random_range(0..4) {
        once(random, &mut new, other, tokens);
        new.truncate(INPUT_BYTES_MAX);
    }
    new
}
