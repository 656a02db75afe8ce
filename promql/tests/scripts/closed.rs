//! Closes the ranges of subqueries on the left, as before Prometheus 3: one millisecond longer, they include their left
//! end. (For ranges of readings, the source says that they are closed.)

use catchment_promql::{Node, Operation, Plan, Range};

/// The same plan with closed subqueries.
pub(crate) fn closed(mut plan: Plan) -> Plan {
    close(&mut plan.root);
    plan
}

fn close(node: &mut Node) {
    match &mut node.operation {
        Operation::Number(_) | Operation::Text(_) | Operation::Selector(_) => {}
        Operation::Negate(of) => close(of),
        Operation::Binary(of) => {
            close(&mut of.left);
            close(&mut of.right);
        }
        Operation::Aggregate(of) => {
            close(&mut of.operand);
            of.parameter.iter_mut().for_each(close);
        }
        Operation::Over(of) => {
            of.parameters.iter_mut().for_each(close);
            if let Range::Subquery { inner, range_ms, .. } = &mut of.range {
                *range_ms += 1;
                close(inner);
            }
        }
        Operation::Call(_, arguments) => arguments.iter_mut().for_each(close),
    }
}
