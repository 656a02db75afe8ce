//! Fills a template with the parts of a match, as Go's `regexp.Expand` does. The `regex` crate's own differs in which names
//! in braces it takes.

use regex::{Captures, Regex};

/// The template with `$1`, `$name`, `${1}` and `${name}` replaced, `$$` as a dollar; parts that do not exist are empty. It
/// ends soon after so many bytes.
pub(super) fn expanded(template: &str, regex: &Regex, captures: &Captures<'_>, bytes_max: usize) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        if text.len() > bytes_max {
            return text;
        }
        text.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            text.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = name(after) else {
            text.push('$');
            rest = after;
            continue;
        };
        text.push_str(part(name, regex, captures));
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The name at the beginning, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    Some((name, if braced { rest.strip_prefix('}')? } else { rest }))
}

/// The part of the match with a number or a name.
fn part<'m>(name: &str, regex: &Regex, captures: &Captures<'m>) -> &'m str {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let found = if is_number {
        name.parse().ok().and_then(|number| captures.get(number))
    } else {
        // Of several groups with one name, the first that took part.
        let mut named = regex.capture_names().enumerate().filter(|(_, known)| *known == Some(name));
        named.find_map(|(number, _)| captures.get(number))
    };
    found.map_or("", |part| part.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_as_in_go() {
        let regex = Regex::new("^(?s:(?P<first>[a-z]+)-(\\d+)(x)?)$").unwrap();
        let captures = regex.captures("ab-12").unwrap();
        let cases = [
            ("$1", "ab"),
            ("$2$1", "12ab"),
            ("$1x", ""),
            ("${1}x", "abx"),
            ("$first", "ab"),
            ("${first}_$2", "ab_12"),
            ("$3.", "."),
            ("$9", ""),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$-b", "a$-b"),
            ("${1", "${1"),
            ("${a-b}", "${a-b}"),
            ("$01", ""),
            ("$0", "ab-12"),
            ("plain", "plain"),
        ];
        for (template, expected) in cases {
            assert_eq!(expanded(template, &regex, &captures, 1000), expected, "{template}");
        }
        assert!(expanded(&"$0".repeat(1000), &regex, &captures, 100).len() < 120);
    }
}
