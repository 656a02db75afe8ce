use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn keys_of_blocks_sort_like_their_numbers(a: (u32, i64, u32), b: (u32, i64, u32)) {
        let (key, other) = (block_key(a.0, a.1, a.2), block_key(b.0, b.1, b.2));
        prop_assert_eq!(parse_block_key(&key), Some(a));
        prop_assert_eq!(key.cmp(&other), a.cmp(&b));
    }

    #[test]
    fn no_value_panics(value: Vec<u8>) {
        prop_assert!(message::<GroupRecord>(b"k", &value).is_err());
        prop_assert!(sealed(&[MAGIC.as_slice(), &value].concat()).is_none());
    }
}

#[test]
fn a_value_under_another_key_is_damage() {
    let meta = Meta { flushed_to: Position::new(7), next_series: 3, sequence: 9, ..Meta::default() }.record();
    let mut value = seal(9, b"m", &meta.encode_to_vec());
    assert_eq!(message::<MetaRecord>(b"m", &value), Ok(meta));
    assert!(message::<MetaRecord>(b"n", &value).is_err());
    for place in 0..value.len() {
        value[place] ^= 1;
        assert!(unseal(b"m", &value).is_err(), "byte {place}");
        value[place] ^= 1;
    }
}
