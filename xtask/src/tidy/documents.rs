//! Rules for documents: targets of relative links exist, and so do the source files that documents name.

use super::File;

/// The document that must name the files of the data path, all by their whole paths.
const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// Fewer named files than this mean that this check no longer understands the document.
const NAMED_MIN: usize = 12;

/// Lines outside fenced blocks, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// Targets of the links of a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A link's target as a path from the root.
fn beside(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn link(files: &[File], from: &str, target: &str, exists: &dyn Fn(&str) -> bool) -> Result<(), &'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { from.to_owned() } else { beside(from, path) };
    if !exists(&path) {
        return Err("has no target");
    }
    let document = files.iter().find(|file| file.path == path && file.is("md"));
    let Some(document) = document.filter(|_| !anchor.is_empty()) else { return Ok(()) };
    let headings = prose(&document.text).filter(|(_, line)| line.starts_with('#'));
    let found = headings.map(|(_, line)| slug(line)).any(|slug| slug == anchor);
    if found { Ok(()) } else { Err("names no heading of its target") }
}

/// The paths of source files named in backticks, with `{a,b}` written out.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for quoted in line.split('`').skip(1).step_by(2) {
            let is_path = quoted.contains('/') && (quoted.ends_with(".rs") || quoted.ends_with(".proto"));
            if !is_path || quoted.contains(' ') {
                continue;
            }
            match quoted.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
                Some((before, (middle, after))) => {
                    found.extend(middle.split(',').map(|part| (number, format!("{before}{part}{after}"))));
                }
                None => found.push((number, quoted.to_owned())),
            }
        }
    }
    found
}

/// Whether a file that a document names must exist: placeholders need not, and documents other than ARCHITECTURE.md
/// may shorten a path, so that it begins with none of the top folders.
fn must_exist(files: &[File], document: &str, name: &str) -> bool {
    let top = name.split('/').next();
    let is_whole = document == ARCHITECTURE || files.iter().any(|file| file.path.split('/').next() == top);
    is_whole && !name.contains("NAME")
}

/// Checks all documents; `exists` tells whether a path from the root exists.
pub(super) fn check(files: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for File { path, text, .. } in files.iter().filter(|file| file.is("md")) {
        for (number, line) in prose(text) {
            for target in
                links(line).filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
            {
                if let Err(what) = link(files, path, target, exists) {
                    findings.push(format!("{path}:{number}: the link to {target} {what}"));
                }
            }
        }
        let gone = named(text).into_iter().filter(|(_, name)| must_exist(files, path, name) && !exists(name));
        findings.extend(gone.map(|(number, name)| format!("{path}:{number}: {name} does not exist")));
    }
    let architecture = files.iter().find(|file| file.path == ARCHITECTURE);
    let count = architecture.map_or(0, |file| named(&file.text).len());
    if count < NAMED_MIN {
        findings.push(format!("{ARCHITECTURE}: names only {count} files, fewer than its table of hops"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(extra: &str) -> Vec<String> {
        run_with(extra, "")
    }

    /// `extra` ends ARCHITECTURE.md, `other` another document.
    fn run_with(extra: &str, other: &str) -> Vec<String> {
        let table: String = (0..NAMED_MIN).map(|n| format!("| `a/{n}.rs` |\n")).collect();
        let files = [
            File { path: ARCHITECTURE.into(), text: format!("# The way\n{table}{extra}\n") },
            File { path: "docs/x.md".into(), text: format!("## What it's `for`\n{other}\n") },
        ];
        check(&files, &|path| {
            (path.starts_with("a/") && path != "a/gone.rs") || files.iter().any(|f| f.path == path)
        })
    }

    #[test]
    fn valid_links_and_files_pass() {
        let alive = "[x](docs/x.md#what-its-for) [y](#the-way) [z](https://example.org/y) `a/{b,c}.rs`\n```\n[w](gone.md)\n```";
        assert_eq!(run(alive), [""; 0]);
    }

    #[test]
    fn dead_links_and_files_are_found() {
        for dead in [
            "[x](gone.md)",
            "[x](docs/x.md#gone)",
            "[x](#gone)",
            "`a/gone.rs`",
            "`a/{b,gone}.rs`",
            "`b/x.proto`",
        ] {
            assert_eq!(run(dead).len(), 1, "{dead}");
        }
        assert_eq!(check(&[], &|_| true).len(), 1);
    }

    #[test]
    fn other_documents_may_shorten_paths_but_not_name_missing_files() {
        assert_eq!(run_with("", "`short/gone.rs` `docs/NAME.rs`"), [""; 0]);
        assert_eq!(run_with("", "`docs/gone.rs`"), ["docs/x.md:2: docs/gone.rs does not exist"]);
    }

    #[test]
    fn links_are_relative_to_their_document() {
        assert_eq!(beside("docs/decisions/0001.md", "../../README.md"), "README.md");
        assert_eq!(beside("README.md", "./docs/x.md"), "docs/x.md");
    }
}
