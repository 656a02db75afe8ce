//! What is fuzzed. A target asserts what must hold and answers a signature of what happened.

mod batch;
mod frames;
mod journal;
mod json;
mod json_options;
mod line_protocol;
mod lines;
mod mqtt;
mod opening;
mod partial;
mod rig;
mod topics;

use std::hash::{DefaultHasher, Hash, Hasher};

/// A decoder, and what must hold of it.
#[derive(Debug)]
pub struct Target {
    /// Name of the target and of its folder in the corpus.
    pub name: &'static str,
    /// Runs one input; panics when something does not hold.
    pub run: fn(&[u8]) -> u64,
    /// Inputs to begin with, beside those of the corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Parts of the grammar.
    pub tokens: &'static [&'static [u8]],
    /// Memory that an input may take whatever its length, in bytes: mostly messages of refusals.
    pub fixed_bytes: usize,
    /// Memory that each further byte of an input may take.
    pub bytes_per_input_byte: usize,
}

/// All targets.
pub static TARGETS: [Target; 11] = [
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
];

/// A signature of anything.
fn signature(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A number by its order of magnitude, for signatures.
const fn magnitude(number: usize) -> u32 {
    usize::BITS - number.leading_zeros()
}

/// Sizes of pieces in which an input arrives, another sequence for each input.
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
