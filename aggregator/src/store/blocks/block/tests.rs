use catchment_partial::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::store::memtable::row::resolve;

const GROUP: u32 = 7;

pub(in crate::store) fn any_row() -> impl Strategy<Value = Row> {
    let body = prop_oneof![9 => 0..200_usize, 1 => 0..BODY_BYTES_MAX + 1]
        .prop_map(|n| Bytes::from(vec![n as u8; n]));
    let start = prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), 0..40_000_000_000_000_i64];
    let part = prop_oneof![any::<u64>(), 0..1000_u64];
    (0..GROUP_SERIES, (start, 1..=86_400_000_u32), any::<u32>(), 0..256_u32, part, any::<u64>(), body)
        .prop_map(|(place, (start, width), epoch, shard, part, revision, body)| {
            let window = Window::containing(Timestamp::from_nanos(start), Width::from_millis(width).unwrap());
            let name = PartialName { start: window.start(), width: window.width(), epoch, shard, part };
            Row { series: first_of(GROUP) + place, name, revision, body }
        })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    proptest::collection::vec(any_row(), 0..40).prop_map(|mut rows| {
        resolve(&mut rows);
        rows
    })
}

fn borrowed(rows: &[Row]) -> Vec<RowRef<'_>> {
    rows.iter().map(Row::borrowed).collect()
}

proptest! {
    #[test]
    fn encoded_rows_are_decoded(rows in rows(), wanted in 0..GROUP_SERIES) {
        let (mut back, mut of_one) = (Vec::new(), Vec::new());
        let wanted = first_of(GROUP) + wanted;
        for run in split(&borrowed(&rows)) {
            let block = Bytes::from(encode(run));
            prop_assert!(block.len() <= BLOCK_BYTES_MAX, "{} bytes", block.len());
            back.extend(decode_rows(GROUP, &block, None).unwrap());
            of_one.extend(decode_rows(GROUP, &block, Some(wanted)).unwrap());
        }
        prop_assert_eq!(&back, &rows);
        back.retain(|row| row.series == wanted);
        prop_assert_eq!(of_one, back);
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version: bool) {
        if version && !bytes.is_empty() {
            bytes[0] = VERSION;
        }
        let _ = decode(GROUP, &bytes, None);
    }

    #[test]
    fn a_changed_byte_does_not_panic(rows in rows(), at: prop::sample::Index, to: u8) {
        let mut block = encode(&borrowed(&rows));
        let at = at.index(block.len());
        block[at] = to;
        let _ = decode(GROUP, &block, None);
    }
}

#[test]
fn the_format_is_fixed() {
    let row = Row {
        series: first_of(GROUP) + 5,
        name: PartialName {
            start: Timestamp::from_millis(20_000).unwrap(),
            width: Width::from_millis(10_000).unwrap(),
            epoch: 3,
            shard: 1,
            part: 300,
        },
        revision: 301,
        body: Bytes::from_static(b"xy"),
    };
    let block = encode(&[row.borrowed()]);
    let content = [2, 1, 5, 1, 12, 5, 0xa0, 0x9c, 1, 6, 2, 4, 0xd8, 4, 1, b'x', b'y'];
    assert_eq!(block, content);
    assert_eq!(decode(GROUP, &block, None), Ok(vec![row.borrowed()]));
}

#[test]
fn another_format_is_named() {
    assert_eq!(decode(GROUP, &[VERSION + 1, 0], None), Err(BlockError::Version(VERSION + 1)));
}
