//! Lists the certificates of the ledger, as a table or JSON.

use std::{fmt, path::Path, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Authority, AuthorityError, CA_FILE, History, LEDGER_FILE, LOCK_FILE, Ledger, RevocationReason, lock, now,
    revoke::known, spread::add_sites,
};

/// Status of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Peers accept it.
    Valid,
    /// Its validity has not started.
    NotYetValid,
    /// Its validity has ended.
    Expired,
    /// It was revoked.
    Revoked,
    /// Peers accept it, but its identity has a newer one.
    Replaced,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valid => "valid",
            Self::NotYetValid => "not yet valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
        })
    }
}

/// A certificate of the ledger. Times are RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedCertificate {
    /// Serial number in hexadecimal digits.
    pub serial: String,
    /// The holder's role.
    pub role: &'static str,
    /// The holder's site, for the roles that have one.
    pub site: Option<String>,
    /// The holder's name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Start of its validity.
    pub not_before: String,
    /// End of its validity.
    pub not_after: String,
    /// When it was revoked, if it was.
    pub revoked: Option<String>,
    /// Why it was revoked, in the words of RFC 5280, if a reason was given.
    pub reason: Option<RevocationReason>,
    /// SHA-256 of the certificate in hexadecimal digits.
    pub fingerprint: String,
    /// SHA-256 of its public key in hexadecimal digits; certificates of earlier versions lack it.
    pub key: Option<String>,
}

/// All certificates of a PKI folder and of the authorities of its sites, sorted by role, site, name and age. With
/// `expiring`, only those that end within that time (or have ended) and whose identity has no newer one. Needs no key and
/// writes nothing.
///
/// # Errors
/// There is no root, or the ledger cannot be read.
pub fn list(
    dir: &Path,
    expiring: Option<Duration>,
    note: &mut dyn FnMut(String),
) -> Result<Vec<ListedCertificate>, AuthorityError> {
    let (ca, ledger) = (dir.join(CA_FILE), dir.join(LEDGER_FILE));
    if !ca.exists() && !ledger.exists() {
        return Err(AuthorityError::NoRoot { path: ca, dir: dir.to_owned() });
    }
    // A copy of the folder, or one that cannot be written, has no writers: no lock is needed.
    let _lock = dir.join(LOCK_FILE).exists().then(|| lock(dir).ok());
    let mut history = known(dir, &mut Ledger::open_to_read(&ledger)?, note)?;
    add_sites(dir, &mut history, note)?;
    Ok(rows(&history, now(), expiring))
}

impl Authority {
    /// As [`list`].
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn list(
        &self,
        expiring: Option<Duration>,
        note: &mut dyn FnMut(String),
    ) -> Result<Vec<ListedCertificate>, AuthorityError> {
        list(&self.dir, expiring, note)
    }
}

fn rows(history: &History, now: Timestamp, expiring: Option<Duration>) -> Vec<ListedCertificate> {
    let replaced = history.replaced();
    let limit = expiring.map(|within| now.checked_add(within).unwrap_or(Timestamp::MAX));
    let mut issued: Vec<_> = history
        .issued
        .iter()
        .map(|issued| {
            let status = if history.revoked_at(&issued.serial).is_some() {
                Status::Revoked
            } else if issued.not_after < now {
                Status::Expired
            } else if replaced.contains(&issued.serial) {
                Status::Replaced
            } else if issued.not_before > now {
                Status::NotYetValid
            } else {
                Status::Valid
            };
            (issued, status)
        })
        .filter(|(issued, status)| {
            limit.is_none_or(|limit| {
                issued.not_after < limit && *status != Status::Revoked && !replaced.contains(&issued.serial)
            })
        })
        .collect();
    issued.sort_by_key(|(issued, _)| (issued.role, issued.site.clone(), issued.name.clone(), issued.time));
    issued
        .into_iter()
        .map(|(issued, status)| ListedCertificate {
            serial: issued.serial.to_string(),
            role: issued.role.as_str(),
            site: issued.site.as_ref().map(ToString::to_string),
            name: issued.name.to_string(),
            status,
            not_before: issued.not_before.to_string(),
            not_after: issued.not_after.to_string(),
            revoked: history.revoked_at(&issued.serial).as_ref().map(ToString::to_string),
            reason: history.reasons.get(&issued.serial).copied(),
            fingerprint: issued.fingerprint.clone(),
            key: issued.key.clone(),
        })
        .collect()
}

/// A table for people.
pub fn list_table(rows: &[ListedCertificate]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["ROLE", "SITE", "NAME", "STATUS", "NOT AFTER", "SERIAL"]);
    for row in rows {
        table.add_row([
            row.role,
            row.site.as_deref().unwrap_or("-"),
            &row.name,
            &row.status.to_string(),
            &row.not_after,
            &row.serial,
        ]);
    }
    table.trim_fmt()
}
