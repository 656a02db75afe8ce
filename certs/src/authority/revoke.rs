//! Revoking, and the revocation list.
//!
//! A revocation is in the ledger, durably, before the list is made; a list can always be made again from the
//! ledger. Its number rises with every list. The list goes to `PKI/crl.pem` and to the identities of servers and
//! operators that lie in the PKI folder; other copies are the user's to renew.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use super::{
    Authority, AuthorityError, Entry, History, LEDGER_FILE, Ledger, PEM_BYTES_MAX, crl_pem, lifetime_of_days,
    lifetimes::{BACK_DATED, CRL_DAYS, DAY},
    now,
    profile::{Validity, rcgen_time},
};
use crate::{
    Identity, Role, Serial,
    certificate::peer_from_certificate,
    files::{self, PUBLIC},
    folder::{CERT_FILE, CRL_FILE, pem_reason},
};

/// Certificates stay on the list this much longer than they are valid, for clocks that are behind.
const KEPT_AFTER_END: Duration = DAY.saturating_mul(30);

/// What to revoke.
#[derive(Clone, Debug)]
pub enum RevokeWhat {
    /// One certificate.
    Serial(Serial),
    /// Every certificate of an identity that has not expired.
    Identity(Identity),
}

/// What was revoked, and where the list went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokeReport {
    /// Newly revoked serial numbers.
    pub revoked: Vec<Serial>,
    /// Serial numbers that were revoked before.
    pub already: Vec<Serial>,
    /// Number of the new list.
    pub crl_number: u64,
    /// Certificates on the list.
    pub listed: usize,
    /// Identity folders below the PKI folder whose copy was renewed.
    pub copies: usize,
}

impl Authority {
    /// Revokes certificates and renews the list. Revoking twice is no error.
    ///
    /// # Errors
    /// The ledger knows nothing of the kind, or files cannot be read or written.
    pub fn revoke(
        &self,
        what: &RevokeWhat,
        note: &mut dyn FnMut(String),
    ) -> Result<RevokeReport, AuthorityError> {
        let _lock = self.lock()?;
        let mut ledger = self.ledger()?;
        let mut history = self.known(&mut ledger, note)?;
        let time = now();
        let mut found: Vec<Serial> = history
            .issued
            .iter()
            .filter(|issued| match what {
                RevokeWhat::Serial(serial) => issued.serial == *serial,
                RevokeWhat::Identity(identity) => issued.is_of(identity) && issued.not_after >= time,
            })
            .map(|issued| issued.serial.clone())
            .collect();
        if found.is_empty()
            && let RevokeWhat::Identity(identity) = what
            && let Some(serial) = self.serial_in_folder(identity)
        {
            // Its line may be torn or damaged, or of a ledger that is older than the folder.
            let dir = self.identity_dir(identity);
            note(format!(
                "no line that can be read knows {identity}; {serial} in {} is revoked",
                dir.display()
            ));
            found.push(serial);
        }
        if found.is_empty()
            && history.damaged > 0
            && let RevokeWhat::Serial(serial) = what
        {
            // The line that cannot be read may be its own. A revocation too many harms nobody.
            note(format!(
                "no line that can be read knows serial number {serial}; it is revoked all the same"
            ));
            found.push(serial.clone());
        }
        if found.is_empty() {
            let what = match what {
                RevokeWhat::Serial(serial) => format!("with serial number {serial}"),
                RevokeWhat::Identity(identity) => format!("of {identity} that has not expired"),
            };
            return Err(AuthorityError::Unknown { path: self.dir.join(LEDGER_FILE), what });
        }
        let (already, revoked): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|serial| history.revoked.contains_key(serial));
        let entries: Vec<Entry> =
            revoked.iter().map(|serial| Entry::Revoked { time, serial: serial.clone() }).collect();
        ledger.append(&entries, note)?;
        history.revoked.extend(revoked.iter().map(|serial| (serial.clone(), time)));
        let report = self.write_crl(&mut ledger, &history, CRL_DAYS, note)?;
        Ok(RevokeReport { revoked, already, ..report })
    }

    /// Makes the list again, current for `days` from now.
    ///
    /// # Errors
    /// The ledger cannot be read, or the list not be written.
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

    /// The caller holds the lock.
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
            // One whose end is not known stays.
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
        // The number is used up before the list can be seen, so no two lists have one number.
        ledger.append(&[Entry::Crl { time, number: crl_number }], note)?;
        files::replace_file(&self.dir.join(CRL_FILE), pem.as_bytes(), PUBLIC)?;
        let copies = self.renew_copies(history, pem.as_bytes())?;
        Ok(RevokeReport { crl_number, listed, copies, ..RevokeReport::default() })
    }

    /// All that the ledger knows, and what the present list revokes. The caller holds the lock.
    pub(super) fn known(
        &self,
        ledger: &mut Ledger,
        note: &mut dyn FnMut(String),
    ) -> Result<History, AuthorityError> {
        known(&self.dir, ledger, note)
    }

    /// The serial number of the certificate in an identity's place below the PKI folder, if it is the identity's.
    fn serial_in_folder(&self, identity: &Identity) -> Option<Serial> {
        let pem = files::read_bytes(&self.identity_dir(identity).join(CERT_FILE), PEM_BYTES_MAX).ok()?;
        let peer = peer_from_certificate(&CertificateDer::from_pem_slice(&pem).ok()?).ok()?;
        (peer.identity == *identity).then_some(peer.serial)
    }

    /// Renews the copies of those who check certificates of others and of whom there are few: all but
    /// devices, which get the list when they are issued or renewed.
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

