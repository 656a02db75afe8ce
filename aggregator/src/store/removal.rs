//! Removal: `forget` of windows, `forget_series`.

pub(in crate::store) mod forget;
pub(in crate::store) mod forget_series;
