//! A pattern of the configuration: its levels, and the rules that it keeps whatever its payload is.

use hashbrown::HashSet;

/// Longest pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// Most levels of a pattern; it bounds how deep its tree is.
pub const PATTERN_LEVELS_MAX: usize = 64;

/// One level of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level<'p> {
    /// This text.
    Literal(&'p str),
    /// `{name}`.
    Placeholder(&'p str),
    /// `+`.
    One,
    /// `#`, the last level.
    Rest,
}

/// A pattern cut into its levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern<'p> {
    pub(super) levels: Vec<Level<'p>>,
}

impl<'p> Pattern<'p> {
    /// Cuts a pattern; the error says what is wrong.
    pub(super) fn parse(text: &'p str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a topic has at least one character".to_owned());
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("{} bytes, at most {PATTERN_BYTES_MAX} are allowed", text.len()));
        }
        let count = text.split('/').count();
        if count > PATTERN_LEVELS_MAX {
            return Err(format!("{count} levels, at most {PATTERN_LEVELS_MAX} are allowed"));
        }
        let levels = text.split('/').map(level).collect::<Result<Vec<_>, _>>()?;
        let rest = levels.iter().position(|level| *level == Level::Rest);
        if rest.is_some_and(|at| at + 1 < count) {
            return Err("# is the last level or none".to_owned());
        }
        let pattern = Self { levels };
        let mut seen = HashSet::new();
        if let Some((_, name)) = pattern.placeholders().find(|(_, name)| !seen.insert(*name)) {
            return Err(format!("{{{name}}} is given twice"));
        }
        Ok(pattern)
    }

    /// The placeholders, each with the index of its level.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = (usize, &'p str)> {
        self.levels.iter().enumerate().filter_map(|(at, level)| match level {
            Level::Placeholder(name) => Some((at, *name)),
            _ => None,
        })
    }

    pub(super) fn is_literal(&self) -> bool {
        self.levels.iter().all(|level| matches!(level, Level::Literal(_)))
    }

    /// Equal for patterns that match the same topics.
    pub(super) fn shape(&self) -> String {
        let levels = self.levels.iter().map(|level| match level {
            Level::Literal(text) => *text,
            Level::Placeholder(_) | Level::One => "+",
            Level::Rest => "#",
        });
        levels.collect::<Vec<_>>().join("/")
    }
}

fn level(text: &str) -> Result<Level<'_>, String> {
    match text {
        "+" => return Ok(Level::One),
        "#" => return Ok(Level::Rest),
        _ => {}
    }
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'))
        && !name.contains(['{', '}', '+', '#'])
    {
        return Ok(Level::Placeholder(name));
    }
    if let Some(wrong) = text.chars().find(|c| matches!(c, '+' | '#' | '{' | '}')) {
        return Err(format!("level {text:?}: {wrong} has its meaning only when it is all of a level"));
    }
    if text.contains('\0') {
        return Err("no topic holds a character NUL".to_owned());
    }
    Ok(Level::Literal(text))
}
