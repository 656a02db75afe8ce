//! PostgreSQL as a store of partials: the rows that an aggregator keeps, upserted in statements of 1,000 rows, each
//! in its own transaction.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    cpu,
    load::delivery::{WIDTH_MS, bodies, series},
    process::{Server, free_addr, run},
};

/// Rows per statement.
const STATEMENT: usize = 1_000;
const USER: &str = "postgres";
const TABLE: &str = "CREATE TABLE partials (site text, gateway text, epoch bigint, device text, metric text, \
    labels text, \"window\" bigint, part bigint, revision bigint, body bytea, \
    PRIMARY KEY (site, gateway, epoch, device, metric, labels, \"window\", part));";

/// The folder of the server's programs, which Debian installs outside of the search path.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?;
    let mut found: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|folder| folder.join("initdb").is_file());
    found.sort();
    found.pop().context("PostgreSQL's server is not installed")
}

/// A command that does not run as root: the server refuses to start as root.
fn as_user(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--init-groups", "--"]);
    command.arg(program);
    command
}

/// A server with its data in a folder of its own user; the folder is removed on drop.
pub(crate) struct Postgres {
    server: Server,
    data: PathBuf,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The server's files may be removed first: it is stopped anyway.
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// PostgreSQL's version, if it is installed.
pub(crate) fn version() -> Option<String> {
    let program = programs().ok()?.join("postgres");
    run(Command::new(program).arg("--version")).ok().map(|text| text.trim().to_owned())
}

fn psql(addr: SocketAddr, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(programs()?.join("psql"));
    command.args(["-h", "127.0.0.1", "-p", &addr.port().to_string(), "-U", USER, "-d", "postgres"]);
    run(command.args(["-q", "-X", "-v", "ON_ERROR_STOP=1"]).args(arguments)).map(drop)
}

impl Postgres {
    /// Starts PostgreSQL with its defaults and creates the table.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or cannot run as a user other than root.
    pub(crate) fn start(log: &Path) -> anyhow::Result<Self> {
        let root = run(Command::new("id").arg("-u"))?.trim() == "0";
        let programs = programs()?;
        let folder =
            run(as_user(root, Path::new("mktemp")).args(["-d", "--tmpdir", "catchment-bench-XXXXXX"]))?;
        let data = PathBuf::from(folder.trim());
        let mut initdb = as_user(root, &programs.join("initdb"));
        let initialised = run(initdb.current_dir("/").arg("-D").arg(&data).args(["-U", USER, "-A", "trust"]));
        let started = initialised.and_then(|_| {
            let addr = free_addr()?;
            let mut command = as_user(root, &programs.join("postgres"));
            command.current_dir("/").arg("-D").arg(&data).arg("-k").arg(&data);
            command.args(["-h", "127.0.0.1", "-p", &addr.port().to_string()]);
            Server::start_at(command, addr, log)
        });
        let server = started.inspect_err(|_| drop(fs::remove_dir_all(&data)))?;
        let postgres = Self { server, data };
        // It listens a little before it accepts sessions.
        let mut made = psql(postgres.server.addr, &["-c", TABLE]);
        for _ in 0..50 {
            if made.is_ok() {
                break;
            }
            sleep(Duration::from_millis(100));
            made = psql(postgres.server.addr, &["-c", TABLE]);
        }
        made?;
        Ok(postgres)
    }

    /// Upserts `rows` rows of an epoch; returns rows per processor second of all the server's processes.
    ///
    /// # Errors
    /// A statement that fails.
    pub(crate) fn upsert(&self, dir: &Path, rows: usize, count: usize, epoch: usize) -> anyhow::Result<f64> {
        let file = dir.join("rows.sql");
        fs::write(&file, statements(rows, count, epoch)?)?;
        let before = cpu::family_seconds(self.server.pid())?;
        psql(self.server.addr, &["-f", &file.display().to_string()])?;
        // Wait until that connection's process has ended and its time is added to its parent's.
        sleep(Duration::from_millis(200));
        let used = cpu::family_seconds(self.server.pid())? - before;
        fs::remove_file(file)?;
        ensure!(used > 0.0, "{rows} rows took no measurable time");
        Ok(rows as f64 / used)
    }
}

/// The rows as statements: all series of a window, then those of the next window.
fn statements(rows: usize, count: usize, epoch: usize) -> anyhow::Result<String> {
    let (bodies, series) = (bodies()?, series(count));
    let mut text = String::new();
    for row in 0..rows {
        let begin = row % STATEMENT == 0;
        let (Some(name), Some(body)) =
            (series.get(row % series.len().max(1)), bodies.get(row * 31 % bodies.len().max(1)))
        else {
            continue;
        };
        text.push_str(if begin { "INSERT INTO partials VALUES\n" } else { ",\n" });
        let window = 170_000_000 + row / series.len().max(1);
        let labels =
            name.labels.iter().map(|l| format!("{}={}", l.name, l.value)).collect::<Vec<_>>().join(",");
        let part = row * 40;
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "('plant','gateway',{epoch},'{}','{}','{labels}',{},{part},{},'\\x",
            name.device,
            name.metric,
            window * WIDTH_MS as usize,
            part + 3_600
        );
        for byte in body {
            let _ = write!(text, "{byte:02x}");
        }
        text.push_str("')");
        if (row + 1) % STATEMENT == 0 || row + 1 == rows {
            text.push_str(
                "\nON CONFLICT (site, gateway, epoch, device, metric, labels, \"window\", part) DO UPDATE SET \
                 revision = excluded.revision, body = excluded.body \
                 WHERE excluded.revision > partials.revision;\n",
            );
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_into_statements() {
        let text = statements(2_500, 100, 1).unwrap();
        assert_eq!(text.matches("INSERT").count(), 3);
        assert_eq!(text.matches("ON CONFLICT").count(), 3);
        assert_eq!(text.matches("'gateway',1,").count(), 2_500);
    }
}
