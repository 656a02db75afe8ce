//! Layered settings: flags override environment variables, which override the file, which overrides defaults.
//!
//! A program has one struct of `Option` fields that derives `clap::Args`, `Serialize` and `Deserialize`
//! (`deny_unknown_fields`). clap fills one instance from flags and environment, the file fills another, and [`layered`]
//! merges them, tables key by key. The program applies defaults when it converts the result into its checked
//! configuration. [`check_names`] is for tests: every flag must have a key and a variable of the same name.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// Why settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("configuration file {}: {error}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The file contains an error; the message names key and place.
    #[error("configuration file {}, line {line}: {message}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A value cannot be represented in a configuration (such as a path that is not UTF-8, or a number beyond 2^63).
    #[error("settings: {0}")]
    Value(String),
}

/// Merges the settings of the file, if given, with those of flags and environment, which take precedence.
///
/// # Errors
/// The file cannot be read, or one of its keys or values is invalid; the error has its line.
pub fn layered<T>(given: &T, file: Option<&Path>) -> Result<T, SettingsError>
where
    T: Serialize + DeserializeOwned,
{
    let mut table = match file {
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| SettingsError::Read { file: path.to_owned(), error })?;
            let parsed: T = toml::from_str(&text).map_err(|error| at_line(path, &text, &error))?;
            to_table(&parsed)?
        }
        None => toml::Table::new(),
    };
    lay_over(&mut table, to_table(given)?);
    T::deserialize(table).map_err(|error| SettingsError::Value(first_line(error.message())))
}

/// Overrides the values of `under` with those of `over`; merges tables key by key.
fn lay_over(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => lay_over(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

fn to_table<T: Serialize>(settings: &T) -> Result<toml::Table, SettingsError> {
    toml::Table::try_from(settings).map_err(|error| SettingsError::Value(first_line(&error.to_string())))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn at_line(file: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let offset = error.span().map_or(0, |span| span.start);
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    SettingsError::File { file: file.to_owned(), line, message: first_line(error.message()) }
}

/// Checks that each flag `--some-name` of a command has the variable `PREFIX_SOME_NAME`; returns the keys
/// (`some_name`) that a file may contain. Skips the flags in `apart` (such as `config`).
///
/// # Errors
/// The first flag whose variable is missing or named otherwise.
pub fn check_names(command: &clap::Command, prefix: &str, apart: &[&str]) -> Result<Vec<String>, String> {
    let mut keys = Vec::new();
    for argument in command.get_arguments() {
        let Some(long) = argument.get_long() else { continue };
        if apart.contains(&long) {
            continue;
        }
        let key = long.replace('-', "_");
        let expected = format!("{prefix}_{}", key.to_ascii_uppercase());
        // The log filter has one variable for all programs.
        let expected = if long == "log" { "CATCHMENT_LOG".to_owned() } else { expected };
        match argument.get_env().and_then(|name| name.to_str()) {
            Some(name) if name == expected => keys.push(key),
            other => return Err(format!("--{long} has variable {other:?}, expected {expected}")),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ByteSize, HumanDuration};
    use serde::Deserialize;
    use std::io::Write as _;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        listen: Option<std::net::SocketAddr>,
        window: Option<HumanDuration>,
        bound: Option<ByteSize>,
        peers: Option<Vec<String>>,
        live: Option<bool>,
        part: Option<Part>,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Part {
        one: Option<u32>,
        two: Option<u32>,
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn given_settings_override_the_file() {
        let file = file("listen = '127.0.0.1:1'\nwindow = '10s'\nbound = '1MiB'\npeers = ['a', 'b']\n");
        let given = Options {
            window: Some(HumanDuration::secs(5)),
            peers: Some(vec!["c".into()]),
            ..Options::default()
        };
        let merged = layered(&given, Some(file.path())).unwrap();
        assert_eq!(merged.listen, Some("127.0.0.1:1".parse().unwrap()));
        assert_eq!(merged.window, Some(HumanDuration::secs(5)));
        assert_eq!(merged.bound, Some(ByteSize::mib(1)));
        assert_eq!(merged.peers, Some(vec!["c".to_owned()]));
        assert_eq!(merged.live, None);
        assert_eq!(layered(&given, None).unwrap(), given);
    }

    #[test]
    fn tables_are_merged_key_by_key() {
        let file = file("[part]\none = 1\ntwo = 2\n");
        let given = Options { part: Some(Part { one: Some(7), two: None }), ..Options::default() };
        let merged = layered(&given, Some(file.path())).unwrap();
        assert_eq!(merged.part, Some(Part { one: Some(7), two: Some(2) }));
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_named_with_their_line() {
        let wrong = file("live = true\nwidnow = '10s'\n");
        let message = layered(&Options::default(), Some(wrong.path())).unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains("widnow"), "{message}");
        let wrong = file("\n\nwindow = 10\n");
        let message = layered(&Options::default(), Some(wrong.path())).unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("duration"), "{message}");
        let missing = layered(&Options::default(), Some(Path::new("/nonexistent/x.toml"))).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/x.toml"));
    }
}
