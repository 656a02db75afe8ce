//! Devices that moved to another gateway of their site, in lists of an aggregator that is too old to say so.

use std::collections::HashMap;

/// Of devices, each a site, a gateway, a device and when it was seen last, in the same order: whether another gateway of the
/// site saw it later. Of equal times, one counts as later.
pub(crate) fn moved<'a>(seen: impl Iterator<Item = (&'a str, &'a str, &'a str, i64)> + Clone) -> Vec<bool> {
    let mut newest: HashMap<(&str, &str), (i64, &str)> = HashMap::new();
    for (site, gateway, device, last_ms) in seen.clone() {
        let last = newest.entry((site, device)).or_insert((last_ms, gateway));
        *last = (*last).max((last_ms, gateway));
    }
    let is_elsewhere = |(site, gateway, device, _): (&str, &str, &str, i64)| {
        newest.get(&(site, device)).is_some_and(|(_, name)| *name != gateway)
    };
    seen.map(is_elsewhere).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_where_it_was_seen_last() {
        let seen = [
            ("rome", "a", "press", 5),
            ("rome", "b", "press", 9),
            ("rome", "c", "press", 9),
            ("rome", "a", "oven", 1),
            ("oslo", "a", "press", 1),
        ];
        assert_eq!(moved(seen.into_iter()), [true, true, false, false, false]);
        assert!(moved(std::iter::empty()).is_empty());
    }
}
