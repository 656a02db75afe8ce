use catchment_partial::{Timestamp, Width, Window};
use catchment_proto::{GatewayId, Labels, MetricName, Name, SeriesKey, SharedSeries};

use super::*;
use crate::store::GatewayEpoch;

fn epoch(id: u64, created_ms: i64, shards: u32) -> GatewayEpoch {
    let gateway = GatewayId { site: Name::new("s").unwrap(), name: Name::new("g").unwrap() };
    GatewayEpoch { gateway, id, created_ms, shards, run: 0, previous_runs: Default::default() }
}

fn key(metric: &str) -> SharedSeries {
    let (device, metric) = (Name::new("d").unwrap(), MetricName::new(metric).unwrap());
    SeriesKey { device, metric, labels: Labels::none() }.into()
}

fn window() -> Window {
    Window::containing(Timestamp::from_nanos(0), Width::from_millis(10_000).unwrap())
}

#[test]
fn series_and_gateways_are_listed_in_pages_each_once() {
    let mut catalog = Catalog::default();
    let gateway = {
        let number = catalog.intern_epoch(&epoch(1, 1, 1));
        catalog.epoch(number).unwrap().gateway
    };
    for number in 0..3_000 {
        catalog.intern_series(gateway, &key(&format!("m{number}")), window(), true).unwrap();
    }
    // Whole groups are gone, and parts of a group.
    for id in (640..1_300).chain([5, 2_999]) {
        catalog.remove_series(id);
    }
    let (mut next, mut found, mut pages) = (Some(0), Vec::new(), 0);
    while let Some(from) = next {
        let page = catalog.entries_from(from);
        assert!(page.entries.len() <= SERIES_A_PAGE + 32, "{}", page.entries.len());
        found.extend(page.entries.into_iter().map(|entry| number_of(entry.id)));
        (next, pages) = (page.next, pages + 1);
    }
    let expected: Vec<u32> =
        (0..3_000).filter(|id| !(640..1_300).contains(id) && ![5, 2_999].contains(id)).collect();
    assert_eq!(found, expected);
    assert!(pages > 3);
    // From the middle of a group.
    assert_eq!(catalog.entries_from(70).entries[0].id.number(), 70);
    assert!(catalog.entries_from(1_000_000).entries.is_empty());

    for number in 0..1_200 {
        let mut other = epoch(1, 1, 1);
        other.gateway.name = Name::new(&format!("g{number}")).unwrap();
        catalog.intern_epoch(&other);
    }
    let (mut next, mut found) = (Some(0), 0);
    while let Some(from) = next {
        let page = catalog.gateway_entries_from(from);
        assert!(page.entries.len() <= GATEWAYS_A_PAGE);
        (next, found) = (page.next, found + page.entries.len());
    }
    assert_eq!(found, catalog.gateways.len());
}

#[test]
fn the_open_epochs_of_a_gateway_are_those_that_have_a_stream() {
    let mut catalog = Catalog::default();
    let epochs: Vec<GatewayEpoch> = (0..60)
        .map(|number| {
            let mut epoch = epoch(number, number as i64 % 7, 1);
            epoch.gateway.name = Name::new(&format!("g{}", number % 5)).unwrap();
            epoch
        })
        .collect();
    for step in 0..600_usize {
        let epoch = &epochs[step * 37 % epochs.len()];
        match step * 31 % 11 {
            0..4 => catalog.begin(epoch),
            4..7 => catalog.end(epoch),
            // Also one that had a stream before it delivered.
            _ => drop(catalog.intern_epoch(epoch)),
        }
        let known = catalog.epochs.iter().zip(0..).filter(|(state, _)| state.open);
        let expected: Vec<(u32, u32)> = known.map(|(state, number)| (state.gateway, number)).collect();
        let mut found: Vec<(u32, u32)> = catalog.open.iter().copied().collect();
        found.sort_by_key(|(_, number)| *number);
        assert_eq!(found, expected, "step {step}");
    }
    assert!(!catalog.open.is_empty() && catalog.epochs.len() > 40);
}
