//! The real programs as child processes. Only children of a test are ever signalled.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::eventually::wait_limit;

/// Path of one of the workspace's programs.
///
/// # Panics
/// When it was not built.
pub fn program(name: &str) -> PathBuf {
    // A test program is in target/PROFILE/deps; chaos is in target/PROFILE with the programs.
    let own = std::env::current_exe().unwrap();
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is not in the folder of {}: run `cargo build` in the workspace first (`cargo xtask test` does)",
            own.display()
        )
    })
}

/// A program's command, without settings from the environment.
pub fn command(name: &str) -> Command {
    // A parent such as nohup ignores signals, and its children do too.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(program(name));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("CATCHMENT_") {
            command.env_remove(key);
        }
    }
    command
}

/// Runs a program to its end, with `input` on its standard input.
///
/// # Panics
/// When it cannot be started, or does not end within the wait limit.
pub fn run(name: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = command(name);
    command.args(arguments);
    run_to_end(command, input)
}

/// Runs any command to its end, with `input` on its standard input.
///
/// # Panics
/// When it cannot be started, or does not end within the wait limit.
pub fn run_to_end(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Fails when the program does not read its input; its output says why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child).unwrap_or_else(|| {
        let _ = child.kill();
        panic!("{command:?} does not end")
    });
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Reads to the end on its own thread, so that the program never blocks on a full pipe.
fn collect(mut from: impl std::io::Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Waits for a child's end, no longer than the wait limit.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + wait_limit();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn spawn(name: &str, config: &Path, log: &Path) -> Child {
    let mut command = command(name);
    command.arg("--config").arg(config);
    spawn_command(command, log)
}

fn spawn_command(mut command: Command, log: &Path) -> Child {
    let stderr = File::options().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    command.spawn().unwrap()
}

/// As [`run`] without input, beside the test's own tasks.
///
/// # Panics
/// As [`run`].
pub async fn program_output(name: &str, arguments: &[&str]) -> Output {
    let mut command = command(name);
    command.args(arguments);
    tokio::task::spawn_blocking(move || run_to_end(command, "")).await.unwrap()
}

/// Starts a server and kills it `after` a while, at any stage of its start.
///
/// # Panics
/// When it cannot be started, or ends by itself before, for example because it refuses its data folder.
pub fn start_and_kill(name: &str, config: &Path, log: &Path, after: Duration) {
    let mut child = spawn(name, config, log);
    thread::sleep(after);
    if let Some(status) = child.try_wait().unwrap() {
        panic!("{name} ended by itself with {status}:\n{}", fs::read_to_string(log).unwrap_or_default());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A server as a child process.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    /// The address that it printed after `ready`, or in its link.
    pub addr: SocketAddr,
    /// The first line that it printed.
    pub line: String,
}

/// The address in the first line of a server.
fn address(line: &str) -> Option<SocketAddr> {
    let link = || line.strip_prefix("dashboard http://")?.split('/').next();
    line.strip_prefix("ready ").or_else(link)?.parse().ok()
}

impl Process {
    /// Starts a server with a configuration file and waits until it is ready. Its standard error is appended to
    /// the log, which is shown when the test fails.
    ///
    /// # Panics
    /// When it does not become ready within the wait limit.
    pub fn start(name: &str, config: &Path, log: &Path) -> Self {
        Self::ready(name, spawn(name, config, log), log)
    }

    /// As [`Self::start`], with arguments instead of a configuration file.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(name: &str, arguments: &[&str], log: &Path) -> Self {
        let mut command = command(name);
        command.args(arguments);
        Self::ready(name, spawn_command(command, log), log)
    }

    fn ready(name: &str, mut child: Child, log: &Path) -> Self {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::sync_channel(1);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        let line = lines.recv_timeout(wait_limit());
        let Some(addr) = line.as_deref().ok().and_then(address) else {
            let _ = child.kill();
            panic!("{name} is not ready, it printed {line:?}:\n{}", fs::read_to_string(log).unwrap());
        };
        Self { child, name: name.to_owned(), log: log.to_owned(), addr, line: line.unwrap_or_default() }
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&self) {
        // The shell's `kill`: the standard library has no safe call for SIGTERM.
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Sends SIGTERM and waits for the end; an ordered stop must not log an error.
    ///
    /// # Panics
    /// When it does not end within the wait limit, or logs an error after the signal.
    pub fn terminate(self) -> ExitStatus {
        let path = self.log.clone();
        let logged = || fs::read_to_string(&path).unwrap_or_default();
        let before = logged().len();
        self.signal();
        let status = self.wait();
        let log = logged();
        assert!(!log[before..].contains(" ERROR "), "an ordered stop logs an error:\n{}", &log[before..]);
        status
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not end within the wait limit.
    pub fn wait(mut self) -> ExitStatus {
        wait(&mut self.child).unwrap_or_else(|| panic!("{} does not end after SIGTERM", self.name))
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let shown: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- end of the log of {}:", self.name);
            shown.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
