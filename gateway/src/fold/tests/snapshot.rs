//! Snapshots in steps: a device that has very much makes no step long, and no change of another device wait.

use super::*;

/// Devices of two series, the first of which has so many open windows.
fn opened(windows: &[usize]) -> (State, u64) {
    let (mut state, mut at) = introduced(u32::try_from(windows.len()).unwrap(), 2);
    for (device, windows) in (0..).zip(windows) {
        let readings: Vec<_> = (0..*windows).map(|n| (0, 10 * n as i64, 1.0)).collect();
        state.apply(at, &intake(device, 1, &readings)).unwrap();
        at += 1;
    }
    (state, at)
}

/// How many steps the snapshot under way still takes, and its bytes.
fn finish(state: &mut State, most: usize) -> (usize, Vec<u8>) {
    let mut steps = 1;
    loop {
        if let Some(parts) = state.step_snapshot(most) {
            return (steps, parts.concat());
        }
        steps += 1;
    }
}

/// Steps until an entry no longer has to wait.
fn steps_before(state: &mut State, entry: &Entry) -> usize {
    let mut steps = 0;
    while state.holds_back(entry) {
        assert!(state.step_snapshot(512).is_none());
        steps += 1;
    }
    steps
}

#[test]
fn a_device_with_very_many_windows_is_encoded_in_steps() {
    let (mut state, at) = opened(&[3, 30_000, 3]);
    let whole = state.encode();
    state.begin_snapshot();
    for step in 0..40 {
        assert_eq!(state.step_snapshot(100), None);
        if step == 20 {
            // Others change meanwhile, one that is encoded and one that is not.
            state.apply(at, &intake(0, 2, &[(0, 5, 2.0)])).unwrap();
            state.apply(at + 1, &intake(2, 2, &[(0, 5, 2.0)])).unwrap();
        }
    }
    let mut again = state.clone();
    let (steps, bytes) = finish(&mut state, 100);
    assert!((250..=310).contains(&steps), "{steps}");
    assert_eq!(bytes, whole);
    assert_eq!(State::decode(&whole).unwrap().encode(), whole);
    // If it changes all the same, it is encoded to its end before.
    again.apply(at + 2, &intake(1, 2, &[(1, 5, 2.0)])).unwrap();
    assert_eq!(finish(&mut again, 100).1, whole);
    let parts = {
        state.begin_snapshot();
        state.step_snapshot(usize::MAX / 2).unwrap()
    };
    assert!(parts.len() > 10 && parts.iter().all(|part| part.len() <= 64 << 10), "{}", parts.len());
}

#[test]
fn a_change_of_a_device_with_very_many_windows_waits_until_they_are_encoded() {
    // The first one would be in the way.
    let (mut state, at) = opened(&[20_000, 5_000, 600, 100, 2_000]);
    let whole = state.encode();
    let [first, heavy, lighter, light] = [0, 1, 2, 3].map(|device| intake(device, 2, &[(1, 5, 2.0)]));
    assert!(!state.holds_back(&heavy), "there is no snapshot");
    state.begin_snapshot();
    assert_eq!(state.step_snapshot(512), None);
    assert!(!state.holds_back(&light) && !state.holds_back_device(3));
    state.apply(at, &light).unwrap();
    assert!(state.holds_back(&first) && state.holds_back(&heavy) && state.holds_back_device(1));
    let series = SeriesEntry { device: 1, index: 2, metric: "m2".into(), labels: vec![] };
    assert!(state.holds_back(&Entry::Series(series)));
    assert_eq!(steps_before(&mut state, &lighter), 2, "the one with the least comes first");
    state.apply(at + 1, &lighter).unwrap();
    assert!((9..=11).contains(&steps_before(&mut state, &heavy)));
    state.apply(at + 2, &heavy).unwrap();
    assert!((38..=41).contains(&steps_before(&mut state, &first)));
    state.apply(at + 3, &first).unwrap();
    assert_eq!(finish(&mut state, 512).1, whole);
    assert!(!state.holds_back(&heavy), "the snapshot is complete");
}

fn limited(state: &State) -> CloseEntry {
    let watermark_ns = i64::MAX / 2;
    let mut entry =
        CloseEntry { number: state.next_batch(), watermark_ns, take: u32::MAX, ..CloseEntry::default() };
    state.limit(&mut entry, usize::MAX, 1_024);
    entry
}

#[test]
fn a_close_takes_as_many_windows_as_can_be_encoded_before_it() {
    let (mut state, mut at) = opened(&[400; 30]);
    let whole = state.encode();
    assert_eq!(limited(&state).take, 1_024);
    state.begin_snapshot();
    // The windows of all devices end alike. Devices that are encoded count no longer.
    for take in [10, 10, 1_024] {
        let entry = limited(&state);
        assert_eq!(entry.take, take);
        let entry = Entry::Close(entry);
        assert!(!state.holds_back(&entry));
        state.apply(at, &entry).unwrap();
        at += 1;
    }
    assert_eq!(finish(&mut state, 512).1, whole);
}

