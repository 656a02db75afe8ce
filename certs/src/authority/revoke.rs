//! Revocation, and the revocation list.
//!
//! A revocation is durable in the ledger before the list is made; a list can always be made again from the ledger.
//! Every list has a higher number than the one before. A root's list counts for all certificates of the trust domain, so
//! a root revokes also what a site issued; a site's list counts for its own leaves. `spread` writes the lists to
//! `crl.pem` and to the identities of servers and operators in the PKI folder; the user must update other copies.

use std::{collections::HashMap, path::Path, time::Duration};

use catchment_proto::id::Name;
use jiff::Timestamp;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    Authority, AuthorityError, Entry, History, ISSUER_FILE, LEDGER_FILE, Ledger, PEM_BYTES_MAX,
    lifetime_of_days,
    lifetimes::{BACK_DATED, CRL_DAYS, DAY},
    lists::{KnownList, Lists},
    now,
    profile::{Validity, rcgen_time},
};
use crate::{
    Identity, Serial,
    certificate::peer_from_certificate,
    files,
    folder::{CERT_FILE, CRL_FILE},
};

/// Certificates stay on the list this much longer than they are valid, for servers whose clocks are slow.
const KEPT_AFTER_END: Duration = DAY.saturating_mul(30);

/// What to revoke.
#[derive(Clone, Debug)]
pub enum RevokeWhat {
    /// One certificate.
    Serial(Serial),
    /// One certificate that no ledger has; a root's list revokes any serial number of the trust domain.
    Unknown(Serial),
    /// Every unexpired certificate of an identity.
    Identity(Identity),
    /// Every unexpired issuing certificate of a site, and so all that they issued.
    Issuer(Name),
}

impl RevokeWhat {
    /// The serial numbers of a history that are meant.
    fn among<'a>(&'a self, history: &'a History, time: Timestamp) -> impl Iterator<Item = Serial> + 'a {
        let leaves = history.issued.iter().filter(move |issued| match self {
            Self::Serial(serial) | Self::Unknown(serial) => issued.serial == *serial,
            Self::Identity(identity) => issued.is_of(identity) && issued.not_after >= time,
            Self::Issuer(_) => false,
        });
        let issuers = history.issuers.iter().filter(move |issuer| match self {
            Self::Serial(serial) | Self::Unknown(serial) => issuer.serial == *serial,
            Self::Identity(_) => false,
            Self::Issuer(site) => issuer.site == *site && issuer.not_after >= time,
        });
        leaves.map(|issued| issued.serial.clone()).chain(issuers.map(|issuer| issuer.serial.clone()))
    }
}

/// Result of a revocation, and of writing the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokeReport {
    /// Newly revoked serial numbers.
    pub revoked: Vec<Serial>,
    /// Serial numbers that were already revoked.
    pub already: Vec<Serial>,
    /// Number of the new list.
    pub crl_number: u64,
    /// Number of certificates on the list.
    pub listed: usize,
    /// Number of identity folders in the PKI folder whose copy was updated.
    pub copies: usize,
}

