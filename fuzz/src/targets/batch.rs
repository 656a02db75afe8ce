//! Batches of partials from a gateway: the checked type preserves the message.

use catchment_proto::{Batch, wire};
use prost::Message as _;

use super::{Target, magnitude, signature};

pub(super) const TARGET: Target = Target {
    name: "batch",
    run,
    seeds,
    tokens: &[
        b"\x08\x01",
        b"\x10\x01",
        b"\x18\x00",
        b"\x28\x90\x4e",
        b"\x32\x08\x0a\x03d-1\x12\x01a",
        b"\x3a\x01\x00",
        b"\x42\x01\x02",
        b"\x4a\x01\x02",
        b"\x52\x01\x01",
        b"\x62\x01\x00",
        b"\x6a\x01\x00",
        b"\x70\x01",
        b"\x0a\x04room\x12\x013",
    ],
    fixed_bytes: 64 << 10,
    bytes_per_input_byte: 200,
};

fn seeds() -> Vec<Vec<u8>> {
    let label = wire::Label { name: "room".to_owned(), value: "3".to_owned() };
    let series = wire::SeriesRef { device: "d-1".to_owned(), metric: "a".to_owned(), labels: vec![label] };
    let batch = wire::Batch {
        shard: 1,
        number: 7,
        watermark_ms: 1_700_000_000_000,
        width_ms: 10_000,
        series: vec![series],
        series_index: vec![0, 0],
        window: vec![170_000_000, 1],
        part: vec![5, 10],
        revision: vec![3, 0],
        bodies: vec![1, 2, 3].into(),
        body_bytes: vec![3, 0],
        ..wire::Batch::default()
    };
    let live = wire::Batch { live: true, number: 0, ..batch.clone() };
    vec![batch.encode_to_vec(), live.encode_to_vec(), wire::Batch::default().encode_to_vec()]
}

fn run(input: &[u8]) -> u64 {
    let Ok(message) = wire::Batch::decode(input) else { return 0 };
    let batch = match Batch::try_from(message) {
        Ok(batch) => batch,
        Err(error) => {
            let text = error.to_string();
            let words = text.split(' ').filter(|word| word.bytes().all(|b| b.is_ascii_lowercase()));
            return signature(words.collect::<String>());
        }
    };
    assert!(batch.entries.iter().all(|entry| (entry.series as usize) < batch.series.len()));
    let again = Batch::try_from(wire::Batch::from(&batch)).expect("a checked batch can be sent");
    assert_eq!((&again.series, &again.entries), (&batch.series, &batch.entries));
    assert_eq!((again.number, again.watermark, again.live), (batch.number, batch.watermark, batch.live));
    signature((
        magnitude(batch.series.len()),
        magnitude(batch.entries.len()),
        batch.live,
        batch.watermark.is_some(),
    ))
}
