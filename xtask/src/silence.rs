//! Reads what a program prints, and ends a test program that has been silent for too long.
//!
//! A test that waits for ever would otherwise take the whole run with it, and nobody would learn which test it was.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// Lines that may wait to be handled.
const LINES_MAX: usize = 1024;

/// Sends each line with its end until the output ends or nobody receives any more.
fn send_lines(output: impl Read, lines: &SyncSender<std::io::Result<Vec<u8>>>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let read = output.read_until(b'\n', &mut line);
        let ended = !matches!(read, Ok(1..));
        if !matches!(read, Ok(0)) && lines.send(read.map(|_| line)).is_err() || ended {
            return;
        }
    }
}

/// Processes that `parent` started, without those that they started in turn. Best effort: none if `/proc` is missing.
fn children(parent: u32) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .filter_map(Pid::from_raw)
        .collect()
}

/// Calls `handle` with each line of `output`, which the process `parent` and its children print. If nothing is printed
/// for `silence_max`, the children are killed and `silent` is called; `parent` goes on as it likes.
///
/// # Errors
///
/// If reading fails, or `handle` does.
pub(crate) fn watch(
    output: impl Read + Send + 'static,
    parent: u32,
    silence_max: Duration,
    mut handle: impl FnMut(&[u8]) -> anyhow::Result<()>,
    mut silent: impl FnMut(),
) -> anyhow::Result<()> {
    let (sender, lines) = sync_channel(LINES_MAX);
    thread::spawn(move || send_lines(output, &sender));
    loop {
        match lines.recv_timeout(silence_max) {
            Ok(line) => handle(&line.context("cannot read what the tests print")?)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                silent();
                for child in children(parent) {
                    // It may have ended by itself just now.
                    let _ = kill_process(child, Signal::KILL);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_silent_child_is_killed_and_the_rest_is_read() {
        let script = "echo first; sleep 600; echo last";
        let mut shell = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let output = shell.stdout.take().unwrap();
        let (mut printed, mut silences) = (Vec::new(), 0);
        let handle = |line: &[u8]| {
            printed.push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        };
        watch(output, shell.id(), Duration::from_millis(500), handle, || silences += 1).unwrap();
        assert!(shell.wait().unwrap().success());
        assert_eq!((printed.concat(), silences >= 1), ("first\nlast\n".to_owned(), true));
    }
}
