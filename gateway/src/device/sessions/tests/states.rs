//! States on their way into the journal: the columns of the entry, what is dropped as sent again, and what counts.

use catchment_partial::Partial;

use super::*;

/// Partials of all open windows, by metric.
fn open(device: &Device) -> Vec<(String, Partial)> {
    let (open, _) = device.shard.state().open_since(0, None, 100);
    let metric = |emitted: &crate::fold::Emitted| {
        device.shard.state().key(emitted.device, emitted.series).unwrap().1.as_str().to_owned()
    };
    let mut all: Vec<_> = open.iter().map(|emitted| (metric(emitted), emitted.partial.clone())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn readings_with_and_without_states_are_taken_once() {
    let mut device = Device::new(Protocol::Json);
    let hello = "{\"hello\":{\"epoch\":\"e\"}}\n";
    assert!(matches!(device.decode(hello.as_bytes()).1, DecodeStop::Hello(_)));
    device.device_sessions.hello(1, "e".into(), &device.shard);
    let message = |seq: u64, mode: &str| {
        format!(
            "{{\"seq\":{seq},\"values\":{{\"t\":{seq},\"mode\":\"{mode}\",\"door\":{}}}}}\n",
            seq.is_multiple_of(2)
        )
    };
    let lines = [message(1, "auto"), message(2, "off"), message(2, "again"), message(3, "auto")].concat();
    assert_eq!(device.feed(lines.as_bytes()).0, 0);
    // A text of a message that is dropped is not in the entry, and a full table of series refuses states too.
    assert_eq!(device.taken(), 9, "a boolean is one reading");
    let full = "{\"seq\":4,\"values\":{\"fourth\":\"x\",\"mode\":\"off\",\"fifth\":true}}\n";
    assert_eq!(device.feed(full.as_bytes()).0, 2);
    assert_eq!(device.taken(), 10);
    let figures: Vec<_> = open(&device)
        .into_iter()
        .map(|(metric, partial)| (metric, partial.count(), partial.state_count()))
        .collect();
    assert_eq!(figures, [("door".to_owned(), 3, 3), ("mode".to_owned(), 0, 4), ("t".to_owned(), 3, 0)]);
    let (_, mode) = open(&device).swap_remove(1);
    let mut expected = Partial::empty();
    let now = Timestamp::from_millis(NOW_MS).unwrap();
    ["auto", "off", "auto", "off"].iter().for_each(|state| expected.push_state(now, state));
    assert_eq!(mode, expected);
}

#[test]
fn a_message_of_states_alone_counts_in_every_protocol() {
    let mut device = Device::new(Protocol::LineProtocol);
    device.feed(b"m mode=\"auto\"\nm mode=\"off\",on=T\n");
    assert_eq!(device.taken(), 3);
    let device_index = device.shard.state().device(&Name::new("press").unwrap()).unwrap();
    assert_eq!(device.shard.state().reached(device_index, ""), 3);
    let mut device = Device::mqtt(5);
    for (id, topic, payload) in [(1, "telemetry/mode", "auto"), (2, "telemetry", "{\"mode\":\"off\"}")] {
        let (_, replies) = device.feed(&publish(5, 2, id, topic, payload.as_bytes()));
        assert_eq!(outcome(&replies), Outcome::Taken(None));
    }
    // Sent again, it is the same message.
    device.feed(&publish(5, 2, 1, "telemetry/mode", b"auto"));
    let (_, replies) = device.feed(&publish(5, 1, 3, "telemetry/mode", b"a\x01"));
    assert!(outcome(&replies).is_refused());
    assert_eq!(device.taken(), 2);
    let mut device = Device::new(Protocol::Frames);
    let states = ["auto", "off", "auto"].map(str::to_owned).to_vec();
    let define = vec![SeriesName { index: 2, metric: "m".to_owned(), labels: [].into() }];
    let columns = vec![Column { series: 2, values: vec![f64::NAN; 3], states, ..Column::default() }];
    device.feed(&frame_of(Readings { define, columns, ..Readings::default() }));
    assert_eq!((device.taken(), open(&device)[0].1.state_count()), (3, 3));
}
