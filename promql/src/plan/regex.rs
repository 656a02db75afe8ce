//! Regular expressions as Prometheus means them: written for Go's RE2, matched by Rust's crate.
//!
//! In Go, `\d`, `\w`, `\s` and `\b` are of ASCII, a brace that begins no repetition is a brace, `\Q…\E` quotes and sets in
//! brackets know no operators.

use std::{iter::Peekable, str::Chars};

use ::regex::{Error, Regex, RegexBuilder};

/// Most bytes of a compiled regular expression: this limits the cost of matching a series.
pub(super) const COMPILED_BYTES_MAX: usize = 256 << 10;
/// Most bytes of all of an expression together.
pub(super) const ALL_COMPILED_BYTES_MAX: usize = 1 << 20;
/// What each may have however many there are: a small one.
const COMPILED_BYTES_MIN: usize = 4 << 10;

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r"\t\n\f\r ";
/// Names of sets in `[:…:]`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// A regular expression that matches whole values only.
///
/// # Errors
/// Why it is none, or that it is too large.
pub(crate) fn whole(pattern: &str, bytes_max: usize) -> Result<Regex, String> {
    let bytes_max = bytes_max.max(COMPILED_BYTES_MIN);
    let translated = translated(pattern)?;
    let mut builder = RegexBuilder::new(&format!("\\A(?s:{translated})\\z"));
    builder.size_limit(bytes_max).dfa_size_limit(bytes_max).build().map_err(|error| match error {
        Error::CompiledTooBig(_) => "it is too large".to_owned(),
        other => readable(&other.to_string()),
    })
}

/// The library's message as one line, without its drawing.
fn readable(message: &str) -> String {
    let last = message.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown error");
    last.strip_prefix("error: ").unwrap_or(last).chars().take(300).collect()
}

/// The pattern for Rust's crate.
fn translated(pattern: &str) -> Result<String, String> {
    let mut translation =
        Translation { written: String::with_capacity(pattern.len() + 16), rest: pattern.chars().peekable() };
    let mut groups = 0_usize;
    while let Some(character) = translation.rest.next() {
        // Balanced, so that one like `a)|(b` cannot break out of the group that anchors it.
        groups = match character {
            '(' => groups + 1,
            ')' => groups.checked_sub(1).ok_or("unexpected )")?,
            _ => groups,
        };
        match character {
            '\\' => translation.escape()?,
            '[' => translation.set()?,
            '(' => translation.group()?,
            '{' => translation.brace(),
            other => translation.written.push(other),
        }
    }
    if groups > 0 { Err("missing closing )".to_owned()) } else { Ok(translation.written) }
}

struct Translation<'p> {
    written: String,
    rest: Peekable<Chars<'p>>,
}

/// What an item of a set is.
enum Item {
    /// One character.
    One(char),
    /// Several, written for Rust.
    Several(String),
}

