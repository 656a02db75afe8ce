//! What is checked and rewritten before the library's parser sees a text.
//!
//! The parser panics at some numbers, misreads others, compiles regular expressions without a bound and needs time that
//! grows with the square of the text. Its errors say nothing about their place.

pub(crate) mod duration;
mod place;
pub(crate) mod token;

use std::{collections::HashSet, sync::Arc};

pub(crate) use place::unexpected;
use promql_parser::util::unquote_string;

use self::{
    duration::Place,
    token::{Token, What, tokens},
};
use crate::{
    error::PromqlError,
    function::{Advice, Function},
};

/// Longest text, bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Most brackets within brackets.
const BRACKETS_MAX: usize = 64;
/// Most operators of an expression.
const OPERATORS_MAX: usize = 1_000;
/// Most matchers of a selector.
pub(crate) const MATCHERS_MAX: usize = 64;
/// Longest regular expression, bytes.
const PATTERN_BYTES_MAX: usize = 4_096;
/// Most different regular expressions.
const PATTERNS_MAX: usize = 64;

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
    /// With raw strings quoted, conditions of matchers replaced by their numbers, and durations that the parser can read.
    pub(crate) text: String,
    /// The words of the text as it was written.
    pub(crate) tokens: Vec<Token>,
    /// The conditions of all matchers, in order.
    pub(crate) conditions: Vec<Condition>,
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
    let (rewritten, conditions) = rewrite(text, &tokens)?;
    check_patterns(&conditions)?;
    Ok(Guarded { text: rewritten, tokens, conditions })
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

fn check_patterns(conditions: &[Condition]) -> Result<(), PromqlError> {
    let patterns = conditions.iter().filter(|of| of.comparison.is_regex()).map(|of| &*of.value);
    let count = patterns.collect::<HashSet<&str>>().len();
    if count > PATTERNS_MAX {
        return Err(PromqlError::bad(format!(
            "{count} different regular expressions, at most {PATTERNS_MAX} are allowed: split the expression"
        )));
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

/// The text that the parser may see, and the conditions that were taken out of it.
fn rewrite(text: &str, tokens: &[Token]) -> Result<(String, Vec<Condition>), PromqlError> {
    let mut rewriter = Rewriter { text, written: String::with_capacity(text.len()), conditions: Vec::new() };
    let mut places = Places::default();
    let mut end = 0;
    for (index, token) in tokens.iter().enumerate() {
        if token.span.from > end {
            rewriter.written.push(' ');
        }
        end = token.span.to;
        let is_in_brackets = places.open == Some('[');
        let place = places.step(text, *token);
        let is_arithmetic = is_in_brackets && matches!(token.what, What::Operator | What::Open)
            || place == Place::Offset && token.what == What::Open;
        if is_arithmetic {
            let reason = "arithmetic on durations is not supported: write one duration, such as 30m";
            return Err(PromqlError::at(text, token.span, reason));
        }
        let before = index.checked_sub(1).and_then(|index| tokens.get(index)).copied();
        let next = tokens.get(index + 1).copied();
        match token.what {
            What::Text if places.open == Some('{') => rewriter.text_in_braces(*token, before, next)?,
            What::Operator if places.open == Some('{') => rewriter.operator_in_braces(*token, next),
            What::Text => rewriter.written.push_str(&requoted(token.of(text))),
            What::Number => rewriter.number(*token, place)?,
            What::Name if place == Place::Offset && token.is_keyword(text, &["inf", "nan"]) => {
                return Err(PromqlError::syntax(text, token.span, "duration out of range"));
            }
            _ => rewriter.written.push_str(token.of(text)),
        }
    }
    Ok((rewriter.written, rewriter.conditions))
}

/// Writes the text that the parser sees. Conditions of matchers become `="NUMBER"`: the parser would compile each regular
/// expression twice, without a bound of ours, and refuse some that Go knows.
struct Rewriter<'t> {
    text: &'t str,
    written: String,
    conditions: Vec<Condition>,
}

impl Rewriter<'_> {
    fn number(&mut self, token: Token, place: Place) -> Result<(), PromqlError> {
        let written = token.of(self.text);
        let number = duration::rewritten(written, place)
            .map_err(|reason| PromqlError::syntax(self.text, token.span, reason))?;
        self.written.push_str(number.as_deref().unwrap_or(written));
        Ok(())
    }

    fn operator_in_braces(&mut self, token: Token, next: Option<Token>) {
        let is_condition = Comparison::of(token.of(self.text)).is_some();
        let is_before_text = next.is_some_and(|next| next.what == What::Text);
        self.written.push_str(if is_condition && is_before_text { "=" } else { token.of(self.text) });
    }

    /// The value of a condition, the name of a metric, or of a label.
    fn text_in_braces(
        &mut self,
        token: Token,
        before: Option<Token>,
        next: Option<Token>,
    ) -> Result<(), PromqlError> {
        let quoted = requoted(token.of(self.text));
        let comparison = before.and_then(|before| Comparison::of(before.of(self.text)));
        let is_label = next.is_some_and(|next| next.what == What::Operator);
        let is_misplaced = before.is_some_and(|before| before.what == What::Operator);
        let comparison = match comparison {
            None if is_label || is_misplaced => {
                self.written.push_str(&quoted);
                return Ok(());
            }
            None => {
                self.written.push_str("__name__=");
                Comparison::Equal
            }
            Some(comparison) => comparison,
        };
        let value = unquote_string(&quoted)
            .map_err(|_| PromqlError::syntax(self.text, token.span, "invalid escape sequence in a string"))?;
        if comparison.is_regex() && value.len() > PATTERN_BYTES_MAX {
            let length = value.len();
            let reason = format_args!(
                "a regular expression of {length} bytes, at most {PATTERN_BYTES_MAX} are allowed: split it"
            );
            return Err(PromqlError::at(self.text, token.span, reason));
        }
        self.written.push_str(&format!("\"{}\"", self.conditions.len()));
        self.conditions.push(Condition { comparison, value: value.into() });
        Ok(())
    }
}

/// What a matcher asks of a value.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) comparison: Comparison,
    /// A value, or a pattern.
    pub(crate) value: Arc<str>,
}

/// The operator of a matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl Comparison {
    fn of(operator: &str) -> Option<Self> {
        Some(match operator {
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            "=~" => Self::Regex,
            "!~" => Self::NotRegex,
            _ => return None,
        })
    }

    /// As it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    pub(crate) fn is_regex(self) -> bool {
        matches!(self, Self::Regex | Self::NotRegex)
    }
}

/// Follows where words stand.
#[derive(Default)]
struct Places {
    /// The innermost bracket, if it is `[` or `{`.
    open: Option<char>,
    /// After `offset` or `@` and a sign.
    after: Option<Place>,
}

impl Places {
    /// Where a word stands, if it is a number.
    fn step(&mut self, text: &str, token: Token) -> Place {
        let after = self.after.take();
        match token.what {
            What::Open => self.open = token.of(text).chars().next().filter(|open| *open != '('),
            What::Close => self.open = None,
            What::At => self.after = Some(Place::At),
            What::Name if token.is_keyword(text, &["offset"]) => self.after = Some(Place::Offset),
            What::Operator if token.is(text, "+") || token.is(text, "-") => self.after = after,
            _ => {}
        }
        if self.open == Some('[') { Place::Brackets } else { after.unwrap_or(Place::Value) }
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
