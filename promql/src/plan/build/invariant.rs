//! Which nodes are evaluated once.

use crate::plan::{Node, Operation, Range};

/// Builders mark every node that does not depend on the step; only the outermost of them is to be evaluated once, and what is
/// below it then is.
pub(super) fn keep_outermost(root: &mut Node) {
    settle(root, false);
}

fn settle(node: &mut Node, is_below: bool) {
    let is_once = is_below || node.invariant;
    node.invariant &= !is_below;
    match &mut node.operation {
        Operation::Number(_) | Operation::Text(_) | Operation::Selector(_) => {}
        Operation::Negate(of) => settle(of, is_once),
        Operation::Binary(of) => {
            settle(&mut of.left, is_once);
            settle(&mut of.right, is_once);
        }
        Operation::Aggregate(of) => {
            settle(&mut of.operand, is_once);
            of.parameter.iter_mut().for_each(|of| settle(of, is_once));
        }
        Operation::Over(of) => {
            of.parameters.iter_mut().for_each(|of| settle(of, is_once));
            // A subquery has steps of its own, also where it is evaluated once.
            if let Range::Subquery { inner, .. } = &mut of.range {
                settle(inner, false);
            }
        }
        Operation::Call(_, arguments) => arguments.iter_mut().for_each(|of| settle(of, is_once)),
    }
}
