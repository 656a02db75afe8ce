//! InfluxDB 1 over plain HTTP: the lines of the line-protocol load, in batches, as its users write them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};

use crate::{
    cpu,
    load::{
        Outcome,
        connection::ProtocolClient as _,
        line_protocol::{FIELDS, LineProtocol, MessagePool},
    },
    process::{Server, free_addr, run},
};

/// Lines per request.
const BATCH: usize = 5_000;
/// Concurrent requests.
const WRITERS: usize = 4;

/// InfluxDB's version, if it is installed.
pub(crate) fn version() -> Option<String> {
    run(Command::new("influxd").arg("version")).ok().map(|text| text.trim().to_owned())
}

/// Starts InfluxDB in a folder, with a database `bench`.
///
/// # Errors
/// InfluxDB is not installed or does not start.
pub(crate) fn start(dir: &Path) -> anyhow::Result<Server> {
    fs::create_dir_all(dir)?;
    let (addr, rpc) = (free_addr()?, free_addr()?);
    let folder = |name: &str| dir.join(name).display().to_string();
    let config = format!(
        "reporting-disabled = true\nbind-address = \"{rpc}\"\n[meta]\ndir = \"{}\"\n[data]\ndir = \"{}\"\n\
         wal-dir = \"{}\"\n[http]\nbind-address = \"{addr}\"\nlog-enabled = false\n[monitor]\n\
         store-enabled = false\n",
        folder("meta"),
        folder("data"),
        folder("wal")
    );
    let file = dir.join("influxdb.conf");
    fs::write(&file, config)?;
    let mut command = Command::new("influxd");
    command.arg("run").arg("-config").arg(file);
    let server = Server::start_at(command, addr, &dir.join("influxdb.log"))?;
    let mut client = Client::connect(addr)?;
    client.post("/query?q=CREATE+DATABASE+bench", b"")?;
    Ok(server)
}

/// A connection that speaks HTTP/1.1.
struct Client {
    stream: BufReader<TcpStream>,
    addr: SocketAddr,
}

impl Client {
    fn connect(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream: BufReader::new(stream), addr })
    }

    /// Posts and waits for the complete response, which must be a success.
    fn post(&mut self, path: &str, body: &[u8]) -> anyhow::Result<()> {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", self.addr, body.len());
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "InfluxDB closed the connection");
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            chunked |= line == "transfer-encoding: chunked";
        }
        let mut text = Vec::new();
        while chunked {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16)?;
            // Each chunk ends with a line break.
            let mut chunk = Vec::new();
            (&mut self.stream).take(size + 2).read_to_end(&mut chunk)?;
            text.extend(chunk);
            chunked = size > 0;
        }
        (&mut self.stream).take(length).read_to_end(&mut text)?;
        let answer = String::from_utf8_lossy(&text);
        ensure!(status.contains(" 20"), "InfluxDB replied {}: {answer}", status.trim());
        Ok(())
    }
}

/// Writes lines; in the outcome, messages are lines.
///
/// # Errors
/// A request that is refused.
pub(crate) fn write(server: &Server, duration: Duration) -> anyhow::Result<Outcome> {
    let pool = MessagePool::new();
    let (addr, pid) = (server.addr, server.pid());
    let before = cpu::seconds(pid)?;
    let started = Instant::now();
    let deadline = started + duration;
    let writer = |room: usize| -> anyhow::Result<u64> {
        let mut lines = LineProtocol::new(&pool, room);
        let mut client = Client::connect(addr)?;
        let (mut body, mut sent) = (Vec::new(), 0);
        while Instant::now() < deadline {
            body.clear();
            for _ in 0..BATCH {
                lines.write_message(&mut body);
            }
            client.post("/write?db=bench&precision=ns", &body).context("/write")?;
            sent += BATCH as u64;
        }
        Ok(sent)
    };
    let messages = thread::scope(|scope| -> anyhow::Result<u64> {
        let writer = &writer;
        let running: Vec<_> = (0..WRITERS).map(|room| scope.spawn(move || writer(room))).collect();
        let mut sum = 0;
        for thread in running {
            sum += thread.join().map_err(|_| anyhow!("a thread of the load panicked"))??;
        }
        Ok(sum)
    })?;
    let cpu = cpu::seconds(pid)? - before;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Outcome { messages, readings: messages * FIELDS, seconds, cpu, ..Outcome::default() })
}
