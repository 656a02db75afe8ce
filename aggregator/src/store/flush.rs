//! From memory to tables.
//!
//! `flusher`: the thread, and a round as a whole; `signal`: what wakes it; `round`: the tables of a round; `rows`: what a
//! round writes of one series; `marker`: how far the journal was released.

pub(in crate::store) mod flusher;
pub(in crate::store) mod marker;
pub(in crate::store) mod round;
pub(in crate::store) mod rows;
pub(in crate::store) mod signal;

#[cfg(test)]
mod tests;
