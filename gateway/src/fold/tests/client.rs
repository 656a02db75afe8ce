//! What is kept of MQTT clients, and that a checkpoint keeps it too.

use super::*;

fn marks(client: &str, received: &[u32], released: &[u32]) -> Entry {
    Entry::Intake(IntakeEntry {
        client: client.into(),
        received: received.to_vec(),
        released: released.to_vec(),
        ..IntakeEntry::default()
    })
}

fn ids(state: &State, client: &str) -> Option<Vec<u16>> {
    state.client(0, client).map(|open| open.iter().copied().collect())
}

fn again(state: &State) -> State {
    let decoded = State::decode(&state.encode()).unwrap();
    assert_eq!(decoded.encode(), state.encode());
    decoded
}

#[test]
fn identifiers_are_kept_until_they_are_released() {
    let (mut state, at) = introduced(1, 1);
    let keep = ClientEntry { device: 0, client: "a".into(), forget: false, keep: true };
    assert_eq!(ids(&state, "a"), None);
    state.apply(at, &Entry::Client(keep.clone())).unwrap();
    assert_eq!(ids(&again(&state), "a"), Some(vec![]));
    state.apply(at + 1, &marks("a", &[1, 2, 65_535], &[])).unwrap();
    // One intake may release and receive.
    state.apply(at + 2, &marks("a", &[3], &[1, 9])).unwrap();
    let mut state = again(&state);
    assert_eq!(ids(&state, "a"), Some(vec![2, 3, 65_535]));
    assert_eq!(ids(&state, "b"), None);
    // Beginning anew keeps the client and none of its identifiers.
    let anew = Entry::Client(ClientEntry { forget: true, ..keep });
    state.apply(at + 3, &anew).unwrap();
    assert_eq!(ids(&state, "a"), Some(vec![]));
    let forget =
        IntakeEntry { client: "a".into(), forget: true, received: vec![4], ..IntakeEntry::default() };
    state.apply(at + 4, &Entry::Intake(forget)).unwrap();
    assert_eq!(ids(&again(&state), "a"), None);
    let unknown = ClientEntry { device: 7, client: "a".into(), forget: false, keep: true };
    let error = state.apply(at + 5, &Entry::Client(unknown)).unwrap_err();
    assert_eq!(error, ApplyError::Unknown { device: 7, series: None });
}

#[test]
fn of_too_many_clients_the_one_longest_unused_is_forgotten() {
    let (mut state, mut at) = introduced(1, 1);
    let max = CLIENTS_MAX;
    for number in 0..=max {
        // The first one is used again and again.
        for name in [format!("c{number}"), "c0".to_owned()] {
            at += 1;
            state.apply(at, &marks(&name, &[1], &[])).unwrap();
        }
        state = again(&state);
    }
    assert!(ids(&state, "c0").is_some());
    assert!(ids(&state, "c1").is_none());
    assert!((2..=max).all(|number| ids(&state, &format!("c{number}")).is_some()));
}
