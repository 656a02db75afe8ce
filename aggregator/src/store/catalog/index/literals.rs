//! Texts that a regular expression requires.

use memchr::memmem::Finder;
use regex_syntax::hir::{Hir, HirKind};

/// Texts that every value has that an expression matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Literals {
    /// At its beginning; may be empty.
    pub(super) prefix: Vec<u8>,
    /// At its end; may be empty.
    pub(super) suffix: Vec<u8>,
    /// Anywhere after the prefix: the longest one.
    pub(super) inner: Option<Box<Finder<'static>>>,
}

impl Literals {
    /// Those of an expression that matches from the beginning of a value on.
    pub(super) fn of(pattern: &str) -> Self {
        let mut found = Found::default();
        if let Ok(hir) = regex_syntax::parse(pattern) {
            found.visit(&hir);
        }
        let inner = (!found.inner.is_empty()).then(|| Box::new(Finder::new(&found.inner).into_owned()));
        Self { prefix: found.prefix, suffix: found.suffix, inner }
    }
}

#[derive(Default)]
struct Found {
    prefix: Vec<u8>,
    inner: Vec<u8>,
    /// What the pieces so far end with.
    suffix: Vec<u8>,
    /// Something other than literal text may precede.
    after_prefix: bool,
}

impl Found {
    /// Takes the next piece of a sequence. The library bounds the depth.
    fn visit(&mut self, piece: &Hir) {
        match piece.kind() {
            // They match no text.
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => {
                self.suffix.extend_from_slice(&literal.0);
                if !self.after_prefix {
                    self.prefix.extend_from_slice(&literal.0);
                } else if literal.0.len() > self.inner.len() {
                    self.inner = literal.0.to_vec();
                }
            }
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Concat(pieces) => pieces.iter().for_each(|piece| self.visit(piece)),
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                self.after_prefix = true;
                // The last repetition may follow another one.
                self.suffix.clear();
                self.visit(&repetition.sub);
            }
            HirKind::Repetition(_) | HirKind::Class(_) | HirKind::Alternation(_) => {
                self.after_prefix = true;
                self.suffix.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_texts_are_found() {
        for (pattern, prefix, inner, suffix) in [
            ("press-1.*", "press-1", "", ""),
            ("press-.*777", "press-", "777", "777"),
            (".*a.*bcd(ef)?", "", "bcd", ""),
            ("(press)-(1)x*yy", "press-1", "yy", "yy"),
            ("(ab)+c", "", "ab", "abc"),
            ("x(ab)+", "x", "ab", "ab"),
            ("x(ya*b)+", "x", "y", "b"),
            ("(ab)*c", "", "c", "c"),
            ("(ab){0,2}", "", "", ""),
            ("ab|cd", "", "", ""),
            (".*(ab|cd)e", "", "e", "e"),
            ("abc", "abc", "", "abc"),
            ("(?i)ab", "", "", ""),
            ("a?b", "", "b", "b"),
            ("ab?", "a", "", ""),
            (r"\ba\b", "a", "", "a"),
            (".*é+", "", "é", "é"),
            ("", "", "", ""),
        ] {
            let literals = Literals::of(&format!("\\A(?s:{pattern})\\z"));
            let inner_found = literals.inner.map(|finder| finder.needle().to_vec()).unwrap_or_default();
            let found =
                [literals.prefix, inner_found, literals.suffix].map(|text| String::from_utf8(text).unwrap());
            assert_eq!(found, [prefix, inner, suffix], "{pattern}");
        }
    }
}
