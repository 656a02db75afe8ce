//! What is checked and rewritten before the library's parser sees a text.
//!
//! The parser panics at some numbers, misreads others, compiles regular expressions without a bound and needs time that
//! grows with the square of the text. Its errors say nothing about their place.

pub(crate) mod duration;
mod place;
pub(crate) mod token;

use std::sync::Arc;

pub(crate) use place::unexpected;
use promql_parser::util::unquote_string;

use self::{
    duration::Place,
    token::{Token, What, tokens},
};
use crate::{
    error::{PromqlError, Span},
    function::{Advice, Function},
};

/// Longest text, bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Most brackets within brackets.
const BRACKETS_MAX: usize = 64;
/// Most operators of an expression.
const OPERATORS_MAX: usize = 1_000;
/// Most matchers of a selector.
const MATCHERS_MAX: usize = 64;
/// Longest regular expression, bytes.
const PATTERN_BYTES_MAX: usize = 4_096;

/// Operators that are names.
const NAMED_OPERATORS: [&str; 4] = ["and", "or", "unless", "atan2"];
/// Keywords that brackets may follow, besides functions.
const BEFORE_BRACKETS: [&str; 29] = [
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "limit_ratio",
    "limitk",
    "max",
    "min",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "fill",
    "fill_left",
    "fill_right",
    "bool",
    "and",
    "or",
    "unless",
    "atan2",
    "offset",
];

/// A text that the library's parser may see.
pub(crate) struct Guarded {
    /// With raw strings quoted, patterns replaced by [`placeholder`]s, and durations that the parser can read.
    pub(crate) text: String,
    /// The words of the text as it was written.
    pub(crate) tokens: Vec<Token>,
    /// The regular expressions, in order.
    pub(crate) patterns: Vec<Arc<str>>,
}

/// Checks and rewrites a text.
///
/// # Errors
/// It is beyond a bound, has a function that is refused, or a number that the parser would misread.
pub(crate) fn guard(text: &str) -> Result<Guarded, PromqlError> {
    if text.len() > TEXT_BYTES_MAX {
        let length = text.len();
        return Err(PromqlError::bad(format!(
            "the expression has {length} bytes, at most {TEXT_BYTES_MAX} are allowed: split it into several"
        )));
    }
    let tokens = tokens(text)?;
    check_bounds(text, &tokens)?;
    check_functions(text, &tokens)?;
    let (rewritten, patterns) = rewrite(text, &tokens)?;
    Ok(Guarded { text: rewritten, tokens, patterns })
}

fn check_bounds(text: &str, tokens: &[Token]) -> Result<(), PromqlError> {
    let (mut depth, mut operators, mut matchers, mut in_braces) = (0_usize, 0, 0, false);
    for token in tokens {
        let refuse = |what: &str, most: usize| {
            Err(PromqlError::at(
                text,
                token.span,
                format_args!("more than {most} {what}: split the expression"),
            ))
        };
        match token.what {
            What::Open => {
                depth += 1;
                in_braces = token.is(text, "{");
                matchers = 0;
            }
            What::Close => {
                depth = depth.saturating_sub(1);
                in_braces = false;
            }
            What::Operator if in_braces => matchers += 1,
            What::Operator => operators += 1,
            What::Name if !in_braces && token.is_keyword(text, &NAMED_OPERATORS) => operators += 1,
            _ => {}
        }
        if depth > BRACKETS_MAX {
            return refuse("brackets within brackets", BRACKETS_MAX);
        }
        if operators > OPERATORS_MAX {
            return refuse("operators", OPERATORS_MAX);
        }
        if matchers > MATCHERS_MAX {
            return refuse("matchers in a selector", MATCHERS_MAX);
        }
    }
    Ok(())
}

/// Refuses functions that have no answer here, and unknown ones.
fn check_functions(text: &str, tokens: &[Token]) -> Result<(), PromqlError> {
    let mut before = None;
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        let is_called = token.what == What::Name && next.is(text, "(") && before != Some(What::At);
        before = Some(token.what);
        let name = token.of(text);
        if !is_called || Function::from_name(name).is_some() || token.is_keyword(text, &BEFORE_BRACKETS) {
            continue;
        }
        return Err(match Advice::of(name) {
            Some(Advice(advice)) => {
                PromqlError::at(text, token.span, format_args!("{name} is not supported: {advice}"))
            }
            None => {
                PromqlError::syntax(text, token.span, format_args!("unknown function with name {name:?}"))
            }
        });
    }
    Ok(())
}

