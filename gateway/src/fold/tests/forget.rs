//! What is forgotten, what is not, and that nobody gets what was another's.

use super::*;

fn at_time(running_s: u32) -> Entry {
    Entry::Forget(ForgetEntry { running_s, ..ForgetEntry::default() })
}

fn forget(devices: &[u32], series: &[(u32, u32)]) -> Entry {
    let (series_device, series) = series.iter().copied().unzip();
    Entry::Forget(ForgetEntry { devices: devices.to_vec(), series_device, series, ..ForgetEntry::default() })
}

fn device(index: u32, name: &str) -> Entry {
    Entry::Device(DeviceEntry { index, name: name.into() })
}

fn index_of(state: &State, name: &str) -> Option<u32> {
    state.device(&Name::new(name).unwrap())
}

/// What a search over all devices lists.
fn found(state: &State, before: u32, held: u32) -> (Vec<u32>, Vec<(u32, u32)>, Vec<String>) {
    let mut entry = ForgetEntry::default();
    let search = Search { from: 0, before, touch: 0, scan_max: usize::MAX, list_max: usize::MAX };
    assert_eq!(state.search(&search, |device| device == held, &mut entry), None);
    (entry.devices, entry.series_device.into_iter().zip(entry.series).collect(), entry.client)
}

#[test]
fn what_was_not_used_for_long_is_found() {
    let (mut state, at) = introduced(4, 2);
    let client =
        |id: &str| Entry::Client(ClientEntry { device: 2, client: id.into(), forget: false, keep: true });
    state.apply(at, &client("old")).unwrap();
    state.apply(at + 1, &at_time(100)).unwrap();
    // Device 0 has an open window; of device 1 one series is used, of device 2 one client; device 3 is not used.
    state.apply(at + 2, &intake(1, 1, &[(1, 5, 1.0)])).unwrap();
    state.apply(at + 3, &close(&state, 10, 0, false, 100)).unwrap();
    state.apply(at + 4, &client("new")).unwrap();
    let mut early = state.clone();
    early.running = 0;
    early.apply(at + 5, &intake(0, 1, &[(0, 15, 1.0)])).unwrap();
    early.running = 100;
    let all_series = vec![(1, 0), (2, 0), (2, 1)];
    assert_eq!(found(&early, 100, 9), (vec![3], [vec![(0, 1)], all_series].concat(), vec!["old".into()]));
    assert_eq!(found(&early, 100, 2), (vec![3], vec![(0, 1), (1, 0)], vec![]), "what is held stays");
    assert_eq!(found(&early, 0, 9), (vec![], vec![], vec![]));
    let mut again = State::decode(&early.encode()).unwrap();
    assert_eq!(found(&again, 100, 9), found(&early, 100, 9));
    let (client_device, client) = (vec![2], vec!["old".to_owned()]);
    let entry = ForgetEntry { client_device, client, ..ForgetEntry::default() };
    again.apply(at + 6, &Entry::Forget(entry)).unwrap();
    assert!(again.client(2, "old").is_none() && again.client(2, "new").is_some());
}

#[test]
fn what_is_held_is_written_down_as_used() {
    let (mut state, at) = introduced(3, 1);
    let client = Entry::Client(ClientEntry { device: 1, client: "c".into(), forget: false, keep: true });
    state.apply(at, &client).unwrap();
    state.apply(at + 1, &at_time(100)).unwrap();
    state.apply(at + 2, &intake(1, 1, &[(0, 5, 1.0)])).unwrap();
    let touched = |state: &State, touch| {
        let mut entry = ForgetEntry::default();
        let search = Search { from: 0, before: 0, touch, scan_max: usize::MAX, list_max: usize::MAX };
        state.search(&search, |device| device < 2, &mut entry);
        entry
    };
    assert!(touched(&state, 0).used.is_empty());
    let entry = touched(&state, 100);
    assert_eq!((entry.used.as_slice(), entry.is_empty()), (&[0, 1][..], false));
    state.apply(at + 3, &Entry::Forget(entry)).unwrap();
    assert!(touched(&state, 100).used.is_empty());
    assert!(touched(&State::decode(&state.encode()).unwrap(), 100).used.is_empty());
}

