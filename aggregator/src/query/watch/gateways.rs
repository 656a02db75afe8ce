//! The gateways that hold the series of a query, and when these had windows: what completeness depends on.

use std::collections::HashMap;

use catchment_proto::GatewayId;

/// Gateways by number.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    numbers: HashMap<GatewayId, u32>,
    held: Vec<(GatewayId, Held)>,
}

/// Starts of windows of the series of a gateway, Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    first: i64,
    /// The last one that was not in the future when it came.
    past: Option<i64>,
    /// The last one.
    last: i64,
}

impl Held {
    fn extend(&mut self, (first, last): (i64, i64), now_ms: i64) {
        self.first = self.first.min(first);
        self.last = self.last.max(last);
        if last <= now_ms {
            self.past = Some(self.past.map_or(last, |past| past.max(last)));
        }
    }
}

impl Gateways {
    /// Adds a series of a gateway, whose first and last window start at these times; returns the gateway's number.
    pub(super) fn add(&mut self, gateway: &GatewayId, (first, last): (i64, i64), now_ms: i64) -> u32 {
        if let Some(number) = self.numbers.get(gateway).copied() {
            if let Some((_, held)) = self.held.get_mut(number as usize) {
                held.extend((first, last), now_ms);
            }
            return number;
        }
        let number = self.held.len() as u32;
        let past = Some(last).filter(|last| *last <= now_ms);
        self.numbers.insert(gateway.clone(), number);
        self.held.push((gateway.clone(), Held { first, past, last }));
        number
    }

    /// Notes windows of a series of a gateway, those that start in [from, to).
    pub(super) fn extend(&mut self, number: u32, (from_ms, to_ms): (i64, i64), now_ms: i64) {
        if let Some((_, held)) = self.held.get_mut(number as usize) {
            held.extend((from_ms, to_ms.saturating_sub(1).max(from_ms)), now_ms);
        }
    }

    /// The gateways, each with the first and the last window of its series: up to now, and in all.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&GatewayId, impl IntoIterator<Item = (i64, i64)>)> {
        self.held.iter().map(|(gateway, Held { first, past, last })| {
            let past = past.map(|past| (*first, past));
            (gateway, past.into_iter().chain([(*first, *last)]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gateway;

    #[test]
    fn windows_of_the_future_do_not_hide_those_of_now() {
        let mut gateways = Gateways::default();
        let (a, b) = (gateway("berlin", "a"), gateway("berlin", "b"));
        assert_eq!((gateways.add(&a, (10, 20), 100), gateways.add(&b, (500, 900), 100)), (0, 1));
        assert_eq!(gateways.add(&a, (5, 900), 100), 0);
        gateways.extend(0, (40, 51), 100);
        gateways.extend(7, (0, 1), 100);
        let known: Vec<_> =
            gateways.iter().map(|(id, spans)| (id, spans.into_iter().collect::<Vec<_>>())).collect();
        assert_eq!(known, [(&a, vec![(5, 50), (5, 900)]), (&b, vec![(500, 900)])]);
    }
}
