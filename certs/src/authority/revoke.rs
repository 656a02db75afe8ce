//! Revocation, and the revocation list.
//!
//! A revocation is durable in the ledger before the list is made; a list can always be made again from the ledger.
//! Every list has a higher number than the one before. The list is written to `PKI/crl.pem` and to the identities of
//! servers and operators in the PKI folder; the user must update other copies.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::{Duration, SystemTime},
};

use catchment_proto::id::Name;
use jiff::Timestamp;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use super::{
    Authority, AuthorityError, Entry, History, LEDGER_FILE, Ledger, PEM_BYTES_MAX, crl_pem, lifetime_of_days,
    lifetimes::{BACK_DATED, CRL_DAYS, DAY},
    now,
    profile::{Validity, rcgen_time},
    reason::RevocationReason,
};
use crate::{
    Identity, Role, Serial,
    certificate::peer_from_certificate,
    files::{self, PUBLIC},
    folder::{CERT_FILE, CRL_FILE, pem_reason},
    pem_text::{Wanted, found_instead, without_mark},
};

/// Certificates stay on the list this much longer than they are valid, for servers whose clocks are slow.
const KEPT_AFTER_END: Duration = DAY.saturating_mul(30);

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokeWhat {
    /// One certificate.
    Serial(Serial),
    /// Every unexpired certificate of an identity.
    Identity(Identity),
}

/// Result of a revocation, and of writing the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokeReport {
    /// Newly revoked serial numbers.
    pub revoked: Vec<Serial>,
    /// Serial numbers that were already revoked.
    pub already: Vec<Serial>,
    /// What the ledger has no certificate of.
    pub unknown: Vec<RevokeWhat>,
    /// Number of the new list; 0 if none was written.
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
    /// The ledger has no such certificate, or files cannot be read or written.
    pub fn revoke(
        &self,
        what: &RevokeWhat,
        note: &mut dyn FnMut(String),
    ) -> Result<RevokeReport, AuthorityError> {
        let mut report = self.revoke_all(std::slice::from_ref(what), None, note)?;
        match report.unknown.pop() {
            Some(what) => Err(self.unknown(&what)),
            None => Ok(report),
        }
    }

    /// Revokes several certificates, with one new list for all. Those that the ledger lacks are in the report and do
    /// not stop the others; if it lacks all of them, no list is written.
    ///
    /// # Errors
    /// Files cannot be read or written.
    pub fn revoke_all(
        &self,
        what: &[RevokeWhat],
        reason: Option<RevocationReason>,
        note: &mut dyn FnMut(String),
    ) -> Result<RevokeReport, AuthorityError> {
        let _lock = self.lock()?;
        let mut ledger = self.ledger()?;
        let mut history = self.known(&mut ledger, note)?;
        let time = now();
        let reason = reason.filter(|reason| *reason != RevocationReason::Unspecified);
        let (mut report, mut fresh) = (RevokeReport::default(), HashSet::new());
        for (one, found) in what.iter().zip(find_all(&history, what, time)) {
            let found = if found.is_empty() { self.beside_the_ledger(one, &history, note) } else { found };
            if found.is_empty() {
                report.unknown.push(one.clone());
            }
            for serial in found {
                if history.revoked.contains_key(&serial) {
                    if !fresh.contains(&serial) {
                        report.already.push(serial);
                    }
                    continue;
                }
                fresh.insert(serial.clone());
                history.revoked.insert(serial.clone(), time);
                history.reasons.extend(reason.map(|reason| (serial.clone(), reason)));
                report.revoked.push(serial);
            }
        }
        if report.revoked.is_empty() && report.already.is_empty() {
            return Ok(report);
        }
        let entries: Vec<Entry> = report
            .revoked
            .iter()
            .map(|serial| Entry::Revoked { time, serial: serial.clone(), reason })
            .collect();
        ledger.append(&entries, note)?;
        let RevokeReport { crl_number, listed, copies, .. } =
            self.write_crl(&mut ledger, &history, CRL_DAYS, note)?;
        Ok(RevokeReport { crl_number, listed, copies, ..report })
    }

    /// What to revoke although no readable line of the ledger has it.
    fn beside_the_ledger(
        &self,
        what: &RevokeWhat,
        history: &History,
        note: &mut dyn FnMut(String),
    ) -> Vec<Serial> {
        match what {
            RevokeWhat::Identity(identity) => {
                let Some(serial) = self.serial_in_folder(identity) else { return Vec::new() };
                // Its line may be torn or damaged, or the ledger may be older than the folder.
                let dir = self.identity_dir(identity);
                note(format!(
                    "no readable line of the ledger has {identity}; its certificate {serial} in {} is revoked",
                    dir.display()
                ));
                vec![serial]
            }
            RevokeWhat::Serial(serial) if history.damaged > 0 => {
                // An unreadable line may be its own. Revoking too much does no harm.
                note(format!(
                    "no readable line of the ledger has serial number {serial}; it is revoked anyway"
                ));
                vec![serial.clone()]
            }
            RevokeWhat::Serial(_) => Vec::new(),
        }
    }

    /// Why nothing was revoked.
    pub fn unknown(&self, what: &RevokeWhat) -> AuthorityError {
        let what = match what {
            RevokeWhat::Serial(serial) => format!("with serial number {serial}"),
            RevokeWhat::Identity(identity) => format!("of {identity} that has not expired"),
        };
        AuthorityError::Unknown { path: self.dir.join(LEDGER_FILE), what }
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
        let _lock = self.lock()?;
        let mut ledger = self.ledger()?;
        let history = self.known(&mut ledger, note)?;
        self.write_crl(&mut ledger, &history, days, note)
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
        let ends: HashMap<&Serial, Timestamp> =
            history.issued.iter().map(|issued| (&issued.serial, issued.not_after)).collect();
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
                reason_code: history.reasons.get(*serial).and_then(|reason| reason.code()),
                invalidity_date: None,
            })
            .collect();
        let crl_number = history.crl_number.saturating_add(1);
        let listed = revoked_certs.len();
        let pem = CertificateRevocationListParams {
            this_update: rcgen_time(epoch, validity.not_before),
            next_update: rcgen_time(epoch, validity.not_after),
            crl_number: SerialNumber::from(crl_number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)?
        .pem()?;
        // The number is recorded before the list becomes visible, so no two lists share a number.
        ledger.append(&[Entry::Crl { time, number: crl_number }], note)?;
        files::replace_file(&self.dir.join(CRL_FILE), pem.as_bytes(), PUBLIC)?;
        let copies = self.renew_copies(history, pem.as_bytes())?;
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

    /// Updates the copies in all identity folders except devices', which are many and get the list when they are issued
    /// or renewed.
    fn renew_copies(&self, history: &History, pem: &[u8]) -> Result<usize, AuthorityError> {
        let mut dirs: Vec<_> = history
            .issued
            .iter()
            .filter(|issued| {
                issued.role != Role::Device && SystemTime::from(issued.not_after) >= SystemTime::now()
            })
            .filter_map(|issued| Identity::from_parts(issued.role, issued.site.clone(), issued.name.clone()))
            .map(|identity| self.identity_dir(&identity))
            .filter(|dir| dir.join(CERT_FILE).is_file())
            .collect();
        dirs.sort();
        dirs.dedup();
        for dir in &dirs {
            files::replace_file(&dir.join(CRL_FILE), pem, PUBLIC)?;
        }
        Ok(dirs.len())
    }
}

