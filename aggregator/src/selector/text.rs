//! Rewrites PromQL that the library's parser refuses: raw strings in backticks, and metrics named like a keyword
//! (`on`, `by`, `count` …). Both get an equivalent form before parsing.

/// Rewrites raw strings as quoted ones. An unclosed string stays as it is: the parser refuses it.
pub(super) fn without_raw_strings(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['"', '\'', '`']) {
        let (before, quoted) = rest.split_at(start);
        written.push_str(before);
        let Some(end) = end_of_string(quoted) else {
            rest = quoted;
            break;
        };
        let (string, after) = quoted.split_at(end);
        match string.strip_prefix('`').and_then(|string| string.strip_suffix('`')) {
            Some(raw) => push_quoted(&mut written, raw),
            None => written.push_str(string),
        }
        rest = after;
    }
    written.push_str(rest);
    written
}

/// Length of the string at the start of the text, with its quotes; `None` if it is not closed.
fn end_of_string(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    let (_, quote) = characters.next()?;
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Some(at + quote.len_utf8());
        }
        if character == '\\' && quote != '`' {
            characters.next();
        }
    }
    None
}

fn push_quoted(written: &mut String, raw: &str) {
    written.push('"');
    for character in raw.chars() {
        match character {
            '"' | '\\' => written.extend(['\\', character]),
            '\n' => written.push_str("\\n"),
            // Go drops carriage returns in raw strings.
            '\r' => {}
            other => written.push(other),
        }
    }
    written.push('"');
}

/// Rewrites the leading name of a selector as a matcher of its label: `on{a="b"}` as `{__name__="on",a="b"}`. `None`
/// if the text does not begin with a name that stands alone or before braces, or if the name is given twice.
pub(super) fn name_as_matcher(text: &str, label: &str) -> Option<String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || rest.contains(label) {
        return None;
    }
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Some(format!("{{{label}=\"{name}\"}}"));
    }
    let inner = rest.strip_prefix('{')?.trim_start();
    let comma = if inner.starts_with('}') { "" } else { "," };
    Some(format!("{{{label}=\"{name}\"{comma}{inner}"))
}
