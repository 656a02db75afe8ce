//! Operators between two operands.

use promql_parser::parser::{BinModifier, BinaryExpr, Expr, LabelModifier, VectorMatchCardinality};

use super::{Builder, aggregate::sorted};
use crate::{
    error::{PromqlError, Span},
    plan::{Binary, BinaryOperator, Cardinality, Fill, Kind, Matching, Node, Operation},
};

impl Builder<'_> {
    pub(super) fn binary(
        &mut self,
        of: &BinaryExpr,
        span: Span,
        spread_ms: i64,
    ) -> Result<Node, PromqlError> {
        let symbol = of.op.to_string();
        let Some(operator) = BinaryOperator::from_symbol(&symbol) else {
            return Err(
                self.wrong(span, format_args!("binary expression does not support operator {symbol:?}"))
            );
        };
        let left = self.side(&of.lhs, spread_ms)?;
        let right = self.side(&of.rhs, spread_ms)?;
        let modifier = of.modifier.clone().unwrap_or_default();
        let vectors = [left.kind, right.kind] == [Kind::Vector; 2];
        let scalars = [left.kind, right.kind] == [Kind::Scalar; 2];
        if modifier.return_bool && !compares(operator) {
            return Err(self.wrong(span, "bool modifier can only be used on comparison operators"));
        }
        if compares(operator) && scalars && !modifier.return_bool {
            return Err(self.wrong(span, "comparisons between scalars must use BOOL modifier"));
        }
        if is_of_sets(operator) && !vectors {
            return Err(self.wrong(
                span,
                format_args!("set operator {symbol:?} not allowed in binary scalar expression"),
            ));
        }
        let matching = match vectors {
            true => matching(operator, &modifier),
            false => no_matching(&modifier),
        };
        let matching = matching.map_err(|reason| self.wrong(span, reason))?;
        let kind = if scalars { Kind::Scalar } else { Kind::Vector };
        let invariant = left.invariant && right.invariant;
        let binary = Binary { operator, left, right, matching, returns_bool: modifier.return_bool };
        Ok(Node { kind, operation: Operation::Binary(Box::new(binary)), invariant, span })
    }

    fn side(&mut self, tree: &Expr, spread_ms: i64) -> Result<Node, PromqlError> {
        let reason = "binary expression must contain only scalar and instant vector types";
        let place = self.expression.spans.get(self.next).copied().unwrap_or_default();
        if self.is_range(tree) {
            return Err(self.wrong(place, reason));
        }
        let node = self.node(tree, spread_ms)?;
        if node.kind == Kind::Text { Err(self.wrong(place, reason)) } else { Ok(node) }
    }
}

/// How series of two vectors are matched.
fn matching(operator: BinaryOperator, modifier: &BinModifier) -> Result<Matching, String> {
    let on = modifier.is_matching_on();
    let labels = modifier.matching.as_ref().map_or(&[][..], |of| match of {
        LabelModifier::Include(labels) | LabelModifier::Exclude(labels) => &labels.labels,
    });
    let labels = sorted(labels);
    let fill = Fill { left: modifier.fill_values.lhs, right: modifier.fill_values.rhs };
    let has_fill = fill.left.is_some() || fill.right.is_some();
    let (cardinality, taken) = match &modifier.card {
        VectorMatchCardinality::ManyToOne(labels) => {
            let labels = sorted(&labels.labels);
            (Cardinality::ManyToOne(labels.clone()), labels)
        }
        VectorMatchCardinality::OneToMany(labels) => {
            let labels = sorted(&labels.labels);
            (Cardinality::OneToMany(labels.clone()), labels)
        }
        _ if is_of_sets(operator) => (Cardinality::ManyToMany, Vec::new()),
        _ => (Cardinality::OneToOne, Vec::new()),
    };
    let is_grouped = matches!(cardinality, Cardinality::ManyToOne(_) | Cardinality::OneToMany(_));
    if is_of_sets(operator) && is_grouped {
        return Err("no grouping allowed for set operators".to_owned());
    }
    if is_of_sets(operator) && has_fill {
        return Err("filling in missing series not allowed for set operators".to_owned());
    }
    if let Some(label) = taken.iter().find(|label| on && labels.contains(label)) {
        return Err(format!("label {label:?} must not occur in ON and GROUP clause at once"));
    }
    Ok(Matching { on, labels, cardinality, fill })
}

/// Nothing is matched with a scalar.
fn no_matching(modifier: &BinModifier) -> Result<Matching, String> {
    if modifier.is_matching_labels_not_empty() {
        return Err("vector matching only allowed between instant vectors".to_owned());
    }
    if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
        return Err("filling in missing series only allowed between instant vectors".to_owned());
    }
    Ok(Matching::default())
}

impl BinaryOperator {
    fn from_symbol(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "+" => Self::Add,
            "-" => Self::Sub,
            "*" => Self::Mul,
            "/" => Self::Div,
            "%" => Self::Mod,
            "^" => Self::Pow,
            "atan2" => Self::Atan2,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            ">" => Self::Greater,
            "<" => Self::Less,
            ">=" => Self::GreaterOrEqual,
            "<=" => Self::LessOrEqual,
            "and" => Self::And,
            "or" => Self::Or,
            "unless" => Self::Unless,
            _ => return None,
        })
    }
}

fn compares(operator: BinaryOperator) -> bool {
    use BinaryOperator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    matches!(operator, Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual)
}

fn is_of_sets(operator: BinaryOperator) -> bool {
    matches!(operator, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Unless)
}
