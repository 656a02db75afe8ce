//! The check of a presented chain against the lists that count, at every handshake.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, Error, OtherError,
    pki_types::{CertificateDer, UnixTime},
};

use super::Revocations;
use crate::{chain::peer_from_chain, der::certificate_serial};

/// No revocation list of a root is there and up to date, and one is required.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no revocation list of a root that is up to date, so no peer is accepted")]
pub(crate) struct NoRevocationList;

/// The lists that verifiers ask. They are replaced in place, so a new list needs no new configuration.
#[derive(Debug)]
pub(crate) struct RevocationCheck {
    lists: ArcSwap<Revocations>,
    /// Without a list of a root that is up to date, no client is accepted.
    required: bool,
}

impl RevocationCheck {
    pub(crate) fn new(lists: Revocations, required: bool) -> Arc<Self> {
        Arc::new(Self { lists: ArcSwap::from_pointee(lists), required })
    }

    /// Replaces the lists, from the next check on.
    pub(crate) fn replace(&self, lists: Revocations) {
        self.lists.store(Arc::new(lists));
    }

    /// The check of a server: refuses a client that a list names, and every client if a list is required and there is
    /// none that is up to date. What an outdated list names is still revoked.
    pub(crate) fn check_client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let lists = self.lists.load();
        refuse_named(&lists, chain)?;
        let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs()));
        let up_to_date = lists.ends().zip(now).is_some_and(|(ends, now)| now <= ends);
        if self.required && !up_to_date {
            return Err(CertificateError::Other(OtherError(Arc::new(NoRevocationList))).into());
        }
        Ok(())
    }

    /// The check of a client: refuses a server that a list names. A client without a list connects: over that
    /// connection, or after it, lists come.
    pub(crate) fn check_server(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        refuse_named(&self.lists.load(), chain)
    }
}

fn refuse_named(lists: &Revocations, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
    if lists.lists().is_empty() {
        return Ok(());
    }
    for certificate in chain {
        let serial = certificate_serial(certificate).ok_or(CertificateError::BadEncoding)?;
        if lists.root_names(serial) {
            return Err(CertificateError::Revoked.into());
        }
    }
    // Which site's lists count stands in the leaf; most installations have no such list.
    if chain.len() > 1
        && !lists.inner.sites.is_empty()
        && peer_from_chain(chain).is_ok_and(|peer| lists.names(&peer))
    {
        return Err(CertificateError::Revoked.into());
    }
    Ok(())
}
