//! The copies of `crl.pem` in the folders of identities.
//!
//! Whatever writes such a copy does it here. A copy may have a list that the authority's folder lacks: its key is in
//! another folder too, or somebody brought the list. Servers refuse one that goes back, so a copy becomes the lists of
//! the authority's folder and what it has beyond them.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use super::{
    Authority, AuthorityError, crl_pem,
    lists::{LISTS_BYTES_MAX, ListTrust, Lists},
    spread::replace_changed,
};
use crate::files;

/// The lists of an authority's folder, for copies.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    /// The authority's folder, for messages.
    dir: PathBuf,
    text: Vec<u8>,
    lists: Lists,
    trust: ListTrust<'a>,
}

impl Authority {
    /// The current revocation lists for an identity, if there are any.
    pub(super) fn outgoing(&self) -> Result<Option<Outgoing<'_>>, AuthorityError> {
        if let Some(pki) = self.pki()
            && let Some(all) = Outgoing::read(&pki, self.list_trust())?
        {
            return Ok(Some(all));
        }
        Outgoing::read(&self.dir, self.list_trust())
    }
}

impl<'a> Outgoing<'a> {
    /// Those that are in a folder, if there are any.
    pub(super) fn read(dir: &Path, trust: ListTrust<'a>) -> Result<Option<Self>, AuthorityError> {
        let Some(text) = crl_pem(dir)? else { return Ok(None) };
        // An unreadable file was reported when the ledger was read.
        let lists = Lists::parse(&text).unwrap_or_default();
        Ok(Some(Self { dir: dir.to_owned(), text, lists, trust }))
    }

    /// These, which are verified.
    pub(super) fn new(dir: &Path, lists: Lists, trust: ListTrust<'a>) -> Result<Self, AuthorityError> {
        let text = to_text(&lists, &trust)?.into_bytes();
        Ok(Self { dir: dir.to_owned(), text, lists, trust })
    }

    /// The contents of a copy where there is none yet.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// What the copy at a path becomes.
    pub(super) fn for_copy(&self, path: &Path) -> Result<Cow<'_, [u8]>, AuthorityError> {
        self.with(self.beyond(path))
    }

    /// These lists and what a copy has beyond them.
    fn with(&self, own: Lists) -> Result<Cow<'_, [u8]>, AuthorityError> {
        if own.is_empty() {
            return Ok(Cow::Borrowed(&self.text));
        }
        let mut all = Lists::default();
        all.merge(own);
        all.merge(self.lists.clone());
        all.verify(&self.trust, &mut |_| ());
        Ok(Cow::Owned(to_text(&all, &self.trust)?.into_bytes()))
    }

    /// What to say of the copy at a path if it has another list of a key here, at least as new.
    pub(super) fn warning(&self, path: &Path) -> Option<String> {
        self.warning_of(path, &self.beyond(path))
    }

    /// As [`Self::warning`], of a copy that has these lists beyond those here.
    fn warning_of(&self, path: &Path, beyond: &Lists) -> Option<String> {
        let (theirs, ours) = beyond.ahead_of(&self.lists)?;
        let which = match theirs == ours {
            true => format!("another list {theirs} than the one here"),
            false => format!("list {theirs}, newer than list {ours} here"),
        };
        Some(format!(
            "{0} has {which}, so that stays, and servers with it refuse list {ours} from here: the key is used in another \
             folder too; take its revocations in with `catchment-certs crl --dir {1} --add {0}`",
            path.display(),
            self.dir.display()
        ))
    }

    /// Updates the copy at a path. Returns whether it has all lists from here; otherwise says why to `note`.
    pub(super) fn write(&self, path: &Path, note: &mut dyn FnMut(String)) -> Result<bool, AuthorityError> {
        let beyond = self.beyond(path);
        let warning = self.warning_of(path, &beyond);
        replace_changed(path, &self.with(beyond)?)?;
        let is_whole = warning.is_none();
        warning.into_iter().for_each(note);
        Ok(is_whole)
    }

    /// The genuine lists of a copy that are not here. An outdated one of a site that no list is here of does not matter:
    /// only its own devices and gateways would.
    fn beyond(&self, path: &Path) -> Lists {
        if files::has_content(path, &self.text) {
            return Lists::default();
        }
        let read = files::read_bytes(path, LISTS_BYTES_MAX).ok();
        // An unreadable copy is written again.
        let mut copy = read.and_then(|content| Lists::parse(&content).ok()).unwrap_or_default();
        if copy.beyond(&self.lists).is_empty() {
            return Lists::default();
        }
        copy.verify(&self.trust, &mut |_| ());
        let mut beyond = copy.beyond(&self.lists);
        beyond.retain(|list| list.is_of_root() || !list.is_outdated() || self.lists.has_key_of(list));
        beyond
    }
}

/// Lists in PEM.
pub(super) fn to_text(lists: &Lists, trust: &ListTrust<'_>) -> Result<String, AuthorityError> {
    let encode = |reason| AuthorityError::Encode { what: "the revocation lists", reason };
    lists.to_pem(trust.domain).map_err(encode)
}
