//! Writes .proto files as a Markdown document.

use super::parse::{Enum, Field, Message, ProtoFile, Service};

/// Text before the files.
const INTRODUCTION: &str = "\
Package `catchment.v1`. The aggregator serves `Ingest`, `Query`, `Fleet` and `Maintenance` on its one port, over mutual TLS, with the
standard health service and server reflection; the role in the certificate decides who may call what. A gateway takes
the messages of `device.proto` in frames ([protocols.md](protocols.md)). [queries.md](queries.md) explains selectors,
aggregates and completeness.

Fields that a peer does not know are ignored, and a field that is not sent has its type's default (0, empty, false, absent), so
peers of neighbouring versions understand each other.
";

/// Consecutive lines as one paragraph; an empty line separates two.
fn paragraphs(comment: &[String]) -> Vec<String> {
    let parts = comment.split(|line| line.is_empty()).map(|lines| lines.join(" "));
    parts.filter(|paragraph| !paragraph.is_empty()).collect()
}

/// A comment in a cell of a table.
fn cell(comment: &[String]) -> String {
    paragraphs(comment).join(" ").replace('|', "\\|")
}

/// All files, as a document.
pub(super) fn document(files: &[ProtoFile], sources: &str) -> String {
    let of_file = |file: &'_ ProtoFile| -> Vec<String> {
        let messages = file.messages.iter().map(|message| message.name.clone());
        messages.chain(file.enums.iter().map(|of| of.name.clone())).collect()
    };
    let names: Vec<String> = files.iter().flat_map(of_file).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut out = format!(
        "# gRPC API\n\n<!-- Written by `cargo xtask api` from {sources}/*.proto. Change the comments there. -->\n\n\
         {INTRODUCTION}\n"
    );
    for file in files {
        let first = paragraphs(&file.comment).into_iter().next().unwrap_or_default();
        out += &format!("* [{}](#{}): {first}\n", file.name, file.name.replace('.', ""));
    }
    for file in files {
        out += &format!("\n## {}\n", file.name);
        for paragraph in paragraphs(&file.comment) {
            out += &format!("\n{paragraph}\n");
        }
        file.services.iter().for_each(|item| out += &service(item, &names));
        file.messages.iter().for_each(|item| out += &message(item, &names));
        file.enums.iter().for_each(|item| out += &enumeration(item));
    }
    out
}

/// A type: our messages as links, others as code.
fn kind(written: &str, names: &[&str]) -> String {
    let (before, name) = written.rsplit_once(' ').unwrap_or(("", written));
    if !names.contains(&name) {
        return format!("`{written}`");
    }
    let before = if before.is_empty() { String::new() } else { format!("{before} ") };
    format!("{before}[{name}](#{})", name.to_lowercase())
}

fn service(service: &Service, names: &[&str]) -> String {
    let mut out = format!("\n### Service {}\n", service.name);
    for paragraph in paragraphs(&service.comment) {
        out += &format!("\n{paragraph}\n");
    }
    out += "\n| method | request | response | |\n| --- | --- | --- | --- |\n";
    for method in &service.methods {
        let (request, response) = (kind(&method.request, names), kind(&method.response, names));
        out += &format!("| `{}` | {request} | {response} | {} |\n", method.name, cell(&method.comment));
    }
    out
}

fn message(message: &Message, names: &[&str]) -> String {
    let mut out = format!("\n### {}\n", message.name);
    for paragraph in paragraphs(&message.comment) {
        out += &format!("\n{paragraph}\n");
    }
    if !message.fields.is_empty() {
        out += "\n| number | field | type | |\n| --- | --- | --- | --- |\n";
    }
    for Field { name, comment, kind: written, number, oneof } in &message.fields {
        let mut kind = kind(written, names);
        if let Some(oneof) = oneof {
            kind += &format!(", one of `{oneof}`");
        }
        out += &format!("| {number} | `{name}` | {kind} | {} |\n", cell(comment));
    }
    if !message.reserved.is_empty() {
        out += &format!("\nReserved: {}.\n", message.reserved.join(", "));
    }
    out
}

fn enumeration(of: &Enum) -> String {
    let mut out = format!("\n### {}\n", of.name);
    for paragraph in paragraphs(&of.comment) {
        out += &format!("\n{paragraph}\n");
    }
    out += "\n| number | value | |\n| --- | --- | --- |\n";
    for (name, number, comment) in &of.values {
        out += &format!("| {number} | `{name}` | {} |\n", cell(comment));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::parse, *};

    #[test]
    fn messages_are_linked_and_comments_fill_one_cell() {
        let text = "// First.\n//\n// Second.\nsyntax = \"proto3\";\nservice S {\n  rpc Ask(stream A) returns (A);\n}\n\
            // All of it.\nmessage A {\n  // a|b,\n  // or c.\n  repeated A more = 2;\n  oneof k {\n    bool x = 3;\n  }\n\
            \x20 reserved 1;\n  enum U {\n    // None.\n    U_NONE = 0;\n  }\n  U u = 4;\n}\n";
        let document = document(&[parse::file("a.proto", text).unwrap()], "p");
        for line in [
            "* [a.proto](#aproto): First.",
            "Second.",
            "| `Ask` | stream [A](#a) | [A](#a) |  |",
            "All of it.",
            "| 2 | `more` | repeated [A](#a) | a\\|b, or c. |",
            "| 3 | `x` | `bool`, one of `k` |  |",
            "Reserved: 1.",
            "| 0 | `U_NONE` | None. |",
            "| 4 | `u` | [U](#u) |  |",
        ] {
            assert!(document.lines().any(|written| written == line), "{line}\n{document}");
        }
    }
}
