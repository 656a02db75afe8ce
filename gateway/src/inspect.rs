//! `catchment-gateway journal verify`, `journal repair` and `folder adopt`, on a data folder that no gateway uses.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use catchment_certs::{FolderError, IdentityFolder, Role};
use catchment_journal::{
    AtomicFileError, Checkpoints, DataDir, DataDirError, FolderFacts, Log, LogConfig, OpenError, Position,
    RealDisk, VerifyReport, quarantine, verify,
};

use crate::{
    folder::shards::{self, LOGS, ShardsError},
    lineage,
    run::KIND,
    shard,
};

/// Why a data folder was not verified, repaired or adopted.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Not a data folder of a gateway.
    #[error("{} is not a gateway's data folder: it has no file `identity`", .0.display())]
    NoFolder(PathBuf),
    /// The folder is in use, another's, or cannot be read or written.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// Its shards.
    #[error(transparent)]
    Shards(#[from] ShardsError),
    /// A log cannot be read or repaired.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The folder of the checkpoints cannot be opened.
    #[error(transparent)]
    Checkpoints(#[from] io::Error),
    /// A damaged checkpoint cannot be set aside.
    #[error(transparent)]
    Checkpoint(#[from] AtomicFileError),
    /// The identity cannot be loaded, or is no gateway's.
    #[error(transparent)]
    Identity(#[from] FolderError),
    /// The folder holds what its owner has not delivered.
    #[error(
        "{} holds {entries} journal entries and {batches} batches of {before}: let that identity deliver them, and start \
         {owner} with a new folder; or repeat with --force: then all of it counts as readings of {owner}, even \
         what was already delivered",
        data.display()
    )]
    NotEmpty {
        /// The folder.
        data: PathBuf,
        /// Journal entries beyond those that only configure.
        entries: u64,
        /// Batches in the outboxes.
        batches: u64,
        /// Whose it is.
        before: String,
        /// The new owner.
        owner: String,
    },
}

/// Opens a data folder and lists its shards. The folder stays locked while the returned [`DataDir`] lives.
fn shards(data: &Path) -> Result<(DataDir, Vec<(u32, PathBuf)>), InspectError> {
    if !data.join("identity").is_file() {
        return Err(InspectError::NoFolder(data.to_owned()));
    }
    let folder = DataDir::open(data, KIND, 0, &[])?;
    let paths = (0..shards::count(folder.facts())?).map(|shard| (shard, shards::shard_folder(data, shard)));
    let paths = paths.filter(|(_, path)| path.is_dir()).collect();
    Ok((folder, paths))
}

/// Reads all logs without changing anything. Returns the report, and whether nothing is damaged.
///
/// # Errors
/// See [`InspectError`].
pub fn verify_text(data: &Path) -> Result<(String, bool), InspectError> {
    let (lock, folders) = shards(data)?;
    let (mut text, mut found) = (FolderFacts::owner_line(lock.owner()), Found::Whole);
    for (shard, folder) in folders {
        found = found.max(verify_shard(&folder, (lock.epoch(), shard), &mut text)?);
    }
    let logs = shards::check_logs(lock.facts()).map_err(|error| error.to_string());
    let history = lineage::check(data, lock.epoch()).map_err(|error| error.to_string());
    for error in [logs, history].into_iter().filter_map(Result::err) {
        found = Found::Refused;
        let _ = writeln!(text, "a start is refused: {error}");
    }
    text.push_str(match found {
        Found::Whole => "nothing is damaged\n",
        Found::Damaged => "damaged; the next start keeps what is whole\n",
        Found::Refused => "a start is refused until that is repaired\n",
    });
    Ok((text, found == Found::Whole))
}

/// The state of a folder, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Whole,
    Damaged,
    Refused,
}

/// Appends what is wrong with a shard to the report.
fn verify_shard(folder: &Path, identity: (u64, u32), text: &mut String) -> Result<Found, InspectError> {
    let mut clean = true;
    for log in LOGS.map(|log| folder.join(log)) {
        if !log.is_dir() {
            continue;
        }
        let report = match verify(&RealDisk, &log) {
            Ok(report) => report,
            Err(error) => {
                clean = false;
                let _ = writeln!(text, "damaged: {error}");
                continue;
            }
        };
        clean &= report.is_clean();
        let torn: u64 = report.segments.iter().map(|segment| segment.torn_tail_bytes).sum();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{}: {} segments, {} records whole, {torn} bytes at the end were never acknowledged{}",
            log.display(),
            report.segments.len(),
            report.records(),
            kept_text(folder, &log, &report)?
        );
        for segment in &report.segments {
            for damage in &segment.damage {
                let _ = writeln!(text, "damaged: {damage}");
            }
            if segment.damage_unlisted > 0 {
                let _ =
                    writeln!(text, "damaged: {}: {} more", segment.path.display(), segment.damage_unlisted);
            }
        }
    }
    // The files are listed above; this says what a start would lose of devices and batches.
    match shard::examine(&Arc::new(RealDisk), folder, identity) {
        Ok(found) => {
            clean &= found.is_clean();
            for line in found.losses() {
                let _ = writeln!(text, "{}: {line}", folder.display());
            }
        }
        Err(error) => {
            let _ = writeln!(text, "{}: a start is refused: {error}", folder.display());
            return Ok(Found::Refused);
        }
    }
    Ok(if clean { Found::Whole } else { Found::Damaged })
}

