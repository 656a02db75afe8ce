//! Commands for many identities at once, with a progress bar on a terminal.

use std::path::Path;

use catchment_proto::id::Name;
use catchment_settings::{output, text::one_line};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Output, Pki, report,
    run::{Failure, note},
};
use crate::authority::{
    Authority, Refused, RenewRequest, lifetime_of_days, read_rows, requests_from, requests_in,
};

/// A bar for so many things; hidden if standard error is not a terminal.
fn bar(count: usize, things: &str) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {things}, {{per_sec}}, {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// Issues the devices of a CSV file.
pub(super) fn issue(file: &Path, replace_missing: bool, output: &Output) -> Result<(), Failure> {
    let authority = Authority::open(&output.pki.dir)?;
    let mut rows = read_rows(file)?;
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    rows.iter_mut().for_each(|row| row.lifetime = row.lifetime.or(lifetime));
    if replace_missing {
        let revoked = authority.revoke_missing(&rows, &mut note)?;
        note(format!("revoked {revoked} certificates whose folder is missing"));
    }
    let bar = bar(rows.len(), "devices");
    let result = authority.issue_rows(&rows, &mut |done| bar.set_position(done), &mut |text| {
        bar.suspend(|| note(text));
    });
    bar.finish_and_clear();
    report::issued(&output.pki, &result?)
}

/// Signs the requests of a folder for the devices of a site, or those of a CSV file.
pub(super) fn sign(
    folder: Option<(&Path, &Name)>,
    file: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    let authority = Authority::open(&output.pki.dir)?;
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    let (rows, refused) = match (folder, file) {
        (Some((dir, site)), _) => requests_in(dir, site, lifetime)?,
        (None, Some(file)) => (requests_from(file, lifetime)?, Vec::new()),
        (None, None) => return Err(Failure::Usage("give --csr, --csr-dir or --from".to_owned())),
    };
    let count = rows.len() + refused.len();
    let bar = bar(rows.len(), "requests");
    let result = authority.sign_rows(&rows, &mut |done| bar.set_position(done), &mut |text| {
        bar.suspend(|| note(text));
    });
    bar.finish_and_clear();
    let mut report = result?;
    report.refused.extend(refused);
    report::signed(&output.pki, &report)?;
    let errors = report.refused.into_iter().map(|Refused { error, .. }| error).collect();
    failed(errors, "requests refused", count)
}

/// Renews the identities whose certificate ends soon.
pub(super) fn renew(request: &RenewRequest, pki: &Pki) -> Result<(), Failure> {
    let authority = Authority::open(&pki.dir)?;
    let bar = bar(0, "identities");
    let mut progress = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let result = authority.renew_all(request, &mut progress, &mut |text| bar.suspend(|| note(text)));
    bar.finish_and_clear();
    let report = result?;
    report::renewed(pki, &report)?;
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
