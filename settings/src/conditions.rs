//! What keeps a server from its work now, by name: `/readyz` and the metrics show it.
//!
//! A condition is raised by the code that meets it and cleared by the same code when it is over. Names are fixed texts
//! of the program, so their number is bounded. A server knows its conditions from the start ([`Conditions::of`]), so
//! that each has its metric, at 0, before it is met for the first time.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What a condition means for `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// No work should be sent here: `/readyz` fails.
    Unready,
    /// The server does its work, an operator should look: only the metric shows it.
    Notice,
}

/// A condition that a server may meet.
#[derive(Clone, Copy, Debug)]
pub struct KnownCondition {
    /// Its name, in the metric's label and at `/readyz`.
    pub name: &'static str,
    /// What it means for `/readyz`.
    pub severity: Severity,
}

/// Conditions that hold now, each with its reason. Share it in an `Arc`.
#[derive(Debug, Default)]
pub struct Conditions {
    known: &'static [KnownCondition],
    held: Mutex<BTreeMap<&'static str, String>>,
}

impl Conditions {
    /// None of these holds yet. A name that is not among them may be raised all the same: it makes unready.
    pub fn of(known: &'static [KnownCondition]) -> Self {
        Self { known, held: Mutex::default() }
    }

    /// A condition holds, with its reason and what to do; or with `None`, it is over. Answers whether that is news, so
    /// that the caller logs it once.
    pub fn set(&self, name: &'static str, reason: Option<String>) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => held.insert(name, reason).is_none(),
            None => held.remove(name).is_some(),
        }
    }

    /// As [`Self::set`], and logs what is news: a warning when it begins, a line when it is over.
    pub fn report(&self, name: &'static str, reason: Option<String>) {
        let text = reason.clone();
        match (self.set(name, reason), text) {
            (true, Some(reason)) => tracing::warn!(condition = name, "{reason}"),
            (true, None) => tracing::info!(condition = name, "this condition is over"),
            (false, _) => {}
        }
    }

    /// The conditions that hold, with their reasons, in the order of their names.
    pub fn list(&self) -> Vec<(&'static str, String)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(name, reason)| (*name, reason.clone())).collect()
    }

    /// Every condition that is known or holds, and whether it holds, in the order of their names: for the metrics.
    pub fn states(&self) -> Vec<(&'static str, bool)> {
        let mut states: BTreeMap<_, _> = self.known.iter().map(|known| (known.name, false)).collect();
        states.extend(self.list().into_iter().map(|(name, _)| (name, true)));
        states.into_iter().collect()
    }

    /// For `/readyz`.
    ///
    /// # Errors
    /// All conditions that hold and make unready, one a line.
    pub fn ready(&self) -> Result<(), String> {
        let lines: Vec<String> = self
            .list()
            .into_iter()
            .filter(|(name, _)| self.severity(name) == Severity::Unready)
            .map(|(name, reason)| format!("{name}: {reason}"))
            .collect();
        if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
    }

    fn severity(&self, name: &str) -> Severity {
        let known = self.known.iter().find(|known| known.name == name);
        known.map_or(Severity::Unready, |known| known.severity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_that_holds_is_named_once() {
        let conditions = Conditions::default();
        assert_eq!(conditions.ready(), Ok(()));
        assert!(conditions.set("disk_full", Some("no space".to_owned())));
        assert!(!conditions.set("disk_full", Some("3 bytes free".to_owned())), "no news");
        assert!(conditions.set("connections_full", Some("all 5 places are taken".to_owned())));
        assert_eq!(
            conditions.ready().unwrap_err(),
            "connections_full: all 5 places are taken\ndisk_full: 3 bytes free"
        );
        assert!(conditions.set("disk_full", None));
        assert!(!conditions.set("disk_full", None));
        assert_eq!(conditions.list().len(), 1);
    }

    #[test]
    fn known_conditions_are_there_from_the_start_and_a_notice_does_not_make_unready() {
        const KNOWN: [KnownCondition; 2] = [
            KnownCondition { name: "disk_full", severity: Severity::Unready },
            KnownCondition { name: "uplink_down", severity: Severity::Notice },
        ];
        let conditions = Conditions::of(&KNOWN);
        assert_eq!(conditions.states(), [("disk_full", false), ("uplink_down", false)]);
        conditions.report("uplink_down", Some("no stream for 60 s".to_owned()));
        assert_eq!(conditions.states(), [("disk_full", false), ("uplink_down", true)]);
        assert_eq!(conditions.ready(), Ok(()));
        // A name that nobody announced counts as the worse.
        conditions.report("folder_gone", Some("the data folder was removed".to_owned()));
        assert_eq!(conditions.ready().unwrap_err(), "folder_gone: the data folder was removed");
        assert!(conditions.states().contains(&("folder_gone", true)));
    }
}
