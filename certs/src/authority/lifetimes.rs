//! How long certificates and revocation lists are valid.

use std::time::Duration;

use crate::Role;

/// One day.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Certificates start this much before they are made, for clocks that are behind.
pub(crate) const BACK_DATED: Duration = Duration::from_secs(300);
/// How long a root is valid unless told otherwise.
pub const ROOT_DAYS: u32 = 3_650;
/// How long a revocation list counts as current unless told otherwise.
pub const CRL_DAYS: u32 = 30;
/// Longest validity that can be asked for, in days: 100 years.
pub const DAYS_MAX: u32 = 36_500;

/// Days of validity of a role's certificates unless told otherwise. People come and go faster than machines.
pub fn default_days(role: Role) -> u32 {
    match role {
        Role::Device | Role::Gateway | Role::Aggregator => 365,
        Role::Operator => 90,
    }
}
