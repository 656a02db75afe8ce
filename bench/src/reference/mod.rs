//! What the figures are compared with: bare servers of our own, and programs that others use for the same work.

pub(crate) mod sink;
