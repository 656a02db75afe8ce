//! Renews every identity of an authority whose folder is below its own and whose certificate ends soon, in groups, as
//! `hand_out` says.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use catchment_proto::id::Name;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Authority, AuthorityError, ISSUER_FILE, Issued, IssuedPaths, KeyKind, LEDGER_FILE, Ledger, authority_dir,
    hand_out::{GROUP, hand_out, in_parallel},
    now,
    profile::Validity,
    renew::{Known, Old},
    revoke::known,
    spread::add_sites,
    timestamp,
    unfinished::finish_certificate,
};
use crate::{
    Identity, Role, files,
    folder::{CERT_FILE, CRL_FILE},
};

/// Which identities to renew.
#[derive(Clone, Debug)]
pub struct RenewRequest {
    /// Those whose certificate ends within this time.
    pub expiring: Duration,
    /// Also those whose certificate has ended.
    pub ended: bool,
    /// Only those of this role.
    pub role: Option<Role>,
    /// Only those of this site.
    pub site: Option<Name>,
    /// Validity of the new certificates; `None`: the default of their role.
    pub lifetime: Option<Duration>,
    /// Kind of their new keys; `None`: they keep their keys.
    pub key: Option<KeyKind>,
}

impl RenewRequest {
    /// Whether a certificate of the ledger is asked for, apart from its end.
    fn selects(&self, issued: &Issued) -> bool {
        self.role.is_none_or(|role| issued.role == role) && (self.site.is_none() || issued.site == self.site)
    }

    /// Certificates that end before this are renewed.
    fn limit(&self) -> Timestamp {
        now().checked_add(self.expiring).unwrap_or(Timestamp::MAX)
    }
}

/// An identity that could not be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotRenewed {
    /// Role, site and name.
    pub identity: String,
    /// Why.
    pub error: String,
}

/// Result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenewReport {
    /// Identities renewed.
    pub renewed: Vec<(Identity, IssuedPaths)>,
    /// Renewals of an interrupted run that this one finished.
    pub finished: u64,
    /// Identities whose certificate had ended, and which were not asked for.
    pub ended: u64,
    /// Identities that could not be renewed, such as those whose folder is not below the PKI folder.
    pub failed: Vec<NotRenewed>,
}

impl RenewReport {
    /// Adds the result of another authority.
    pub fn add(&mut self, other: Self) {
        let Self { renewed, finished, ended, failed } = other;
        self.renewed.extend(renewed);
        self.finished += finished;
        self.ended += ended;
        self.failed.extend(failed);
    }

    fn fail(&mut self, identity: &Identity, error: impl ToString) {
        self.failed.push(NotRenewed { identity: identity.to_string(), error: error.to_string() });
    }
}

/// What becomes of one identity.
enum Step {
    Renew(Box<Old>),
    Finished,
    Ended,
    Later,
}

impl Authority {
    /// Renews each identity that is asked for. An identity that cannot be renewed does not stop the others. `progress`
    /// is called with the numbers of identities done and of all.
    ///
    /// # Errors
    /// Files cannot be read or written; the identities renewed so far stay, and the same call continues from there.
    pub fn renew_all(
        &self,
        request: &RenewRequest,
        progress: &mut dyn FnMut(u64, u64),
        note: &mut dyn FnMut(String),
    ) -> Result<RenewReport, AuthorityError> {
        let limit = request.limit();
        let mut known = {
            let _lock = self.lock()?;
            Known::read(self, note)?
        };
        let candidates = candidates(self, &known, request, limit);
        let mut report = RenewReport::default();
        let (mut done, all) = (0, candidates.len() as u64);
        for group in candidates.chunks(GROUP) {
            self.renew_group(group, request, limit, &mut known, &mut report, note)?;
            done += group.len() as u64;
            progress(done, all);
        }
        if !report.renewed.is_empty() || report.finished > 0 {
            files::sync_file_system(&self.dir)?;
        }
        Ok(report)
    }

