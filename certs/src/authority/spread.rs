//! Brings the revocation lists of roots and sites together, and to the identities below a folder.
//!
//! `crl.pem` of a PKI folder, and its copies in the folders of servers and operators, hold the lists of the roots and of
//! all sites. `crl.pem` of a site's folder holds those of the roots and its own.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use catchment_proto::id::Name;

use super::{
    Authority, AuthorityError, CA_FILE, CRL_FILE, History, ISSUER_FILE, LEDGER_FILE, Ledger, SITES_DIR,
    copies::{Outgoing, to_text},
    lists::{KnownList, ListTrust, Lists},
    lock,
    open::read_anchors,
    pki_of_site,
    revoke::known,
    site_dir,
};
use crate::{
    Identity, Role,
    files::{self, FileError, PUBLIC},
    folder::CERT_FILE,
};

/// The site of a folder that is the authority of a site.
pub(super) fn site_of_folder(dir: &Path) -> Option<Name> {
    let issuer = super::open::read_certificate(&dir.join(ISSUER_FILE)).ok()?;
    let (_, domain) = read_anchors(&dir.join(CA_FILE)).ok()?;
    super::open::with(&issuer, |issuer| super::site::site_of(issuer, &domain))?
}

impl Authority {
    /// The contents of the ledger, and those of the related ones. The caller holds the lock.
    pub(super) fn known_with_related(
        &self,
        ledger: &mut Ledger,
        note: &mut dyn FnMut(String),
    ) -> Result<History, AuthorityError> {
        let mut history = self.known(ledger, note)?;
        related_histories(&self.dir).into_iter().for_each(|other| history.add_related(other));
        Ok(history)
    }

    pub(super) fn list_trust(&self) -> ListTrust<'_> {
        ListTrust { anchors: &self.anchors, domain: &self.trust_domain }
    }

    /// Writes a new list of this authority, with the others, and updates the copies in this authority's folder. Returns
    /// their number. The caller holds the lock.
    pub(super) fn publish_list(
        &self,
        der: Vec<u8>,
        history: &History,
        note: &mut dyn FnMut(String),
    ) -> Result<usize, AuthorityError> {
        let encode = |reason| AuthorityError::Encode { what: "the revocation list", reason };
        let issuer = self.site.as_ref().map(|_| self.certificate.clone());
        // An unreadable file was reported when the ledger was read.
        let mut lists = Lists::read(&self.dir.join(CRL_FILE)).unwrap_or_default();
        lists.merge(Lists::of(der, issuer).map_err(encode)?);
        let Some(site) = &self.site else {
            return spread(&self.dir, lists, &self.list_trust(), history, note);
        };
        if let Some(pki) = self.pki() {
            let mut of_roots = Lists::read(&pki.join(CRL_FILE)).unwrap_or_default();
            of_roots.retain(KnownList::is_of_root);
            lists.merge(of_roots);
        }
        lists.retain(|list| list.is_of_root() || list.site(&self.trust_domain).as_ref() == Some(&site.name));
        write(&self.dir, &lists, &self.list_trust(), history, note)
    }

    /// Brings the list of a site into the PKI folder that it lies in. The caller does not hold the lock.
    pub(super) fn spread_from_site(&self, note: &mut dyn FnMut(String)) -> Result<usize, AuthorityError> {
        let Some(pki) = self.pki() else { return Ok(0) };
        let _lock = lock(&pki)?;
        let lists = match Lists::read(&pki.join(CRL_FILE)) {
            Ok(lists) => lists,
            Err(reason) => {
                note(format!("{}: {reason}; it is written again", pki.join(CRL_FILE).display()));
                Lists::default()
            }
        };
        let history = Ledger::open_to_read(&pki.join(LEDGER_FILE))?.read(note)?;
        spread(&pki, lists, &self.list_trust(), &history, note)
    }
}

/// What the ledgers say that belong to the same PKI folder as that of an authority's folder: of a root those of its
/// sites, of a site that of its root. Unreadable ones count as empty: they are reported where they are used.
pub(super) fn related_histories(dir: &Path) -> Vec<History> {
    let dirs = match dir.join(ISSUER_FILE).exists() {
        true => pki_of_site(dir).into_iter().collect(),
        false => site_dirs(dir).unwrap_or_default().into_iter().map(|(_, dir)| dir).collect::<Vec<_>>(),
    };
    let read = |dir: PathBuf| Ledger::open_to_read(&dir.join(LEDGER_FILE)).ok()?.read(&mut |_| ()).ok();
    dirs.into_iter().filter_map(read).collect()
}

/// Adds what the ledgers of a PKI folder's sites say to that of the root, in the order of time.
pub(super) fn add_sites(
    pki: &Path,
    history: &mut History,
    note: &mut dyn FnMut(String),
) -> Result<(), AuthorityError> {
    let sites = site_dirs(pki)?;
    if sites.is_empty() {
        return Ok(());
    }
    for (_, dir) in sites {
        let mut ledger = Ledger::open_to_read(&dir.join(LEDGER_FILE))?;
        history.add_related(known(&dir, &mut ledger, note)?);
    }
    history.issued.sort_by_key(|issued| issued.time);
    Ok(())
}