/// The certificates that each of `what` means, in one pass over the ledger.
fn find_all(history: &History, what: &[RevokeWhat], time: Timestamp) -> Vec<Vec<Serial>> {
    let mut by_serial: HashMap<&Serial, Vec<usize>> = HashMap::new();
    let mut by_identity: HashMap<(Role, Option<&Name>, &Name), Vec<usize>> = HashMap::new();
    for (place, one) in what.iter().enumerate() {
        match one {
            RevokeWhat::Serial(serial) => by_serial.entry(serial).or_default().push(place),
            RevokeWhat::Identity(identity) => {
                by_identity
                    .entry((identity.role(), identity.site(), identity.name()))
                    .or_default()
                    .push(place);
            }
        }
    }
    let mut found = vec![Vec::new(); what.len()];
    for issued in &history.issued {
        let of_serial = by_serial.get(&issued.serial);
        let of_identity = by_identity
            .get(&(issued.role, issued.site.as_ref(), &issued.name))
            .filter(|_| issued.not_after >= time);
        for place in of_serial.into_iter().chain(of_identity).flatten() {
            if let Some(found) = found.get_mut(*place) {
                found.push(issued.serial.clone());
            }
        }
    }
    found
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
    match present_crl(dir) {
        Ok((number, listed)) => {
            history.crl_number = history.crl_number.max(number);
            for (serial, at, reason) in listed {
                if let (false, Some(reason)) = (history.revoked.contains_key(&serial), reason) {
                    history.reasons.insert(serial.clone(), reason);
                }
                history.revoked.entry(serial).or_insert(at);
            }
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

/// A revocation on a list.
type Listed = (Serial, Timestamp, Option<RevocationReason>);

/// Number and revocations of the current revocation list; 0 and none if there is no list.
fn present_crl(dir: &Path) -> Result<(u64, Vec<Listed>), String> {
    let Some(pem) = crl_pem(dir).map_err(|error| error.to_string())? else { return Ok((0, Vec::new())) };
    let der = CertificateRevocationListDer::from_pem_slice(without_mark(&pem))
        .map_err(|error| found_instead(&pem, Wanted::List).unwrap_or_else(|| pem_reason(&error)))?;
    let (_, list) = CertificateRevocationList::from_der(der.as_ref()).map_err(|error| error.to_string())?;
    let number = list.crl_number().map_or(0, |number| {
        let bytes = number.to_bytes_be();
        bytes.iter().fold(0_u64, |sum, byte| sum.saturating_mul(256).saturating_add((*byte).into()))
    });
    let revoked = list.iter_revoked_certificates().map(|entry| {
        let serial = Serial::from_bytes(entry.raw_serial()).map_err(|error| error.to_string())?;
        let at = Timestamp::from_second(entry.revocation_date.timestamp());
        let reason = entry.reason_code().map(|(_, code)| RevocationReason::from_code(code));
        Ok((serial, at.map_err(|error| error.to_string())?, reason))
    });
    Ok((number, revoked.collect::<Result<_, String>>()?))
}
