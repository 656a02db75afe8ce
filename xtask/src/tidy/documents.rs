//! Rules for documents: targets of relative links exist, and so do the files that ARCHITECTURE.md names.

use super::File;

/// The document whose named files must exist.
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
    }
    let architecture = files.iter().find(|file| file.path == ARCHITECTURE);
    let named = architecture.map(|file| named(&file.text)).unwrap_or_default();
    if named.len() < NAMED_MIN {
        findings
            .push(format!("{ARCHITECTURE}: names only {} files, fewer than its table of hops", named.len()));
    }
    let gone = named.iter().filter(|(_, name)| !exists(name));
    findings.extend(gone.map(|(number, name)| format!("{ARCHITECTURE}:{number}: {name} does not exist")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(extra: &str) -> Vec<String> {
        let table: String = (0..NAMED_MIN).map(|n| format!("| `a/{n}.rs` |\n")).collect();
        let files = [
            File { path: ARCHITECTURE.into(), text: format!("# The way\n{table}{extra}\n") },
            File { path: "docs/x.md".into(), text: "## What it's `for`\n".into() },
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
    fn links_are_relative_to_their_document() {
        assert_eq!(beside("docs/decisions/0001.md", "../../README.md"), "README.md");
        assert_eq!(beside("README.md", "./docs/x.md"), "docs/x.md");
    }
}
