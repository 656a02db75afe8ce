//! Prints what became of revocation lists.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    super::{Format, run::Failure},
    json, print,
};
use crate::{
    Serial,
    authority::{AddedLists, ListLeft, ListRenewed, ListsReport, RevokeReport},
    folder::CRL_FILE,
};

/// A written revocation list.
#[derive(Serialize)]
struct List {
    file: PathBuf,
    number: u64,
    revoked: usize,
    copies: usize,
}

impl List {
    /// The list of an authority's folder; `None`: none was written.
    fn of(dir: &Path, report: &RevokeReport) -> Option<Self> {
        let RevokeReport { crl_number, listed, copies, .. } = *report;
        (crl_number > 0).then(|| Self {
            file: dir.join(CRL_FILE),
            number: crl_number,
            revoked: listed,
            copies,
        })
    }

    fn print(&self) -> Result<(), Failure> {
        let Self { file, number, revoked, copies } = self;
        let dir = file.parent().unwrap_or(file);
        print(&format!(
            "wrote {} (number {number}, {revoked} revoked) and {copies} copies below {}; copy it to the other servers too",
            file.display(),
            dir.display(),
        ))
    }
}

/// Revoked certificates, by the folders of the authorities that revoked them.
pub(in crate::cli) fn revoked(format: Format, reports: &[(PathBuf, RevokeReport)]) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Revoked {
        revoked: Vec<String>,
        already: Vec<String>,
        unknown: usize,
        lists: Vec<List>,
    }
    let texts = |serials: fn(&RevokeReport) -> &[Serial]| {
        let all = reports.iter().flat_map(|(_, report)| serials(report));
        all.map(ToString::to_string).collect::<Vec<_>>()
    };
    let (revoked, already) = (texts(|report| &report.revoked), texts(|report| &report.already));
    let lists: Vec<List> = reports.iter().filter_map(|(dir, report)| List::of(dir, report)).collect();
    if format == Format::Json {
        let unknown = reports.iter().map(|(_, report)| report.unknown.len()).sum();
        return json(&Revoked { revoked, already, unknown, lists });
    }
    for serial in revoked {
        print(&format!("revoked {serial}"))?;
    }
    for serial in already {
        print(&format!("{serial} was already revoked"))?;
    }
    lists.iter().try_for_each(List::print)
}

/// A new revocation list.
pub(in crate::cli) fn list_written(format: Format, dir: &Path, report: &RevokeReport) -> Result<(), Failure> {
    let Some(list) = List::of(dir, report) else { return Ok(()) };
    match format {
        Format::Text => list.print(),
        Format::Json => json(&list),
    }
}

/// Lists from elsewhere.
pub(in crate::cli) fn lists_added(format: Format, dir: &Path, report: &AddedLists) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Added<'a> {
        file: PathBuf,
        added: usize,
        known: usize,
        copies: usize,
        taken: usize,
        signed: &'a [u64],
        refused: &'a [String],
    }
    let (file, AddedLists { added, known, copies, taken, signed, refused }) = (dir.join(CRL_FILE), report);
    let (added, known, copies, taken) = (*added, *known, *copies, *taken);
    if format == Format::Json {
        return json(&Added { file, added, known, copies, taken, signed, refused });
    }
    let taken =
        if taken > 0 { format!("; {taken} revocations are new in the ledger") } else { String::new() };
    print(&format!(
        "took {added} new lists into {} and {copies} copies; {known} were known{taken}",
        file.display()
    ))?;
    signed.iter().try_for_each(|number| {
        print(&format!(
            "signed list {number}, which names what the lists of both sides name; copy it to the servers, and take it in \
             with `crl --add` in the other folder with this key"
        ))
    })
}

/// The lists of the authorities of a PKI folder, renewed.
pub(in crate::cli) fn lists_renewed(format: Format, report: &ListsReport) -> Result<(), Failure> {
    /// The first list as that of a single authority, and the others.
    #[derive(Serialize)]
    struct Renewed<'a> {
        #[serde(flatten)]
        first: Option<List>,
        sites: Vec<OfSite>,
        not_renewed: &'a [ListLeft],
    }
    #[derive(Serialize)]
    struct OfSite {
        site: String,
        #[serde(flatten)]
        list: Option<List>,
    }
    let list = |renewed: &ListRenewed| List::of(&renewed.dir, &renewed.report);
    let (own, below): (Vec<&ListRenewed>, Vec<_>) = report
        .renewed
        .iter()
        .partition(|renewed| renewed.site.is_none() || report.renewed.len() + report.left.len() == 1);
    if format == Format::Json {
        let sites = below.iter().map(|renewed| OfSite {
            site: renewed.site.as_ref().map(ToString::to_string).unwrap_or_default(),
            list: list(renewed),
        });
        let first = own.first().and_then(|renewed| list(renewed));
        return json(&Renewed { first, sites: sites.collect(), not_renewed: &report.left });
    }
    report.renewed.iter().filter_map(list).try_for_each(|list| list.print())?;
    report.left.iter().try_for_each(|ListLeft { site, reason }| {
        let whose = site.as_ref().map_or_else(|| "the root".to_owned(), |site| format!("site {site}"));
        print(&format!("the list of {whose} is not renewed: {reason}"))
    })
}