/// All that the ledger of a PKI folder knows, and what its present list revokes: a ledger that lost lines, or was brought back
/// from a backup, may not know it. So nothing that was revoked is taken for valid, and no number of a list is used twice. The
/// caller holds the lock.
pub(super) fn known(
    dir: &Path,
    ledger: &mut Ledger,
    note: &mut dyn FnMut(String),
) -> Result<History, AuthorityError> {
    let mut history = ledger.read(note)?;
    match present_crl(dir) {
        Ok((number, listed)) => {
            history.crl_number = history.crl_number.max(number);
            for (serial, at) in listed {
                history.revoked.entry(serial).or_insert(at);
            }
        }
        // Without the list and without the line, a revocation would be forgotten.
        Err(reason) if history.damaged > 0 => {
            let reason = format!(
                "{reason}; the ledger has lines that cannot be read, so bring back one of both from a backup"
            );
            return Err(AuthorityError::Content { path: dir.join(CRL_FILE), reason });
        }
        Err(reason) => note(format!(
            "{}: {reason}; what the ledger revokes is known all the same, and `catchment-certs crl` makes the list again",
            dir.join(CRL_FILE).display()
        )),
    }
    Ok(history)
}

/// Number of the present revocation list, and what it revokes; 0 and nothing where there is none.
fn present_crl(dir: &Path) -> Result<(u64, Vec<(Serial, Timestamp)>), String> {
    let Some(pem) = crl_pem(dir).map_err(|error| error.to_string())? else { return Ok((0, Vec::new())) };
    let der = CertificateRevocationListDer::from_pem_slice(&pem).map_err(|error| pem_reason(&error))?;
    let (_, list) = CertificateRevocationList::from_der(der.as_ref()).map_err(|error| error.to_string())?;
    let number = list.crl_number().map_or(0, |number| {
        let bytes = number.to_bytes_be();
        bytes.iter().fold(0_u64, |sum, byte| sum.saturating_mul(256).saturating_add((*byte).into()))
    });
    let revoked = list.iter_revoked_certificates().map(|entry| {
        let serial = Serial::from_bytes(entry.raw_serial()).map_err(|error| error.to_string())?;
        let at = Timestamp::from_second(entry.revocation_date.timestamp());
        Ok((serial, at.map_err(|error| error.to_string())?))
    });
    Ok((number, revoked.collect::<Result<_, String>>()?))
}