#[test]
fn a_search_goes_on_where_it_was() {
    let (mut state, at) = introduced(7, 5);
    state.apply(at, &at_time(50)).unwrap();
    state.apply(at + 1, &intake(3, 1, &[(4, 5, 1.0)])).unwrap();
    let (mut from, mut devices, mut series) = (Some(0), Vec::new(), Vec::new());
    while let Some(next) = from {
        let (mut entry, search) =
            (ForgetEntry::default(), Search { from: next, before: 50, touch: 0, scan_max: 2, list_max: 2 });
        from = state.search(&search, |_| false, &mut entry);
        assert!(entry.devices.len() + entry.series.len() <= 2);
        devices.extend(entry.devices.iter().copied());
        series.extend(entry.series.iter().copied());
        state.apply(at + 2, &Entry::Forget(entry)).unwrap();
    }
    assert_eq!((devices, series), (vec![0, 1, 2, 4, 5, 6], vec![0, 1, 2, 3]));
    assert_eq!((state.device_count(), state.series_count(), state.series_slots()), (1, 1, 35));
}

#[test]
fn devices_with_many_series_are_forgotten_a_few_at_a_time() {
    let (mut state, at) = introduced(20, 160);
    state.apply(at, &at_time(100)).unwrap();
    let (mut from, mut searches) = (Some(0), 0);
    while let Some(first) = from {
        let (mut entry, search) = (
            ForgetEntry::default(),
            Search { from: first, before: 50, touch: 0, scan_max: 512, list_max: 32 },
        );
        from = state.search(&search, |_| false, &mut entry);
        assert!(entry.devices.len() <= 3 && !entry.devices.is_empty(), "{entry:?}");
        state.apply(at + 1 + searches, &Entry::Forget(entry)).unwrap();
        searches += 1;
    }
    assert_eq!((state.device_count(), state.series_slots(), searches), (0, 20 * 160, 7));
}

#[test]
fn a_number_is_used_once() {
    let (mut state, at) = introduced(3, 2);
    state.apply(at, &forget(&[0, 2], &[(1, 1)])).unwrap();
    let mut state = State::decode(&state.encode()).unwrap();
    assert_eq!((state.next_device(), state.next_series(1)), (3, 2), "also where the last ones are forgotten");
    for taken in [0, 2] {
        // Only a stored definition reuses an earlier number: it belongs to the device that had that number.
        assert!(state.clone().apply(at + 1, &device(taken, "other")).is_ok());
    }
    assert_eq!((index_of(&state, "d0"), index_of(&state, "d1")), (None, Some(1)));
    state.apply(at + 1, &device(3, "d0")).unwrap();
    let metric = "m1".to_owned();
    state.apply(at + 2, &Entry::Series(SeriesEntry { device: 1, index: 2, metric, labels: vec![] })).unwrap();
    assert_eq!((index_of(&state, "d0"), state.series_of(1), state.highest(3, "e")), (Some(3), 2, 0));
    let unknown = state.apply(at + 3, &intake(1, 1, &[(1, 5, 1.0)])).unwrap_err();
    assert_eq!(unknown, ApplyError::Unknown { device: 1, series: Some(1) });
    state.apply(at + 3, &intake(1, 1, &[(2, 5, 1.0)])).unwrap();
    let again = State::decode(&state.encode()).unwrap();
    assert_eq!((again.encode(), again.next_device(), again.next_series(1)), (state.encode(), 4, 3));
    assert_eq!(state.series_numbers(1).collect::<Vec<_>>(), [0, 2]);
}

