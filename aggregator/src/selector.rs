//! Selects series with PromQL's vector selector, `temperature{site="berlin",device=~"press-.*"}`.
//!
//! Labels are `site`, `gateway`, `device`, `__name__` (the metric) and the series' own; a label that a series lacks
//! is the empty string. Regular expressions match the whole value and have a bounded size. A library parses the
//! selector; the matching is implemented here.

use catchment_promql::{name_as_matcher, without_raw_strings};
use catchment_proto::{GatewayId, SeriesKey};
use promql_parser::{
    label::{MatchOp, Matcher as Parsed},
    parser::{self, Expr, VectorSelector},
};
use regex::{Regex, RegexBuilder};

/// Longest selector in bytes.
const SELECTOR_BYTES_MAX: usize = 4_096;
/// Most matchers of one selector.
const MATCHERS_MAX: usize = 64;
/// Most bytes of a selector's compiled regular expressions together; this limits the cost of matching a series.
const REGEX_BYTES_MAX: usize = 256 << 10;
/// The label of the metric's name.
pub(crate) const METRIC_LABEL: &str = "__name__";

/// A parsed and checked selector.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    matchers: Vec<Matcher>,
    /// As it was written.
    text: Box<str>,
}

/// A condition on the value of one label.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    /// Name of the label.
    pub(crate) label: String,
    /// The condition.
    pub(crate) test: Test,
}

/// A condition on a value; regular expressions are anchored at both ends (`whole`).
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Equal(String),
    NotEqual(String),
    Regex(Regex),
    NotRegex(Regex),
}

/// Why a text is not a valid selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text is empty.
    #[error("the selector is empty: write for example temperature{{site=\"berlin\"}}")]
    Empty,
    /// Too long; holds the length in bytes.
    #[error("the selector has {0} bytes, at most {SELECTOR_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Too many matchers; holds their number.
    #[error("the selector has {0} matchers, at most {MATCHERS_MAX} are allowed")]
    TooMany(usize),
    /// Not PromQL.
    #[error("the selector cannot be read: {0}")]
    Syntax(String),
    /// PromQL, but not a vector selector.
    #[error("{0} is not supported: write a vector selector such as temperature{{site=\"berlin\"}}")]
    Unsupported(&'static str),
    /// An invalid regular expression.
    #[error("label {label}: regex {pattern:?}: {reason}")]
    Regex {
        /// Its label.
        label: String,
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A label that the listed items do not have.
    #[error("label {label:?} cannot be selected on here, only {allowed}")]
    Label {
        /// The label.
        label: String,
        /// The allowed labels.
        allowed: String,
    },
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(written: &str) -> Result<Self, SelectorError> {
        let text = written;
        if text.trim().is_empty() {
            return Err(SelectorError::Empty);
        }
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(SelectorError::TooLong(text.len()));
        }
        let text = without_raw_strings(text);
        let parsed = match parser::parse(&text) {
            Ok(Expr::VectorSelector(selector)) => Ok(Expr::VectorSelector(selector)),
            // A metric may be named like a keyword, a function or a number: `on`, `count`, `inf`.
            other => match name_as_matcher(&text).map(|text| parser::parse(&text)) {
                Some(Ok(Expr::VectorSelector(selector))) => Ok(Expr::VectorSelector(selector)),
                _ => other,
            },
        };
        match parsed.map_err(|error| SelectorError::Syntax(readable(&error)))? {
            Expr::VectorSelector(selector) => Self::from_parsed(selector, written),
            Expr::MatrixSelector(_) => Err(SelectorError::Unsupported("a range in brackets")),
            Expr::Call(_) | Expr::Aggregate(_) => Err(SelectorError::Unsupported("a function")),
            _ => Err(SelectorError::Unsupported("an expression")),
        }
    }

    /// Parses a selector that may be empty (or `{}`), which selects everything.
    ///
    /// # Errors
    /// Same as [`Self::parse`].
    pub fn parse_or_all(text: &str) -> Result<Self, SelectorError> {
        let bare: String = text.chars().filter(|c| !c.is_whitespace()).take(3).collect();
        if bare.is_empty() || bare == "{}" { Ok(Self::default()) } else { Self::parse(text) }
    }

    fn from_parsed(parsed: VectorSelector, text: &str) -> Result<Self, SelectorError> {
        if parsed.offset.is_some() || parsed.at.is_some() {
            return Err(SelectorError::Unsupported("offset or @"));
        }
        if !parsed.matchers.or_matchers.is_empty() {
            return Err(SelectorError::Unsupported("`or` between matchers"));
        }
        let count = parsed.matchers.matchers.len();
        if count > MATCHERS_MAX {
            return Err(SelectorError::TooMany(count));
        }
        let regexes = parsed.matchers.matchers.iter();
        let regexes =
            regexes.filter(|matcher| matches!(matcher.op, MatchOp::Re(_) | MatchOp::NotRe(_))).count();
        let bytes_max = REGEX_BYTES_MAX / regexes.max(1);
        let mut matchers = Vec::with_capacity(count + 1);
        if let Some(name) = parsed.name {
            matchers.push(Matcher { label: METRIC_LABEL.to_owned(), test: Test::Equal(name) });
        }
        for parsed in parsed.matchers.matchers {
            matchers.push(Matcher::from_parsed(parsed, bytes_max)?);
        }
        Ok(Self { matchers, text: text.into() })
    }

    /// Selects what fulfils all of these conditions; everything, if there are none. Its text is empty.
    pub(crate) fn of(matchers: Vec<Matcher>) -> Self {
        Self { matchers, text: Box::default() }
    }

    /// The selector as it was written; empty if it selects everything.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Refuses labels other than `allowed`.
    ///
    /// # Errors
    /// The first label that is not allowed.
    pub fn only(&self, allowed: &[&str]) -> Result<(), SelectorError> {
        match self.matchers.iter().find(|matcher| !allowed.contains(&matcher.label.as_str())) {
            Some(matcher) => {
                Err(SelectorError::Label { label: matcher.label.clone(), allowed: allowed.join(", ") })
            }
            None => Ok(()),
        }
    }

    /// Its conditions; a series is selected if it fulfils all of them.
    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// The selector without its conditions on a label; `None`: it has none on it.
    pub(crate) fn without(&self, label: &str) -> Option<Self> {
        let others = self.matchers.iter().filter(|matcher| matcher.label != label);
        let others: Vec<Matcher> = others.cloned().collect();
        (others.len() < self.matchers.len()).then(|| Self::of(others))
    }

    /// The selector without its first condition: one that the parser would refuse, because it needs no label.
    #[cfg(test)]
    pub(crate) fn without_first(mut self) -> Self {
        self.matchers.remove(0);
        self
    }

    /// Whether it has regular expressions: matching a series may then take milliseconds.
    pub(crate) fn has_regex(&self) -> bool {
        self.matchers.iter().any(|matcher| matches!(matcher.test, Test::Regex(_) | Test::NotRegex(_)))
    }

    /// Whether a series is selected.
    pub fn matches(&self, gateway: &GatewayId, key: &SeriesKey) -> bool {
        self.matches_with(|label| label_value(gateway, key, label))
    }

    /// Whether an item whose labels have these values is selected (empty: no such label).
    pub fn matches_with<'a>(&self, value: impl Fn(&str) -> &'a str) -> bool {
        self.matchers.iter().all(|matcher| matcher.test.passes(value(&matcher.label)))
    }
}

