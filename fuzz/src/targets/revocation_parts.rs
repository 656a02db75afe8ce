//! Revocation lists on a stream: whatever parts arrive, no more is held than arrived, and what is whole was sent so.

use catchment_proto::{
    revocations::{LISTS_MAX, ListsAssembler, decode_lists, encode_lists, part},
    wire,
};
use prost::Message as _;

use super::{Target, magnitude, signature};

pub(super) const TARGET: Target = Target {
    name: "revocation_parts",
    run,
    seeds,
    tokens: &[b"\x0a\x03abc", b"\x12\x02de", b"\x0a\x00", b"\x08\x01", b"\x18\x09", b"\x22\x05\x0a\x03abc"],
    fixed_bytes: 64 << 10,
    bytes_per_input_byte: 200,
};

/// Length-delimited parts, and one encoded message of lists.
fn seeds() -> Vec<Vec<u8>> {
    let lists = encode_lists([(&b"list"[..], None), (b"site", Some(&b"issuer"[..]))]).bytes;
    let whole = part(1, &lists, 0).unwrap_or_default();
    let half =
        |offset: usize, content| wire::RevocationPart { offset: offset as u64, content, ..whole.clone() };
    let (first, second) = (half(0, lists.slice(..5)), half(5, lists.slice(5..)));
    let parts = |parts: &[&wire::RevocationPart]| {
        parts.iter().flat_map(|part| part.encode_length_delimited_to_vec()).collect::<Vec<u8>>()
    };
    vec![parts(&[&whole]), parts(&[&first, &second]), parts(&[&first, &whole, &second]), lists.to_vec()]
}

fn run(input: &[u8]) -> u64 {
    let lists = decode_lists(input.to_vec().into()).ok();
    if let Some(lists) = &lists {
        assert!(lists.lists.len() <= LISTS_MAX && lists.issuers.len() <= LISTS_MAX);
        assert_eq!(wire::RevocationLists::decode(input).as_ref(), Ok(lists));
    }
    let (mut assembler, mut rest, mut outcomes) = (ListsAssembler::default(), input, Vec::new());
    while let Ok(part) = wire::RevocationPart::decode_length_delimited(&mut rest) {
        let outcome = match assembler.take(part) {
            Ok(None) => 0,
            Ok(Some((_, lists))) => 1 + magnitude(lists.lists.len()),
            Err(error) => 100 + u32::from(error.reason() == "malformed"),
        };
        if outcomes.len() < 8 {
            outcomes.push(outcome);
        }
        if rest.is_empty() {
            break;
        }
    }
    signature((lists.map(|lists| (magnitude(lists.lists.len()), magnitude(lists.issuers.len()))), outcomes))
}
