//! Prints an expression as Prometheus' `format_query` does.

use std::fmt::Write;

use promql_parser::parser::{
    AggregateExpr, AtModifier, BinModifier, Expr, LabelModifier, Offset, VectorMatchCardinality,
    VectorSelector,
};

use crate::{
    guard::duration,
    parse::Expression,
    plan::{offset_ms, time_ms},
};

/// Longest line that is not split, bytes.
const LINE_BYTES_MAX: usize = 100;

/// The expression, formatted: one line, or indented lines where it is long. It parses to the same plan.
#[must_use]
pub fn format(expression: &Expression) -> String {
    Printer { expression, line_bytes_max: LINE_BYTES_MAX }.pretty(&expression.tree, 0)
}

struct Printer<'e> {
    expression: &'e Expression,
    line_bytes_max: usize,
}

impl Printer<'_> {
    /// Indented lines.
    fn pretty(&self, tree: &Expr, level: usize) -> String {
        let line = self.line(tree);
        let indent = "  ".repeat(level);
        let is_short = line.len() <= self.line_bytes_max;
        match tree {
            Expr::Unary(of) => format!("{indent}-{}", self.pretty(&of.expr, level).trim()),
            // As in Prometheus, a short subquery is not indented.
            Expr::Subquery(_) if is_short => line,
            Expr::Subquery(of) => {
                let suffix = line.strip_prefix(&self.line(&of.expr)).unwrap_or_default().to_owned();
                self.pretty(&of.expr, level) + &suffix
            }
            Expr::Aggregate(of) if !is_short => {
                let mut printed = format!("{indent}{}(\n", aggregation(of));
                if let Some(parameter) = &of.param {
                    printed += &format!("{},\n", self.pretty(parameter, level + 1));
                }
                printed + &format!("{}\n{indent})", self.pretty(&of.expr, level + 1))
            }
            Expr::Binary(of) if !is_short => format!(
                "{}\n{indent}{}{}\n{}",
                self.pretty(&of.lhs, level + 1),
                of.op,
                matching(of.modifier.as_ref()),
                self.pretty(&of.rhs, level + 1)
            ),
            Expr::Call(of) if !is_short => {
                let arguments: Vec<_> = of.args.args.iter().map(|of| self.pretty(of, level + 1)).collect();
                format!("{indent}{}(\n{}\n{indent})", of.func.name, arguments.join(",\n"))
            }
            Expr::Paren(of) if !is_short => {
                format!("{indent}(\n{}\n{indent})", self.pretty(&of.expr, level + 1))
            }
            _ => indent + &line,
        }
    }

    /// One line.
    fn line(&self, tree: &Expr) -> String {
        let mut line = String::new();
        self.push(&mut line, tree);
        line
    }

    fn push(&self, line: &mut String, tree: &Expr) {
        match tree {
            Expr::NumberLiteral(of) => line.push_str(&number(of.val)),
            Expr::StringLiteral(of) => line.push_str(&quoted(&of.val)),
            Expr::Paren(of) => {
                line.push('(');
                self.push(line, &of.expr);
                line.push(')');
            }
            Expr::Unary(of) => {
                line.push('-');
                self.push(line, &of.expr);
            }
            Expr::Binary(of) => {
                self.push(line, &of.lhs);
                line.push_str(&format!(" {}{} ", of.op, matching(of.modifier.as_ref())));
                self.push(line, &of.rhs);
            }
            Expr::Call(of) => {
                line.push_str(of.func.name);
                line.push('(');
                self.push_all(line, of.args.args.iter().map(|of| &**of));
                line.push(')');
            }
            Expr::Aggregate(of) => {
                line.push_str(&aggregation(of));
                line.push('(');
                self.push_all(line, of.param.as_deref().into_iter().chain([&*of.expr]));
                line.push(')');
            }
            Expr::VectorSelector(of) => {
                line.push_str(&self.selector(of));
                line.push_str(&times(of.at.as_ref(), of.offset.as_ref()));
            }
            Expr::MatrixSelector(of) => {
                line.push_str(&self.selector(&of.vs));
                line.push_str(&format!("[{}]", length(of.range)));
                line.push_str(&times(of.vs.at.as_ref(), of.vs.offset.as_ref()));
            }
            Expr::Subquery(of) => {
                self.push(line, &of.expr);
                let step = of.step.map(length).unwrap_or_default();
                line.push_str(&format!("[{}:{step}]", length(of.range)));
                line.push_str(&times(of.at.as_ref(), of.offset.as_ref()));
            }
            Expr::Extension(_) => {}
        }
    }

    fn push_all<'t>(&self, line: &mut String, trees: impl Iterator<Item = &'t Expr>) {
        for (index, tree) in trees.enumerate() {
            line.push_str(if index > 0 { ", " } else { "" });
            self.push(line, tree);
        }
    }

    /// A metric and its sorted matchers.
    fn selector(&self, of: &VectorSelector) -> String {
        let name = of.name.as_deref().unwrap_or_default();
        let conditions = of.matchers.matchers.iter();
        let conditions = conditions.filter_map(|of| Some((&of.name, self.expression.condition(of)?)));
        let matchers = conditions
            .map(|(name, of)| format!("{}{}{}", label(name), of.comparison.symbol(), quoted(&of.value)));
        let mut matchers: Vec<_> = matchers.collect();
        matchers.sort();
        if matchers.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", matchers.join(",")) }
    }
}