/// What stands for the pattern of this number: for `=~` something that does not match the empty value, for `!~` something that
/// does, so that the parser's own check of selectors passes. Ours knows the patterns.
fn placeholder(number: usize, is_negated: bool) -> String {
    format!("\"{number}{}\"", if is_negated { "|" } else { "" })
}

/// The number of the pattern that a placeholder stands for.
pub(crate) fn pattern_number(placeholder: &str) -> Option<usize> {
    placeholder.trim_end_matches('|').parse().ok()
}

/// The text that the parser may see, and the patterns that were taken out of it.
fn rewrite(text: &str, tokens: &[Token]) -> Result<(String, Vec<Arc<str>>), PromqlError> {
    let mut rewritten = String::with_capacity(text.len());
    let mut patterns = Vec::new();
    let mut places = Places::default();
    let mut end = 0;
    for (index, token) in tokens.iter().enumerate() {
        if token.span.from > end {
            rewritten.push(' ');
        }
        end = token.span.to;
        let before = index.checked_sub(1).and_then(|index| tokens.get(index)).copied();
        let place = places.step(text, *token);
        let written = token.of(text);
        match token.what {
            What::Number => {
                let number = duration::rewritten(written, place)
                    .map_err(|reason| PromqlError::syntax(text, token.span, reason))?;
                rewritten.push_str(number.as_deref().unwrap_or(written));
            }
            What::Text => {
                let quoted = requoted(written);
                let negated = before.map(|before| (before.is(text, "=~"), before.is(text, "!~")));
                if let Some((true, _) | (_, true)) = negated {
                    rewritten.push_str(&placeholder(patterns.len(), matches!(negated, Some((_, true)))));
                    patterns.push(pattern(text, token.span, &quoted)?);
                } else {
                    rewritten.push_str(&quoted);
                }
            }
            _ => rewritten.push_str(written),
        }
    }
    Ok((rewritten, patterns))
}

/// A pattern without its quotes.
fn pattern(text: &str, span: Span, quoted: &str) -> Result<Arc<str>, PromqlError> {
    let pattern = unquote_string(quoted)
        .map_err(|_| PromqlError::syntax(text, span, "invalid escape sequence in a string"))?;
    if pattern.len() > PATTERN_BYTES_MAX {
        let length = pattern.len();
        return Err(PromqlError::at(
            text,
            span,
            format_args!("a regular expression of {length} bytes, at most {PATTERN_BYTES_MAX} are allowed"),
        ));
    }
    Ok(pattern.into())
}

/// Follows where numbers stand.
#[derive(Default)]
struct Places {
    in_brackets: bool,
    /// After `offset` or `@` and a sign.
    after: Option<Place>,
}

impl Places {
    /// Where the next word stands, if it is a number.
    fn step(&mut self, text: &str, token: Token) -> Place {
        let after = self.after.take();
        match token.what {
            What::Open => self.in_brackets = token.is(text, "["),
            What::Close => self.in_brackets = false,
            What::At => self.after = Some(Place::At),
            What::Name if token.is_keyword(text, &["offset"]) => self.after = Some(Place::Offset),
            What::Operator if token.is(text, "+") || token.is(text, "-") => self.after = after,
            _ => {}
        }
        if self.in_brackets { Place::Brackets } else { after.unwrap_or(Place::Value) }
    }
}

/// A text with double quotes that means the same: the parser would look for escape sequences in a raw one.
fn requoted(written: &str) -> String {
    let Some(raw) = written.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
        return written.to_owned();
    };
    let mut quoted = String::with_capacity(written.len() + 8);
    quoted.push('"');
    for character in raw.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            // Go drops carriage returns in raw strings.
            '\r' => {}
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The text with its raw strings (in backticks) as double-quoted ones, which the library's parser reads. Text that cannot be
/// split into words stays as it is.
#[must_use]
pub fn without_raw_strings(text: &str) -> String {
    let Ok(tokens) = tokens(text) else { return text.to_owned() };
    let mut rewritten = String::with_capacity(text.len());
    let mut end = 0;
    for token in tokens.iter().filter(|token| token.what == What::Text) {
        rewritten.push_str(text.get(end..token.span.from).unwrap_or_default());
        rewritten.push_str(&requoted(token.of(text)));
        end = token.span.to;
    }
    rewritten.push_str(text.get(end..).unwrap_or_default());
    rewritten
}

/// A selector whose metric is named like a keyword or a number, with the name as a matcher: `on{a="b"}` as
/// `{__name__="on",a="b"}`. `None` if the text does not begin with a name that stands alone or before braces, or if it has
/// `__name__` already.
#[must_use]
pub fn name_as_matcher(text: &str) -> Option<String> {
    let label = crate::labels::METRIC_NAME;
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
