//! Words of a text, with their places.

use crate::error::{PromqlError, Span};

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A metric, label, function or keyword.
    Name,
    /// A number or a duration; not `Inf` and `NaN`, which are names here.
    Number,
    /// A text in quotes of any kind.
    Text,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    Comma,
    /// Between range and step of a subquery.
    Colon,
    At,
    /// Operators of expressions and of matchers, except those that are names.
    Operator,
}

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) what: What,
    pub(crate) span: Span,
}

impl Token {
    /// The word as it was written.
    pub(crate) fn of(self, text: &str) -> &str {
        text.get(self.span.from..self.span.to).unwrap_or_default()
    }

    /// Whether it is this bracket or operator.
    pub(crate) fn is(self, text: &str, symbol: &str) -> bool {
        !matches!(self.what, What::Text) && self.of(text) == symbol
    }

    /// Whether it is one of these keywords, in whatever case.
    pub(crate) fn is_keyword(self, text: &str, keywords: &[&str]) -> bool {
        self.what == What::Name && keywords.iter().any(|known| known.eq_ignore_ascii_case(self.of(text)))
    }
}

/// The words of a text, without spaces and comments.
///
/// # Errors
/// A text without an end, an unknown escape sequence, or a character that begins no word.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, PromqlError> {
    let mut tokens = Vec::new();
    let mut open = Vec::new();
    let mut from = 0;
    while let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) {
        if let Some(length) = gap(rest) {
            from += length;
            continue;
        }
        let inside = open.last().copied();
        let (what, length) = word(rest, inside)
            .map_err(|reason| PromqlError::syntax(text, Span { from, to: text.len() }, reason))?;
        match what {
            What::Open => open.push(rest.chars().next().unwrap_or_default()),
            What::Close => drop(open.pop()),
            _ => {}
        }
        tokens.push(Token { what, span: Span { from, to: from + length } });
        from += length;
    }
    Ok(tokens)
}

/// Length of spaces, or of a comment, that the text begins with.
fn gap(text: &str) -> Option<usize> {
    let length = match text.strip_prefix('#') {
        Some(comment) => 1 + comment.find(['\r', '\n']).unwrap_or(comment.len()),
        None => text.len() - text.trim_start_matches(|c: char| c.is_ascii_whitespace()).len(),
    };
    (length > 0).then_some(length)
}

/// The word at the beginning of a text and its length; `inside` is the innermost open bracket.
fn word(text: &str, inside: Option<char>) -> Result<(What, usize), String> {
    let mut characters = text.chars();
    let first = characters.next().unwrap_or_default();
    let second = characters.next();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':' && inside != Some('[');
    let of_name = || text.find(|c| !is_name(c)).unwrap_or(text.len());
    Ok(match first {
        '"' | '\'' | '`' => (What::Text, quoted(text, first)?),
        '(' | '[' | '{' => (What::Open, 1),
        ')' | ']' | '}' => (What::Close, 1),
        ',' => (What::Comma, 1),
        '@' => (What::At, 1),
        '=' | '!' if second == Some('~') => (What::Operator, 2),
        '=' | '!' | '<' | '>' if second == Some('=') => (What::Operator, 2),
        '=' | '<' | '>' | '+' | '-' | '*' | '/' | '%' | '^' => (What::Operator, 1),
        ':' if inside == Some('[') => (What::Colon, 1),
        '.' if second.is_some_and(|c| c.is_ascii_digit()) => (What::Number, number(text)),
        _ if first.is_ascii_digit() => (What::Number, number(text)),
        _ if is_name(first) => (What::Name, of_name()),
        other => return Err(format!("unexpected character: {other:?}")),
    })
}

/// Length of the quoted text at the beginning.
fn quoted(text: &str, quote: char) -> Result<usize, String> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Ok(at + quote.len_utf8());
        }
        if character == '\\' && quote != '`' {
            match characters.next() {
                Some((_, escaped)) if escaped.is_ascii() => {}
                Some((_, other)) => return Err(format!("unknown escape sequence {other:?}")),
                None => break,
            }
        }
    }
    let kind = if quote == '`' { "raw" } else { "quoted" };
    Err(format!("unterminated {kind} string"))
}

/// Length of the number or duration at the beginning; whether it is one, the parser knows.
fn number(text: &str) -> usize {
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let mut last = ' ';
    for (at, character) in text.char_indices() {
        let is_sign = !is_hex && "eE".contains(last) && "+-".contains(character);
        let before = text.get(..at.saturating_sub(1)).unwrap_or_default();
        let is_exponent = is_sign && before.chars().all(|c| c.is_ascii_digit() || c == '.');
        if !(character.is_ascii_alphanumeric() || character == '.' || character == '_' || is_exponent) {
            return at;
        }
        last = character;
    }
    text.len()
}