    fn renew_group(
        &self,
        group: &[Identity],
        request: &RenewRequest,
        limit: Timestamp,
        known: &mut Known,
        report: &mut RenewReport,
        note: &mut dyn FnMut(String),
    ) -> Result<(), AuthorityError> {
        let _lock = self.lock()?;
        known.refresh(note)?;
        let outgoing = self.outgoing()?;
        let steps = in_parallel(group, |identity| self.step(identity, request, limit, known));
        let mut todo = Vec::new();
        let mut last_note = None;
        for (identity, step) in group.iter().zip(steps) {
            match step {
                Ok(Step::Renew(old)) => {
                    let mut once = |text: String| {
                        if last_note.replace(text.clone()).as_ref() != Some(&text) {
                            note(text);
                        }
                    };
                    match self.validity(None, request.lifetime, identity.role(), &mut once) {
                        Ok(validity) => todo.push((old, validity)),
                        Err(error) => report.fail(identity, error),
                    }
                }
                Ok(Step::Finished) => report.finished += 1,
                Ok(Step::Ended) => report.ended += 1,
                Ok(Step::Later) => {}
                Err(error) => report.fail(identity, error),
            }
        }
        let dir_of = |old: &Old| self.identity_dir(&old.peer.identity);
        let stage = |(old, validity): &(Box<Old>, Validity)| {
            self.stage_renewal(old, &dir_of(old), *validity, outgoing.as_ref())
        };
        // Of devices nothing is said: they are many, and the lists of servers count.
        let servers = todo.iter().map(|(old, _)| old).filter(|old| old.peer.identity.role() != Role::Device);
        let warnings: Vec<String> =
            servers.filter_map(|old| outgoing.as_ref()?.warning(&dir_of(old).join(CRL_FILE))).collect();
        let made = hand_out(&self.dir, &mut known.ledger, &todo, stage, note)?;
        for ((old, _), Issued { serial, not_after, .. }) in todo.into_iter().zip(made) {
            let dir = dir_of(&old);
            report.renewed.push((old.peer.identity, IssuedPaths { dir, serial, not_after }));
        }
        warnings.into_iter().for_each(note);
        Ok(())
    }

    /// Looks at one identity's folder.
    fn step(
        &self,
        identity: &Identity,
        request: &RenewRequest,
        limit: Timestamp,
        known: &Known,
    ) -> Result<Step, AuthorityError> {
        let dir = self.identity_dir(identity);
        if finish_certificate(&dir, identity, &known.history)?.is_some() {
            return Ok(Step::Finished);
        }
        let old = Old::read(self, identity, &dir, request.key, known)?;
        let not_after = timestamp(old.peer.not_after);
        Ok(match not_after {
            not_after if not_after >= limit => Step::Later,
            not_after if not_after < now() && !request.ended => Step::Ended,
            _ => Step::Renew(Box::new(old)),
        })
    }
}

/// The authorities of a PKI folder that have something to renew, by their folders: the root, and sites that issue for
/// themselves. Needs no key.
///
/// # Errors
/// A ledger cannot be read.
pub fn renewing(
    dir: &Path,
    request: &RenewRequest,
    note: &mut dyn FnMut(String),
) -> Result<Vec<PathBuf>, AuthorityError> {
    let ledger = dir.join(LEDGER_FILE);
    if dir.join(ISSUER_FILE).exists() || !ledger.exists() {
        return Ok(vec![dir.to_owned()]);
    }
    let mut history = known(dir, &mut Ledger::open_to_read(&ledger)?, note)?;
    add_sites(dir, &mut history, note)?;
    let limit = request.limit();
    let sites: BTreeSet<Option<&Name>> = history
        .issued
        .iter()
        .filter(|issued| request.selects(issued) && issued.not_after < limit)
        .filter(|issued| history.revoked_at(&issued.serial).is_none())
        .map(|issued| issued.site.as_ref())
        .collect();
    let dirs: BTreeSet<PathBuf> = sites.into_iter().map(|site| authority_dir(dir, site)).collect();
    Ok(dirs.into_iter().collect())
}

/// The identities that this authority issues for and of which a certificate ends before `limit` and is not revoked.
/// Whether it is the one in the folder, the folder tells; one without a folder that has a later certificate was renewed
/// elsewhere and is left.
fn candidates(
    authority: &Authority,
    known: &Known,
    request: &RenewRequest,
    limit: Timestamp,
) -> Vec<Identity> {
    let (mut soon, mut later) = (BTreeSet::new(), HashSet::new());
    let mut own_sites: HashMap<Option<&Name>, bool> = HashMap::new();
    for issued in &known.history.issued {
        let site = issued.site.as_ref();
        let own = own_sites.entry(site).or_insert_with(|| match authority.site() {
            None => authority_dir(&authority.dir, site) == authority.dir,
            own => own == site,
        });
        if !*own || !request.selects(issued) || known.history.revoked_at(&issued.serial).is_some() {
            continue;
        }
        let identity = Identity::from_parts(issued.role, issued.site.clone(), issued.name.clone());
        let Some(identity) = identity else { continue };
        if issued.not_after < limit {
            soon.insert(identity);
        } else {
            later.insert(identity);
        }
    }
    let here = |identity: &Identity| authority.identity_dir(identity).join(CERT_FILE).exists();
    soon.into_iter().filter(|identity| !later.contains(identity) || here(identity)).collect()
}
