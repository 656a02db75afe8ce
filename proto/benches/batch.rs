//! Decoding a batch of 1,000 partials from the wire into rows, with and without names, and encoding it.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod sample;

use catchment_proto::{Batch, DictionaryDecoder, DictionaryEncoder, wire};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prost::{Message, bytes::Bytes};

use sample::batch;

const PARTIALS: u32 = 1_000;

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(PARTIALS.into()));
    let first = batch(1, PARTIALS);
    let (mut encoder, mut decoder) = (DictionaryEncoder::default(), DictionaryDecoder::default());
    decoder.decode(encoder.encode((&first).into())).unwrap();
    let named = wire::Batch::from(&first);
    let short = Bytes::from(encoder.encode(named.clone()).encode_to_vec());
    let long = Bytes::from(named.encode_to_vec());
    group.bench_function("decode, series known", |b| {
        b.iter(|| decoder.decode(wire::Batch::decode(short.clone()).unwrap()).unwrap());
    });
    group.bench_function("decode, series named", |b| {
        b.iter(|| Batch::try_from(wire::Batch::decode(long.clone()).unwrap()).unwrap());
    });
    let mut out = Vec::new();
    group.bench_function("encode, series named", |b| {
        b.iter(|| {
            out.clear();
            first.encode(&mut out);
        });
    });
    group.bench_function("leave known names out", |b| {
        b.iter_batched(|| named.clone(), |named| encoder.encode(named), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, batches);
criterion_main!(benches);
