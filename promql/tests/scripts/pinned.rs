//! Pins all selectors of a plan to one time, as `@` does: its value is then the same whenever it is evaluated.

use catchment_promql::{Function, Node, Operation, Plan, Range};

/// Pins what has no time of its own, but not within subqueries, whose steps are other times. `None` for an expression
/// that depends on the time in other ways.
pub(crate) fn pinned(mut plan: Plan, time_ms: i64) -> Option<Plan> {
    pin(&mut plan.root, time_ms).then_some(plan)
}

fn pin(node: &mut Node, time_ms: i64) -> bool {
    match &mut node.operation {
        Operation::Number(_) | Operation::Text(_) => true,
        Operation::Selector(selector) => {
            selector.at_ms.get_or_insert(time_ms);
            true
        }
        Operation::Negate(of) => pin(of, time_ms),
        Operation::Binary(of) => pin(&mut of.left, time_ms) & pin(&mut of.right, time_ms),
        Operation::Aggregate(of) => {
            pin(&mut of.operand, time_ms) & of.parameter.as_mut().is_none_or(|of| pin(of, time_ms))
        }
        Operation::Over(of) => {
            match &mut of.range {
                Range::Selector { selector, .. } => _ = selector.at_ms.get_or_insert(time_ms),
                Range::Subquery { at_ms, .. } => _ = at_ms.get_or_insert(time_ms),
            }
            of.parameters.iter_mut().all(|of| pin(of, time_ms))
        }
        Operation::Call(function, arguments) => {
            !depends_on_time(*function) && arguments.iter_mut().all(|of| pin(of, time_ms))
        }
    }
}

/// Functions whose value depends on the time of evaluation whatever their arguments are.
fn depends_on_time(function: Function) -> bool {
    use Function::{
        DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute, Month, Time, Timestamp, Year,
    };
    matches!(
        function,
        DayOfMonth | DayOfWeek | DayOfYear | DaysInMonth | Hour | Minute | Month | Time | Timestamp | Year
    )
}
