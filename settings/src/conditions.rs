//! What keeps a server from its work now, by name: `/readyz` and the metrics show it.
//!
//! A condition is raised by whoever meets it and cleared by the same code when it is over. Names are fixed texts of the
//! program, so their number is bounded.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Conditions that hold now, each with its reason. Share it in an `Arc`.
#[derive(Debug, Default)]
pub struct Conditions(Mutex<BTreeMap<&'static str, String>>);

impl Conditions {
    /// A condition holds, with its reason and what to do; or with `None`, it is over. Answers whether that is news, so
    /// that the caller logs it once.
    pub fn set(&self, name: &'static str, reason: Option<String>) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => held.insert(name, reason).is_none(),
            None => held.remove(name).is_some(),
        }
    }

    /// The conditions that hold, with their reasons, in the order of their names.
    pub fn list(&self) -> Vec<(&'static str, String)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(name, reason)| (*name, reason.clone())).collect()
    }

    /// For `/readyz`.
    ///
    /// # Errors
    /// All conditions that hold, one a line.
    pub fn ready(&self) -> Result<(), String> {
        let held = self.list();
        if held.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = held.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        Err(lines.join("\n"))
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
}
