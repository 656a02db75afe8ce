//! How long certificates and revocation lists are valid.

use std::time::Duration;

use crate::Role;

/// One day.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Certificates are back-dated by this much, for peers whose clocks are slow.
pub(crate) const BACK_DATED: Duration = Duration::from_secs(300);
/// Default validity of a root, in days.
pub const ROOT_DAYS: u32 = 3_650;
/// Default validity of a site's issuing certificate, in days.
pub const SITE_DAYS: u32 = 1_825;
/// Default validity of a revocation list, in days.
pub const CRL_DAYS: u32 = 30;
/// Maximum validity, in days: 100 years.
pub const DAYS_MAX: u32 = 36_500;

/// Default validity of a role's certificates, in days. People change more often than machines.
pub fn default_days(role: Role) -> u32 {
    match role {
        Role::Device | Role::Gateway | Role::Aggregator => 365,
        Role::Operator => 90,
    }
}
