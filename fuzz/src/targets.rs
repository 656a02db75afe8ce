//! The fuzz targets. A target asserts invariants and returns a signature of the decoder's behaviour.

mod batch;
mod certificate;
mod crl;
mod frames;
mod journal;
mod json;
mod json_options;
mod line_protocol;
mod lines;
mod mqtt;
mod opening;
mod partial;
mod promql;
mod revocation_parts;
mod rig;
mod topics;

use std::hash::{DefaultHasher, Hash, Hasher};

/// A decoder and its invariants.
#[derive(Debug)]
pub struct Target {
    /// Name of the target and of its folder in the corpus.
    pub name: &'static str,
    /// Runs one input; panics if an invariant is violated.
    pub run: fn(&[u8]) -> u64,
    /// Initial inputs, in addition to the corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Tokens of the grammar.
    pub tokens: &'static [&'static [u8]],
    /// Memory allowed for an input of any length, in bytes: mostly messages of refusals.
    pub fixed_bytes: usize,
    /// Additional memory allowed per byte of input.
    pub bytes_per_input_byte: usize,
}

/// All targets.
pub static TARGETS: [Target; 15] = [
    json::TARGET,
    line_protocol::TARGET,
    frames::TARGET,
    lines::TARGET,
    topics::TARGET,
    mqtt::TARGET,
    opening::TARGET,
    json_options::TARGET,
    partial::TARGET,
    batch::TARGET,
    journal::TARGET,
    promql::TARGET,
    certificate::TARGET,
    crl::TARGET,
    revocation_parts::TARGET,
];

/// The signature of any value.
fn signature(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A number by its order of magnitude, for signatures.
const fn magnitude(number: usize) -> u32 {
    usize::BITS - number.leading_zeros()
}

/// Sizes of the pieces in which an input arrives: a different sequence for each input.
fn pieces(input: &[u8]) -> impl Iterator<Item = usize> {
    let mut state = signature(input);
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match state >> 62 {
            0 => 1,
            1 => 2,
            2 => (state >> 40) as usize % 20 + 1,
            _ => (state >> 40) as usize % 500 + 1,
        }
    })
}
