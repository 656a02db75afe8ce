//! Finds where a text stops being PromQL: the library's parser only says that it does.

use super::token::{Token, What};
use crate::error::{PromqlError, Span};

/// Names that bind two operands.
const BINDING: [&str; 4] = ["and", "or", "unless", "atan2"];
/// Names before a list of labels or a value, between an operator and its right operand.
const MATCHING: [&str; 7] =
    ["on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right"];
/// Names that the parser does not take for metrics.
const RESERVED: [&str; 10] =
    ["anchored", "atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on", "smoothed"];
/// Modifiers of ranges that have no answer here.
const EXTENDED: [&str; 2] = ["anchored", "smoothed"];

/// An error that says which word is out of place, if one is.
pub(crate) fn unexpected(text: &str, tokens: &[Token]) -> Option<PromqlError> {
    let mut walk = Walk { text, tokens, at: 0, open: 0, wants_operand: true, may_be_called: false };
    if tokens.is_empty() {
        return Some(PromqlError::bad("parse error: no expression found in input"));
    }
    while let Some(token) = tokens.get(walk.at).copied() {
        let at = walk.at;
        let is_extended = token.is_keyword(text, &EXTENDED) && !walk.wants_operand;
        if walk.step(token) {
            continue;
        }
        if let Some(error) = reserved(text, tokens, at).filter(|_| !is_extended) {
            return Some(error);
        }
        // After these, the next word is the wrong one.
        let is_modifier = token.what == What::At || token.is_keyword(text, &["offset"]);
        let wrong = if is_modifier { tokens.get(walk.at).copied() } else { Some(token) };
        let end = Span { from: text.len(), to: text.len() };
        return Some(match wrong {
            Some(wrong) => walk.refuse(wrong),
            None => PromqlError::syntax(text, end, "unexpected end of input"),
        });
    }
    if walk.wants_operand || walk.open > 0 {
        let last = tokens.len().checked_sub(1).and_then(|last| reserved(text, tokens, last));
        let end = Span { from: text.len(), to: text.len() };
        let reason = if walk.wants_operand { "unexpected end of input" } else { "unclosed left parenthesis" };
        return Some(last.unwrap_or_else(|| PromqlError::syntax(text, end, reason)));
    }
    None
}

/// Whether a word, or the one before it, is a keyword that was meant as a metric.
fn reserved(text: &str, tokens: &[Token], at: usize) -> Option<PromqlError> {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before)).copied();
    let keyword = [before, tokens.get(at).copied()];
    let keyword = keyword.into_iter().flatten().find(|token| token.is_keyword(text, &RESERVED))?;
    let name = keyword.of(text);
    Some(PromqlError::syntax(
        text,
        keyword.span,
        format_args!(
            "unexpected {name:?}, a keyword: a metric of that name is written {{__name__={name:?}}}"
        ),
    ))
}

/// Whether an operand or an operator may follow.
struct Walk<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
    /// Open parentheses.
    open: usize,
    wants_operand: bool,
    /// After a name: parentheses or braces may follow.
    may_be_called: bool,
}

