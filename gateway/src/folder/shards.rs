//! Which shards a data folder holds, and which of them can be opened.
//!
//! The folder's identity counts the shards and names their logs. A shard whose state (journal and checkpoints) is gone
//! is not begun anew: its losses would go unreported, and messages that its devices resend would count again. The start
//! is refused until somebody puts the shard back or gives it up with `journal repair`. A shard that was given up begins
//! beyond all numbers and positions that the lost one can have used, so the aggregator sees the gap.

use std::path::{Path, PathBuf};

use catchment_journal::{DataDir, DataDirError, FolderFacts};

use crate::{
    lineage::{self, FolderPast},
    shard::{self, RecoveryError, ShardFacts},
};

/// Key of the number of shards in the data folder's identity.
pub(crate) const SHARDS: &str = "shards";
/// The logs of a shard, in its folder. The last one, the definitions log, only repeats parts of the journal.
pub(crate) const LOGS: [&str; 3] = [JOURNAL, "outbox", shard::DEFINITIONS];
const JOURNAL: &str = "journal";
/// Prefix of the identity's key that marks a shard as given up; the name of its folder follows.
const GIVEN_UP: &str = "given_up.";
/// Prefix of the key that counts how often a shard was given up; the name of its folder follows.
const LIVES: &str = "lives.";

/// Why the shards of a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// The data folder's identity lacks the number of shards.
    #[error("{}: the number of shards is missing: restore the data folder's file `identity`", .0.display())]
    Unknown(PathBuf),
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// A shard's checkpoints.
    #[error(transparent)]
    Checkpoints(#[from] RecoveryError),
    /// The state of a shard is gone.
    #[error(
        "{}: the shard is gone, with what it acknowledged: put it back, or give it up with `catchment-gateway journal \
         repair --data {}`: then what it had not delivered is lost, and messages that devices resend count again",
        folder.display(), data.display()
    )]
    Gone {
        /// The data folder.
        data: PathBuf,
        /// The shard's folder.
        folder: PathBuf,
    },
}

impl ShardsError {
    /// Like [`DataDirError::is_configuration`].
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Data(error) => error.is_configuration(),
            Self::Checkpoints(error) => error.is_configuration(),
            Self::Gone { .. } => true,
            Self::Unknown(_) => false,
        }
    }
}

/// The folder of a shard.
pub(crate) fn shard_folder(data: &Path, shard: u32) -> PathBuf {
    data.join(name(shard))
}

fn name(shard: u32) -> String {
    format!("shard-{shard}")
}

/// A log's path within the data folder.
fn log_path(shard: u32, log: &str) -> String {
    format!("{}/{log}", name(shard))
}

/// The logs of all shards.
fn logs(shards: u32) -> Vec<String> {
    (0..shards).flat_map(|shard| LOGS.map(|log| log_path(shard, log))).collect()
}

/// How many shards a data folder has.
///
/// # Errors
/// [`ShardsError::Unknown`].
pub(crate) fn count(data: &FolderFacts) -> Result<u32, ShardsError> {
    let count = data.get(SHARDS).and_then(|text| text.parse().ok());
    count.ok_or_else(|| ShardsError::Unknown(data.path().to_owned()))
}

/// The known past of the folder. Once its first start is over, the identity names its logs.
pub(crate) fn past(data: &DataDir) -> FolderPast {
    match data.is_new() {
        true => FolderPast::New,
        false if data.facts().lists_logs() => FolderPast::Started,
        false => FolderPast::Unknown,
    }
}

/// Whether a shard was given up and has not started since.
fn is_given_up(data: &FolderFacts, shard: u32) -> bool {
    data.get(&format!("{GIVEN_UP}{}", name(shard))).is_some()
}

/// How often a shard was given up.
fn lives(data: &FolderFacts, shard: u32) -> u64 {
    data.get(&format!("{LIVES}{}", name(shard))).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The shards whose state is gone and that were not given up.
///
/// # Errors
/// A log of another folder is in the place of one of this folder; or reading failed.
pub(crate) fn gone(data: &FolderFacts) -> Result<Vec<u32>, ShardsError> {
    let missing = data.missing_logs()?;
    let runs = data.path().join(lineage::RUNS).exists();
    let is_gone = |shard: &u32| {
        let folder = shard_folder(data.path(), *shard);
        let journal = log_path(*shard, JOURNAL);
        let lacks_journal = match data.lists_log(&journal) {
            true => missing.contains(&journal),
            // An earlier version did not name logs.
            false => runs && !folder.exists(),
        };
        lacks_journal && !has_files(&folder.join(shard::CHECKPOINTS)) && !is_given_up(data, *shard)
    };
    Ok((0..count(data)?).filter(is_gone).collect())
}

fn has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Checks that no shard is gone.
///
/// # Errors
/// A shard is gone, or a log is another folder's; or reading failed.
pub(crate) fn check_logs(data: &FolderFacts) -> Result<(), ShardsError> {
    let Some(shard) = gone(data)?.first().copied() else { return Ok(()) };
    let (data, folder) = (data.path().to_owned(), shard_folder(data.path(), shard));
    Err(ShardsError::Gone { data, folder })
}

/// Checks that a start would find its shards.
///
/// # Errors
/// A shard is gone, or is another folder's; or reading failed.
pub(crate) fn check(data: &FolderFacts) -> Result<(), ShardsError> {
    check_logs(data)?;
    for shard in 0..count(data)? {
        shard::check_checkpoints(&shard_folder(data.path(), shard), (data.epoch(), shard))?;
    }
    Ok(())
}

/// The facts to open each shard with.
///
/// # Errors
/// A shard is gone, or is another folder's; nothing was changed then. Or writing failed.
pub(crate) fn prepare(data: &mut DataDir) -> Result<Vec<ShardFacts>, ShardsError> {
    check(data.facts())?;
    let shards = count(data.facts())?;
    let salts = data.prepare_logs(&logs(shards))?;
    let folder = data.facts();
    let facts = |shard| {
        let given_up = if is_given_up(folder, shard) { lives(folder, shard).max(1) } else { 0 };
        let salts = LOGS.map(|log| salts.get(&log_path(shard, log)).copied());
        ShardFacts { epoch: folder.epoch(), given_up, salts, ..ShardFacts::default() }
    };
    Ok((0..shards).map(facts).collect())
}

/// Records that the logs of all shards are open, and that no shard is given up any more. Call it before anything is
/// acknowledged.
///
/// # Errors
/// A log cannot be read, or writing failed.
pub(crate) fn opened(data: &mut DataDir) -> Result<(), ShardsError> {
    let shards = count(data.facts())?;
    let done: Vec<String> = (0..shards).map(|shard| format!("{GIVEN_UP}{}", name(shard))).collect();
    Ok(data.confirm_logs(&logs(shards), &done)?)
}

/// Gives up the shards whose state is gone, and returns their folders.
///
/// # Errors
/// Those of [`gone`], or writing failed.
pub(crate) fn give_up(data: &mut DataDir) -> Result<Vec<PathBuf>, ShardsError> {
    let gone = gone(data.facts())?;
    for shard in &gone {
        let lives = lives(data.facts(), *shard).saturating_add(1);
        data.set(&format!("{LIVES}{}", name(*shard)), &lives.to_string())?;
        data.set(&format!("{GIVEN_UP}{}", name(*shard)), "1")?;
    }
    Ok(gone.iter().map(|shard| shard_folder(data.path(), *shard)).collect())
}
