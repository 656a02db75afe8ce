//! Lists of aggregates on the command line: names separated by commas, some with arguments in parentheses.

use std::convert::Infallible;

use catchment_aggregator::query::characters;

/// Aggregates of one `--agg`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AggregateList(pub Vec<String>);

impl AggregateList {
    /// Splits at the commas outside of parentheses and quotation marks. Names are trimmed; empty ones are left out. The
    /// aggregator knows which names there are.
    ///
    /// # Errors
    /// Never.
    pub fn parse(text: &str) -> Result<Self, Infallible> {
        let mut names = vec![String::new()];
        for (_, character, outside) in characters(text) {
            match (names.last_mut(), character) {
                (_, ',') if outside => names.push(String::new()),
                (Some(name), character) => name.push(character),
                (None, _) => {}
            }
        }
        let names = names.iter().map(|name| name.trim().to_owned());
        Ok(Self(names.filter(|name| !name.is_empty()).collect()))
    }
}

/// Whether an aggregate is computed of two others.
pub fn is_arithmetic(aggregate: &str) -> bool {
    characters(aggregate).any(|(_, character, outside)| outside && matches!(character, '+' | '-' | '*' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_outside_of_arguments_are_arithmetic() {
        for text in ["sum/count", "p99 - p50", "below(-5)*count", "mean+time_in(\"a)\")"] {
            assert!(is_arithmetic(text), "{text}");
        }
        for text in ["sum", "below(-5)", "time_in(\"a)/b\")", "p99.9"] {
            assert!(!is_arithmetic(text), "{text}");
        }
    }

    #[test]
    fn commas_in_arguments_do_not_split() {
        for (text, names) in [
            ("", &[][..]),
            ("count", &["count"]),
            (" p99, ,count,", &["p99", "count"]),
            ("histogram(1,2, 3),mean", &["histogram(1,2, 3)", "mean"]),
            (
                r#"time_in("a,b)"),time_in("\"),"),last"#,
                &[r#"time_in("a,b)")"#, r#"time_in("\"),")"#, "last"],
            ),
            (r"time_in(a\),count", &[r"time_in(a\)", "count"]),
            // Refused by the aggregator.
            ("below(1,count", &["below(1,count"]),
            ("below)1),count", &["below)1)", "count"]),
            ("\"count,sum", &["\"count,sum"]),
        ] {
            assert_eq!(AggregateList::parse(text).unwrap().0, names, "{text}");
        }
    }
}
