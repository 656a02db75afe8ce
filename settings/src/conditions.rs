//! Named conditions that currently keep a server from working; shown by `/readyz` and the metrics.
//!
//! The code that detects a condition raises it and clears it when it ends. Names are constants of the program, so their
//! number is bounded. A server registers its conditions at start ([`Conditions::of`]), so that each has its metric, at
//! 0, before it first occurs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Effect of a condition on `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The server should get no work: `/readyz` fails.
    Unready,
    /// The server works, but an operator should look: `/readyz` names it and does not fail.
    Notice,
}

/// A condition that may occur in a server.
#[derive(Clone, Copy, Debug)]
pub struct KnownCondition {
    /// Its name, in the metric's label and in `/readyz`.
    pub name: &'static str,
    /// Its effect on `/readyz`.
    pub severity: Severity,
}

/// The active conditions, each with its reason. Share it in an `Arc`.
#[derive(Debug, Default)]
pub struct Conditions {
    known: &'static [KnownCondition],
    held: Mutex<BTreeMap<&'static str, String>>,
}

impl Conditions {
    /// Registers known conditions, all inactive. Other names may be raised too; they count as [`Severity::Unready`].
    pub fn of(known: &'static [KnownCondition]) -> Self {
        Self { known, held: Mutex::default() }
    }

    /// Raises a condition with its reason and what to do, or clears it with `None`. Returns whether that changed its
    /// state, so that the caller logs it once.
    pub fn set(&self, name: &'static str, reason: Option<String>) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => held.insert(name, reason).is_none(),
            None => held.remove(name).is_some(),
        }
    }

    /// Like [`Self::set`], but also logs changes: a warning when the condition begins, an info line when it ends.
    pub fn report(&self, name: &'static str, reason: Option<String>) {
        let text = reason.clone();
        match (self.set(name, reason), text) {
            (true, Some(reason)) => tracing::warn!(condition = name, "{reason}"),
            (true, None) => tracing::info!(condition = name, "this condition has ended"),
            (false, _) => {}
        }
    }

    /// The active conditions with their reasons, sorted by name.
    pub fn list(&self) -> Vec<(&'static str, String)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(name, reason)| (*name, reason.clone())).collect()
    }

    /// Every known or active condition, and whether it is active, sorted by name; for the metrics.
    pub fn states(&self) -> Vec<(&'static str, bool)> {
        let mut states: BTreeMap<_, _> = self.known.iter().map(|known| (known.name, false)).collect();
        states.extend(self.list().into_iter().map(|(name, _)| (name, true)));
        states.into_iter().collect()
    }

    /// The result for `/readyz`.
    ///
    /// # Errors
    /// All active conditions that make the server unready, one per line.
    pub fn ready(&self) -> Result<(), String> {
        let lines = self.lines(Severity::Unready);
        if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
    }

    /// All active conditions that leave the server ready, one per line; empty if there is none.
    pub fn notices(&self) -> String {
        self.lines(Severity::Notice).join("\n")
    }

    fn lines(&self, severity: Severity) -> Vec<String> {
        let held = self.list().into_iter().filter(|(name, _)| self.severity(name) == severity);
        held.map(|(name, reason)| format!("{name}: {reason}")).collect()
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
    fn every_active_condition_is_named_once() {
        let conditions = Conditions::default();
        assert_eq!(conditions.ready(), Ok(()));
        assert!(conditions.set("disk_full", Some("no space".to_owned())));
        assert!(!conditions.set("disk_full", Some("3 bytes free".to_owned())), "no news");
        assert!(conditions.set("connections_full", Some("all 5 slots are in use".to_owned())));
        assert_eq!(
            conditions.ready().unwrap_err(),
            "connections_full: all 5 slots are in use\ndisk_full: 3 bytes free"
        );
        assert!(conditions.set("disk_full", None));
        assert!(!conditions.set("disk_full", None));
        assert_eq!(conditions.list().len(), 1);
    }

    #[test]
    fn known_conditions_are_listed_from_the_start_and_a_notice_does_not_make_unready() {
        const KNOWN: [KnownCondition; 2] = [
            KnownCondition { name: "disk_full", severity: Severity::Unready },
            KnownCondition { name: "uplink_down", severity: Severity::Notice },
        ];
        let conditions = Conditions::of(&KNOWN);
        assert_eq!(conditions.states(), [("disk_full", false), ("uplink_down", false)]);
        conditions.report("uplink_down", Some("no stream for 60 s".to_owned()));
        assert_eq!(conditions.states(), [("disk_full", false), ("uplink_down", true)]);
        assert_eq!(conditions.ready(), Ok(()));
        // An unregistered name counts as the worse severity.
        conditions.report("folder_gone", Some("the data folder was removed".to_owned()));
        assert_eq!(conditions.ready().unwrap_err(), "folder_gone: the data folder was removed");
        assert!(conditions.states().contains(&("folder_gone", true)));
    }
}
