//! Faults are refused by name at a start and by `--check-config`, with the same status for the same kind of fault in
//! all programs: 2 if the configuration or input must change, 1 for everything else.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Output,
};

use catchment_certs::{IdentityFolder, Role};
use catchment_journal::DataDir;
use catchment_tests::{
    pki::Pki,
    process::{command, run_to_end},
};

const GATEWAY: &str = "catchment-gateway";
const AGGREGATOR: &str = "catchment-aggregator";
const SERVERS: [&str; 2] = [GATEWAY, AGGREGATOR];

/// Two trust roots, and the files of one server of each kind.
struct Bench {
    dir: tempfile::TempDir,
    pki: Pki,
    other: Pki,
}

/// A program, its flags and its variables.
type Case<'a> = (&'a str, Vec<String>, Vec<(&'a str, String)>);

/// A status, a word of the message, and the wrong flags.
type Fault<'a> = (i32, &'a str, Vec<(&'a str, &'a Path)>);

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (pki, other) = (Pki::new(&dir.path().join("pki")), Pki::new(&dir.path().join("other")));
        Self { dir, pki, other }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn identity(&self, server: &str) -> PathBuf {
        match server {
            GATEWAY => self.pki.identity(Role::Gateway, "berlin", "gw"),
            _ => self.pki.identity(Role::Aggregator, "", "centre"),
        }
    }

    /// A copy of a server's identity in which one file is from the other root.
    fn spoiled(&self, server: &str, file: &str) -> PathBuf {
        let to = self.path(&format!("{server}-{file}"));
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(self.identity(server)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        let foreign = match file {
            "key.pem" => self.other.operator().join(file),
            _ => self.other.dir().join(file),
        };
        fs::copy(foreign, to.join(file)).unwrap();
        to
    }

    /// Valid flags for a start; later ones win.
    fn flags(&self, server: &str, more: &[(&str, &Path)]) -> Vec<String> {
        let mut flags = vec![
            ("--identity", self.identity(server)),
            ("--listen", "127.0.0.1:0".into()),
            ("--data", self.path(&format!("{server}-data"))),
        ];
        if server == GATEWAY {
            flags.push(("--aggregator", "https://127.0.0.1:1".into()));
        }
        for (flag, value) in more {
            flags.retain(|(known, _)| known != flag);
            flags.push((flag, value.to_path_buf()));
        }
        let text = |(flag, value): (&str, PathBuf)| [flag.to_owned(), value.to_str().unwrap().to_owned()];
        flags.into_iter().flat_map(text).collect()
    }
}

async fn run(case: &Case<'_>) -> Output {
    let (program, flags, variables) = case;
    let mut command = command(program);
    command.args(flags).envs(variables.iter().map(|(name, value)| (name, value)));
    tokio::task::spawn_blocking(|| run_to_end(command, "")).await.unwrap()
}

/// The one-line message of a program that must end with this status.
async fn refused(status: i32, case: &Case<'_>) -> String {
    let output = run(case).await;
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{case:?}: {message}");
    let errors: Vec<&str> = message.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(output.stdout.is_empty() && errors.len() == 1, "{case:?}: {message}");
    // No cause appears twice.
    let parts: Vec<&str> = errors[0].split(": ").collect();
    let twice = parts.iter().filter(|part| parts.iter().filter(|other| other == part).count() > 1);
    assert_eq!(twice.count(), 0, "{case:?}: {message}");
    message
}

