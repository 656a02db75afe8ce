//! Commands for many identities at once, with a progress bar on a terminal.
//!
//! Rows may be of several sites that issue for themselves. All their authorities are opened before the first certificate
//! is made, so that passphrases are asked for once and a missing key stops nothing halfway.

use std::path::{Path, PathBuf};

use catchment_proto::id::Name;
use catchment_settings::{output, text::one_line};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Output, report,
    run::{Failure, note},
    secret::Secret,
};
use crate::{
    Identity,
    authority::{
        Authority, AuthorityError, BulkReport, KeyKind, Refused, RenewReport, RenewRequest, SignReport,
        by_authority, lifetime_of_days, read_rows, renewing, requests_from, requests_in,
    },
};

/// Opens the authorities of groups.
pub(super) fn open<T>(
    groups: Vec<(PathBuf, Vec<T>)>,
    secret: &Secret,
) -> Result<Vec<(Authority, Vec<T>)>, AuthorityError> {
    let mut passphrases = secret.passphrases();
    groups.into_iter().map(|(dir, rows)| Ok((Authority::open_with(&dir, &mut passphrases)?, rows))).collect()
}

/// A bar for so many things; hidden if standard error is not a terminal.
fn bar(count: usize, things: &str) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {things}, {{per_sec}}, {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// Runs `work` for each group, with the progress of all on one bar. Ends at the first error.
fn each<T>(
    bar: &ProgressBar,
    groups: Vec<(Authority, Vec<T>)>,
    mut work: impl FnMut(
        &Authority,
        &[T],
        &mut dyn FnMut(u64),
        &mut dyn FnMut(String),
    ) -> Result<(), AuthorityError>,
) -> Result<(), AuthorityError> {
    let mut before = 0;
    let result = groups.into_iter().try_for_each(|(authority, rows)| {
        let mut progress = |done| bar.set_position(before + done);
        work(&authority, &rows, &mut progress, &mut |text| bar.suspend(|| note(text)))?;
        before += rows.len() as u64;
        Ok(())
    });
    bar.finish_and_clear();
    result
}

/// Issues the devices of a CSV file.
pub(super) fn issue(
    file: &Path,
    replace_missing: bool,
    key: KeyKind,
    output: &Output,
) -> Result<(), Failure> {
    let mut rows = read_rows(file)?;
    let count = rows.len();
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    rows.iter_mut().for_each(|row| row.lifetime = row.lifetime.or(lifetime));
    let groups = by_authority(&output.pki.dir, rows, |row| Some(&row.device.site));
    let groups = open(groups, &output.secret)?;
    for (authority, rows) in &groups {
        for row in rows {
            authority.check_site(&Identity::Device(row.device.clone()))?;
        }
    }
    if replace_missing {
        let mut revoked = 0;
        for (authority, rows) in &groups {
            revoked += authority.revoke_missing(rows, &mut note)?;
        }
        note(format!("revoked {revoked} certificates whose folder is missing"));
    }
    let mut report = BulkReport::default();
    each(&bar(count, "devices"), groups, |authority, rows, progress, note| {
        report.add(authority.issue_rows(rows, key, progress, note)?);
        Ok(())
    })?;
    report::issued(&output.pki, &report)
}

/// Signs the requests of a folder for the devices of a site, or those of a CSV file.
pub(super) fn sign(
    folder: Option<(&Path, &Name)>,
    file: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    let (rows, refused) = match (folder, file) {
        (Some((dir, site)), _) => requests_in(dir, site, lifetime)?,
        (None, Some(file)) => (requests_from(file, lifetime)?, Vec::new()),
        (None, None) => return Err(Failure::Usage("give --csr, --csr-dir or --from".to_owned())),
    };
    let bar = bar(rows.len(), "requests");
    let count = rows.len() + refused.len();
    let groups = by_authority(&output.pki.dir, rows, |row| row.identity.site());
    let groups = open(groups, &output.secret)?;
    for (authority, rows) in &groups {
        for row in rows {
            authority.check_site(&row.identity)?;
        }
    }
    let mut report = SignReport { refused, ..SignReport::default() };
    each(&bar, groups, |authority, rows, progress, note| {
        report.add(authority.sign_rows(rows, progress, note)?);
        Ok(())
    })?;
    report::signed(&output.pki, &report)?;
    let errors = report.refused.into_iter().map(|Refused { error, .. }| error).collect();
    failed(errors, "requests refused", count)
}

/// Renews the identities whose certificate ends soon.
pub(super) fn renew(request: &RenewRequest, output: &Output) -> Result<(), Failure> {
    let dirs = renewing(&output.pki.dir, request, &mut note)?;
    let groups = dirs.into_iter().map(|dir| (dir, Vec::<()>::new())).collect();
    let bar = bar(0, "identities");
    let (mut report, mut before) = (RenewReport::default(), 0);
    each(&bar, open(groups, &output.secret)?, |authority, _, progress, note| {
        let mut all_here = 0;
        let mut counted = |done, all| {
            all_here = all;
            bar.set_length(before + all);
            progress(before + done);
        };
        report.add(authority.renew_all(request, &mut counted, note)?);
        before += all_here;
        Ok(())
    })?;
    report::renewed(&output.pki, &report)?;
    let count = report.renewed.len() + report.failed.len();
    let errors = report.failed.into_iter().map(|one| format!("{}: {}", one.identity, one.error)).collect();
    failed(errors, "identities not renewed", count)
}

/// Fails if there are errors: a single one of one thing is the message, several are printed before a count.
pub(super) fn failed(mut errors: Vec<String>, what: &str, count: usize) -> Result<(), Failure> {
    if count == 1
        && let Some(error) = errors.pop()
    {
        return Err(Failure::Failed(error));
    }
    if errors.is_empty() {
        return Ok(());
    }
    for error in &errors {
        output::eprint_line(format_args!("error: {}", one_line(error)));
    }
    Err(Failure::Failed(format!("{} of {count} {what}", errors.len())))
}
