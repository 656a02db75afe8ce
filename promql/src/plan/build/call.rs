//! Calls of functions.

use promql_parser::parser::{Call, Expr};

use super::{Builder, kind_name};
use crate::{
    error::{PromqlError, Span},
    function::{Advice, Argument, Function, Signature},
    plan::{Kind, Node, Operation, Over, Range},
};

impl Builder<'_> {
    pub(super) fn call(&mut self, of: &Call, span: Span, spread_ms: i64) -> Result<Node, PromqlError> {
        let name = of.func.name;
        let Some(function) = Function::from_name(name) else {
            return Err(match Advice::of(name) {
                Some(Advice(advice)) => PromqlError::at(
                    &self.expression.text,
                    span,
                    format_args!("{name} is not supported: {advice}"),
                ),
                None => self.wrong(span, format_args!("unknown function with name {name:?}")),
            });
        };
        let signature = function.signature();
        self.check_number(name, signature, of.args.args.len(), span)?;
        let (mut nodes, mut range) = (Vec::with_capacity(of.args.args.len()), None);
        for (index, argument) in of.args.args.iter().enumerate() {
            let wanted = signature.arguments.get(index).or(signature.arguments.last()).copied();
            match wanted {
                Some(Argument::Value(kind)) => nodes.push(self.argument(name, argument, kind, spread_ms)?),
                Some(Argument::Range) => range = self.range_argument(name, argument, spread_ms)?,
                None => {}
            }
        }
        Ok(match range {
            Some((range, place)) => over(function, range, nodes, place),
            None => {
                let invariant = is_invariant(function, &nodes);
                Node { kind: signature.gives, operation: Operation::Call(function, nodes), invariant, span }
            }
        })
    }

    fn check_number(
        &self,
        name: &str,
        signature: Signature,
        given: usize,
        span: Span,
    ) -> Result<(), PromqlError> {
        let (least, most) = (signature.least, signature.arguments.len());
        let bound = match (least == most && !signature.repeats, given < least) {
            (true, _) if given != most => format!("{most}"),
            (false, true) => format!("at least {least}"),
            (false, false) if given > most && !signature.repeats => format!("at most {most}"),
            _ => return Ok(()),
        };
        Err(self.wrong(span, format!("expected {bound} argument(s) in call to {name:?}, got {given}")))
    }

    fn argument(
        &mut self,
        function: &str,
        tree: &Expr,
        wanted: Kind,
        spread_ms: i64,
    ) -> Result<Node, PromqlError> {
        let context = format!("call to function {function:?}");
        self.operand(tree, wanted, &context, spread_ms)
    }

    /// A node of a kind.
    pub(super) fn operand(
        &mut self,
        tree: &Expr,
        wanted: Kind,
        context: &str,
        spread_ms: i64,
    ) -> Result<Node, PromqlError> {
        let place = self.expression.spans.get(self.next).copied().unwrap_or_default();
        let mistyped = |got: &str| format!("expected type {} in {context}, got {got}", kind_name(wanted));
        if self.is_range(tree) {
            return Err(self.wrong(place, mistyped("range vector")));
        }
        let node = self.node(tree, spread_ms)?;
        if node.kind == wanted { Ok(node) } else { Err(self.wrong(place, mistyped(kind_name(node.kind)))) }
    }

    fn range_argument(
        &mut self,
        function: &str,
        tree: &Expr,
        spread_ms: i64,
    ) -> Result<Option<(Range, Span)>, PromqlError> {
        if let Some(range) = self.range(tree, spread_ms)? {
            return Ok(Some(range));
        }
        let node = self.node(tree, spread_ms)?;
        let got = kind_name(node.kind);
        let reason = format!("expected type range vector in call to function {function:?}, got {got}");
        Err(self.wrong(node.span, reason))
    }
}

/// A function of a range. Its place is that of the range: annotations speak of it, as in Prometheus.
fn over(function: Function, range: Range, parameters: Vec<Node>, span: Span) -> Node {
    let is_pinned = match &range {
        Range::Selector { selector, .. } => selector.at_ms.is_some(),
        Range::Subquery { at_ms, .. } => at_ms.is_some(),
    };
    let invariant = is_pinned && parameters.iter().all(|of| of.invariant);
    let over = Over { function, range, parameters, group: None };
    Node { kind: Kind::Vector, operation: Operation::Over(Box::new(over)), invariant, span }
}

/// Whether a call gives the same at each step.
fn is_invariant(function: Function, arguments: &[Node]) -> bool {
    let is_of_step = match function {
        Function::Time => true,
        // Of the step's time, where there is no argument.
        Function::DayOfMonth
        | Function::DayOfWeek
        | Function::DayOfYear
        | Function::DaysInMonth
        | Function::Hour
        | Function::Minute
        | Function::Month
        | Function::Year => arguments.is_empty(),
        // Of the readings' times if they are selected directly, of the step's otherwise.
        Function::Timestamp => {
            !arguments.iter().all(|argument| matches!(argument.operation, Operation::Selector(_)))
        }
        _ => false,
    };
    !is_of_step && arguments.iter().all(|argument| argument.invariant)
}
