//! Data folders of released versions, in `tests/fixtures/VERSION`: today's servers start on them and give the answers
//! that the servers of that version gave.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use catchment_aggregator::Options;
use catchment_certs::Role;
use catchment_gateway::Settings;
use catchment_journal::{FORMAT_VERSION, RealDisk, read_atomic};
use catchment_partial::{Partial, Timestamp};
use catchment_tests::{
    eventually::eventually,
    pki::Pki,
    process::run,
    server::{Mode, Program, Server},
};
use serde_json::{Value, json};

/// The folders of all versions.
fn versions() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let entries = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

/// An aggregator and a gateway on the unpacked folders of a version. Fields are dropped in order.
struct Restored {
    gateway: Server,
    aggregator: Server,
    pki: Pki,
    dir: tempfile::TempDir,
}

impl Restored {
    async fn start(version: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let unpack = Command::new("tar")
            .arg("-xzf")
            .arg(version.join("folders.tar.gz"))
            .arg("-C")
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(unpack.success());
        let pki = Pki::new(&dir.path().join("pki"));
        let (centre, site) = (dir.path().join("centre"), dir.path().join("site"));
        let options =
            Options { identity: Some(pki.identity(Role::Aggregator, "", "centre")), ..Options::default() };
        let mut aggregator = Server::new(Program::Aggregator(Box::new(options)), Mode::Threads, &centre);
        let settings = Settings {
            identity: Some(pki.identity(Role::Gateway, "berlin", "g1")),
            aggregator: Some(vec![format!("https://{}", aggregator.addr())]),
            ..Settings::default()
        };
        let mut gateway = Server::new(Program::Gateway(Box::new(settings)), Mode::Threads, &site);
        fs::rename(dir.path().join("aggregator"), aggregator.data()).unwrap();
        fs::rename(dir.path().join("gateway"), gateway.data()).unwrap();
        for (program, log, data) in [
            ("catchment-aggregator", "store", aggregator.data()),
            ("catchment-gateway", "journal", gateway.data()),
        ] {
            let before = identity(&data);
            let arguments = [log, "verify", "--data", data.to_str().unwrap()].map(str::to_owned);
            let report = tool(program, arguments.to_vec(), String::new()).await.unwrap();
            assert!(report.contains("nothing is damaged"), "{report}");
            assert_eq!(identity(&data), before, "a look raises no format");
        }
        aggregator.start().await;
        gateway.start().await;
        // From now on that version refuses them.
        for data in [aggregator.data(), gateway.data()] {
            let identity = identity(&data);
            assert!(identity.contains(&format!("format={FORMAT_VERSION}\n")), "{identity}");
        }
        Self { gateway, aggregator, pki, dir }
    }

    /// The output of a command of the operator's tool, without what it says of its completeness.
    async fn ask(&self, command: &[String]) -> Result<Value, String> {
        let (aggregator, operator) = (format!("https://{}", self.aggregator.addr()), self.pki.operator());
        let mut arguments = command.to_vec();
        arguments.extend(["--aggregator".to_owned(), aggregator]);
        arguments.extend(["--identity".to_owned(), operator.to_str().unwrap().to_owned()]);
        let output = tool("catchment", arguments, String::new()).await;
        let output = output.map_err(|error| format!("{command:?}: {error}"))?;
        let mut answer: Value = serde_json::from_str(&output).map_err(|error| error.to_string())?;
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("complete_until");
            answer.remove("completeness");
        }
        Ok(answer)
    }

    /// Waits until all recorded commands give their recorded answers.
    async fn answers(&self, version: &Path) {
        let recorded: Value =
            serde_json::from_str(&fs::read_to_string(version.join("expected.json")).unwrap()).unwrap();
        for recorded in recorded.as_array().unwrap() {
            let command = recorded["command"].as_array().unwrap().iter();
            let command: Vec<String> = command.map(|word| word.as_str().unwrap().to_owned()).collect();
            let mut right = recorded["answer"].clone();
            if let Some(right) = right.as_object_mut() {
                right.remove("complete_until");
                right.remove("completeness");
            }
            eventually("the recorded answer", async || {
                let answer = self.ask(&command).await?;
                if answer == right {
                    Ok(())
                } else {
                    Err(format!("{command:?}\n{answer}\ninstead of\n{right}"))
                }
            })
            .await;
        }
    }
}

/// The identity of a data folder.
fn identity(data: &Path) -> String {
    String::from_utf8(read_atomic(&RealDisk, &data.join("identity")).unwrap().unwrap()).unwrap()
}

/// Runs a program without blocking the servers.
async fn tool(program: &'static str, arguments: Vec<String>, input: String) -> Result<String, String> {
    let run = move || run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &input);
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[tokio::test]
async fn folders_of_released_versions_give_the_answers_of_their_time() {
    for version in versions() {
        let mut restored = Restored::start(&version).await;
        restored.answers(&version).await;

        // A device does not know whether its last messages arrived, and sends them again.
        let lines = fs::read_to_string(restored.dir.path().join("d1-e4.jsonl")).unwrap();
        let identity = restored.pki.device("berlin", "d1");
        let gateway = restored.gateway.addr().to_string();
        let again =
            ["send", "--gateway", &gateway, "--identity", identity.to_str().unwrap(), "--epoch", "e4"];
        tool("catchment", again.map(str::to_owned).to_vec(), lines).await.unwrap();

        // What today's servers wrote beside the old files is read too.
        restored.gateway.stop().await;
        restored.aggregator.stop().await;
        restored.aggregator.start().await;
        restored.gateway.start().await;
        restored.answers(&version).await;
    }
}

#[test]
fn partials_of_released_versions_are_read_and_keep_their_figures() {
    for version in versions() {
        let text = fs::read_to_string(version.join("partials.json")).unwrap();
        let recorded: Value = serde_json::from_str(&text).unwrap();
        let base = Timestamp::from_millis(recorded["base_ms"].as_i64().unwrap()).unwrap();
        for recorded in recorded["partials"].as_array().unwrap() {
            let hex = recorded["bytes"].as_str().unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            let partial = Partial::decode(&bytes, base).unwrap();
            let mut figures = recorded.clone();
            figures.as_object_mut().unwrap().remove("bytes");
            // Both sides go through the same parser, which may round.
            let own: Value = serde_json::from_str(&self::figures(&partial).to_string()).unwrap();
            assert_eq!(own, figures, "{hex}");
            let mut again = Vec::new();
            if bytes[0] == 1 {
                assert!(!partial.encode_version_1(base, &mut again), "{hex}");
                assert_eq!(again, bytes, "what a gateway sends an aggregator of that version");
            }
        }
    }
}

fn figures(partial: &Partial) -> Value {
    let [min, max, first, last] = [partial.min(), partial.max(), partial.first(), partial.last()]
        .map(|point| point.map(|point| json!([point.time.as_nanos(), point.value])));
    json!({
        "count": partial.count(), "sum": partial.sum(), "mean": partial.mean(), "stddev": partial.stddev(),
        "min": min, "max": max, "first": first, "last": last,
        "p50": partial.quantile(0.5), "p99": partial.quantile(0.99),
    })
}
