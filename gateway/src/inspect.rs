//! `catchment-gateway journal verify` and `journal repair`: the logs of a data folder that no gateway uses.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, ensure};
use catchment_journal::{DataDir, RealDisk, set_aside, verify};

use crate::run::SHARDS;

/// The logs of a data folder; the folder is locked as long as the first part is held.
fn logs(data: &Path) -> anyhow::Result<(DataDir, Vec<std::path::PathBuf>)> {
    ensure!(
        data.join("identity").is_file(),
        "{} is no data folder of a gateway: it has no file `identity`",
        data.display()
    );
    let folder = DataDir::open(data, "gateway", 0, &[])?;
    let shards: u32 =
        folder.get(SHARDS).and_then(|text| text.parse().ok()).context("the number of shards is unknown")?;
    let paths = (0..shards)
        .flat_map(|shard| ["journal", "outbox"].map(|log| data.join(format!("shard-{shard}")).join(log)));
    let paths = paths.filter(|path| path.is_dir()).collect();
    Ok((folder, paths))
}

/// Reads all logs and changes nothing: the report, and whether nothing is damaged.
///
/// # Errors
/// When the folder is none, is in use, or cannot be read.
pub fn verify_text(data: &Path) -> anyhow::Result<(String, bool)> {
    let (_lock, logs) = logs(data)?;
    let (mut text, mut clean) = (String::new(), true);
    for log in logs {
        let report = verify(&RealDisk, &log)?;
        clean &= report.is_clean();
        let torn: u64 = report.segments.iter().map(|segment| segment.torn_tail_bytes).sum();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{}: {} segments, {} records whole, {torn} bytes at the end were never acknowledged",
            log.display(),
            report.segments.len(),
            report.records()
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
    text.push_str(if clean {
        "nothing is damaged\n"
    } else {
        "damaged; the next start takes what is whole, and logs which messages of which devices are lost\n"
    });
    Ok((text, clean))
}

/// Copies damaged parts aside and leaves logs that read clean: what was done.
///
/// # Errors
/// As [`verify_text`]; what was done until then stays and does no harm.
pub fn repair_text(data: &Path) -> anyhow::Result<String> {
    let (_lock, logs) = logs(data)?;
    let mut text = String::new();
    for log in logs {
        let done = set_aside(&RealDisk, &log)?;
        for file in &done.files {
            let _ = writeln!(text, "copied aside: {}", file.display());
        }
        let _ = writeln!(
            text,
            "{}: {} bytes left out, {} headers written anew",
            log.display(),
            done.bytes,
            done.headers
        );
    }
    Ok(text)
}
