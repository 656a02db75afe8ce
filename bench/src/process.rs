//! Programs as child processes. Dropping a [`Server`] ends its child; nothing else is ever signalled.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

/// Timeout for a server's start or end.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// Stops in order on SIGTERM; others are killed.
    orderly: bool,
    /// Kept open so that the server can continue to print.
    _stdout: Option<mpsc::Receiver<String>>,
}

/// A program in the same folder as this one.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe()?;
    let path = own.parent().context("this program has no folder")?.join(name);
    ensure!(path.is_file(), "{name} is not in this program's folder; `cargo xtask bench` builds it");
    Ok(path)
}

/// A local address that is currently free.
pub(crate) fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Removes the environment's settings for Catchment from a command and sends its errors to a file.
fn prepare(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    for (key, _) in env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("CATCHMENT_")) {
        command.env_remove(key);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(File::options().create(true).append(true).open(log)?);
    Ok(())
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

impl Server {
    /// Starts one of our servers, which prints `ready ADDR`.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        prepare(&mut command, log)?;
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let (sender, lines) = mpsc::sync_channel(1);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        let line = lines.recv_timeout(TIMEOUT);
        let addr = line.as_deref().ok().and_then(|line| line.strip_prefix("ready ")?.parse().ok());
        let Some(addr) = addr else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{:?} is not ready: {}", command.get_program(), last_lines(log));
        };
        Ok(Self { child, addr, orderly: true, _stdout: Some(lines) })
    }

    /// Starts a third-party server, which is ready when it listens at the address.
    pub(crate) fn start_at(mut command: Command, addr: SocketAddr, log: &Path) -> anyhow::Result<Self> {
        prepare(&mut command, log)?;
        command.stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self { child, addr, orderly: false, _stdout: None };
        let deadline = Instant::now() + TIMEOUT;
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{:?} ended with {status}: {}", command.get_program(), last_lines(log));
            }
            ensure!(Instant::now() < deadline, "{:?} does not listen in time", command.get_program());
            sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The shell's `kill`: the standard library has no safe call for SIGTERM.
        let terminate = format!("kill -TERM {}", self.child.id());
        let signalled = Command::new("/bin/sh").args(["-c", &terminate]).status().is_ok();
        let limit = if self.orderly { TIMEOUT } else { Duration::from_secs(10) };
        let deadline = Instant::now() + limit;
        while signalled && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command quietly to its end and returns its output; a failure includes its standard error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?}: {}: {}", command.get_program(), output.status, errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