#[test]
fn a_close_of_a_device_with_very_many_windows_waits_for_it() {
    let (mut state, at) = opened(&[3, 5_000, 3, 450, 450, 450, 450]);
    let whole = state.encode();
    state.begin_snapshot();
    let first = limited(&state);
    assert_eq!(first.take, 1, "those before it close");
    assert!(!state.holds_back(&Entry::Close(first.clone())));
    state.apply(at, &Entry::Close(first)).unwrap();
    let heavy = limited(&state);
    assert_eq!(heavy.take, 1);
    assert!((9..=11).contains(&steps_before(&mut state, &Entry::Close(heavy))));
    assert!(limited(&state).take > 1_000);
    state.apply(at + 1, &Entry::Close(limited(&state))).unwrap();
    assert_eq!(finish(&mut state, 512).1, whole);
}

fn progress(epochs: &[(u32, &str, u64)]) -> Entry {
    Entry::ProgressSnapshot(ProgressSnapshotEntry {
        device: epochs.iter().map(|(device, _, _)| *device).collect(),
        epoch: epochs.iter().map(|(_, epoch, _)| (*epoch).to_owned()).collect(),
        highest: epochs.iter().map(|(_, _, highest)| *highest).collect(),
    })
}

#[test]
fn a_progress_snapshot_that_repeats_what_is_known_encodes_nothing() {
    let (mut state, at) = opened(&[5_000, 3]);
    state.begin_snapshot();
    let known = progress(&[(0, "e", 1), (1, "e", 1), (7, "e", 1)]);
    assert!(!state.holds_back(&known));
    state.apply(at, &known).unwrap();
    assert!(state.holds_back_device(0), "it is not encoded yet");
    assert!(state.holds_back(&progress(&[(0, "e", 2)])), "this one tells more");
}

#[test]
fn a_progress_snapshot_advances_as_if_each_of_its_epochs_did() {
    let (mut state, mut at) = opened(&[3]);
    for epoch in ["a", "b", "", "c"] {
        let entry = IntakeEntry { epoch: epoch.into(), seq: 5, previous: 1, ..IntakeEntry::default() };
        state.apply(at, &Entry::Intake(entry)).unwrap();
        at += 1;
    }
    let choices: Vec<_> = ["e", "a", "b", "c", "", "new"]
        .into_iter()
        .flat_map(|epoch| [1, 5, 6].map(|highest| (0, epoch, highest)))
        .collect();
    let mut unchanged = 0;
    for first in &choices {
        for second in &choices {
            for third in &choices {
                let listed = [*first, *second, *third];
                let (mut applied, mut advanced) = (state.clone(), state.clone());
                applied.apply(at, &progress(&listed)).unwrap();
                let device = advanced.devices.get_mut(0).unwrap();
                listed.iter().for_each(|(_, epoch, highest)| device.advance(epoch, *highest));
                let found = applied.devices.get(0).unwrap();
                let expected = advanced.devices.get(0).unwrap();
                assert_eq!(found.epochs, expected.epochs, "{listed:?}");
                assert_eq!(found.unnumbered, expected.unnumbered, "{listed:?}");
                unchanged += usize::from(found.epochs == state.devices.get(0).unwrap().epochs);
            }
        }
    }
    assert!(unchanged > 10);
}

#[test]
fn the_identifiers_of_a_client_are_encoded_in_steps() {
    let (mut state, at) = opened(&[3, 600]);
    let entry = IntakeEntry {
        client: "c".into(),
        received: (0..60_000).filter(|id| id % 7 > 0).collect(),
        ..IntakeEntry::default()
    };
    state.apply(at, &Entry::Intake(entry)).unwrap();
    let whole = state.encode();
    state.begin_snapshot();
    let change = intake(0, 2, &[(1, 5, 2.0)]);
    assert!((5..=8).contains(&steps_before(&mut state, &change)), "51,428 count as 3,214");
    state.apply(at + 1, &change).unwrap();
    assert_eq!(finish(&mut state, 100).1, whole);
    let restored = State::decode(&whole).unwrap();
    assert_eq!(restored.client(0, "c").unwrap().len(), 51_428);
    assert_eq!(restored.client(0, "c"), state.client(0, "c"));
}

#[test]
fn many_devices_that_an_entry_lists_are_encoded_in_steps() {
    let (mut state, at) = opened(&[100; 200]);
    let whole = state.encode();
    let used = |used: std::ops::Range<u32>| {
        Entry::Forget(ForgetEntry { running_s: 9, used: used.collect(), ..ForgetEntry::default() })
    };
    state.begin_snapshot();
    assert!(!state.holds_back(&used(0..30)));
    // Until the rest is little enough.
    assert!((31..=35).contains(&steps_before(&mut state, &used(0..200))));
    state.apply(at, &used(0..200)).unwrap();
    assert_eq!(finish(&mut state, 512).1, whole);
}
