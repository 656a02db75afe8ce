//! Revocation, and the revocation list.
//!
//! A revocation is durable in the ledger before the list is made; a list can always be made again from the ledger.
//! Every list has a higher number than the one before. A root's list counts for all certificates of the trust domain, so
//! a root revokes also what a site issued; a site's list counts for its own leaves. `spread` writes the lists to
//! `crl.pem` and to the identities of servers and operators in the PKI folder; the user must update other copies.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use catchment_proto::id::Name;
use jiff::Timestamp;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    Authority, AuthorityError, Entry, History, ISSUER_FILE, LEDGER_FILE, Ledger, PEM_BYTES_MAX,
    lifetime_of_days,
    lifetimes::{BACK_DATED, CRL_DAYS, DAY},
    lists::{KnownList, Listed, Lists},
    now,
    profile::{Validity, rcgen_time},
    reason::RevocationReason,
    spread::related_histories,
};
use crate::{
    Identity, Role, Serial,
    certificate::peer_from_certificate,
    files,
    folder::{CERT_FILE, CRL_FILE},
    pem_text::without_mark,
};

/// Certificates stay on the list this much longer than they are valid, for servers whose clocks are slow.
const KEPT_AFTER_END: Duration = DAY.saturating_mul(30);

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Result of a revocation, and of writing the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokeReport {
    /// Newly revoked serial numbers.
    pub revoked: Vec<Serial>,
    /// Serial numbers that were already revoked.
    pub already: Vec<Serial>,
    /// What no ledger has a certificate of.
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
    /// No ledger has such a certificate, or files cannot be read or written.
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

    /// Revokes several certificates, with one new list for all. Those that no ledger has are in the report and do not
    /// stop the others; if none has any of them, no list is written.
    ///
    /// # Errors
    /// Files cannot be read or written.
    pub fn revoke_all(
        &self,
        what: &[RevokeWhat],
        reason: Option<RevocationReason>,
        note: &mut dyn FnMut(String),
    ) -> Result<RevokeReport, AuthorityError> {
        let lock = self.lock()?;
        let mut ledger = self.ledger()?;
        let mut history = self.known(&mut ledger, note)?;
        let related = if self.site.is_none() { related_histories(&self.dir) } else { Vec::new() };
        let damaged = history.damaged + related.iter().map(|other| other.damaged).sum::<u64>();
        let time = now();
        let reason = reason.filter(|reason| *reason != RevocationReason::Unspecified);
        let (mut report, mut fresh) = (RevokeReport::default(), HashSet::new());
        let found = find_all(std::iter::once(&history).chain(&related), what, time);
        for (one, found) in what.iter().zip(found) {
            let found = if found.is_empty() { self.beside_the_ledger(one, damaged, note) } else { found };
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
                history.revoke(serial.clone(), time, reason);
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
        drop(lock);
        let copies = copies + self.spread_from_site(note)?;
        Ok(RevokeReport { crl_number, listed, copies, ..report })
    }

    /// What to revoke although no readable line of the ledger has it.
    fn beside_the_ledger(
        &self,
        what: &RevokeWhat,
        damaged: u64,
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
            RevokeWhat::Serial(serial) if damaged > 0 => {
                // An unreadable line may be its own. Revoking too much does no harm.
                note(format!(
                    "no readable line of the ledger has serial number {serial}; it is revoked anyway"
                ));
                vec![serial.clone()]
            }
            RevokeWhat::Unknown(serial) => vec![serial.clone()],
            RevokeWhat::Serial(_) | RevokeWhat::Issuer(_) => Vec::new(),
        }
    }

    /// Why nothing was revoked.
    pub fn unknown(&self, what: &RevokeWhat) -> AuthorityError {
        let what = match what {
            RevokeWhat::Serial(serial) | RevokeWhat::Unknown(serial) => {
                format!("with serial number {serial} (`--unknown` revokes one that no ledger has)")
            }
            RevokeWhat::Identity(identity) => format!("of {identity} that has not expired"),
            RevokeWhat::Issuer(site) => format!("that issues for site {site} and has not expired"),
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
        let report = self.refresh_own_crl(days, note)?;
        let copies = report.copies + self.spread_from_site(note)?;
        Ok(RevokeReport { copies, ..report })
    }

    /// As [`Self::refresh_crl`], but does not bring the list of a site into the PKI folder that it lies in.
    pub(super) fn refresh_own_crl(
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
    pub(super) fn write_crl(
        &self,
        ledger: &mut Ledger,
        history: &History,
        days: u32,
        note: &mut dyn FnMut(String),
    ) -> Result<RevokeReport, AuthorityError> {
        let time = now();
        let validity = Validity::new(time, lifetime_of_days(days)?, BACK_DATED)?;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let revoked_certs: Vec<RevokedCertParams> = to_list(history, &related_histories(&self.dir), time)
            .into_iter()
            .map(|(serial, at)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial.as_bytes()),
                revocation_time: rcgen_time(epoch, at),
                reason_code: history.reasons.get(serial).and_then(|reason| reason.code()),
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
        let peer = peer_from_certificate(&CertificateDer::from_pem_slice(without_mark(&pem)).ok()?).ok()?;
        (peer.identity == *identity).then_some(peer.serial)
    }
}

/// The revocations of an authority that belong on its list, in order: not those of certificates that ended long ago, by its
/// own ledger or the `related` ones.
pub(super) fn to_list<'a>(
    history: &'a History,
    related: &[History],
    time: Timestamp,
) -> Vec<(&'a Serial, Timestamp)> {
    let kept =
        |not_after: Timestamp| not_after.checked_add(KEPT_AFTER_END).map_or(true, |until| until >= time);
    let ends: HashMap<&Serial, Timestamp> =
        related.iter().flat_map(History::ends).chain(history.ends()).collect();
    // Certificates whose end is unknown stay.
    let listed = history.revoked.iter().filter(|(serial, _)| ends.get(*serial).is_none_or(|end| kept(*end)));
    let mut listed: Vec<_> = listed.map(|(serial, at)| (serial, *at)).collect();
    listed.sort();
    listed
}

/// The certificates that each of `what` means, in one pass over each ledger.
fn find_all<'a>(
    histories: impl Iterator<Item = &'a History>,
    what: &[RevokeWhat],
    time: Timestamp,
) -> Vec<Vec<Serial>> {
    let mut by_serial: HashMap<&Serial, Vec<usize>> = HashMap::new();
    let mut by_identity: HashMap<(Role, Option<&Name>, &Name), Vec<usize>> = HashMap::new();
    let mut by_issuer: HashMap<&Name, Vec<usize>> = HashMap::new();
    for (place, one) in what.iter().enumerate() {
        let places = match one {
            RevokeWhat::Serial(serial) | RevokeWhat::Unknown(serial) => by_serial.entry(serial).or_default(),
            RevokeWhat::Identity(identity) => {
                by_identity.entry((identity.role(), identity.site(), identity.name())).or_default()
            }
            RevokeWhat::Issuer(site) => by_issuer.entry(site).or_default(),
        };
        places.push(place);
    }
    let mut found = vec![Vec::new(); what.len()];
    let mut mean = |serial: &Serial, places: Option<&Vec<usize>>| {
        for place in by_serial.get(serial).into_iter().chain(places).flatten() {
            if let Some(found) = found.get_mut(*place) {
                found.push(serial.clone());
            }
        }
    };
    for history in histories {
        for issued in &history.issued {
            let places = by_identity.get(&(issued.role, issued.site.as_ref(), &issued.name));
            mean(&issued.serial, places.filter(|_| issued.not_after >= time));
        }
        for issuer in &history.issuers {
            mean(&issuer.serial, by_issuer.get(&issuer.site).filter(|_| issuer.not_after >= time));
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
    match present_lists(dir) {
        Ok(PresentLists { number, listed, by_roots }) => {
            history.crl_number = history.crl_number.max(number);
            for (serial, at, reason) in listed {
                history.revoke(serial, at, reason);
            }
            by_roots.into_iter().for_each(|listed| history.revoke_elsewhere(listed));
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
    listed: Vec<Listed>,
    /// In the folder of a site: the revocations of roots.
    by_roots: Vec<Listed>,
}

fn present_lists(dir: &Path) -> Result<PresentLists, String> {
    let of_site = dir.join(ISSUER_FILE).exists();
    let lists = Lists::read(&dir.join(CRL_FILE))?;
    let own = |list: &KnownList| list.is_of_root() != of_site;
    Ok(PresentLists {
        number: lists.number(own),
        listed: lists.revoked(own)?,
        by_roots: lists.revoked(|list| of_site && list.is_of_root())?,
    })
}
