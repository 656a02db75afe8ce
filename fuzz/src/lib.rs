//! Fuzzing of every decoder: hostile bytes must not panic, not exceed a bound, not stall.
//!
//! ```text
//! seeds, fuzz/corpus/TARGET/* ─▶ mutate ─▶ probe (target, allocator) ─▶ new outcome: into the pool
//!                                                                    └▶ failure: made smaller, kept in the corpus
//! ```
//!
//! A target runs one input through the product's code, asserts what must hold of the result, and answers a signature of
//! what happened. The engine keeps inputs whose signature is new: so it finds its way into a grammar on stable Rust,
//! without instrumented code. Everything follows from a seed; what is found is a file of the corpus from then on, and an
//! ordinary test runs the whole corpus.

#![allow(clippy::print_stdout, clippy::print_stderr)]
// a tool of the project itself

// A harness is to say loudly when it meets the impossible, and its indexes are its own.
#![allow(clippy::indexing_slicing)]

pub mod corpus;
pub mod mutate;
pub mod probe;
pub mod run;
pub mod targets;

/// Counts what is allocated, for the bounds of [`probe::probe`].
#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
