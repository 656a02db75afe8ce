//! The order of texts with numbers in them, for `sort_by_label`: `a9` comes before `a10`.

use std::cmp::Ordering;

/// Compares runs of digits as numbers, and what is between them as text.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        match (run(left), run(right)) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((a, rest_a)), Some((b, rest_b))) => {
                let order = compare_runs(a, b);
                if order.is_ne() {
                    return order;
                }
                (left, right) = (rest_a, rest_b);
            }
        }
    }
}

/// The digits, or the other characters, at the beginning, and the rest.
fn run(text: &str) -> Option<(&str, &str)> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(run, _)| !run.is_empty())
}

fn compare_runs(a: &str, b: &str) -> Ordering {
    let is_number = |run: &str| run.starts_with(|c: char| c.is_ascii_digit());
    if is_number(a) && is_number(b) {
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        return a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    }
    a.cmp(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["a10", "a9", "a", "b1", "10", "9", "a9b", "a010c", "é2", "é10", ""];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["", "9", "10", "a", "a9", "a9b", "a10", "a010c", "b1", "é2", "é10"]);
    }
}
