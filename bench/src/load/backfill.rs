//! Devices that send their history: frames of one series, each value in its own window, newest window first.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use catchment_proto::{
    frame,
    wire::{self, device_message},
};

use super::{
    Ending, Shape, Target,
    connection::{Connection, LoadCounts, ProtocolClient, Replies},
    event_loop,
    frames::take_answers,
    now_ns, unique,
};
use bytes::BytesMut;

/// Values per frame.
pub(crate) const FRAME: usize = 1_000;
/// Window width of the benchmark's gateway, in nanoseconds: the gateway's default.
const WIDTH_NS: i64 = 10_000_000_000;
/// Windows between the newest of the history and now: all are late.
const BEFORE_NOW: i64 = 1_000;

/// A device that numbers its frames and goes backwards in time.
struct Backfill {
    epoch: String,
    /// Series, and values of each in a frame.
    series: usize,
    values: usize,
    seq: u64,
    acknowledged: u64,
    greeted: bool,
    /// Time of the next value.
    time_ns: i64,
}

impl Backfill {
    fn new(epoch: String, series: usize, values: usize) -> Self {
        let time_ns = now_ns() - BEFORE_NOW * WIDTH_NS;
        Self { epoch, series, values, seq: 0, acknowledged: 0, greeted: false, time_ns }
    }
}

impl ProtocolClient for Backfill {
    fn greeting(&mut self) -> Option<Vec<u8>> {
        let hello = device_message::Kind::Hello(wire::Hello { epoch: self.epoch.clone() });
        let mut out = Vec::new();
        frame::put(&wire::DeviceMessage { kind: Some(hello) }, &mut out);
        Some(out)
    }

    fn write_message(&mut self, out: &mut Vec<u8>) -> u64 {
        self.seq += 1;
        let indices = 1..=u32::try_from(self.series).unwrap_or(u32::MAX);
        let name = |index: u32| {
            let metric = if index == 1 { "history".to_owned() } else { format!("history_{index}") };
            wire::SeriesName { index, metric, ..Default::default() }
        };
        let column = |index: u32| wire::Column {
            series: index,
            first_time_ns: self.time_ns,
            step_ns: vec![-WIDTH_NS],
            values: (0..self.values).map(|at| at as f64 + f64::from(index)).collect(),
            states: Vec::new(),
        };
        let (define, columns) = (indices.clone().map(name).collect(), indices.map(column).collect());
        self.time_ns -= WIDTH_NS * self.values as i64;
        let readings = wire::Readings { seq: self.seq, define, columns, ..Default::default() };
        frame::put(&wire::DeviceMessage { kind: Some(device_message::Kind::Readings(readings)) }, out);
        (self.series * self.values) as u64
    }

    fn read_replies(&mut self, input: &mut BytesMut) -> anyhow::Result<Replies> {
        take_answers(input, &mut self.greeted, &mut self.acknowledged)
    }
}

/// Sends the history of `devices` devices, `windows` windows each, one device after the other. Returns when all is
/// acknowledged.
///
/// # Errors
/// A connection that fails.
pub(crate) fn run(target: &Target, devices: usize, windows: usize) -> anyhow::Result<()> {
    ensure!(windows.is_multiple_of(FRAME), "windows must be a multiple of {FRAME}");
    send(target, devices, (1, FRAME), windows / FRAME)
}

/// As [`run`], with `series` series a device and all their windows in one frame.
///
/// # Errors
/// A connection that fails.
pub(crate) fn run_wide(target: &Target, devices: usize, series: usize, windows: usize) -> anyhow::Result<()> {
    send(target, devices, (series, windows), 1)
}

fn send(
    target: &Target,
    devices: usize,
    (series, values): (usize, usize),
    frames: usize,
) -> anyhow::Result<()> {
    let shape = Shape {
        connections: 1,
        in_flight: frames * series * values,
        duration: Duration::ZERO,
        each_alone: false,
        ending: Ending::Acknowledged,
        rate: None,
    };
    let run = unique();
    event_loop()?.block_on(async {
        for device in 0..devices {
            let client = Box::new(Backfill::new(format!("{run}-{device}"), series, values));
            let config = Arc::clone(&target.device(device)?);
            let mut connection = Connection::open(target.addr, config, client, true).await?;
            connection.send(frames, &shape, &mut LoadCounts::default()).await?;
            connection.acknowledged(frames as u64).await?;
        }
        Ok(())
    })
}
