//! New lists beside those that count.

use std::{collections::HashSet, sync::Arc};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::{
    LISTS_BYTES_MAX, LISTS_MAX, RevocationError, RevocationList, Revocations, list::UnverifiedList,
    signer::Signer,
};
use crate::serial::SerialKey;

/// What came of new lists.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) revocations: Revocations,
    /// A list counts that did not count before, or one no longer counts.
    pub(crate) changed: bool,
    /// Index of each refused list, and why.
    pub(crate) refused: Vec<(usize, RevocationError)>,
    /// Number of each list that came together with a newer one of its issuer, and the newer one's number. The newer counts.
    pub(crate) older: Vec<(u64, u64)>,
}

impl Revocations {
    /// These lists and the new ones, DER, each signed by a root in `anchors`, by an issuing certificate among `issuers`,
    /// or by one that is known already. Lists whose signer is no longer trusted are dropped. A list of an issuing
    /// certificate that a root has revoked is left out without an error: its leaves are refused anyway.
    pub(crate) fn merged(
        &self,
        anchors: &[CertificateDer<'_>],
        lists: &[&[u8]],
        issuers: &[CertificateDer<'_>],
    ) -> Merged {
        let roots = Signer::roots(anchors);
        let known: Vec<CertificateDer<'_>> =
            self.lists().iter().filter_map(|list| list.issuer.clone()).collect();
        let issuing: Vec<Signer<'_>> =
            issuers.iter().chain(&known).filter_map(|der| Signer::of_site(der, &roots)).collect();
        let trusted = |list: &&RevocationList| {
            let signers = if list.site.is_none() { &roots } else { &issuing };
            signers.iter().any(|signer| *signer.key() == *list.key)
        };
        let mut building = Building { lists: self.lists().iter().filter(trusted).cloned().collect() };
        let (mut refused, mut older) = (Vec::new(), Vec::new());
        for (index, der) in lists.iter().enumerate() {
            // Nothing new, and no signature to verify.
            if building.lists.iter().any(|list| list.der.as_ref() == *der) {
                continue;
            }
            let taken = UnverifiedList::read(der).and_then(|list| {
                let mut signers = roots.iter().chain(&issuing);
                let signer = signers.find(|signer| signer.signed(&list)).ok_or(RevocationError::Signature)?;
                building.take(&list, signer).or_else(|error| match error {
                    RevocationError::RolledBack { known, found } if building.is_known_by(signer, lists) => {
                        older.push((found, known));
                        Ok(())
                    }
                    error => Err(error),
                })
            });
            if let Err(error) = taken {
                refused.push((index, error));
            }
        }
        building.drop_revoked_issuers();
        let revocations = Self::new(building.lists);
        Merged { changed: !self.are(&revocations), revocations, refused, older }
    }
}

impl Revocations {
    /// Of each issuer the higher list of the two. Both are verified already.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let mut lists = self.lists().to_vec();
        for list in other.lists() {
            match lists.iter_mut().find(|known| known.key == list.key) {
                Some(known) if known.number < list.number => *known = list.clone(),
                Some(_) => {}
                None => lists.push(list.clone()),
            }
        }
        let mut building = Building { lists };
        building.drop_revoked_issuers();
        Self::new(building.lists)
    }

    /// Logs what newer lists that take the place of these lack. Where one of `logged` is replaced, that was logged already.
    pub(crate) fn warn_of_dropped(&self, newer: &Self, logged: &Self) {
        for list in self.lists() {
            let newer =
                newer.lists().iter().find(|newer| newer.key == list.key && newer.number > list.number);
            if let Some(newer) = newer
                && logged.lists().iter().all(|known| known.der != list.der)
            {
                warn_of_dropped(list, newer.number, &newer.serials);
            }
        }
    }

    /// Whether the same lists count.
    pub(crate) fn are(&self, other: &Self) -> bool {
        self.lists().iter().map(|list| &list.der).eq(other.lists().iter().map(|list| &list.der))
    }
}

struct Building {
    lists: Vec<RevocationList>,
}

impl Building {
    /// Takes a verified list if it is newer than the one of its signer.
    fn take(&mut self, list: &UnverifiedList<'_>, signer: &Signer<'_>) -> Result<(), RevocationError> {
        let place = self.lists.iter().position(|known| *known.key == *signer.key());
        let before = place.and_then(|place| self.lists.get(place));
        let bytes_before = before.map_or(0, |before| before.der.len());
        if let Some(before) = before {
            // One that names nothing more is no news.
            if before.number == list.number {
                return match list.serials()?.is_subset(&before.serials) {
                    true => Ok(()),
                    false => Err(RevocationError::SameNumber { number: list.number }),
                };
            }
            if before.number > list.number {
                return Err(RevocationError::RolledBack { known: before.number, found: list.number });
            }
        }
        let bytes: usize = self.lists.iter().map(|list| list.der.len()).sum();
        if bytes.saturating_sub(bytes_before).saturating_add(list.der.len()) > LISTS_BYTES_MAX
            || (place.is_none() && self.lists.len() >= LISTS_MAX)
        {
            return Err(RevocationError::TooMany);
        }
        let serials = list.serials()?;
        if let Some(before) = before {
            warn_of_dropped(before, list.number, &serials);
        }
        let new = RevocationList {
            der: CertificateRevocationListDer::from(list.der.to_vec()),
            issuer: signer.issuing().map(|_| CertificateDer::from(signer.der().to_vec())),
            number: list.number,
            this_update: list.this_update,
            next_update: list.next_update,
            key: signer.key().into(),
            signer_ends: signer.ends(),
            site: signer.issuing().map(|issuing| (issuing.site.clone(), issuing.serial.clone())),
            serials: Arc::new(serials),
        };
        match place.and_then(|place| self.lists.get_mut(place)) {
            Some(before) => *before = new,
            None => self.lists.push(new),
        }
        Ok(())
    }

    /// Whether the list of this signer that counts is one of these.
    fn is_known_by(&self, signer: &Signer<'_>, lists: &[&[u8]]) -> bool {
        let counting = self.lists.iter().find(|known| *known.key == *signer.key());
        counting.is_some_and(|counting| lists.contains(&counting.der.as_ref()))
    }

    fn drop_revoked_issuers(&mut self) {
        let roots = Revocations::new(self.lists.iter().filter(|list| list.site.is_none()).cloned().collect());
        self.lists
            .retain(|list| list.site.as_ref().is_none_or(|(_, issuer)| !roots.root_names(issuer.into())));
    }
}

/// Logs how many names of a list are not on the newer one that takes its place. That counts: it is signed.
fn warn_of_dropped(before: &RevocationList, number: u64, serials: &HashSet<SerialKey>) {
    let dropped = before.serials.difference(serials).count();
    if dropped > 0 {
        tracing::warn!(
            dropped,
            before = before.number,
            number,
            issuer = before.site().map_or("root", |site| site.as_str()),
            "a newer revocation list lacks names of the one before: either their certificates have expired, or its key is \
             used in two folders, and these certificates count as valid again; then take the list before in with \
             `catchment-certs crl --add` where the key is"
        );
    }
}