fn aggregation(of: &AggregateExpr) -> String {
    match &of.modifier {
        Some(LabelModifier::Exclude(names)) => format!("{} without ({}) ", of.op, labels(&names.labels)),
        Some(LabelModifier::Include(names)) if !names.is_empty() => {
            format!("{} by ({}) ", of.op, labels(&names.labels))
        }
        _ => of.op.to_string(),
    }
}

/// What stands after an operator, with a space before it.
fn matching(modifier: Option<&BinModifier>) -> String {
    let mut printed = String::new();
    let Some(modifier) = modifier else { return printed };
    if modifier.return_bool {
        printed += " bool";
    }
    let group = match &modifier.card {
        VectorMatchCardinality::ManyToOne(names) => Some(("left", &names.labels)),
        VectorMatchCardinality::OneToMany(names) => Some(("right", &names.labels)),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => None,
    };
    match &modifier.matching {
        Some(LabelModifier::Include(names)) => printed += &format!(" on ({})", labels(&names.labels)),
        Some(LabelModifier::Exclude(names)) if !names.is_empty() || group.is_some() => {
            printed += &format!(" ignoring ({})", labels(&names.labels));
        }
        _ => {}
    }
    if let Some((side, names)) = group {
        printed += &format!(" group_{side} ({})", labels(names));
    }
    let fill = &modifier.fill_values;
    match (fill.lhs, fill.rhs) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
            printed += &format!(" fill ({})", number(left));
        }
        (left, right) => {
            for (side, value) in [("left", left), ("right", right)] {
                if let Some(value) = value {
                    printed += &format!(" fill_{side} ({})", number(value));
                }
            }
        }
    }
    printed
}

/// `@` and `offset`, each with a space before it.
fn times(at: Option<&AtModifier>, offset: Option<&Offset>) -> String {
    let mut printed = match at {
        None => String::new(),
        Some(AtModifier::Start) => " @ start()".to_owned(),
        Some(AtModifier::End) => " @ end()".to_owned(),
        Some(AtModifier::At(time)) => {
            let ms = time_ms(*time);
            let sign = if ms < 0 { "-" } else { "" };
            format!(" @ {sign}{}.{:03}", ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000)
        }
    };
    let offset = offset_ms(offset);
    if offset != 0 {
        let sign = if offset < 0 { "-" } else { "" };
        printed += &format!(" offset {sign}{}", duration::printed(offset.unsigned_abs()));
    }
    printed
}

fn length(of: std::time::Duration) -> String {
    duration::printed(u64::try_from(of.as_millis()).unwrap_or(u64::MAX))
}

/// A number as Go prints it by default: with an exponent of two digits at least below 1e-4 and from 1e21 on.
fn number(number: f64) -> String {
    let magnitude = number.abs();
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if number.is_nan() || magnitude == 0.0 || (1e-4..1e21).contains(&magnitude) {
        return number.to_string();
    }
    with_exponent(number)
}

/// A finite number with an exponent of its sign and two digits at least, as Go prints it: `1e-07`, `1.5e+21`.
#[must_use]
pub fn with_exponent(number: f64) -> String {
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

fn labels(names: &[String]) -> String {
    names.iter().map(|name| label(name)).collect::<Vec<_>>().join(", ")
}

/// A label's name, in quotes unless it is a plain one.
fn label(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.chars().all(is_plain) { name.to_owned() } else { quoted(name) }
}

/// A text in double quotes, as Go prints it.
fn quoted(text: &str) -> String {
    let mut printed = String::with_capacity(text.len() + 2);
    printed.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => printed.extend(['\\', character]),
            '\x07' => printed.push_str("\\a"),
            '\x08' => printed.push_str("\\b"),
            '\x0c' => printed.push_str("\\f"),
            '\n' => printed.push_str("\\n"),
            '\r' => printed.push_str("\\r"),
            '\t' => printed.push_str("\\t"),
            '\x0b' => printed.push_str("\\v"),
            // Writing to a string does not fail.
            control if control.is_control() && control.is_ascii() => {
                let _ = write!(printed, "\\x{:02x}", u32::from(control));
            }
            control if control.is_control() => {
                let _ = write!(printed, "\\u{:04x}", u32::from(control));
            }
            other => printed.push(other),
        }
    }
    printed.push('"');
    printed
}

#[cfg(test)]
pub(crate) mod tests;