/// A version before counts the devices of a checkpoint: it must refuse one in which numbers are left out.
#[test]
fn a_version_before_refuses_a_checkpoint_with_numbers_left_out() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Before {
        #[prost(message, repeated, tag = "4")]
        devices: Vec<BeforeDevice>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct BeforeDevice {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, repeated, tag = "3")]
        series: Vec<BeforeSeries>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct BeforeSeries {
        #[prost(string, tag = "1")]
        metric: String,
    }
    let names = |state: &State| {
        let before = <Before as prost::Message>::decode(&*state.encode()).unwrap();
        let series = before.devices.iter().flat_map(|device| &device.series);
        let series = series.map(|series| series.metric.clone()).collect::<Vec<_>>();
        (before.devices.into_iter().map(|device| device.name).collect::<Vec<_>>(), series)
    };
    let (state, at) = introduced(2, 1);
    assert_eq!(names(&state), (vec!["d0".into(), "d1".into()], vec!["m0".into(), "m0".into()]));
    let mut forgotten = state.clone();
    forgotten.apply(at, &forget(&[0], &[])).unwrap();
    assert_eq!(names(&forgotten).0, ["", "d1"]);
    let mut forgotten = state.clone();
    forgotten.apply(at, &forget(&[1], &[(0, 0)])).unwrap();
    assert_eq!(names(&forgotten), (vec!["d0".into(), String::new()], vec![String::new()]));
    assert!(Name::new("").is_err() && catchment_proto::MetricName::new("").is_err());
}

/// Where the entry that closed its windows is lost, they are open when it is to be forgotten.
#[test]
fn a_device_with_open_windows_is_not_forgotten() {
    let (mut state, at) = introduced(2, 2);
    state.apply(at, &intake(0, 1, &[(0, 5, 1.0)])).unwrap();
    state.apply(at + 1, &forget(&[0, 1], &[])).unwrap();
    assert_eq!((index_of(&state, "d0"), index_of(&state, "d1")), (Some(0), None));
    state.apply(at + 2, &forget(&[], &[(0, 0), (0, 1)])).unwrap();
    assert_eq!(state.series_numbers(0).collect::<Vec<_>>(), [0]);
    // It has come back meanwhile, under its new number.
    state.apply(at + 3, &device(2, "d0")).unwrap();
    let metric = "m0".to_owned();
    state.apply(at + 4, &Entry::Series(SeriesEntry { device: 2, index: 0, metric, labels: vec![] })).unwrap();
    state.apply(at + 5, &intake(2, 1, &[(0, 5, 2.0)])).unwrap();
    let mut state = State::decode(&state.encode()).unwrap();
    assert_eq!(index_of(&state, "d0"), Some(2));
    let emission = state.apply(at + 6, &close(&state, 10, 0, false, 100)).unwrap().unwrap();
    let sums = emission.closed.iter().map(|closed| (closed.device, closed.partial.sum()));
    assert_eq!(sums.collect::<Vec<_>>(), [(0, 1.0), (2, 2.0)]);
    state.apply(at + 7, &forget(&[0], &[])).unwrap();
    assert_eq!((index_of(&state, "d0"), state.device_count()), (Some(2), 1));
}

#[test]
fn a_snapshot_holds_what_is_forgotten_while_it_is_taken() {
    let (mut state, at) = introduced(6, 3);
    state.apply(at, &forget(&[1], &[(2, 1)])).unwrap();
    let whole = state.encode();
    for first in 0..20 {
        let mut state = state.clone();
        state.begin_snapshot();
        for _ in 0..first {
            assert_eq!(state.step_snapshot(1), None);
        }
        state.apply(at + 1, &forget(&[0, 5], &[(3, 2), (4, 0)])).unwrap();
        state.apply(at + 2, &device(6, "d5")).unwrap();
        let parts = std::iter::from_fn(|| Some(state.step_snapshot(1))).take(60).flatten().next();
        assert_eq!(parts.map(|parts| parts.concat()).as_ref(), Some(&whole), "after {first} steps");
    }
}

#[test]
fn a_series_that_comes_back_has_its_place() {
    let (mut state, at) = introduced(1, 2);
    let labels = catchment_proto::Labels::none();
    let metric = catchment_proto::MetricName::new("m1").unwrap();
    assert_eq!(state.series_slots(), 2);
    state.apply(at, &forget(&[], &[(0, 1)])).unwrap();
    let mut state = State::decode(&state.encode()).unwrap();
    assert_eq!((state.series_count(), state.series_slots()), (1, 2));
    assert!(state.keeps_series_slot(0, &metric, &labels) && state.series(0, &metric, &labels).is_none());
    let entry = SeriesEntry { device: 0, index: 2, metric: "m1".into(), labels: vec![] };
    state.apply(at + 1, &Entry::Series(entry)).unwrap();
    assert_eq!((state.series_count(), state.series_slots()), (2, 2));
    assert!(!state.keeps_series_slot(0, &metric, &labels));
}
