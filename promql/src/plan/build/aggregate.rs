//! Aggregations.

use std::sync::Arc;

use promql_parser::parser::{AggregateExpr, LabelModifier};

use super::Builder;
use crate::{
    error::{PromqlError, Span},
    function::Function,
    labels::METRIC_NAME,
    plan::{Aggregation, AggregationOperator, Grouping, Kind, Matcher, Node, Operation, Range, Test},
};

impl Builder<'_> {
    pub(super) fn aggregate(
        &mut self,
        of: &AggregateExpr,
        span: Span,
        spread_ms: i64,
    ) -> Result<Node, PromqlError> {
        let name = of.op.to_string();
        let Some(operator) = AggregationOperator::from_name(&name) else {
            return Err(self.wrong(span, format_args!("unknown aggregation {name:?}")));
        };
        let parameter = match (&of.param, operator.parameter()) {
            (Some(tree), Some(kind)) => Some(self.operand(tree, kind, "aggregation parameter", spread_ms)?),
            (None, None) => None,
            _ => {
                return Err(
                    self.wrong(span, format_args!("wrong number of arguments for aggregation {name:?}"))
                );
            }
        };
        let mut operand = self.operand(&of.expr, Kind::Vector, "aggregation expression", spread_ms)?;
        let grouping = match &of.modifier {
            None => Grouping::By(Vec::new()),
            Some(LabelModifier::Include(labels)) => Grouping::By(sorted(&labels.labels)),
            Some(LabelModifier::Exclude(labels)) => Grouping::Without(sorted(&labels.labels)),
        };
        if operator == AggregationOperator::Sum {
            push_down(&mut operand, &grouping);
        }
        let invariant = operand.invariant && parameter.as_ref().is_none_or(|of| of.invariant);
        let aggregation = Aggregation { operator, operand, parameter, grouping };
        Ok(Node {
            kind: Kind::Vector,
            operation: Operation::Aggregate(Box::new(aggregation)),
            invariant,
            span,
        })
    }
}

/// Lets the source merge series whose sums or counts are added up. Not those of several metrics: two that differ in
/// their names only are an error, which would go unseen.
fn push_down(operand: &mut Node, grouping: &Grouping) {
    if let Operation::Over(over) = &mut operand.operation
        && matches!(over.function, Function::SumOverTime | Function::CountOverTime)
        && let Range::Selector { selector, .. } = &over.range
        && selector.matchers.iter().any(is_of_one_metric)
    {
        over.group = Some(grouping.clone());
    }
}

fn is_of_one_metric(matcher: &Matcher) -> bool {
    &*matcher.label == METRIC_NAME && matches!(matcher.test, Test::Equal(_))
}

/// Labels, sorted, each once.
pub(super) fn sorted(labels: &[String]) -> Vec<Arc<str>> {
    let mut sorted: Vec<Arc<str>> = labels.iter().map(|label| label.as_str().into()).collect();
    sorted.sort();
    sorted.dedup();
    sorted
}

impl AggregationOperator {
    /// The operator of a name.
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "avg" => Self::Avg,
            "bottomk" => Self::Bottomk,
            "count" => Self::Count,
            "count_values" => Self::CountValues,
            "group" => Self::Group,
            "limitk" => Self::LimitK,
            "limit_ratio" => Self::LimitRatio,
            "max" => Self::Max,
            "min" => Self::Min,
            "quantile" => Self::Quantile,
            "stddev" => Self::Stddev,
            "stdvar" => Self::Stdvar,
            "sum" => Self::Sum,
            "topk" => Self::Topk,
            _ => return None,
        })
    }

    /// The kind of its parameter, if it has one.
    fn parameter(self) -> Option<Kind> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::LimitK | Self::LimitRatio => {
                Some(Kind::Scalar)
            }
            Self::CountValues => Some(Kind::Text),
            Self::Avg
            | Self::Count
            | Self::Group
            | Self::Max
            | Self::Min
            | Self::Stddev
            | Self::Stdvar
            | Self::Sum => None,
        }
    }
}
