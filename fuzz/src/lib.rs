//! Fuzzing of every decoder: hostile bytes must not panic, not exceed a bound, not stall.
//!
//! ```text
//! seeds, fuzz/corpus/TARGET/* ─▶ mutate ─▶ probe (target, allocator) ─▶ new outcome: into the pool
//!                                                                    └▶ failure: minimized, kept in the corpus
//! ```
//!
//! A target runs one input through the product's code, asserts the invariants of the result, and returns a signature of
//! its behaviour. The engine keeps inputs whose signature is new, and so explores a grammar on stable Rust without
//! instrumented code. A seed determines every run. Findings become files of the corpus, and an ordinary test runs the
//! whole corpus.

#![allow(clippy::print_stdout, clippy::print_stderr)]
// a tool of the project itself

// A harness should panic on the impossible, and its indexes are its own.
#![allow(clippy::indexing_slicing)]

pub mod corpus;
pub mod mutate;
pub mod probe;
pub mod run;
pub mod targets;

/// Counts allocated bytes, for the bounds of [`probe::probe`].
#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
