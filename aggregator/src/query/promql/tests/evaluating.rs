//! Whole expressions.
