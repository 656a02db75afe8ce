//! Programs of Debian packages that the product is compared with and used by: Prometheus and vmalert. `cargo xtask
//! test` installs them.

use std::{
    fs::{self, File},
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{eventually::wait_limit, process::run_to_end};

/// A program in the background; killed on drop, with its log shown if the test fails.
pub struct Background {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Background {
    /// Starts a command, which logs into a file.
    ///
    /// # Panics
    /// When it is not installed.
    pub fn start(mut command: Command, package: &str, log: &Path) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{name}: {error}: `cargo xtask test` installs it, as does `apt-get install {package}`")
        });
        Self { child, name, log: log.to_owned() }
    }

    /// What it has logged.
    ///
    /// # Panics
    /// When its log cannot be read.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        File::open(&self.log).unwrap().read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits for what its log must contain.
    ///
    /// # Panics
    /// When it ends, or the wait limit has passed.
    pub fn logged<T>(&mut self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + wait_limit();
        loop {
            let log = self.log();
            if let Some(found) = find(&log) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{} does not log {what}:\n{log}",
                self.name
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let shown: Vec<&str> = log.lines().rev().take(40).collect();
            let shown: Vec<&str> = shown.into_iter().rev().collect();
            eprintln!("--- end of the log of {}:\n{}", self.name, shown.join("\n"));
        }
    }
}

/// Debian's Prometheus with given samples.
pub struct Prometheus {
    /// Its address, plain HTTP.
    pub addr: SocketAddr,
    _process: Background,
}

impl Prometheus {
    /// Starts it in a new folder, over samples in the OpenMetrics text format.
    ///
    /// # Panics
    /// When it is not installed, or does not start within the wait limit.
    pub fn start(dir: &Path, samples: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let (input, data, config) = (dir.join("samples.txt"), dir.join("data"), dir.join("prometheus.yml"));
        fs::write(&input, samples).unwrap();
        fs::write(&config, "global: {}\n").unwrap();
        let mut promtool = Command::new("promtool");
        promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&input).arg(&data);
        let made = run_to_end(promtool, "");
        assert!(made.status.success(), "promtool: {}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", data.display()));
        command.args(["--storage.tsdb.retention.time=100y", "--web.listen-address=127.0.0.1:0"]);
        let mut process = Background::start(command, "prometheus", &dir.join("prometheus.log"));
        let addr = process.logged("its address and that it is ready", |log| {
            let (_, rest) = log.split_once("msg=\"Listening on\" address=")?;
            let addr = rest.split_whitespace().next()?.parse().ok()?;
            log.contains("Server is ready to receive web requests").then_some(addr)
        });
        Self { addr, _process: process }
    }
}
