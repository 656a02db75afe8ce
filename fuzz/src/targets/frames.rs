//! Frames of `catchment/1`: a connection read whole and in pieces, and the input as the body of one frame.

use catchment_gateway::decode::frames::{SeriesAliases, decode_frame};
use catchment_proto::{
    frame,
    wire::{Column, DeviceMessage, Hello, Reading, Readings, SeriesName, device_message::Kind},
};
use prost::Message as _;

use super::{Target, pieces, rig::Rig};

pub(super) const TARGET: Target = Target {
    name: "frames",
    run,
    seeds,
    tokens: &[
        b"\x00\x00\x00\x02",
        b"\x12",
        b"\x0a",
        b"\x08\x01",
        b"\x1a\x01a",
        b"\x22",
        b"\x12\x00",
        b"\x0a\x00",
        b"\x12\x01a",
        b"\x09\x00\x00\x00\x00\x00\x00\xf8\x7f",
        b"\x00\x00\x00\x00\x00\x00\xf0\x7f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x18",
        b"\x32",
        b"\x1b",
        b"\x1c",
    ],
    fixed_bytes: 96 << 10,
    bytes_per_input_byte: 200,
};

fn seeds() -> Vec<Vec<u8>> {
    let labels = [("room".to_owned(), "3".to_owned())];
    let named =
        |index, metric: &str| SeriesName { index, metric: metric.to_owned(), labels: labels.clone().into() };
    let column = Column {
        series: 1,
        first_time_ns: 1_700_000_000_000_000_000,
        step_ns: vec![1_000_000],
        values: vec![1.0, 2.0, f64::NAN],
        states: vec![String::new(), "on".to_owned(), "auto".to_owned()],
    };
    let reading =
        Reading { metric: "b".to_owned(), labels: labels.clone().into(), value: -2.5, ..Reading::default() };
    let state =
        Reading { metric: "b".to_owned(), value: f64::NAN, state: "auto".to_owned(), ..Reading::default() };
    let readings = Readings {
        seq: 1,
        define: vec![named(1, "a"), named(2, "c-d")],
        columns: vec![
            column.clone(),
            Column { series: 2, step_ns: vec![1, 2], states: vec![], ..column.clone() },
        ],
        readings: vec![reading, state],
    };
    let messages = [Kind::Hello(Hello { epoch: "boot-42".to_owned() }), Kind::Readings(readings)];
    let messages = messages.map(|kind| DeviceMessage { kind: Some(kind) });
    let mut stream = Vec::new();
    messages.iter().for_each(|message| frame::put(message, &mut stream));
    let mut seeds: Vec<_> = messages.iter().map(DeviceMessage::encode_to_vec).collect();
    seeds.push(stream);
    seeds
}

fn body(rig: &mut Rig, state: &mut SeriesAliases, body: &[u8], ordinal: u64) {
    let before = rig.counts();
    let Rig { table, rules, limits, intake, .. } = rig;
    let decoded = decode_frame(body, ordinal, state, table, rules, limits, intake);
    rig.settle(decoded, before);
}

fn connection(input: &[u8], mut sizes: impl Iterator<Item = usize>) -> Rig {
    let (mut rig, mut state) = (Rig::new(), SeriesAliases::new(20));
    let bytes_max = rig.limits.message_bytes_max;
    let (mut buffer, mut rest, mut ordinal) = (Vec::new(), input, 0);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = behind;
        let mut consumed = 0;
        loop {
            match frame::split(&buffer[consumed..], bytes_max) {
                Ok(Some((whole, _))) => {
                    ordinal += 1;
                    body(&mut rig, &mut state, whole, ordinal);
                    consumed += frame::HEADER_BYTES + whole.len();
                }
                Ok(None) => break,
                // The connection ends.
                Err(_) => return rig,
            }
        }
        buffer.drain(..consumed);
        assert!(buffer.len() < frame::HEADER_BYTES + bytes_max, "the buffer exceeds its bound");
    }
    rig
}

fn run(input: &[u8]) -> u64 {
    let whole = connection(input, std::iter::empty());
    whole.check();
    whole.assert_same(&connection(input, pieces(input)));
    let mut alone = Rig::new();
    body(&mut alone, &mut SeriesAliases::new(20), input, 1);
    alone.check();
    whole.signature() ^ alone.signature().rotate_left(1)
}
