//! Warnings and notes that come with an answer.

use std::collections::BTreeSet;

/// Most of each kind that an answer carries, as in Prometheus; then the number of those left out.
const SHOWN_MAX: usize = 10;
/// Most of each kind that are remembered; further ones are counted.
const KEPT_MAX: usize = 1_000;

/// Warnings and notes, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
    more_warnings: usize,
    more_infos: usize,
}

impl Annotations {
    /// The answer may be wrong or incomplete.
    pub fn warn(&mut self, text: impl Into<String>) {
        add(&mut self.warnings, &mut self.more_warnings, text.into());
    }

    /// The answer is right, but maybe not what was meant.
    pub fn inform(&mut self, text: impl Into<String>) {
        add(&mut self.infos, &mut self.more_infos, text.into());
    }

    /// The warnings to be shown.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        shown(&self.warnings, self.more_warnings, "warning annotations omitted")
    }

    /// The notes to be shown.
    #[must_use]
    pub fn infos(&self) -> Vec<String> {
        shown(&self.infos, self.more_infos, "info annotations omitted")
    }
}

fn add(texts: &mut BTreeSet<String>, more: &mut usize, text: String) {
    if texts.len() < KEPT_MAX || texts.contains(&text) {
        texts.insert(text);
    } else {
        *more += 1;
    }
}

fn shown(texts: &BTreeSet<String>, more: usize, what: &str) -> Vec<String> {
    let mut shown: Vec<String> = texts.iter().take(SHOWN_MAX).cloned().collect();
    let left = (texts.len() + more).saturating_sub(SHOWN_MAX);
    if left > 0 {
        shown.push(format!("{left} more {what}"));
    }
    shown
}
