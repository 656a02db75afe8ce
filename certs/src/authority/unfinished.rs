//! Finishes what an interrupted run left: an identity whose certificate is in the ledger, and whose folder or
//! `cert.pem` is staged under its temporary name.
//!
//! The staged files are durable before the ledger's line, and appear after it. So a staged certificate that is in the
//! ledger is complete, was not handed out, and only needs to appear; one that is not in the ledger was never issued, and
//! the next attempt removes it. Neither leaves two valid certificates for one request.

use std::path::Path;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    Authority, AuthorityError, History, IssueRequest, Issued, IssuedPaths, PEM_BYTES_MAX,
    issue::fingerprint,
    key::{self, no_passphrase},
    open::{is_key_of, read_certificate},
};
use crate::{
    Identity,
    certificate::peer_from_certificate,
    files::{self, StagedFile, StagedFolder},
    folder::{CERT_FILE, KEY_FILE},
};

impl Authority {
    /// Finishes the folder of an interrupted request and reports it to `note`. The caller holds the lock.
    pub(super) fn finish_one(
        &self,
        request: &IssueRequest,
        note: &mut dyn FnMut(String),
    ) -> Result<Option<IssuedPaths>, AuthorityError> {
        let dir = self.dir_for(request);
        if StagedFolder::left_over(&dir).is_none() {
            return Ok(None);
        }
        let history = self.known_with_related(&mut self.ledger()?, note)?;
        let Some(issued) = finish_folder(&dir, &request.identity, &history)? else { return Ok(None) };
        files::sync(dir.parent().unwrap_or(&dir))?;
        note(format!(
            "an interrupted run had made {}; it is finished and no second one made (`renew` changes hosts and days)",
            request.identity
        ));
        Ok(Some(IssuedPaths { dir, serial: issued.serial.clone(), not_after: issued.not_after }))
    }
}

/// Makes the staged folder of an identity appear if its certificate is in the ledger and not revoked. The caller syncs
/// the parent folder.
pub(super) fn finish_folder<'a>(
    dir: &Path,
    identity: &Identity,
    history: &'a History,
) -> Result<Option<&'a Issued>, AuthorityError> {
    let Some(staged) = StagedFolder::left_over(dir) else { return Ok(None) };
    let Some(issued) = recorded(&staged.file(CERT_FILE), identity, history) else { return Ok(None) };
    if files::is_occupied(dir)? {
        return Ok(None);
    }
    staged.publish()?;
    Ok(Some(issued))
}

/// Makes the staged `cert.pem` of an identity replace the old one, as [`finish_folder`], and before it the staged key that
/// belongs to it, if the renewal made one.
pub(super) fn finish_certificate<'a>(
    dir: &Path,
    identity: &Identity,
    history: &'a History,
) -> Result<Option<&'a Issued>, AuthorityError> {
    let Some(staged) = StagedFile::left_over(&dir.join(CERT_FILE)) else { return Ok(None) };
    let Some(issued) = recorded(staged.path(), identity, history) else { return Ok(None) };
    if let Some(key) = StagedFile::left_over(&dir.join(KEY_FILE))
        && belong_together(key.path(), staged.path())
    {
        key.publish()?;
    }
    staged.publish()?;
    Ok(Some(issued))
}

/// Whether a file holds the private key of the certificate in another.
fn belong_together(key: &Path, cert: &Path) -> bool {
    let (Ok(stored), Ok(certificate)) = (key::read(key, &mut no_passphrase), read_certificate(cert)) else {
        return false;
    };
    is_key_of(&stored.key, &certificate)
}

/// The ledger's line of the certificate in a file, if it is of this identity and not revoked.
fn recorded<'a>(cert: &Path, identity: &Identity, history: &'a History) -> Option<&'a Issued> {
    let pem = files::read_bytes(cert, PEM_BYTES_MAX).ok()?;
    let der = CertificateDer::from_pem_slice(&pem).ok()?;
    let peer = peer_from_certificate(&der).ok()?;
    if peer.identity != *identity || history.revoked_at(&peer.serial).is_some() {
        return None;
    }
    let of = |issued: &&Issued| issued.serial == peer.serial && issued.fingerprint == fingerprint(&der);
    // An interrupted run is among the last to write.
    history.issued.iter().rev().find(of)
}
