//! Damage of tables as it is told: each place once until the next start, however often it is read.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::store::{embedded::locks::lock, tables::error::TableError};

/// Most places that are told; more are counted.
const PLACES_MAX: usize = 1_000;

/// The places that were told, by what they cost.
#[derive(Debug, Default)]
pub(in crate::store) struct Reported {
    places: Mutex<HashSet<u64>>,
    count: AtomicU64,
}

impl Reported {
    /// Counts a failed read. Logs it with its consequence the first time for this place and consequence.
    pub(in crate::store) fn report(&self, error: &TableError, consequence: &'static str) {
        if !error.is_refusal() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        match self.first(error, consequence) {
            None => {}
            Some(left) => {
                tracing::error!(%error, "stored rows cannot be read: {consequence}; told once until the next start");
                if left == 0 {
                    tracing::error!(
                        "further damage is only counted: `catchment-aggregator store verify` lists all"
                    );
                }
            }
        }
    }

    /// How many further places may be told if this one was not yet told; `None`: it is not to be told.
    pub(in crate::store) fn first(&self, error: &TableError, consequence: &'static str) -> Option<usize> {
        let mut hasher = DefaultHasher::new();
        (error.to_string(), consequence).hash(&mut hasher);
        let mut places = lock(&self.places);
        let new = places.len() < PLACES_MAX && places.insert(hasher.finish());
        new.then(|| PLACES_MAX - places.len())
    }

    /// Reads that failed because rows are damaged.
    pub(in crate::store) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_place_is_told_once_and_their_number_is_bounded() {
        let reported = Reported::default();
        let error = |block| TableError::damaged(Path::new("/t"), Some(block), "its checksum differs");
        assert_eq!(reported.first(&error(0), "a"), Some(PLACES_MAX - 1));
        assert_eq!(reported.first(&error(0), "a"), None);
        assert!(reported.first(&error(0), "b").is_some() && reported.first(&error(1), "a").is_some());
        let told = (0..5_000).filter(|block| reported.first(&error(*block), "a").is_some()).count();
        assert_eq!(told, PLACES_MAX - 3);
        (0..3).for_each(|_| reported.report(&error(9_999), "a"));
        assert_eq!(reported.count(), 3);
    }
}
