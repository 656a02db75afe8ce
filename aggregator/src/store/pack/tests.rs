use catchment_partial::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::store::row::resolve;

pub(in crate::store) fn any_row() -> impl Strategy<Value = Row> {
    let body = prop_oneof![9 => 0..200_usize, 1 => 0..BODY_BYTES_MAX + 1]
        .prop_map(|n| Bytes::from(vec![n as u8; n]));
    let start = prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), 0..40_000_000_000_000_i64];
    let part = prop_oneof![any::<u64>(), 0..1000_u64];
    (start, 1..=86_400_000_u32, any::<u32>(), 0..256_u32, part, any::<u64>(), body).prop_map(
        |(start, width, origin, shard, part, revision, body)| {
            let window = Window::containing(Timestamp::from_nanos(start), Width::from_millis(width).unwrap());
            let name = Name { start: window.start(), width: window.width(), origin, shard, part };
            Row { name, revision, body }
        },
    )
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    proptest::collection::vec(any_row(), 0..40).prop_map(|mut rows| {
        resolve(&mut rows);
        rows
    })
}

proptest! {
    #[test]
    fn what_is_packed_comes_out(rows in rows()) {
        let mut back = Vec::new();
        for run in split(&rows) {
            let pack = encode(run);
            prop_assert!(pack.len() <= PACK_BYTES_MAX, "{} bytes", pack.len());
            back.extend(decode(&pack.into()).unwrap());
        }
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn a_flipped_bit_is_found(rows in rows(), at: prop::sample::Index, bit in 0..8_u8) {
        let mut pack = encode(&rows);
        let at = at.index(pack.len());
        pack[at] ^= 1 << bit;
        prop_assert_eq!(decode(&pack.into()), Err(PackError::Checksum));
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version: bool) {
        if version && !bytes.is_empty() {
            bytes[0] = VERSION;
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let _ = decode(&bytes.into());
    }
}

#[test]
fn the_format_is_fixed() {
    let row = Row {
        name: Name {
            start: Timestamp::from_millis(20_000).unwrap(),
            width: Width::from_millis(10_000).unwrap(),
            origin: 3,
            shard: 1,
            part: 300,
        },
        revision: 301,
        body: Bytes::from_static(b"xy"),
    };
    let pack = encode(std::slice::from_ref(&row));
    let content = [1, 1, 4, 0xa0, 0x9c, 1, 6, 2, 0xd8, 4, 1, 2, b'x', b'y'];
    assert_eq!(pack[..pack.len() - 4], content);
    assert_eq!(decode(&pack.into()), Ok(vec![row]));
}

#[test]
fn a_newer_format_is_named() {
    let mut pack = vec![VERSION + 1, 0];
    pack.extend(crc32c::crc32c(&pack).to_le_bytes());
    assert_eq!(decode(&pack.into()), Err(PackError::Version(VERSION + 1)));
}