#[tokio::test]
async fn one_status_for_one_kind_of_fault() {
    let bench = Bench::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = PathBuf::from(taken.local_addr().unwrap().to_string());
    let unknown = bench.path("unknown.toml");
    fs::write(&unknown, "no_such_key = 1\n").unwrap();
    for server in SERVERS {
        let other_role = match server {
            GATEWAY => bench.identity(AGGREGATOR),
            _ => bench.identity(GATEWAY),
        };
        let expired = bench.pki.expired(server == GATEWAY);
        let prefix = server.replace('-', "_").to_ascii_uppercase();
        let [ca, crl, key] = ["ca.pem", "crl.pem", "key.pem"].map(|file| bench.spoiled(server, file));
        let kinds: [Fault<'_>; 9] = [
            (2, "/no/such/dir", vec![("--identity", Path::new("/no/such/dir"))]),
            (2, "role", vec![("--identity", &other_role)]),
            (2, "ca.pem", vec![("--identity", &ca)]),
            (2, "crl.pem", vec![("--identity", &crl)]),
            (2, "key.pem", vec![("--identity", &key)]),
            (2, "valid until", vec![("--identity", &expired)]),
            (2, "no_such_key", vec![("--config", &unknown)]),
            (2, "handshake_timeout", vec![("--handshake-timeout", Path::new("0s"))]),
            (1, "in use", vec![("--listen", &address)]),
        ];
        for (status, word, more) in kinds {
            let flags = bench.flags(server, &more);
            let message = refused(status, &(server, flags.clone(), Vec::new())).await;
            assert!(message.contains(word), "{server}: {message}");
            // Faults of the input are found without a start, and nothing is created.
            if status == 2 {
                let data = bench.path("never");
                let mut flags = bench.flags(server, &[&more[..], &[("--data", &data)]].concat());
                flags.push("--check-config".to_owned());
                let checked = refused(2, &(server, flags, Vec::new())).await;
                assert!(checked.contains(word), "{server}: {checked}");
                assert!(!data.exists());
            }
        }
        folders(&bench, server).await;
        let mut missing = bench.flags(server, &[]);
        let at = missing.iter().position(|flag| flag == "--data").unwrap();
        missing.drain(at..at + 2);
        assert!(refused(2, &(server, missing, Vec::new())).await.contains("data"));
        let variable = format!("{prefix}_CONNECTIONS_MAX");
        for value in ["much", "0"] {
            let case = (server, bench.flags(server, &[]), vec![(variable.as_str(), value.to_owned())]);
            let message = refused(2, &case).await;
            assert!(message.contains(&variable) && !message.contains("--connections-max"), "{message}");
        }
    }
    // The operator tool follows the same rule.
    let ask = |identity: &Path| {
        let flags =
            ["devices", "--aggregator", "https://127.0.0.1:1", "--identity", identity.to_str().unwrap()];
        ("catchment", flags.map(str::to_owned).to_vec(), Vec::new())
    };
    for (status, word, identity) in [
        (2, "/no/such/dir", PathBuf::from("/no/such/dir")),
        (2, "ca.pem", bench.spoiled(AGGREGATOR, "ca.pem")),
        (1, "refused", bench.pki.operator()),
    ] {
        let message = refused(status, &ask(&identity)).await;
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn a_journal_too_small_for_a_batch_is_refused_by_the_check_too() {
    let bench = Bench::new();
    for check in [true, false] {
        let mut flags = bench.flags(AGGREGATOR, &[("--store-journal", Path::new("16MiB"))]);
        flags.extend(check.then(|| "--check-config".to_owned()));
        let message = refused(2, &(AGGREGATOR, flags, Vec::new())).await;
        assert!(message.contains("store_journal") && message.contains("from 17MiB"), "{message}");
    }
}

/// Impossible data folders, and folders of another owner: found by the check and at a start alike.
async fn folders(bench: &Bench, server: &str) {
    let file = bench.path("file");
    fs::write(&file, "").unwrap();
    let (own, other) = match server {
        GATEWAY => ("gateway", "aggregator"),
        _ => ("aggregator", "gateway"),
    };
    let foreign = bench.path(&format!("{server}-foreign"));
    drop(DataDir::open(&foreign, other, 1, &[]).unwrap());
    let owned = bench.path(&format!("{server}-owned"));
    drop(DataDir::open_owned(&owned, own, 1, "spiffe://elsewhere.test/aggregator/somebody", &[]).unwrap());
    let before = fs::read(owned.join("identity")).unwrap();
    let [link, photos, damaged] =
        ["link", "photos", "damaged"].map(|name| bench.path(&format!("{server}-{name}")));
    std::os::unix::fs::symlink(bench.path("nowhere"), &link).unwrap();
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("photo.jpg"), "").unwrap();
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("identity"), "format=2").unwrap();
    for (data, word) in [
        (link, "dangling symbolic link"),
        (PathBuf::from("/proc/catchment"), "/proc/catchment"),
        (photos, "holds `photo.jpg`"),
        (damaged, "identity"),
        (file.clone(), "file"),
        (file.join("below"), "file"),
        (foreign, "use another folder"),
        (owned.clone(), "somebody"),
    ] {
        for check in [true, false] {
            let mut flags = bench.flags(server, &[("--data", &data)]);
            flags.extend(check.then(|| "--check-config".to_owned()));
            let message = refused(2, &(server, flags, Vec::new())).await;
            assert!(message.contains(word), "{server}: {message}");
        }
    }
    assert_eq!(fs::read(owned.join("identity")).unwrap(), before);
    // A folder in use passes the check, but prevents a start.
    let used = bench.path(&format!("{server}-used"));
    let owner = IdentityFolder::load(&bench.identity(server)).unwrap().peer().uri();
    let holds = DataDir::open_owned(&used, own, 1, &owner, &[("shards", "1")]).unwrap();
    let mut flags = bench.flags(server, &[("--data", &used)]);
    let message = refused(1, &(server, flags.clone(), Vec::new())).await;
    assert!(message.contains("in use"), "{message}");
    flags.push("--check-config".to_owned());
    let output = run(&(server, flags, Vec::new())).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    drop(holds);
}

#[tokio::test]
async fn unknown_variables_are_refused_and_those_of_other_programs_are_not() {
    let bench = Bench::new();
    for server in SERVERS {
        let mut flags = bench.flags(server, &[]);
        flags.push("--check-config".to_owned());
        let everybodys = [
            ("CATCHMENT_AGGREGATOR", "https://127.0.0.1:1"),
            ("CATCHMENT_IDENTITY", "/no/such/dir"),
            ("CATCHMENT_LOG", "warn"),
            ("CATCHMENT_GATEWAY_GRACE", "3s"),
            ("CATCHMENT_AGGREGATOR_QUERIES_MAX", "3"),
        ];
        let all = everybodys.map(|(name, value)| (name, value.to_owned())).to_vec();
        let output = run(&(server, flags.clone(), all)).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let prefix = server.replace('-', "_").to_ascii_uppercase();
        let wrong = format!("{prefix}_LISTN");
        let message = refused(2, &(server, flags.clone(), vec![(&wrong, "127.0.0.1:0".to_owned())])).await;
        assert!(message.contains(&wrong) && message.contains(&format!("{prefix}_LISTEN?")), "{message}");
    }
    let flags = ["devices", "--identity", "/no/such/dir"].map(str::to_owned).to_vec();
    let wrong = ("CATCHMENT_AGREGATOR", "https://127.0.0.1:1".to_owned());
    let message = refused(2, &("catchment", flags, vec![wrong])).await;
    assert!(message.contains("CATCHMENT_AGGREGATOR"), "{message}");
}
