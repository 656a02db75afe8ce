//! The commands `store backup` and `store restore`: flags and output.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use catchment_settings::{ByteSize, exit, output};
use clap::Args;

use super::{
    local, remote,
    restore::{Failure, Source},
    target::{Done, Target},
};
use crate::{clock, store::Contents};

/// Where to, and of what.
#[derive(Debug, Args)]
#[command(after_help = BACKUP_EXAMPLES)]
pub struct BackupOptions {
    /// Folder of the backup; what it holds from an earlier one is not copied again
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Running aggregator, https://HOST:PORT
    #[arg(long, value_name = "URL", env = "CATCHMENT_AGGREGATOR")]
    aggregator: Option<String>,
    /// Identity folder of an operator, for --aggregator
    #[arg(long, value_name = "DIR", env = "CATCHMENT_IDENTITY")]
    identity: Option<PathBuf>,
    /// Data folder of an aggregator that is stopped, in place of --aggregator
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Maximum bytes per second, such as 20MiB [default: the aggregator's backup_bytes_per_second]
    #[arg(long, value_name = "SIZE")]
    bytes_per_second: Option<ByteSize>,
}

const BACKUP_EXAMPLES: &str = "\
Examples:
  catchment-aggregator store backup --to /backup/catchment --aggregator https://centre.example:7700 --identity PKI/operator/ada
  catchment-aggregator store backup --to /backup/catchment --data /var/lib/catchment";

/// Where from, and where to.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub struct RestoreOptions {
    /// Folder of the backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// New data folder: empty, or not there yet
    #[arg(long, value_name = "DIR", required_unless_present = "check", conflicts_with = "check")]
    data: Option<PathBuf>,
    /// Only read the backup and report damage; exit status 1 if there is any
    #[arg(long)]
    check: bool,
}

const RESTORE_EXAMPLES: &str = "\
Examples:
  catchment-aggregator store restore --from /backup/catchment --data /var/lib/catchment
  catchment-aggregator store restore --from /backup/catchment --check";

impl BackupOptions {
    /// Backs up, and prints what was copied.
    ///
    /// # Errors
    /// The backup is not complete; a usage error if arguments must change.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let usage = |text: &str| exit::UsageError::wrap(anyhow::anyhow!(text.to_owned()));
        let rate = self.bytes_per_second.map_or(0, |size| size.0);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start threads")?;
        let open = || {
            let opened = Target::open(&self.to);
            opened.map_err(|error| exit::UsageError::wrap_if(error.is_usage(), error))
        };
        let done = match (&self.data, &self.aggregator, &self.identity) {
            (Some(data), ..) => {
                let done = runtime.block_on(local::backup(data, open()?, rate));
                done.map_err(|error| exit::UsageError::wrap_if(error.is_usage(), error))?
            }
            (None, Some(server), Some(identity)) => {
                let done = runtime.block_on(remote::backup(server, identity, open()?, rate));
                done.map_err(|error| exit::UsageError::wrap_if(error.is_usage(), error))?
            }
            (None, Some(_), None) => {
                return Err(usage("--identity is missing: the folder of an operator's identity"));
            }
            (None, None, _) => {
                return Err(usage(
                    "give --aggregator URL for a running aggregator, or --data DIR for the folder of one that is stopped",
                ));
            }
        };
        output::print(backup_text(&done))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl RestoreOptions {
    /// Restores or checks, and prints the result.
    ///
    /// # Errors
    /// The backup cannot be restored or read.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let usage = |error: Failure| exit::UsageError::wrap_if(error.is_usage(), error);
        let source = Source::open(&self.from).map_err(usage)?;
        let Some(data) = self.data.as_ref().filter(|_| !self.check) else {
            let findings = source.check()?;
            output::print(check_text(&source.contents, &findings))?;
            return Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        };
        let now_ms = u64::try_from(clock::now_ms()).unwrap_or(0);
        let restored = source.restore(data, now_ms, &mut || Ok(())).map_err(usage)?;
        let owner = restored.owner.map_or(String::new(), |owner| format!(", of {owner}"));
        output::print(format_args!(
            "{}{}: restored {} series in {} tables{owner}\n\
             start the aggregator on it: gateways send again what came later, as far as they still hold it\n",
            data.display(),
            as_of(&source.contents),
            restored.series,
            restored.tables,
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The time of the state that a backup holds.
fn as_of(contents: &Contents) -> String {
    let since = Duration::from_millis(u64::try_from(contents.taken_ms).unwrap_or(0));
    format!(" as of {}", humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since))
}

fn backup_text(done: &Done) -> String {
    let Done { contents, copied: (files, bytes) } = done;
    let (all, size) = (contents.files.len(), contents.bytes());
    format!(
        "backup of store {:016x}{}: {all} files, {size} bytes; copied {files} files, {bytes} bytes\n",
        contents.store,
        as_of(contents)
    )
}

fn check_text(contents: &Contents, findings: &[String]) -> String {
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "damaged: {finding}");
    }
    let (files, as_of) = (contents.files.len(), as_of(contents));
    let result = if findings.is_empty() { "nothing is damaged" } else { "the backup is damaged" };
    let _ = writeln!(text, "backup of store {:016x}{as_of}: {files} files: {result}", contents.store);
    text
}
