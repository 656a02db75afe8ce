//! Which certificates end soon.

/// Days within which a certificate ends that ends soon.
const DAYS: i64 = 30;
/// The same, seconds.
pub(crate) const EXPIRING_S: i64 = DAYS * 86_400;

/// Whether a certificate has ended or ends soon. Its end is in Unix seconds, 0 if it is not known.
pub(crate) fn is_expiring(expires_s: i64, now_ms: i64) -> bool {
    expires_s != 0 && expires_s < (now_ms / 1_000).saturating_add(EXPIRING_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_or_ends_within_the_days_is_expiring() {
        assert!(!is_expiring(1_000 + EXPIRING_S, 1_000_999) && is_expiring(1_000 + EXPIRING_S, 1_001_000));
        assert!(is_expiring(5, 1_001_000) && !is_expiring(0, 1_001_000));
    }
}