/// Writes all lists into a PKI folder, the folders of its sites, and the copies. Returns the number of copies. The caller
/// holds the lock of the PKI folder.
pub(super) fn spread(
    pki: &Path,
    mut lists: Lists,
    trust: &ListTrust<'_>,
    history: &History,
    note: &mut dyn FnMut(String),
) -> Result<usize, AuthorityError> {
    let sites = site_dirs(pki)?;
    for (_, dir) in &sites {
        let path = dir.join(CRL_FILE);
        match Lists::read(&path) {
            Ok(mut own) => {
                own.retain(|list| !list.is_of_root());
                lists.merge(own);
            }
            Err(reason) => note(format!("{}: {reason}; it is left out", path.display())),
        }
    }
    let mut copies = write(pki, &lists, trust, history, note)?;
    lists.verify(trust, &mut |_| ());
    let all = Outgoing::new(pki, lists.clone(), *trust)?;
    for (site, dir) in &sites {
        let _lock = lock(dir)?;
        let path = dir.join(CRL_FILE);
        let mut own = lists.clone();
        // The site may have written a newer one meanwhile.
        own.merge(Lists::read(&path).unwrap_or_default());
        own.retain(|list| list.is_of_root() || list.site(trust.domain).as_ref() == Some(site));
        own.verify(trust, &mut |_| ());
        replace_changed(&path, to_text(&own, trust)?.as_bytes())?;
        let of_site =
            Ledger::open_to_read(&dir.join(LEDGER_FILE)).ok().map(|mut ledger| ledger.read(&mut |_| ()));
        if let Some(history) = of_site.transpose()? {
            copies += copy(dir, &history, &all, note)?;
        }
    }
    Ok(copies)
}

/// Writes the lists that count into one folder, and into the copies below it. Returns the number of copies.
pub(super) fn write(
    dir: &Path,
    lists: &Lists,
    trust: &ListTrust<'_>,
    history: &History,
    note: &mut dyn FnMut(String),
) -> Result<usize, AuthorityError> {
    let mut lists = lists.clone();
    lists.verify(trust, note);
    let outgoing = Outgoing::new(dir, lists, *trust)?;
    replace_changed(&dir.join(CRL_FILE), outgoing.text())?;
    copy(dir, history, &outgoing, note)
}

/// Updates the copies in all identity folders except devices', which are many and get the lists when they are issued or
/// renewed. A newer list of the same key in a copy stays there and is reported to `note`. Returns the number of the other
/// copies.
fn copy(
    dir: &Path,
    history: &History,
    outgoing: &Outgoing<'_>,
    note: &mut dyn FnMut(String),
) -> Result<usize, AuthorityError> {
    let of_site = dir.join(ISSUER_FILE).exists();
    let folder = |identity: &Identity| {
        let base = match identity.site() {
            Some(site) if !of_site => site_dir(dir, site),
            _ => dir.to_owned(),
        };
        base.join(identity.role().as_str()).join(identity.name().as_str())
    };
    let dirs: BTreeSet<PathBuf> = history
        .issued
        .iter()
        .filter(|issued| {
            issued.role != Role::Device && SystemTime::from(issued.not_after) >= SystemTime::now()
        })
        .filter_map(|issued| Identity::from_parts(issued.role, issued.site.clone(), issued.name.clone()))
        .map(|identity| folder(&identity))
        .filter(|dir| dir.join(CERT_FILE).is_file())
        .collect();
    let mut copies = 0;
    for identity in &dirs {
        copies += usize::from(outgoing.write(&identity.join(CRL_FILE), note)?);
    }
    Ok(copies)
}

/// Replaces a file if its content would change.
pub(super) fn replace_changed(path: &Path, content: &[u8]) -> Result<(), AuthorityError> {
    match fs::read(path) {
        Ok(present) if present == content => Ok(()),
        _ => Ok(files::replace_file(path, content, PUBLIC)?),
    }
}

/// The sites of a PKI folder that have an issuing certificate, by name.
pub(super) fn site_dirs(pki: &Path) -> Result<Vec<(Name, PathBuf)>, FileError> {
    let sites = pki.join(SITES_DIR);
    let mut found = Vec::new();
    for dir in folders(&sites)? {
        let name = dir.file_name().and_then(|name| Name::new(name.to_str()?).ok());
        if let Some(name) = name.filter(|_| dir.join(ISSUER_FILE).is_file()) {
            found.push((name, dir));
        }
    }
    Ok(found)
}

/// The folders in a folder, by name; none if it does not exist.
pub(super) fn folders(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(FileError::at("read", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(FileError::at("read", dir))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
