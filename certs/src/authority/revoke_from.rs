//! Reads a file that names many certificates to revoke.

use std::path::Path;

use catchment_proto::id::Name;
use serde::Deserialize;

use super::{AuthorityError, RevokeWhat, bulk::read_csv};
use crate::{Identity, Role};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    serial: Option<String>,
    role: Option<String>,
    site: Option<String>,
    name: Option<String>,
}

/// Reads a CSV file with the header `serial`, `site,name` (devices) or `role,site,name`, a certificate or an identity a
/// line.
///
/// # Errors
/// The file cannot be read, has another header, or a row is no serial number or identity; the message names file and
/// line.
pub fn read_revocations(path: &Path) -> Result<Vec<RevokeWhat>, AuthorityError> {
    let mut what = Vec::new();
    read_csv(path, &[&["serial"], &["name", "site"], &["name", "role", "site"]], |row: Row| {
        what.push(revocation(row)?);
        Ok(())
    })?;
    Ok(what)
}

fn revocation(row: Row) -> Result<RevokeWhat, String> {
    if let Some(serial) = row.serial {
        return serial.parse().map(RevokeWhat::Serial).map_err(|error| format!("{serial:?}: {error}"));
    }
    let name =
        |column: &str, text: &str| Name::new(text).map_err(|error| format!("{column} {text:?}: {error}"));
    let role = row
        .role
        .map_or(Ok(Role::Device), |role| role.parse())
        .map_err(|error: crate::identity::RoleError| error.to_string())?;
    let site = row.site.filter(|site| !site.is_empty()).map(|site| name("site", &site)).transpose()?;
    let of = name("name", row.name.as_deref().unwrap_or_default())?;
    let needs = if role.has_site() { "needs a site" } else { "has no site; leave it empty" };
    Identity::from_parts(role, site, of)
        .map(RevokeWhat::Identity)
        .ok_or_else(|| format!("{} {needs}", role.with_article()))
}
