//! Makes foreign text safe to display: a terminal, a spreadsheet and a log show it, but do not interpret it.

/// Replaces characters that are not shown.
pub const REPLACEMENT: char = '\u{fffd}';

/// Whether a character affects its display: control characters, line separators, and marks that change the writing
/// direction or are invisible. Joiners of letters (U+200C, U+200D) are not included.
pub fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text with [`REPLACEMENT`] in place of each unprintable character.
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if is_unprintable(character) { REPLACEMENT } else { character }).collect()
}

/// The lines of a text joined by `; `, made [`printable`].
pub fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    printable(&lines.join("; "))
}

/// Levenshtein distance: the number of characters to insert, remove or replace to turn one text into the other. Its
/// cost is the product of the lengths, so callers must bound both.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((above, b), diagonal) in row.iter().skip(1).zip(&b).zip(&row) {
            let left = next.last().copied().unwrap_or(usize::MAX - 1);
            next.push((above + 1).min(left + 1).min(diagonal + usize::from(a != *b)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unprintable_characters_are_replaced() {
        assert_eq!(
            printable("a\u{202e}b\u{7}c\u{9b}31m\u{feff}d\u{2066}é日"),
            "a\u{fffd}b\u{fffd}c\u{fffd}31m\u{fffd}d\u{fffd}é日"
        );
        assert_eq!(
            printable("a\u{200b}b\u{ad}c\u{2060}d\u{e0041}e\u{200d}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{200d}"
        );
        assert_eq!(one_line("a\n  b\n\nc\u{1b}[31m"), "a; b; c\u{fffd}[31m");
    }

    #[test]
    fn distances_count_changed_characters() {
        for (a, b, letters) in
            [("", "", 0), ("abc", "", 3), ("abc", "abc", 0), ("abc", "axc", 1), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), letters, "{a} {b}");
        }
    }
}
