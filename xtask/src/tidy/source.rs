//! Rules for Rust files: lengths of files and functions, module headers, forbidden words.
//!
//! Functions are measured by indentation, which rustfmt keeps: from the line with `fn` to the closing brace in the
//! same column.

use super::File;

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 400;
/// Longest function outside tests, in lines.
const FUNCTION_LINES_MAX: usize = 70;

/// Forbidden words, in two halves so that this file does not contain them, with the reason.
const WORDS: [((&str, &str), &str); 5] = [
    (("to", "do!("), "finish it or leave it out"),
    (("unimple", "mented!("), "finish it or leave it out"),
    (("#[ig", "nore"), "a test that is not run proves nothing"),
    (
        ("do_", "send("),
        "ignores the mailbox's bound and drops silently: await `send`, or count a failed `try_send`",
    ),
    (("FIX", "ME"), "fix it"),
];

/// Builders of TLS configurations, reserved for certs/, which holds the rules for all of them. Tests may use them as an
/// outsider would, benchmarks for a reference server of the library alone.
const TLS_BUILDERS: [&str; 2] = ["ServerConfig::builder", "ClientConfig::builder"];

/// A rule about a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    FileLines,
    FunctionLines,
}

/// A permitted length above its rule's bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exception {
    pub(crate) path: &'static str,
    pub(crate) rule: Rule,
    /// The length, exactly.
    pub(crate) lines: usize,
}

/// Whether a file holds only tests.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "testing.rs"))
}

/// A function: its line from 1, and its length.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    line: usize,
    lines: usize,
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub") || matches!(*word, "const" | "async" | "unsafe" | "extern" | "\"C\"" | "in")
    });
    words.next() == Some("fn")
}

/// The functions of a file, up to its tests.
fn functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.trim() == "#[cfg(test)]" && lines.get(index + 1).is_some_and(|next| next.ends_with('{')) {
            break;
        }
        if !is_function(line) {
            continue;
        }
        let column = indentation(line);
        let end = lines.iter().skip(index).position(|line| {
            indentation(line) == column
                && (line.ends_with('}') || line.ends_with(';'))
                && !line.trim().is_empty()
        });
        if let Some(end) = end {
            found.push(Function { line: index + 1, lines: end + 1 });
        }
    }
    found
}

/// Checks all Rust files.
pub(super) fn check(files: &[File], exceptions: &[Exception]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut used = vec![false; exceptions.len()];
    let mut length = |path: &str, place: String, rule: Rule, lines: usize, max: usize| {
        let exception = exceptions.iter().position(|e| e.path == path && e.rule == rule && e.lines == lines);
        match exception.and_then(|index| used.get_mut(index)) {
            Some(used) => *used = true,
            None => findings.push(format!("{place}: {lines} lines, at most {max} are allowed")),
        }
    };
    for File { path, text, .. } in files.iter().filter(|file| file.is("rs")) {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            length(path, path.clone(), Rule::FileLines, lines, FILE_LINES_MAX);
        }
        let functions = if is_test(path) { Vec::new() } else { functions(text) };
        for Function { line, lines } in functions.into_iter().filter(|f| f.lines > FUNCTION_LINES_MAX) {
            length(path, format!("{path}:{line}"), Rule::FunctionLines, lines, FUNCTION_LINES_MAX);
        }
    }
    for (exception, _) in exceptions.iter().zip(used).filter(|(_, used)| !used) {
        let Exception { path, rule, lines } = exception;
        findings.push(format!(
            "{path}: its exception ({rule:?}, {lines} lines) does not match: lower or remove it"
        ));
    }
    findings.extend(files.iter().filter(|file| file.is("rs")).flat_map(contents));
    findings
}

/// Checks a file's header, and for forbidden text.
fn contents(file: &File) -> Vec<String> {
    let File { path, text, .. } = file;
    let mut findings = Vec::new();
    // The header of `x.rs` covers `x/tests.rs`.
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        findings.push(format!("{path}: add a `//!` header: role, flow, invariants"));
    }
    for (index, line) in text.lines().enumerate() {
        for ((first, second), why) in WORDS {
            let word = format!("{first}{second}");
            if line.contains(&word) {
                findings.push(format!("{path}:{}: {word} is forbidden: {why}", index + 1));
            }
        }
        if !path.starts_with("xtask/")
            && line.contains("tracing::")
            && line.contains("!(")
            && line.contains(".await")
        {
            findings.push(format!(
                "{path}:{}: no await in an event: it does not run if the level is off",
                index + 1
            ));
        }
        let builder = TLS_BUILDERS.iter().find(|builder| line.contains(**builder));
        let at_home = ["certs/", "tests/", "bench/src/reference/", "xtask/src/tidy/"]
            .iter()
            .any(|home| path.starts_with(home));
        if let Some(builder) = builder.filter(|_| !at_home) {
            findings.push(format!("{path}:{}: {builder}: only certs/ builds TLS configurations", index + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: impl Into<String>) -> File {
        File { path: path.into(), text: text.into() }
    }

    fn long(lines: usize) -> String {
        format!(
            "//! A.\n\nimpl A {{\n    pub(crate) async fn f(\n        &self,\n    ) {{\n{}    }}\n}}\n",
            "        x();\n".repeat(lines)
        )
    }

    #[test]
    fn functions_are_measured() {
        let text = "//! A.\nfn a() {}\ntrait T {\n    fn b(\n        &self,\n    ) -> u8;\n    fn c(&self) {\n        if x {\n        }\n    }\n}\n\
            // fn d() {\n#[cfg(test)]\nmod tests {\n    fn e() {\n    }\n}\n";
        let found = [(2, 1), (4, 3), (7, 4)].map(|(line, lines)| Function { line, lines });
        assert_eq!(functions(text), found);
    }

    #[test]
    fn long_functions_and_files_are_found_but_not_in_tests() {
        assert_eq!(check(&[file("a/src/x.rs", long(66))], &[]), [""; 0]);
        assert_eq!(
            check(&[file("a/src/x.rs", long(67))], &[]),
            ["a/src/x.rs:4: 71 lines, at most 70 are allowed"]
        );
        assert_eq!(check(&[file("a/src/x/tests.rs", long(67))], &[]), [""; 0]);
        let text = format!("//! A.\n{}", "\n".repeat(400));
        assert_eq!(check(&[file("a/src/x/tests.rs", text)], &[]).len(), 1);
    }

    #[test]
    fn an_exception_holds_for_its_exact_length_only() {
        let exception = |lines| [Exception { path: "a.rs", rule: Rule::FunctionLines, lines }];
        assert_eq!(check(&[file("a.rs", long(80))], &exception(84)), [""; 0]);
        assert_eq!(check(&[file("a.rs", long(80))], &exception(85)).len(), 2);
        assert_eq!(check(&[file("a.rs", long(1))], &exception(84)).len(), 1);
    }

    #[test]
    fn headers_words_and_builders_are_checked() {
        for ((first, second), _) in WORDS {
            let text = format!("//! A.\n// {first}{second}");
            assert_eq!(check(&[file("a.rs", text)], &[]).len(), 1, "{first}{second}");
        }
        assert_eq!(check(&[file("a.rs", "mod a;\n")], &[]).len(), 1);
        assert_eq!(check(&[file("a.rs", "//! A.\ntracing::info!(x = y.await);\n")], &[]).len(), 1);
        let text = format!("//! A.\n{}()\n", TLS_BUILDERS[0]);
        assert_eq!(check(&[file("gateway/src/a.rs", text.clone())], &[]).len(), 1);
        assert_eq!(check(&[file("certs/src/a.rs", text)], &[]), [""; 0]);
    }
}