/// Of an outbox, how many of its segments only stay to refill an aggregator.
fn kept_text(shard: &Path, log: &Path, report: &VerifyReport) -> Result<String, InspectError> {
    if log.file_name().is_none_or(|name| name != "outbox") {
        return Ok(String::new());
    }
    let delivered = shard::delivered(shard)?;
    let ends = report.segments.iter().skip(1).map(|next| next.start);
    let kept = ends.take_while(|end| *end <= delivered).count();
    Ok(if kept > 0 { format!("; {kept} segments are delivered and kept") } else { String::new() })
}

/// Copies damaged parts aside so that the logs read clean, and gives up shards that are gone. Returns what was done.
///
/// # Errors
/// Those of [`verify_text`]; what was done until then stays and does no harm.
pub fn repair_text(data: &Path) -> Result<String, InspectError> {
    let (mut lock, folders) = shards(data)?;
    let mut text = String::new();
    for folder in shards::give_up(&mut lock)? {
        let _ = writeln!(text, "given up: {}: the next start begins it anew", folder.display());
    }
    for (_, folder) in &folders {
        let checkpoints = folder.join(shard::CHECKPOINTS);
        if checkpoints.is_dir() {
            for file in Checkpoints::open(Arc::new(RealDisk), &checkpoints, "state")?.quarantine()? {
                let _ = writeln!(text, "set aside: {}", file.display());
            }
        }
    }
    let logs = folders.iter().flat_map(|(_, folder)| LOGS.map(|log| folder.join(log)));
    for log in logs.filter(|log| log.is_dir()) {
        let name = log.strip_prefix(data).unwrap_or(&log).to_string_lossy().into_owned();
        let done = quarantine(&RealDisk, &log, lock.facts().salt(&name))?;
        for file in &done.files {
            let _ = writeln!(text, "copied aside: {}", file.display());
        }
        let _ = writeln!(
            text,
            "{}: {} bytes left out, {} headers rewritten",
            log.display(),
            done.bytes,
            done.headers
        );
    }
    Ok(text)
}

/// Gives a data folder to the gateway of another identity. Returns what was done. Everything in the outbox is then
/// delivered as the new owner's, even what was already delivered as the old owner's (batches that stay to refill an
/// aggregator are dropped before, as far as they fill whole segments); so a folder that holds anything
/// changes its owner only with `force`.
///
/// # Errors
/// See [`InspectError`].
pub fn adopt_text(data: &Path, identity: &Path, force: bool) -> Result<String, InspectError> {
    let owner = IdentityFolder::load_of(identity, Role::Gateway)?.peer().uri();
    let (mut folder, shards) = shards(data)?;
    folder.change_owner(&owner, |before| {
        let (entries, batches) = held(&shards)?;
        if force || (entries == 0 && batches == 0) {
            return drop_kept(&shards);
        }
        let (data, before, owner) = (data.to_owned(), before.to_owned(), owner.clone());
        Err(InspectError::NotEmpty { data, entries, batches, before, owner })
    })
}

/// Journal entries, without the first of each shard, which only configures it, and batches in the outboxes.
fn held(shards: &[(u32, PathBuf)]) -> Result<(u64, u64), InspectError> {
    let (mut entries, mut batches) = (0, 0);
    let records = |log: &Path| match log.is_dir() {
        true => verify(&RealDisk, log).map(|report| report.records()),
        false => Ok(0),
    };
    for (_, shard) in shards {
        entries += records(&shard.join("journal"))?.saturating_sub(1);
        batches += records(&shard.join("outbox"))?;
    }
    Ok((entries, batches))
}

/// Removes the segments of the outboxes that hold nothing but delivered batches, which the new owner would deliver
/// again.
fn drop_kept(shards: &[(u32, PathBuf)]) -> Result<(), InspectError> {
    for (_, shard) in shards {
        let delivered = shard::delivered(shard)?;
        let outbox = shard.join("outbox");
        if delivered > Position::ZERO && outbox.is_dir() {
            let (mut log, _) = Log::open(Arc::new(RealDisk), &outbox, LogConfig::default())?;
            log.release(delivered).map_err(|error| io::Error::other(error.to_string()))?;
        }
    }
    Ok(())
}
