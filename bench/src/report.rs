//! Report.

/// The value at a fraction of the sorted values; 0 without any.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len().saturating_sub(1)) as f64 * q).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}