impl Walk<'_> {
    /// Takes a word, and those that belong to it; `false`: it is out of place.
    fn step(&mut self, token: Token) -> bool {
        let is_after_open = self.at.checked_sub(1).and_then(|before| self.tokens.get(before));
        let is_after_open = is_after_open.is_some_and(|before| before.is(self.text, "("));
        let may_be_called = std::mem::take(&mut self.may_be_called);
        self.at += 1;
        match token.what {
            What::Close if token.is(self.text, ")") && self.open > 0 => {
                let is_right = !self.wants_operand || is_after_open;
                self.open -= 1;
                self.wants_operand = false;
                // Grouping may follow: it is a name, and skipped with its labels.
                is_right
            }
            _ if self.wants_operand => self.operand(token),
            What::Open if token.is(self.text, "[") => self.skip("]"),
            What::Open if token.is(self.text, "{") => may_be_called && self.skip("}"),
            What::Open => {
                self.open += 1;
                self.wants_operand = true;
                may_be_called
            }
            What::Comma => {
                self.wants_operand = true;
                self.open > 0
            }
            What::At => self.number() || self.boundary(),
            What::Operator => {
                self.wants_operand = true;
                !["=", "=~", "!~"].contains(&token.of(self.text))
            }
            What::Name => self.between(token),
            What::Close | What::Colon | What::Number | What::Text => false,
        }
    }

    fn operand(&mut self, token: Token) -> bool {
        match token.what {
            What::Operator => ["+", "-"].contains(&token.of(self.text)),
            What::Name if token.is_keyword(self.text, &["bool"]) => true,
            What::Name if token.is_keyword(self.text, &MATCHING) && self.next_is("(") => self.skip(")"),
            What::Name if token.is_keyword(self.text, &["group_left", "group_right"]) => true,
            What::Open if token.is(self.text, "(") => {
                self.open += 1;
                true
            }
            What::Open => {
                self.wants_operand = false;
                token.is(self.text, "{") && self.skip("}")
            }
            What::Name | What::Number | What::Text => {
                self.wants_operand = false;
                self.may_be_called = token.what == What::Name;
                !token.is_keyword(self.text, &["on", "ignoring", "atan2", "anchored", "smoothed"])
            }
            What::Close | What::Comma | What::Colon | What::At => false,
        }
    }

    /// A name where an operator may stand.
    fn between(&mut self, token: Token) -> bool {
        if token.is_keyword(self.text, &BINDING) {
            self.wants_operand = true;
            return true;
        }
        if token.is_keyword(self.text, &["offset"]) {
            return self.number();
        }
        self.may_be_called = true;
        token.is_keyword(self.text, &["by", "without"]) && self.next_is("(") && self.skip(")")
    }

    fn next_is(&self, symbol: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|next| next.is(self.text, symbol))
    }

    /// Skips words until a bracket, which must come.
    fn skip(&mut self, until: &str) -> bool {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let found = rest.iter().position(|token| token.is(self.text, until));
        self.at += found.map_or(rest.len(), |found| found + 1);
        found.is_some()
    }

    /// A number, with its sign.
    fn number(&mut self) -> bool {
        while self.next_is("+") || self.next_is("-") {
            self.at += 1;
        }
        let next = self.tokens.get(self.at);
        let is_number =
            next.is_some_and(|next| next.what == What::Number || next.is_keyword(self.text, &["inf", "nan"]));
        self.at += usize::from(is_number);
        is_number
    }

    /// `start()` or `end()`.
    fn boundary(&mut self) -> bool {
        let name = self.tokens.get(self.at).filter(|next| next.is_keyword(self.text, &["start", "end"]));
        self.at += usize::from(name.is_some());
        name.is_some() && self.next_is("(") && self.skip(")")
    }

    /// Says that a word is out of place.
    fn refuse(&self, token: Token) -> PromqlError {
        let word = token.of(self.text);
        if token.is_keyword(self.text, &EXTENDED) {
            let reason = format_args!(
                "{word} is not supported: increase and rate extrapolate to the ends of the range"
            );
            return PromqlError::at(self.text, token.span, reason);
        }
        let before = self.text.get(..token.span.from).unwrap_or_default();
        if word == "/" && before.ends_with(['<', '>']) {
            let reason =
                "</ and >/ are not supported: take histogram_fraction for the share below or above a value";
            return PromqlError::at(self.text, token.span, reason);
        }
        let reason = match token.what {
            What::Name => "unexpected identifier",
            What::Number => "unexpected number",
            What::Text => "unexpected string",
            What::Open if word != "(" => "unclosed",
            _ => "unexpected",
        };
        let quoted: String = word.chars().take(100).collect();
        PromqlError::syntax(self.text, token.span, format_args!("{reason} {quoted:?}"))
    }
}
