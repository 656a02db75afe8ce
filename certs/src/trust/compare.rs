//! Lists of `crl.pem` that do not count beside lists that were kept, or that came from an aggregator.

use std::path::PathBuf;

use crate::{
    folder::{CRL_FILE, IdentityFolder},
    revocation::{Behind, RevocationError, Revocations},
};

/// Lists of a `crl.pem` of which another one of their issuer counts.
#[derive(Debug)]
pub(super) struct Ignored {
    path: PathBuf,
    lists: Vec<Behind>,
}

impl Ignored {
    pub(super) fn find(folder: &IdentityFolder, counting: &Revocations) -> Self {
        Self { path: folder.dir().join(CRL_FILE), lists: folder.revocations().behind(counting) }
    }

    /// What is wrong with the file, for people. Another list with the number of the one that counts always is: one key signs
    /// in two places. One with a lower number is only if somebody `put` it there and it names certificates that do not
    /// count as revoked. Otherwise it may just be old, and these certificates have expired.
    pub(super) fn problem(&self, put: bool) -> Option<String> {
        let is_wrong = |list: &&Behind| {
            matches!(list.why, RevocationError::SameNumber { .. }) || (put && list.uncounted > 0)
        };
        let Behind { why, uncounted } = self.lists.iter().find(is_wrong)?;
        let path = self.path.display();
        Some(match uncounted {
            0 => format!("{path}: {why}"),
            _ => format!(
                "{path}: {why}. No list that counts names {uncounted} of its certificates: unless they have expired, \
                 take this file in with `catchment-certs crl --add` where the list that counts was made"
            ),
        })
    }

    /// Logs lists that are no problem.
    pub(super) fn log(&self) {
        let uncounted: usize = self.lists.iter().map(|list| list.uncounted).sum();
        let Some(Behind { why, .. }) = self.lists.first() else { return };
        let (path, lists) = (self.path.display(), self.lists.len());
        if uncounted > 0 {
            tracing::warn!(
                %path, lists, uncounted, %why,
                "crl.pem holds lists that do not count, and names certificates that no list that counts names: either they \
                 have expired, or the key of a list is used in two places"
            );
        } else {
            tracing::info!(
                %path, lists, %why,
                "crl.pem holds lists that do not count: newer ones name all of their certificates"
            );
        }
    }
}
