//! What known devices publish: `tests/devices/NAME/` holds the part of a configuration that `docs/devices.md` quotes,
//! and messages with the readings that come of them.
//!
//! `messages.txt`: `# where it comes from`, then `TOPIC PAYLOAD`, below it a line `> series=value` for each reading and
//! `! reason count` for each refusal.

use std::{fs, path::PathBuf};

use super::tests::publish;
use super::*;
use crate::decode::fixture::Fixture;

/// Those that must be there.
const NAMES: [&str; 8] =
    ["aws-iot-sdk", "esp8266", "node-red", "rsa-modem", "shelly", "tasmota", "telegraf", "zigbee2mqtt"];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The topics as the settings of a gateway would have them.
fn topics_of(file: &str) -> Topics {
    let settings: crate::Settings = toml::from_str(file).unwrap();
    let mqtt = settings.mqtt.unwrap_or_default();
    Topics::new(&mqtt.topics.unwrap_or_default(), Precision::default(), &JsonSettings::default()).unwrap()
}

#[test]
fn what_known_devices_publish_comes_out_as_it_should() {
    for name in NAMES {
        let folder = repository().join("tests/devices").join(name);
        let topics = topics_of(&fs::read_to_string(folder.join("gateway.toml")).unwrap());
        let text = fs::read_to_string(folder.join("messages.txt")).unwrap();
        assert!(text.starts_with("# "), "{name}: says where its payloads come from");
        let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
        let mut messages = 0;
        while let Some(line) = lines.next() {
            let (topic, payload) = line.split_once(' ').unwrap();
            let mut expected = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with(['>', '!'])) {
                expected.push(line.to_owned());
            }
            let mut fixture = Fixture::new();
            publish(&topics, &mut fixture, topic, payload);
            let refusals = fixture.refusals();
            let refused = refusals.iter().map(|(reason, count)| format!("! {} {count}", reason.code()));
            let got: Vec<String> =
                fixture.readings().iter().map(|reading| format!("> {reading}")).chain(refused).collect();
            assert_eq!(got, expected, "{name}: {line}");
            messages += 1;
        }
        assert!(messages > 0, "{name}");
    }
}

#[test]
fn every_folder_is_known_and_quoted() {
    let mut folders: Vec<String> = fs::read_dir(repository().join("tests/devices"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, NAMES);
    let document = fs::read_to_string(repository().join("docs/devices.md")).unwrap();
    for name in NAMES {
        let file =
            fs::read_to_string(repository().join("tests/devices").join(name).join("gateway.toml")).unwrap();
        assert!(document.contains(&format!("```toml\n{file}```\n")), "docs/devices.md does not quote {name}");
        assert!(document.contains(&format!("tests/devices/{name}/")), "docs/devices.md does not name {name}");
    }
}
