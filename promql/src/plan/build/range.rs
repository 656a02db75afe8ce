//! Ranges of time.

use std::time::Duration;

use promql_parser::parser::{Expr, SubqueryExpr};

use super::Builder;
use crate::{
    error::{PromqlError, Span},
    plan::{Kind, Range, SUBQUERY_POINTS_MAX},
};

impl Builder<'_> {
    /// A range of time and its place; `None`, with no node begun, for what is none.
    pub(super) fn range(
        &mut self,
        tree: &Expr,
        spread_ms: i64,
    ) -> Result<Option<(Range, Span)>, PromqlError> {
        if !self.is_range(tree) {
            return Ok(None);
        }
        let span = self.span();
        match tree {
            Expr::Paren(of) => self.range(&of.expr, spread_ms),
            Expr::MatrixSelector(of) => {
                let selector = self.selector(&of.vs, span)?;
                let range_ms = milliseconds(of.range);
                if range_ms < 1 {
                    return Err(self.wrong(span, "duration must be greater than 0"));
                }
                Ok(Some((Range::Selector { selector, range_ms }, span)))
            }
            Expr::Subquery(of) => Ok(Some((self.subquery(of, span, spread_ms)?, span))),
            _ => Ok(None),
        }
    }

    fn subquery(&mut self, of: &SubqueryExpr, span: Span, spread_ms: i64) -> Result<Range, PromqlError> {
        let range_ms = milliseconds(of.range);
        let step_ms = of.step.map_or(0, milliseconds);
        if range_ms < 1 || of.step.is_some() && step_ms < 1 {
            return Err(self.wrong(span, "duration must be greater than 0"));
        }
        let at_ms = super::selectors::at_ms(of.at.as_ref(), self.grid);
        let inner_spread_ms = range_ms.saturating_add(if at_ms.is_some() { 0 } else { spread_ms });
        let points = inner_spread_ms / step_ms.max(1);
        if step_ms > 0 && points > SUBQUERY_POINTS_MAX {
            let text = &self.expression.text;
            return Err(PromqlError::at(
                text,
                span,
                format_args!(
                    "a subquery of {points} steps, at most {SUBQUERY_POINTS_MAX} are allowed: take a longer step in its brackets, \
                     or a shorter range"
                ),
            ));
        }
        if self.is_range(&of.expr) {
            return Err(
                self.wrong(span, "subquery is only allowed on instant vector, got range vector instead")
            );
        }
        let inner = self.node(&of.expr, inner_spread_ms)?;
        if inner.kind != Kind::Vector {
            let kind = super::kind_name(inner.kind);
            let reason = format!("subquery is only allowed on instant vector, got {kind} instead");
            return Err(self.wrong(span, reason));
        }
        let offset_ms = super::selectors::offset_ms(of.offset.as_ref());
        Ok(Range::Subquery { inner: Box::new(inner), range_ms, step_ms, at_ms, offset_ms })
    }
}

/// Whole milliseconds; a part of one does not count, as in Prometheus.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
