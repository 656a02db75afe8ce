//! A gateway or an aggregator that can be stopped, killed and restarted: as a thread of the test, or as the real
//! program. It is behind a link, so its address stays the same.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use catchment_aggregator::Options;
use catchment_gateway::Settings;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};

use crate::{
    link::Link,
    process::{self, Process},
};

/// Execution mode of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As threads of the test.
    Threads,
    /// As the real programs, which can be killed.
    Processes,
}

/// The program of a server, with its settings.
#[derive(Clone, Debug)]
pub enum Program {
    /// A gateway.
    Gateway(Box<Settings>),
    /// An aggregator.
    Aggregator(Box<Options>),
}

impl Program {
    fn name(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "catchment-gateway",
            Self::Aggregator(_) => "catchment-aggregator",
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Gateway(settings) => toml::to_string(settings),
            Self::Aggregator(options) => toml::to_string(options),
        }
        .unwrap()
    }
}

enum Running {
    Gateway(catchment_gateway::Handle),
    Aggregator(Thread),
    Process(Process),
}

/// A server and its link.
pub struct Server {
    /// Its settings, for the next start.
    pub program: Program,
    /// The link that clients connect to.
    pub link: Link,
    mode: Mode,
    config: PathBuf,
    running: Option<Running>,
}

impl Server {
    /// A server that does not run yet; its configuration file and its log are in `dir`, which is created.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn new(mut program: Program, mode: Mode, dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let data = Some(dir.join("data"));
        match &mut program {
            Program::Gateway(settings) => (settings.listen, settings.data) = (listen, data),
            Program::Aggregator(options) => (options.listen, options.data) = (listen, data),
        }
        Self { program, link: Link::new(), mode, config: dir.join("config.toml"), running: None }
    }

    /// The stable address.
    pub fn addr(&self) -> SocketAddr {
        self.link.addr()
    }

    /// The server's own address, without the link.
    ///
    /// # Panics
    /// When it does not run.
    pub fn direct_addr(&self) -> SocketAddr {
        match self.running.as_ref().expect("it does not run") {
            Running::Gateway(handle) => handle.addr,
            Running::Aggregator(thread) => thread.addr,
            Running::Process(process) => process.addr,
        }
    }

    /// Its `/metrics` page.
    ///
    /// # Panics
    /// When it is not a thread with `http` on, or does not answer.
    pub async fn metrics(&self) -> String {
        let (status, page) = self.http("/metrics").await;
        assert_eq!(status, 200, "{page}");
        page
    }

    /// Status and body of a page of the plain HTTP endpoint.
    ///
    /// # Panics
    /// When it is not a thread with `http` on, or does not answer.
    pub async fn http(&self, path: &str) -> (u16, String) {
        let addr = match &self.running {
            Some(Running::Gateway(handle)) => handle.http_addr,
            Some(Running::Aggregator(thread)) => thread.http_addr,
            _ => None,
        };
        let mut stream = TcpStream::connect(addr.expect("not a thread with `http` on")).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        let status = page.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{page}")), page)
    }

    /// Its data folder.
    ///
    /// # Panics
    /// Never.
    pub fn data(&self) -> PathBuf {
        self.config.with_file_name("data")
    }

    /// Writes its configuration file for the program.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn config_file(&self) -> &Path {
        fs::write(&self.config, self.program.to_toml()).unwrap();
        &self.config
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it runs already, or does not start.
    pub async fn start(&mut self) {
        assert!(self.running.is_none(), "it is already running");
        let (mode, program) = (self.mode, self.program.clone());
        let config = self.config_file().to_owned();
        let start = move || match (mode, program) {
            (Mode::Processes, program) => {
                let process = Process::start(program.name(), &config, &config.with_extension("log"));
                (process.addr, Running::Process(process))
            }
            (Mode::Threads, Program::Gateway(settings)) => {
                let handle = catchment_gateway::spawn(settings.check().unwrap()).unwrap();
                (handle.addr, Running::Gateway(handle))
            }
            (Mode::Threads, Program::Aggregator(options)) => {
                let thread = Thread::start(*options);
                (thread.addr, Running::Aggregator(thread))
            }
        };
        let (addr, running) = tokio::task::spawn_blocking(start).await.unwrap();
        self.running = Some(running);
        self.link.lead_to(Some(addr));
    }

    /// Stops it in order and waits for its end.
    ///
    /// # Panics
    /// When it does not run, or does not stop in order.
    pub async fn stop(&mut self) {
        let running = self.running.take().expect("it does not run");
        tokio::task::spawn_blocking(|| end(running)).await.unwrap();
        self.link.lead_to(None);
    }

    /// Starts the program and kills it `after` a while, ready or not.
    ///
    /// # Panics
    /// When it runs already, or ends by itself.
    pub async fn start_and_kill(&mut self, after: Duration) {
        assert!(
            self.running.is_none() && self.mode == Mode::Processes,
            "only for a process that does not run"
        );
        let (name, config) = (self.program.name(), self.config_file().to_owned());
        let log = config.with_extension("log");
        let killed = move || process::start_and_kill(name, &config, &log, after);
        tokio::task::spawn_blocking(killed).await.unwrap();
    }

    /// Takes the process, to signal it and wait for it; this server then no longer runs.
    ///
    /// # Panics
    /// When it is not a running process.
    pub fn take_process(&mut self) -> Process {
        match self.running.take() {
            Some(Running::Process(process)) => process,
            _ => panic!("not a running process"),
        }
    }

    /// Kills the process at once, as `kill -9` does.
    ///
    /// # Panics
    /// When it is not a running process.
    pub fn kill(&mut self) {
        self.link.lead_to(None);
        match self.running.take() {
            Some(Running::Process(process)) => process.kill(),
            _ => panic!("only a running process can be killed"),
        }
    }
}

fn end(running: Running) {
    match running {
        Running::Gateway(handle) => handle.stop().unwrap(),
        Running::Aggregator(thread) => thread.stop(),
        Running::Process(process) => {
            let status = process.terminate();
            assert_eq!(status.code(), Some(0), "after SIGTERM");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.running.take() {
            // A second panic would abort and hide the first.
            Some(Running::Gateway(handle)) if thread::panicking() => _ = handle.stop(),
            Some(Running::Process(_)) | None => {}
            Some(running) => end(running),
        }
    }
}

/// An aggregator on a thread with its own runtime.
struct Thread {
    addr: SocketAddr,
    http_addr: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<Result<(), catchment_aggregator::RunError>>,
}

impl Thread {
    fn start(options: Options) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (bound, addr) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let result = runtime.block_on(async move {
                let config = catchment_aggregator::Config::try_from(options).unwrap();
                let aggregator = catchment_aggregator::bind(config).await.unwrap();
                bound.send((aggregator.local_addr(), aggregator.http_addr())).unwrap();
                aggregator.run(async { _ = stopped.await }).await
            });
            runtime.shutdown_background();
            result
        });
        let (addr, http_addr) = addr.recv().expect("the aggregator does not start");
        Self { addr, http_addr, stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        let result = self.thread.join();
        if !thread::panicking() {
            result.expect("the aggregator panicked").unwrap();
        }
    }
}
