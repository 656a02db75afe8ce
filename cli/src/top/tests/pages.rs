//! Rows that the aggregator searches, sorts and counts.

use super::*;
use crate::top::{
    rows::{of_device_page, of_summary},
    state::{Asked, PAGE_ROWS},
};

/// What an aggregator answers of devices `d0000` to `d1999`, of which each has not been seen for as many seconds.
fn page_of(asked: &Asked) -> Rows {
    let mut all: Vec<(String, i64)> = (0..2_000).map(|number| (format!("d{number:04}"), number)).collect();
    if asked.sort == Sort::Worst {
        all.reverse();
    }
    all.retain(|(device, _)| format!("berlin/gw-1/{device}").contains(&asked.search));
    let found = all.len() as u64;
    let device = |(device, age): (String, i64)| wire::Device {
        site: "berlin".to_owned(),
        gateway: "gw-1".to_owned(),
        device,
        last_seen_ms: NOW - age * 1_000,
        ..Default::default()
    };
    let devices = all.into_iter().skip(asked.offset).take(PAGE_ROWS).map(device).collect();
    of_device_page(wire::DevicePage { devices, found, total: 2_000 }, asked.clone())
}

/// What is on the screen after all that is asked for has come: the first and the last row, and the selected one.
fn settled(state: &mut State) -> [String; 3] {
    let mut answers = 0;
    while state.data().rows.as_ref().and_then(|rows| rows.page.clone()).map(|page| page.asked)
        != Some(state.wanted(20).asked)
    {
        let asked = state.wanted(20).asked;
        state.take(data(View::Devices, page_of(&asked)));
        answers += 1;
        assert!(answers < 3, "it asks for ever other pages");
    }
    let visible = state.wanted(20).visible;
    let name = |key: Option<&Key>| key.and_then(|key| key.last().cloned()).unwrap_or_default();
    let selected = visible.get(state.selected() - state.top);
    [name(visible.first()), name(visible.last()), name(selected)]
}

#[test]
fn a_fleet_of_many_pages_is_walked_like_one_list() {
    let mut state = State::new(View::Devices, "");
    assert_eq!(settled(&mut state), ["d0000", "d0019", "d0000"]);
    assert_eq!((state.total(), state.count()), (Some(2_000), 2_000));
    for number in 1..1_200 {
        key(&mut state, KeyCode::Down);
        assert_eq!(settled(&mut state)[2], format!("d{number:04}"));
    }
    assert_eq!(settled(&mut state), ["d1180", "d1199", "d1199"]);
    for number in (300..1_199).rev() {
        key(&mut state, KeyCode::Up);
        assert_eq!(settled(&mut state)[2], format!("d{number:04}"));
    }
    key(&mut state, KeyCode::End);
    assert_eq!(settled(&mut state), ["d1980", "d1999", "d1999"]);
    key(&mut state, KeyCode::Home);
    assert_eq!(settled(&mut state), ["d0000", "d0019", "d0000"]);
    // Another order begins with its first rows, wherever one was.
    key(&mut state, KeyCode::End);
    settled(&mut state);
    press(&mut state, "s");
    assert_eq!(settled(&mut state), ["d1999", "d1980", "d1999"]);
    // The aggregator's order changes between two answers; the rows of the page keep their places.
    let mut later = page_of(&state.wanted(20).asked);
    later.list.rotate_left(3);
    state.take(data(View::Devices, later));
    assert_eq!(settled(&mut state), ["d1999", "d1980", "d1999"]);
    press(&mut state, "/199");
    assert_eq!(state.count(), 10, "what is here is filtered at once");
    assert_eq!((settled(&mut state), state.count()), (["d1999", "d0199", "d1999"].map(str::to_owned), 12));
    key(&mut state, KeyCode::Esc);
    assert_eq!((settled(&mut state)[0].as_str(), state.count()), ("d1999", 2_000));
    // Fewer devices than there were.
    key(&mut state, KeyCode::End);
    settled(&mut state);
    let asked = state.wanted(20).asked;
    let gone = wire::DevicePage { devices: Vec::new(), found: 7, total: 7 };
    state.take(data(View::Devices, of_device_page(gone, asked)));
    assert_eq!(state.wanted(20).asked.offset, 0);
}

#[test]
fn ends_of_certificates_are_short_and_mark_their_rows() {
    let row = |after_s: i64| {
        let certificate_expires_s = if after_s == 0 { 0 } else { NOW / 1_000 + after_s };
        let rows = of_device_page(
            wire::DevicePage {
                devices: vec![wire::Device { certificate_expires_s, ..Default::default() }],
                ..Default::default()
            },
            Asked::default(),
        );
        (rows.list[0].cells(NOW)[1].clone(), rows.list[0].is_problem(NOW))
    };
    let day = 86_400;
    assert_eq!(row(0), ("-".to_owned(), false));
    assert_eq!((row(-5), row(12 * day)), (("ended".to_owned(), true), ("12d".to_owned(), true)));
    assert_eq!(row(31 * day), ("31d".to_owned(), false));
}

#[test]
fn a_device_that_moved_is_not_the_worst_where_it_was() {
    let device = |gateway: &str, name: &str, age_s: i64| wire::Device {
        site: "berlin".to_owned(),
        gateway: gateway.to_owned(),
        device: name.to_owned(),
        last_seen_ms: NOW - age_s * 1_000,
        certificate_expires_s: 1,
        ..Default::default()
    };
    // Of an aggregator that does not mark it.
    let mut collector = Collector::default();
    for one in [device("left", "press", 9_000), device("new", "press", 2), device("new", "oven", 70)] {
        assert!(collector.device(one));
    }
    let mut state = State::new(View::Devices, "");
    state.take(data(View::Devices, collector.finish()));
    press(&mut state, "s");
    let shown =
        state.shown().map(|row| (row.key[1].as_str(), row.cells(NOW)[0].clone(), row.is_problem(NOW)));
    let shown: Vec<_> = shown.collect();
    let expected = [("new", "1m", true), ("new", "2s", true), ("left", "moved", false)];
    assert_eq!(shown, expected.map(|(gateway, seen, ill)| (gateway, seen.to_owned(), ill)));
}

#[test]
fn sites_are_counted_by_the_aggregator() {
    let site = |site: &str, gateways, down, retired, lag_ms| wire::SiteSummary {
        site: site.to_owned(),
        gateways,
        down,
        retired,
        devices: 3,
        series: 9,
        lag_ms,
        ..Default::default()
    };
    let sites = vec![
        site("oslo", 1, 1, 0, Some(100)),
        site("berlin", 3, 0, 1, Some(70_000)),
        site("lyon", 1, 0, 0, None),
        site("rome", 1, 0, 1, None),
    ];
    let rows = of_summary(&wire::FleetSummary { sites, sites_total: 5, ..Default::default() });
    let cells: Vec<Vec<String>> = rows.list.iter().map(|row| row.cells(NOW)).collect();
    let expected = [
        ["2/2", "1m", "3", "9"],
        ["1/1", "never", "3", "9"],
        ["0/1", "0s", "3", "9"],
        ["0/0", "0s", "3", "9"],
    ];
    assert_eq!((cells, rows.cut), (expected.map(|row| row.map(str::to_owned).to_vec()).to_vec(), true));
}