impl Translation<'_> {
    fn next_is(&mut self, character: char) -> bool {
        self.rest.next_if_eq(&character).is_some()
    }

    fn literal(&mut self, character: char) {
        self.written.push_str(&::regex::escape(character.encode_utf8(&mut [0; 4])));
    }

    /// An escape sequence outside a set.
    fn escape(&mut self) -> Result<(), String> {
        let Some(escaped) = self.rest.peek().copied() else { return Err("trailing backslash".to_owned()) };
        let simple = match escaped {
            'b' => r"(?-u:\b)",
            // Rust has no ASCII form of this one for texts.
            'B' => r"\B",
            'A' => r"\A",
            'z' => r"\z",
            'Q' => {
                self.rest.next();
                self.quotation();
                return Ok(());
            }
            _ => "",
        };
        if !simple.is_empty() {
            self.rest.next();
            self.written.push_str(simple);
            return Ok(());
        }
        match self.escaped()? {
            Item::One(character) => self.literal(character),
            Item::Several(set) => {
                self.written.push('[');
                self.written.push_str(&set);
                self.written.push(']');
            }
        }
        Ok(())
    }

    /// What stands for itself until `\E`.
    fn quotation(&mut self) {
        while let Some(character) = self.rest.next() {
            if character == '\\' && self.next_is('E') {
                return;
            }
            self.literal(character);
        }
    }

    /// What follows a backslash and means the same within and without a set.
    fn escaped(&mut self) -> Result<Item, String> {
        let several = |set: &str| Ok(Item::Several(set.to_owned()));
        let Some(escaped) = self.rest.next() else { return Err("trailing backslash".to_owned()) };
        match escaped {
            'd' => several(DIGIT),
            'w' => several(WORD),
            's' => several(SPACE),
            'D' => several("[^0-9]"),
            'W' => several("[^0-9A-Za-z_]"),
            'S' => several(r"[^\t\n\f\r ]"),
            'p' | 'P' => self.category(escaped),
            'a' => Ok(Item::One('\x07')),
            'f' => Ok(Item::One('\x0c')),
            'n' => Ok(Item::One('\n')),
            'r' => Ok(Item::One('\r')),
            't' => Ok(Item::One('\t')),
            'v' => Ok(Item::One('\x0b')),
            'x' => self.hexadecimal(),
            '0' => self.octal(0, 2),
            '1'..='7' if self.rest.peek().is_some_and(|next| ('0'..='7').contains(next)) => {
                self.octal(escaped.to_digit(8).unwrap_or_default(), 2)
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Ok(Item::One(other)),
            other => Err(format!("invalid escape sequence: `\\{other}`")),
        }
    }

    /// `\pL` or `\p{Greek}`.
    fn category(&mut self, kind: char) -> Result<Item, String> {
        let mut name = String::new();
        if self.next_is('{') {
            while let Some(character) = self.rest.next_if(|next| *next != '}') {
                name.push(character);
            }
            if !self.next_is('}') {
                return Err("invalid character class range".to_owned());
            }
        } else {
            name.extend(self.rest.next());
        }
        // Go knows no properties with values.
        let is_name =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '^');
        let (is_negated, name) = match name.strip_prefix('^') {
            Some(rest) => (kind == 'p', rest),
            None => (kind == 'P', name.as_str()),
        };
        let kind = if is_negated { 'P' } else { 'p' };
        let any = if is_negated { "[^\\x{0}-\\x{10FFFF}]" } else { "\\x{0}-\\x{10FFFF}" };
        match name {
            "Any" => Ok(Item::Several(any.to_owned())),
            _ if is_name => Ok(Item::Several(format!("\\{kind}{{{name}}}"))),
            _ => Err(format!("invalid character class range: `{name}`")),
        }
    }

    fn hexadecimal(&mut self) -> Result<Item, String> {
        let is_braced = self.next_is('{');
        let mut digits = String::new();
        let most = if is_braced { 6 } else { 2 };
        while digits.len() < most {
            let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) else { break };
            digits.push(digit);
        }
        let is_closed = if is_braced { self.next_is('}') } else { digits.len() == 2 };
        let character = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
        match character {
            Some(character) if is_closed => Ok(Item::One(character)),
            _ => Err("invalid escape sequence: `\\x`".to_owned()),
        }
    }

    fn octal(&mut self, first: u32, most: usize) -> Result<Item, String> {
        let mut value = first;
        for _ in 0..most {
            let Some(digit) = self.rest.next_if(|next| ('0'..='7').contains(next)) else { break };
            value = value * 8 + digit.to_digit(8).unwrap_or_default();
        }
        char::from_u32(value).map(Item::One).ok_or_else(|| "invalid escape sequence".to_owned())
    }

    /// `(?flags)` and `(?flags:`: Rust knows more flags than Go.
    fn group(&mut self) -> Result<(), String> {
        self.written.push('(');
        if !self.next_is('?') {
            return Ok(());
        }
        self.written.push('?');
        while let Some(flag) = self.rest.next_if(|next| next.is_ascii_alphabetic() || *next == '-') {
            if flag == 'P' && self.rest.peek() == Some(&'<') {
                self.written.push(flag);
                break;
            }
            if !"imsU-".contains(flag) {
                return Err(format!("invalid or unsupported Perl syntax: `(?{flag}`"));
            }
            self.written.push(flag);
        }
        Ok(())
    }

    /// A brace that begins no repetition is one.
    fn brace(&mut self) {
        let mut repetition = String::new();
        for character in self.rest.clone() {
            repetition.push(character);
            if character == '}' || repetition.len() > 9 {
                break;
            }
        }
        let counts = repetition.strip_suffix('}').unwrap_or_default();
        let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
        let is_number = |digits: &str| digits.chars().all(|c| c.is_ascii_digit());
        let is_repetition = !least.is_empty() && is_number(least) && is_number(most);
        self.written.push_str(if is_repetition { "{" } else { r"\{" });
    }

    /// A set in brackets.
    fn set(&mut self) -> Result<(), String> {
        let unclosed = || Err("missing closing ]".to_owned());
        self.written.push('[');
        if self.next_is('^') {
            self.written.push('^');
        }
        let mut is_first = true;
        loop {
            let Some(next) = self.rest.peek().copied() else { return unclosed() };
            if next == ']' && !is_first {
                self.rest.next();
                self.written.push(']');
                return Ok(());
            }
            is_first = false;
            let low = match self.item()? {
                Item::One(low) => low,
                Item::Several(set) => {
                    self.written.push_str(&set);
                    continue;
                }
            };
            self.member(low);
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|next| next != ']');
            if is_range {
                self.rest.next();
                let Item::One(high) = self.item()? else {
                    return Err("invalid character class range".to_owned());
                };
                self.written.push('-');
                self.member(high);
            }
        }
    }

    /// A member of a set, none of which is an operator.
    fn member(&mut self, character: char) {
        if character.is_ascii() && !character.is_ascii_alphanumeric() {
            let code = u32::from(character);
            self.written.push_str(&format!("\\x{code:02x}"));
        } else {
            self.written.push(character);
        }
    }

    fn item(&mut self) -> Result<Item, String> {
        match self.rest.next() {
            None => Err("missing closing ]".to_owned()),
            Some('\\') => self.escaped(),
            Some('[') if self.rest.peek() == Some(&':') => Ok(self.posix()?.unwrap_or(Item::One('['))),
            Some(other) => Ok(Item::One(other)),
        }
    }

    /// A named set; `None`: a bracket is meant.
    fn posix(&mut self) -> Result<Option<Item>, String> {
        let mut name = String::new();
        let mut ahead = self.rest.clone();
        ahead.next();
        for character in ahead {
            if name.ends_with(':') && character == ']' {
                let bare = name.trim_end_matches(':');
                if !POSIX.contains(&bare.trim_start_matches('^')) {
                    return Err(format!("invalid character class range: `[:{bare}:]`"));
                }
                let written = format!("[:{bare}:]");
                // The bracket was taken already.
                self.rest.nth(written.len() - 2);
                return Ok(Some(Item::Several(written)));
            }
            if name.len() > 10 {
                break;
            }
            name.push(character);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