impl Authority {
    /// Revokes certificates and writes a new list. Revoking a certificate twice is not an error.
    ///
    /// # Errors
    /// No ledger has such a certificate, or files cannot be read or written.
    pub fn revoke(
        &self,
        what: &RevokeWhat,
        note: &mut dyn FnMut(String),
    ) -> Result<RevokeReport, AuthorityError> {
        let lock = self.lock()?;
        let mut ledger = self.ledger()?;
        let mut history = self.known(&mut ledger, note)?;
        let time = now();
        let found = self.find(what, &history, time, note)?;
        let (already, revoked): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|serial| history.revoked.contains_key(serial));
        let entries: Vec<Entry> =
            revoked.iter().map(|serial| Entry::Revoked { time, serial: serial.clone() }).collect();
        ledger.append(&entries, note)?;
        history.revoked.extend(revoked.iter().map(|serial| (serial.clone(), time)));
        let report = self.write_crl(&mut ledger, &history, CRL_DAYS, note)?;
        drop(lock);
        let copies = report.copies + self.spread_from_site(note)?;
        Ok(RevokeReport { revoked, already, copies, ..report })
    }

    /// The serial numbers to revoke; at least one.
    fn find(
        &self,
        what: &RevokeWhat,
        history: &History,
        time: Timestamp,
        note: &mut dyn FnMut(String),
    ) -> Result<Vec<Serial>, AuthorityError> {
        let mut found: Vec<Serial> = what.among(history, time).collect();
        let mut damaged = history.damaged;
        if self.site.is_none() {
            for other in self.related_histories() {
                found.extend(what.among(&other, time));
                damaged += other.damaged;
            }
        }
        if found.is_empty()
            && let RevokeWhat::Identity(identity) = what
            && let Some(serial) = self.serial_in_folder(identity)
        {
            // Its line may be torn or damaged, or the ledger may be older than the folder.
            let dir = self.identity_dir(identity);
            note(format!(
                "no readable line of the ledger has {identity}; its certificate {serial} in {} is revoked",
                dir.display()
            ));
            found.push(serial);
        }
        match what {
            // An unreadable line may be its own. Revoking too much does no harm.
            RevokeWhat::Serial(serial) if found.is_empty() && damaged > 0 => {
                note(format!(
                    "no readable line of the ledger has serial number {serial}; it is revoked anyway"
                ));
                found.push(serial.clone());
            }
            RevokeWhat::Unknown(serial) if found.is_empty() => found.push(serial.clone()),
            _ => {}
        }
        if found.is_empty() {
            let what = match what {
                RevokeWhat::Serial(serial) | RevokeWhat::Unknown(serial) => {
                    format!("with serial number {serial} (`--unknown` revokes one that no ledger has)")
                }
                RevokeWhat::Identity(identity) => format!("of {identity} that has not expired"),
                RevokeWhat::Issuer(site) => format!("that issues for site {site} and has not expired"),
            };
            return Err(AuthorityError::Unknown { path: self.dir.join(LEDGER_FILE), what });
        }
        Ok(found)
    }

    /// Writes a new list, valid for `days` from now.
    ///
    /// # Errors
    /// The ledger cannot be read, or the list cannot be written.
    pub fn refresh_crl(
        &self,
        days: u32,
        note: &mut dyn FnMut(String),
    ) -> Result<RevokeReport, AuthorityError> {
        let lock = self.lock()?;
        let mut ledger = self.ledger()?;
        let history = self.known(&mut ledger, note)?;
        let report = self.write_crl(&mut ledger, &history, days, note)?;
        drop(lock);
        let copies = report.copies + self.spread_from_site(note)?;
        Ok(RevokeReport { copies, ..report })
    }

    /// Writes a new list. The caller holds the lock.
    fn write_crl(
        &self,
        ledger: &mut Ledger,
        history: &History,
        days: u32,
        note: &mut dyn FnMut(String),
    ) -> Result<RevokeReport, AuthorityError> {
        let time = now();
        let validity = Validity::new(time, lifetime_of_days(days)?, BACK_DATED)?;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let kept =
            |not_after: Timestamp| not_after.checked_add(KEPT_AFTER_END).map_or(true, |until| until >= time);
        let related = self.related_histories();
        let ends: HashMap<&Serial, Timestamp> =
            related.iter().flat_map(History::ends).chain(history.ends()).collect();
        let mut revoked: Vec<(&Serial, &Timestamp)> = history
            .revoked
            .iter()
            // Certificates whose end is unknown stay.
            .filter(|(serial, _)| ends.get(*serial).is_none_or(|end| kept(*end)))
            .collect();
        revoked.sort();
        let revoked_certs: Vec<RevokedCertParams> = revoked
            .iter()
            .map(|(serial, at)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial.as_bytes()),
                revocation_time: rcgen_time(epoch, **at),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let crl_number = history.crl_number.saturating_add(1);
        let listed = revoked_certs.len();
        let list = CertificateRevocationListParams {
            this_update: rcgen_time(epoch, validity.not_before),
            next_update: rcgen_time(epoch, validity.not_after),
            crl_number: SerialNumber::from(crl_number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)?;
        // The number is recorded before the list becomes visible, so no two lists share a number.
        ledger.append(&[Entry::Crl { time, number: crl_number }], note)?;
        let copies = self.publish_list(list.der().to_vec(), history, note)?;
        Ok(RevokeReport { crl_number, listed, copies, ..RevokeReport::default() })
    }

    /// The contents of the ledger, and the revocations of the current list. The caller holds the lock.
    pub(super) fn known(
        &self,
        ledger: &mut Ledger,
        note: &mut dyn FnMut(String),
    ) -> Result<History, AuthorityError> {
        known(&self.dir, ledger, note)
    }

    /// The serial number of the certificate in an identity's default folder, if it belongs to the identity.
    fn serial_in_folder(&self, identity: &Identity) -> Option<Serial> {
        let pem = files::read_bytes(&self.identity_dir(identity).join(CERT_FILE), PEM_BYTES_MAX).ok()?;
        let peer = peer_from_certificate(&CertificateDer::from_pem_slice(&pem).ok()?).ok()?;
        (peer.identity == *identity).then_some(peer.serial)
    }
}

/// The contents of a PKI folder's ledger, and the revocations of its current list, which a ledger that lost lines or
/// was restored from a backup may lack. So no revoked certificate counts as valid, and no list number is used twice.
/// The caller holds the lock.
pub(super) fn known(
    dir: &Path,
    ledger: &mut Ledger,
    note: &mut dyn FnMut(String),
) -> Result<History, AuthorityError> {
    let mut history = ledger.read(note)?;
    match present_lists(dir) {
        Ok(PresentLists { number, listed, by_root }) => {
            history.crl_number = history.crl_number.max(number);
            for (serial, at) in listed {
                history.revoked.entry(serial).or_insert(at);
            }
            history.revoked_by_root.extend(by_root);
        }
        // Without the list and without the line, a revocation would be forgotten.
        Err(reason) if history.damaged > 0 => {
            let reason = format!(
                "{reason}; the ledger also has unreadable lines, so restore one of the two from a backup"
            );
            return Err(AuthorityError::Content { path: dir.join(CRL_FILE), reason });
        }
        Err(reason) => note(format!(
            "{}: {reason}; the ledger still has the revocations, and `catchment-certs crl` makes the list again",
            dir.join(CRL_FILE).display()
        )),
    }
    Ok(history)
}

/// What the `crl.pem` of an authority's folder says.
struct PresentLists {
    /// Highest number of the authority's own lists, 0 if there are none.
    number: u64,
    /// The revocations of its own lists.
    listed: Vec<(Serial, Timestamp)>,
    /// In the folder of a site: the revocations of roots.
    by_root: Vec<(Serial, Timestamp)>,
}

fn present_lists(dir: &Path) -> Result<PresentLists, String> {
    let of_site = dir.join(ISSUER_FILE).exists();
    let lists = Lists::read(&dir.join(CRL_FILE))?;
    let own = |list: &KnownList| list.is_of_root() != of_site;
    Ok(PresentLists {
        number: lists.number(own),
        listed: lists.revoked(own)?,
        by_root: lists.revoked(|list| of_site && list.is_of_root())?,
    })
}
