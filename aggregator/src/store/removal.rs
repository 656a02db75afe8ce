//! Removal: `retain` of what is older than the rules say, `forget_series`.

pub(in crate::store) mod forget_series;
pub(in crate::store) mod retain;
