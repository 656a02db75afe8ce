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
    /// Read everything and report damage without changing anything; exit status 1 if there is any
    Verify(DataFolder),
    /// Keep everything readable, set damaged parts aside, and report what was done
    Repair(DataFolder),
}

impl CheckCommand {
    /// Runs it and prints the report. `verify` also answers whether nothing is damaged, which is the exit status.
    ///
    /// # Errors
    /// Those of `verify` and `repair`; the report cannot be printed.
    pub fn run<E: Into<anyhow::Error>>(
        &self,
        verify: impl FnOnce(&Path) -> Result<(String, bool), E>,
        repair: impl FnOnce(&Path) -> Result<String, E>,
    ) -> anyhow::Result<ExitCode> {
        let (report, is_clean) = match self {
            Self::Verify(data) => verify(&data.path).map_err(Into::into)?,
            Self::Repair(data) => (repair(&data.path).map_err(Into::into)?, true),
        };
        output::print(report)?;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_status_1() {
        let run = |command: fn(DataFolder) -> CheckCommand, is_clean| {
            let command = command(DataFolder { path: PathBuf::from("data") });
            let verify = |path: &Path| {
                assert_eq!(path, Path::new("data"));
                Ok::<_, std::io::Error>((String::new(), is_clean))
            };
            command.run(verify, |_| Ok(String::new())).unwrap()
        };
        assert_eq!(run(CheckCommand::Verify, true), ExitCode::SUCCESS);
        assert_eq!(run(CheckCommand::Verify, false), ExitCode::FAILURE);
        assert_eq!(run(CheckCommand::Repair, false), ExitCode::SUCCESS);
    }
}
