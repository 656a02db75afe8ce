//! Subcommands of all programs that print what is generated of their command line: completions and man pages.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Command, Subcommand};
use clap_complete::Shell;

use crate::output;

/// Prints completions, or writes man pages.
#[derive(Clone, Debug, Subcommand)]
pub enum GeneratedCommand {
    /// Print a completion script for a shell
    #[command(after_help = "Examples:
  PROGRAM completions bash > ~/.local/share/bash-completion/completions/PROGRAM
  PROGRAM completions zsh > ~/.zfunc/_PROGRAM
  PROGRAM completions fish > ~/.config/fish/completions/PROGRAM.fish

PROGRAM stands for this program's name. zsh looks in the folders of `fpath`, before `compinit`.")]
    Completions {
        /// Shell that reads the script
        #[arg(value_enum, value_name = "SHELL")]
        shell: Shell,
    },
    /// Write the man pages of this program and of its commands into a folder
    // For packagers: `cargo xtask dist` calls it.
    #[command(hide = true, after_help = "Example:\n  PROGRAM manuals /usr/local/share/man/man1")]
    Manuals {
        /// Folder, which is created if it is missing
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

impl GeneratedCommand {
    /// Runs it for a program's command line.
    ///
    /// # Errors
    /// The system's error of writing.
    pub fn run(&self, mut program: Command) -> anyhow::Result<ExitCode> {
        match self {
            Self::Completions { shell } => {
                output::print(completions(&mut program, *shell))?;
            }
            Self::Manuals { dir } => fs::create_dir_all(dir)
                .and_then(|()| clap_mangen::generate_to(program, dir))
                .with_context(|| format!("cannot write man pages into {}", dir.display()))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The completion script of a program.
fn completions(program: &mut Command, shell: Shell) -> String {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, program, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser, ValueEnum as _};

    use super::*;

    /// A program
    #[derive(Debug, Parser)]
    #[command(name = "program", version, after_help = "Examples:\n  program completions bash\n  program two")]
    struct Program {
        /// Log filter
        #[arg(long)]
        log_filter: Option<String>,
        #[command(subcommand)]
        command: GeneratedCommand,
    }

    #[test]
    fn every_shell_completes_flags_and_commands() {
        for shell in Shell::value_variants() {
            let script = completions(&mut Program::command(), *shell);
            assert!(script.contains("log-filter") && script.contains("completions"), "{shell}: {script}");
        }
    }

    #[test]
    fn there_is_a_man_page_of_each_shown_command() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("man/man1");
        assert_eq!(
            GeneratedCommand::Manuals { dir: dir.clone() }.run(Program::command()).unwrap(),
            ExitCode::SUCCESS
        );
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["program-completions.1", "program.1"]);
        let page = fs::read_to_string(dir.join("program.1")).unwrap();
        assert!(page.contains("log\\-filter") && page.contains("program completions bash"), "{page}");
        // A file in place of the folder.
        let error =
            GeneratedCommand::Manuals { dir: dir.join("program.1") }.run(Program::command()).unwrap_err();
        assert!(format!("{error:#}").contains("program.1"), "{error:#}");
    }
}
