//! Subcommands of both servers that look after a data folder while no server uses it.

use std::{path::Path, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use crate::output;

/// Names the data folder.
#[derive(Debug, Args)]
pub struct DataFolder {
    /// The server's data folder
    #[arg(long = "data", value_name = "DIR")]
    pub path: PathBuf,
}

/// Checks or repairs what is in it.
#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Read everything and report damage without changing anything; exit status 1 if there is any, 3 if the system let
    /// not everything be opened
    Verify(DataFolder),
    /// Keep everything readable, set damaged parts aside, and report what was done
    Repair(DataFolder),
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is damaged.
    Clean,
    /// Something is.
    Damaged,
    /// Nothing of what could be read is damaged, but the system refused to open some of it.
    Incomplete,
}

impl From<bool> for Verdict {
    /// Whether nothing is damaged.
    fn from(is_clean: bool) -> Self {
        if is_clean { Self::Clean } else { Self::Damaged }
    }
}

impl Verdict {
    /// The exit status: 0, 1 or 3.
    fn status(self) -> ExitCode {
        match self {
            Self::Clean => ExitCode::SUCCESS,
            Self::Damaged => ExitCode::FAILURE,
            Self::Incomplete => ExitCode::from(3),
        }
    }
}

impl CheckCommand {
    /// Runs it and prints the report. `verify` also gives its verdict, which is the exit status.
    ///
    /// # Errors
    /// Those of `verify` and `repair`; the report cannot be printed.
    pub fn run<E: Into<anyhow::Error>, V: Into<Verdict>>(
        &self,
        verify: impl FnOnce(&Path) -> Result<(String, V), E>,
        repair: impl FnOnce(&Path) -> Result<String, E>,
    ) -> anyhow::Result<ExitCode> {
        let (report, verdict) = match self {
            Self::Verify(data) => {
                let (report, verdict) = verify(&data.path).map_err(Into::into)?;
                (report, verdict.into())
            }
            Self::Repair(data) => (repair(&data.path).map_err(Into::into)?, Verdict::Clean),
        };
        output::print(report)?;
        Ok(verdict.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_status_1() {
        let run = |command: fn(DataFolder) -> CheckCommand, verdict: Verdict| {
            let command = command(DataFolder { path: PathBuf::from("data") });
            let verify = |path: &Path| {
                assert_eq!(path, Path::new("data"));
                Ok::<_, std::io::Error>((String::new(), verdict))
            };
            command.run(verify, |_| Ok(String::new())).unwrap()
        };
        assert_eq!(run(CheckCommand::Verify, true.into()), ExitCode::SUCCESS);
        assert_eq!(run(CheckCommand::Verify, false.into()), ExitCode::FAILURE);
        assert_eq!(run(CheckCommand::Verify, Verdict::Incomplete), ExitCode::from(3));
        assert_eq!(run(CheckCommand::Repair, false.into()), ExitCode::SUCCESS);
    }
}
