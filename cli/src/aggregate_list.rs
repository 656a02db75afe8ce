//! Lists of aggregates on the command line: names separated by commas, some with arguments in parentheses.

use std::convert::Infallible;

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
        let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
        for character in text.chars() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth = depth.saturating_sub(1),
                ',' if !quoted && depth == 0 => {
                    names.push(String::new());
                    continue;
                }
                _ => {}
            }
            if let Some(name) = names.last_mut() {
                name.push(character);
            }
        }
        let names = names.iter().map(|name| name.trim().to_owned());
        Ok(Self(names.filter(|name| !name.is_empty()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
