//! Texts that a regular expression requires.

use memchr::memmem::Finder;
use regex_syntax::hir::{Hir, HirKind};

/// Texts that every value has that an expression matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Literals {
    /// At its beginning; may be empty.
    pub(super) prefix: Vec<u8>,
    /// Anywhere after it: the longest one.
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
        Self { prefix: found.prefix, inner }
    }
}

#[derive(Default)]
struct Found {
    prefix: Vec<u8>,
    inner: Vec<u8>,
    /// Something other than literal text may precede.
    after_prefix: bool,
}

impl Found {
    /// Takes the next piece of a sequence. The library bounds the depth.
    fn visit(&mut self, piece: &Hir) {
        match piece.kind() {
            // They match no text.
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) if !self.after_prefix => self.prefix.extend_from_slice(&literal.0),
            HirKind::Literal(literal) if literal.0.len() > self.inner.len() => {
                self.inner = literal.0.to_vec();
            }
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Concat(pieces) => pieces.iter().for_each(|piece| self.visit(piece)),
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                self.after_prefix = true;
                self.visit(&repetition.sub);
            }
            HirKind::Literal(_) | HirKind::Repetition(_) | HirKind::Class(_) | HirKind::Alternation(_) => {
                self.after_prefix = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_texts_are_found() {
        for (pattern, prefix, inner) in [
            ("press-1.*", "press-1", ""),
            ("press-.*777", "press-", "777"),
            (".*a.*bcd(ef)?", "", "bcd"),
            ("(press)-(1)x*yy", "press-1", "yy"),
            ("(ab)+c", "", "ab"),
            ("(ab)*c", "", "c"),
            ("(ab){0,2}", "", ""),
            ("ab|cd", "", ""),
            ("(?i)ab", "", ""),
            ("a?b", "", "b"),
            (r"\ba\b", "a", ""),
            (".*é+", "", "é"),
            ("", "", ""),
        ] {
            let literals = Literals::of(&format!("\\A(?s:{pattern})\\z"));
            let inner_found = literals.inner.map(|finder| finder.needle().to_vec()).unwrap_or_default();
            let found =
                (String::from_utf8(literals.prefix).unwrap(), String::from_utf8(inner_found).unwrap());
            assert_eq!(found, (prefix.to_owned(), inner.to_owned()), "{pattern}");
        }
    }
}
