//! Expressions over a store.
