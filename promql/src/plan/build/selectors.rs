//! Selectors: their conditions and times.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use promql_parser::{
    label::{MatchOp, Matcher as Parsed},
    parser::{AtModifier, Offset, VectorSelector},
};
use regex::Regex;

use super::{Builder, range::milliseconds};
use crate::{
    error::{PromqlError, Span},
    grid::Grid,
    guard::pattern_number,
    labels::METRIC_NAME,
    parse::Expression,
    plan::{
        Matcher, Selector, Test,
        regex::{COMPILED_BYTES_MAX, whole},
    },
};

/// Builds conditions; compiles each pattern once.
pub(crate) struct Selectors<'e> {
    expression: &'e Expression,
    compiled: HashMap<Arc<str>, Regex>,
}

impl<'e> Selectors<'e> {
    pub(crate) fn new(expression: &'e Expression) -> Self {
        Self { expression, compiled: HashMap::new() }
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
        let test = match &parsed.op {
            MatchOp::Equal => Test::Equal(parsed.value.as_str().into()),
            MatchOp::NotEqual => Test::NotEqual(parsed.value.as_str().into()),
            MatchOp::Re(_) => {
                let (pattern, regex) = self.pattern(parsed, span)?;
                Test::Regex(pattern, regex)
            }
            MatchOp::NotRe(_) => {
                let (pattern, regex) = self.pattern(parsed, span)?;
                Test::NotRegex(pattern, regex)
            }
        };
        Ok(Matcher { label: parsed.name.as_str().into(), test })
    }

    fn pattern(&mut self, parsed: &Parsed, span: Span) -> Result<(Arc<str>, Regex), PromqlError> {
        let pattern = self.expression.pattern(&parsed.value);
        if let Some(regex) = self.compiled.get(&pattern) {
            return Ok((pattern, regex.clone()));
        }
        // All of an expression may have so much together, so that their number is no way around the bound.
        let bytes_max = COMPILED_BYTES_MAX / self.expression.patterns.len().max(1);
        let regex = whole(&pattern, bytes_max).map_err(|reason| {
            let label = &parsed.name;
            let reason = format_args!("label {label}: invalid regular expression {pattern:?}: {reason}");
            PromqlError::syntax(&self.expression.text, span, reason)
        })?;
        self.compiled.insert(pattern.clone(), regex.clone());
        Ok((pattern, regex))
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

impl Expression {
    /// The pattern that a placeholder stands for.
    pub(crate) fn pattern(&self, placeholder: &str) -> Arc<str> {
        let number = pattern_number(placeholder);
        let pattern = number.and_then(|number| self.patterns.get(number));
        pattern.map_or_else(|| placeholder.into(), Arc::clone)
    }
}
