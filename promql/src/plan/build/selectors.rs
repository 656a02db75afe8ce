//! Selectors: their conditions and times.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use promql_parser::{
    label::Matcher as Parsed,
    parser::{AtModifier, Offset, VectorSelector},
};
use regex::Regex;

use super::{Builder, range::milliseconds};
use crate::{
    error::{PromqlError, Span},
    grid::Grid,
    guard::{Comparison, MATCHERS_MAX},
    labels::METRIC_NAME,
    parse::Expression,
    plan::{
        Matcher, Selector, Test,
        regex::{ALL_COMPILED_BYTES_MAX, COMPILED_BYTES_MAX, whole},
    },
};

/// Builds conditions; compiles each pattern once.
pub(crate) struct Selectors<'e> {
    expression: &'e Expression,
    compiled: HashMap<Arc<str>, Regex>,
    /// Most bytes of one compiled pattern.
    bytes_max: usize,
}

impl<'e> Selectors<'e> {
    pub(crate) fn new(expression: &'e Expression) -> Self {
        let patterns = expression.conditions.iter().filter(|of| of.comparison.is_regex());
        let distinct: HashSet<&str> = patterns.map(|of| &*of.value).collect();
        // Together they have a bound too, so that their number is no way around it.
        let bytes_max = COMPILED_BYTES_MAX.min(ALL_COMPILED_BYTES_MAX / distinct.len().max(1));
        Self { expression, compiled: HashMap::new(), bytes_max }
    }

    /// The conditions of a selector, sorted, each once, so that selectors that mean the same are equal.
    ///
    /// # Errors
    /// A pattern cannot be compiled, or every series would match.
    pub(crate) fn matchers(
        &mut self,
        selector: &VectorSelector,
        span: Span,
    ) -> Result<Arc<[Matcher]>, PromqlError> {
        let text = &self.expression.text;
        if !selector.matchers.or_matchers.is_empty() {
            return Err(PromqlError::at(
                text,
                span,
                "`or` between matchers is not supported: write {…} or {…}, or a regular expression",
            ));
        }
        if selector.matchers.matchers.len() > MATCHERS_MAX {
            // Quoted names of metrics have no operator, by which the guard counts.
            let reason = format_args!("more than {MATCHERS_MAX} matchers in a selector");
            return Err(PromqlError::at(text, span, reason));
        }
        let mut matchers = Vec::with_capacity(selector.matchers.matchers.len() + 1);
        if let Some(name) = &selector.name {
            let test = Test::Equal(name.as_str().into());
            matchers.push(Matcher { label: METRIC_NAME.into(), test });
        }
        for parsed in &selector.matchers.matchers {
            matchers.push(self.matcher(parsed, span)?);
        }
        if matchers.iter().all(|matcher| matcher.passes("")) {
            let reason =
                "vector selector must contain at least one non-empty matcher, such as {__name__=~\".+\"}";
            return Err(PromqlError::syntax(text, span, reason));
        }
        matchers.sort_by(|a, b| key(a).cmp(&key(b)));
        matchers.dedup();
        Ok(matchers.into())
    }

    fn matcher(&mut self, parsed: &Parsed, span: Span) -> Result<Matcher, PromqlError> {
        let text = &self.expression.text;
        if parsed.name.is_empty() {
            return Err(PromqlError::syntax(text, span, "a label has an empty name"));
        }
        let Some(condition) = self.expression.condition(parsed) else {
            return Err(PromqlError::syntax(text, span, "invalid matcher"));
        };
        let value = condition.value.clone();
        let test = match condition.comparison {
            Comparison::Equal => Test::Equal(value),
            Comparison::NotEqual => Test::NotEqual(value),
            Comparison::Regex => {
                let regex = self.compiled(&parsed.name, &value, span)?;
                Test::Regex(value, regex)
            }
            Comparison::NotRegex => {
                let regex = self.compiled(&parsed.name, &value, span)?;
                Test::NotRegex(value, regex)
            }
        };
        Ok(Matcher { label: parsed.name.as_str().into(), test })
    }

    fn compiled(&mut self, label: &str, pattern: &Arc<str>, span: Span) -> Result<Regex, PromqlError> {
        if let Some(regex) = self.compiled.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = whole(pattern, self.bytes_max).map_err(|reason| {
            let reason = format_args!("label {label}: invalid regular expression {pattern:?}: {reason}");
            PromqlError::syntax(&self.expression.text, span, reason)
        })?;
        self.compiled.insert(pattern.clone(), regex.clone());
        Ok(regex)
    }
}

/// The time of an `@`, Unix milliseconds.
pub(super) fn at_ms(at: Option<&AtModifier>, grid: Grid) -> Option<i64> {
    at.map(|at| match at {
        AtModifier::Start => grid.start_ms,
        AtModifier::End => grid.end_ms(),
        AtModifier::At(time) => time_ms(*time),
    })
}

/// What matchers are sorted by.
fn key(matcher: &Matcher) -> (&str, u8, &str) {
    let (kind, value) = match &matcher.test {
        Test::Equal(value) => (0, value),
        Test::NotEqual(value) => (1, value),
        Test::Regex(pattern, _) => (2, pattern),
        Test::NotRegex(pattern, _) => (3, pattern),
    };
    (&matcher.label, kind, value)
}

/// Unix milliseconds, also before 1970.
pub(crate) fn time_ms(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => milliseconds(after),
        Err(before) => -milliseconds(before.duration()),
    }
}

/// Milliseconds of an offset; 0 without one.
pub(crate) fn offset_ms(offset: Option<&Offset>) -> i64 {
    match offset {
        None => 0,
        Some(Offset::Pos(earlier)) => milliseconds(*earlier),
        Some(Offset::Neg(later)) => -milliseconds(*later),
    }
}

impl Builder<'_> {
    pub(super) fn selector(&mut self, of: &VectorSelector, span: Span) -> Result<Selector, PromqlError> {
        Ok(Selector {
            matchers: self.selectors.matchers(of, span)?,
            at_ms: at_ms(of.at.as_ref(), self.grid),
            offset_ms: offset_ms(of.offset.as_ref()),
        })
    }
}
