//! Processor time and resident memory of a process, as the operating system reports them.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

/// Ticks of `/proc/PID/stat` per second: fixed in Linux's user-space interface.
const TICKS: f64 = 100.0;

/// How long a process must use hardly any processor time to have settled.
const SETTLED: Duration = Duration::from_secs(1);

/// The fields of a `stat` file from the third on: the second, the program's name, may hold spaces.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default()
}

/// A field, numbered from 1 as proc(5) does.
fn field(fields: &[&str], number: usize) -> anyhow::Result<u64> {
    let text = number
        .checked_sub(3)
        .and_then(|index| fields.get(index))
        .context("a stat file with too few fields")?;
    Ok(text.parse()?)
}

fn read(pid: u32) -> anyhow::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))
}

/// Processor seconds of a process, user and system.
pub(crate) fn seconds(pid: u32) -> anyhow::Result<f64> {
    own_seconds(&read(pid)?)
}

fn own_seconds(stat: &str) -> anyhow::Result<f64> {
    let fields = fields(stat);
    Ok((field(&fields, 14)? + field(&fields, 15)?) as f64 / TICKS)
}

/// Processor seconds of those threads of a process whose names begin like this.
///
/// # Errors
/// The process has ended, or has no such thread.
pub(crate) fn thread_seconds(pid: u32, prefix: &str) -> anyhow::Result<f64> {
    let (mut sum, mut found) = (0.0, false);
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end in the meantime.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        if stat.split_once('(').is_some_and(|(_, rest)| rest.starts_with(prefix)) {
            found = true;
            sum += own_seconds(&stat)?;
        }
    }
    ensure!(found, "process {pid} has no thread {prefix}…");
    Ok(sum)
}

/// Processor seconds of a process, of its children, and of those that have ended.
pub(crate) fn family_seconds(pid: u32) -> anyhow::Result<f64> {
    let parent = read(pid)?;
    let parent_fields = fields(&parent);
    let ended = (field(&parent_fields, 16)? + field(&parent_fields, 17)?) as f64 / TICKS;
    let mut sum = own_seconds(&parent)? + ended;
    for entry in fs::read_dir("/proc")? {
        let Some(other) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end in the meantime.
        let Ok(stat) = read(other) else { continue };
        if field(&fields(&stat), 4)? == u64::from(pid) {
            sum += own_seconds(&stat)?;
        }
    }
    Ok(sum)
}

/// Resident memory of a process in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS:")
}

/// Peak resident memory of a process, in bytes.
pub(crate) fn resident_max(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    ensure!(kib > 0, "process {pid} has ended");
    Ok(kib * 1024)
}

/// Waits until a process uses hardly any processor time, at most some seconds.
///
/// # Errors
/// The process has ended.
pub(crate) fn settle(pid: u32, most: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + most;
    loop {
        let before = seconds(pid)?;
        sleep(SETTLED);
        if seconds(pid)? - before <= SETTLED.as_secs_f64() / 20.0 || Instant::now() >= deadline {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_after_a_name_with_spaces() {
        let stat = "12 (a b) c) S 1 12 12 0 -1 4194304 1 2 3 4 150 50 25 75 20 0 9 0 1 2 3";
        assert_eq!(own_seconds(stat).unwrap(), 2.0);
        assert_eq!(field(&fields(stat), 4).unwrap(), 1);
        assert_eq!(field(&fields(stat), 16).unwrap(), 25);
        assert!(own_seconds("12 (a) S 1").is_err());
    }

    #[test]
    fn threads_are_found_by_name() {
        let busy = std::thread::Builder::new().name("busy-1".to_owned()).spawn(|| {
            thread_seconds(std::process::id(), "busy-").unwrap();
        });
        busy.unwrap().join().unwrap();
        assert!(thread_seconds(std::process::id(), "nobody-").is_err());
    }

    #[test]
    fn this_process_has_times_and_memory() {
        assert!(resident(std::process::id()).unwrap() > 100 << 10);
        // Other tests keep running: read the smaller value first.
        let alone = seconds(std::process::id()).unwrap();
        assert!(family_seconds(std::process::id()).unwrap() >= alone);
    }
}
