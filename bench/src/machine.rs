//! The machine and commit of a run, without host names or folders.

use std::{fs, process::Command, thread};

use crate::process::run;

/// The machine, the commit and the date.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) commit: String,
}

fn said(program: &str, arguments: &[&str]) -> String {
    run(Command::new(program).args(arguments))
        .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

/// The value of a line `NAME : VALUE` in a file of /proc.
fn line_of(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

impl Machine {
    /// This machine, now. The commit is that of the current folder.
    pub(crate) fn here() -> Self {
        let proc = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
        let kib = line_of(&proc("meminfo"), "MemTotal")
            .and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
        Self {
            date: said("date", &["-u", "+%Y-%m-%d"]),
            processor: line_of(&proc("cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".into()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory: kib.map_or_else(|| "unknown".into(), |kib| format!("{:.0} GiB", kib / 1_048_576.0)),
            kernel: format!("Linux {}", said("uname", &["-r"])),
            commit: if changed { format!("{commit} with changes") } else { commit },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_parsed() {
        let text = "processor\t: 0\nmodel name\t: A: B\nMemTotal:       24683520 kB\n";
        assert_eq!(line_of(text, "model name").as_deref(), Some("A: B"));
        assert_eq!(line_of(text, "MemTotal").as_deref(), Some("24683520 kB"));
        assert_eq!(line_of(text, "cores"), None);
    }
}
