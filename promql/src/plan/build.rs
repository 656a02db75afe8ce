//! From a parsed expression to a plan: checks the kinds of all operands, refuses what has no answer, resolves `@`.

mod aggregate;
mod binary;
mod call;
mod invariant;
mod range;
mod selectors;

use promql_parser::parser::Expr;

pub(crate) use self::selectors::{Selectors, offset_ms, time_ms};
use super::{Kind, Node, Operation, Plan};
use crate::{
    error::{PromqlError, Span},
    grid::Grid,
    parse::Expression,
};

/// Most steps of a grid: 11,000 distances, as in Prometheus.
const STEPS_MAX: usize = 11_001;

impl Plan {
    /// Plans an expression on a grid, whose ends are those of `@ start()` and `@ end()`.
    ///
    /// # Errors
    /// [`PromqlError::Bad`] for what is mistyped, refused by design (with what to use instead) or beyond a bound.
    pub fn new(expression: &Expression, grid: Grid) -> Result<Self, PromqlError> {
        if grid.step_ms < 1 || grid.count < 1 {
            return Err(PromqlError::bad("a grid of steps needs a time and a positive step"));
        }
        if grid.count > STEPS_MAX {
            return Err(PromqlError::bad(format!(
                "exceeded maximum resolution of 11,000 points per timeseries: {} steps were asked for. Try decreasing the \
                 query resolution (?step=XX)",
                grid.count
            )));
        }
        let mut builder = Builder { expression, selectors: Selectors::new(expression), next: 0, grid };
        let mut root = builder.node(&expression.tree, grid.end_ms().saturating_sub(grid.start_ms))?;
        invariant::keep_outermost(&mut root);
        Ok(Self { root, grid, text: expression.text.clone() })
    }
}

/// Walks over the library's tree.
struct Builder<'e> {
    expression: &'e Expression,
    selectors: Selectors<'e>,
    /// Number of nodes that were begun: the index of the next one's place.
    next: usize,
    /// For `@ start()` and `@ end()`, in subqueries too.
    grid: Grid,
}

impl Builder<'_> {
    /// The place of the next node; nodes come in the order of [`Expression::spans`].
    fn span(&mut self) -> Span {
        let span = self.expression.spans.get(self.next).copied().unwrap_or_default();
        self.next += 1;
        span
    }

    /// A node; `spread_ms` is the distance of the first and last time at which it is evaluated.
    fn node(&mut self, tree: &Expr, spread_ms: i64) -> Result<Node, PromqlError> {
        let span = self.span();
        let text = &self.expression.text;
        match tree {
            Expr::NumberLiteral(of) => Ok(leaf(Kind::Scalar, Operation::Number(of.val), true, span)),
            Expr::StringLiteral(of) => {
                Ok(leaf(Kind::Text, Operation::Text(of.val.as_str().into()), true, span))
            }
            Expr::Paren(of) => self.node(&of.expr, spread_ms),
            Expr::VectorSelector(of) => {
                let selector = self.selector(of, span)?;
                let is_pinned = selector.at_ms.is_some();
                Ok(leaf(Kind::Vector, Operation::Selector(selector), is_pinned, span))
            }
            Expr::Unary(of) => self.negated(&of.expr, span, spread_ms),
            Expr::Binary(of) => self.binary(of, span, spread_ms),
            Expr::Aggregate(of) => self.aggregate(of, span, spread_ms),
            Expr::Call(of) => self.call(of, span, spread_ms),
            Expr::MatrixSelector(_) | Expr::Subquery(_) => Err(PromqlError::at(
                text,
                span,
                "a range vector gives single readings, which are not kept: take a function of it, such as \
                 last_over_time(x[5m])",
            )),
            Expr::Extension(_) => Err(PromqlError::syntax(text, span, "an extension of the parser")),
        }
    }

    fn negated(&mut self, tree: &Expr, span: Span, spread_ms: i64) -> Result<Node, PromqlError> {
        if self.is_range(tree) {
            return Err(self.mistyped_sign(span, "range vector"));
        }
        let operand = self.node(tree, spread_ms)?;
        if operand.kind == Kind::Text {
            return Err(self.mistyped_sign(span, "string"));
        }
        let (kind, invariant) = (operand.kind, operand.invariant);
        Ok(Node { kind, operation: Operation::Negate(Box::new(operand)), invariant, span })
    }

    fn mistyped_sign(&self, span: Span, kind: &str) -> PromqlError {
        self.wrong(
            span,
            format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {kind:?}"
            ),
        )
    }

    /// Whether a tree is a range of time, which is no node.
    fn is_range(&self, tree: &Expr) -> bool {
        match tree {
            Expr::Paren(of) => self.is_range(&of.expr),
            Expr::MatrixSelector(_) | Expr::Subquery(_) => true,
            _ => false,
        }
    }

    fn wrong(&self, span: Span, reason: impl std::fmt::Display) -> PromqlError {
        PromqlError::syntax(&self.expression.text, span, reason)
    }
}

fn leaf(kind: Kind, operation: Operation, invariant: bool, span: Span) -> Node {
    Node { kind, operation, invariant, span }
}

/// A kind, as Prometheus' documentation calls it.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Vector => "instant vector",
        Kind::Text => "string",
    }
}