/// The value of a label of a series; empty if it has none.
pub(crate) fn label_value<'a>(gateway: &'a GatewayId, key: &'a SeriesKey, label: &str) -> &'a str {
    match label {
        "site" => gateway.site.as_str(),
        "gateway" => gateway.name.as_str(),
        "device" => key.device.as_str(),
        METRIC_LABEL => key.metric.as_str(),
        own => key.labels.get(own).unwrap_or_default(),
    }
}

impl Matcher {
    fn from_parsed(parsed: Parsed, bytes_max: usize) -> Result<Self, SelectorError> {
        let Parsed { op, name: label, value } = parsed;
        let test = match op {
            MatchOp::Equal => Test::Equal(value),
            MatchOp::NotEqual => Test::NotEqual(value),
            MatchOp::Re(_) => Test::Regex(whole(&label, &value, bytes_max)?),
            MatchOp::NotRe(_) => Test::NotRegex(whole(&label, &value, bytes_max)?),
        };
        Ok(Self { label, test })
    }
}

impl Test {
    /// Whole values that match one of `count` regular expressions of a selector.
    ///
    /// # Errors
    /// [`SelectorError::Regex`].
    pub(crate) fn regex(label: &str, pattern: &str, count: usize) -> Result<Self, SelectorError> {
        whole(label, pattern, REGEX_BYTES_MAX / count.max(1)).map(Self::Regex)
    }

    /// Whether a value (empty: no such label) fulfils it.
    pub(crate) fn passes(&self, value: &str) -> bool {
        match self {
            Self::Equal(wanted) => value == wanted,
            Self::NotEqual(other) => value != other,
            Self::Regex(regex) => regex.is_match(value),
            Self::NotRegex(regex) => !regex.is_match(value),
        }
    }
}

/// A regular expression that matches whole values only. The pattern is compiled alone first, so that one like `a)|(b`
/// cannot break out of the group that anchors it.
fn whole(label: &str, pattern: &str, bytes_max: usize) -> Result<Regex, SelectorError> {
    let build =
        |pattern: &str| RegexBuilder::new(pattern).size_limit(bytes_max).dfa_size_limit(bytes_max).build();
    build(pattern).and_then(|_| build(&format!("\\A(?s:{pattern})\\z"))).map_err(|error| {
        let reason = match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            other => readable(&other.to_string()),
        };
        SelectorError::Regex { label: label.to_owned(), pattern: pattern.to_owned(), reason }
    })
}

/// A library's message as one line, without its drawing of the error position.
fn readable(message: &str) -> String {
    let last = message.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown error");
    last.strip_prefix("error: ").unwrap_or(last).chars().take(300).collect()
}

#[cfg(test)]
mod tests;
