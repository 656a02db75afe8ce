//! Windows as a gateway delivers them: random walks of ten readings with two decimals, all series of a window in one
//! batch, named by positions in a journal to which each device appends a message a second.

use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::{Batch, SeriesRef};

use super::columns::{Columns, RowName};
use crate::load::walk::{METRICS, Random, Walk};

/// Width of the windows, milliseconds.
const WIDTH_MS: i64 = 10_000;
/// Readings of a window.
const READINGS: i64 = 10;
/// Bytes of a message of ten metrics in the journal: some, and up to eight more.
const MESSAGE_BYTES: u64 = 150;

/// A recording of some devices with ten metrics each. An iterator of its batches, in order of time.
pub(crate) struct Recorded {
    devices: i64,
    windows: i64,
    /// Start of the first window, in widths since the Unix epoch.
    start: i64,
    /// The devices' messages come up to this much late, milliseconds.
    jitter_ms: u64,
    walks: Vec<Walk>,
    random: Random,
    /// End of the journal.
    position: u64,
    number: u64,
    /// Bytes of the encoded partials of the batches so far.
    body_bytes: u64,
}

impl Recorded {
    /// A recording from a time on, Unix milliseconds. Devices sample each second, at their own moment of it.
    pub(crate) fn new(devices: i64, windows: i64, start_ms: i64, jitter_ms: u64) -> Self {
        let metrics = (0..devices).flat_map(|_| METRICS);
        Self {
            devices,
            windows,
            start: start_ms / WIDTH_MS,
            jitter_ms,
            walks: metrics.zip(1..).map(|(metric, seed)| Walk::new(metric, seed)).collect(),
            random: Random::new(7),
            position: 8_192,
            number: 0,
            body_bytes: 0,
        }
    }

    /// Bytes of the encoded partials of the batches so far.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    fn names(&self) -> Vec<SeriesRef> {
        let of_device = |device: i64| {
            METRICS.iter().map(move |metric| SeriesRef {
                device: format!("press-{device:05}"),
                metric: metric.0.to_owned(),
                labels: Vec::new(),
            })
        };
        (0..self.devices).flat_map(of_device).collect()
    }

    /// Positions of the first and the last message of each device in the next window, and the messages' times in it,
    /// nanoseconds.
    fn messages(&mut self) -> Vec<(u64, u64, Vec<i64>)> {
        let mut messages = vec![(0, 0, Vec::new()); usize::try_from(self.devices).unwrap_or(0)];
        for reading in 0..READINGS {
            for (device, (first, last, times)) in messages.iter_mut().enumerate() {
                let late = self.random.next() % (self.jitter_ms + 1);
                let moment = reading * 1_000 + device as i64 * 37 % 900 + late.cast_signed();
                times.push(moment * 1_000_000);
                *last = self.position;
                if reading == 0 {
                    *first = self.position;
                }
                self.position += MESSAGE_BYTES + self.random.next() % 8;
            }
        }
        messages
    }
}

impl Iterator for Recorded {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let window = i64::try_from(self.number).ok().filter(|window| *window < self.windows)?;
        self.number += 1;
        let mut columns = Columns::new(self.number, WIDTH_MS, self.names());
        let messages = self.messages();
        let series = messages.iter().flat_map(|message| METRICS.map(|_| message));
        for ((series, (first, last, times)), walk) in (0..).zip(series).zip(&mut self.walks) {
            let mut partial = Partial::empty();
            for time in times {
                partial.push(Timestamp::from_nanos(*time), walk.next());
            }
            let (part, window) = (first.cast_signed(), self.start + window);
            columns.push(RowName { series, window, part, revision: last - first }, &partial);
        }
        let batch = columns.finish();
        self.body_bytes += batch.bodies.len() as u64;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_has_every_window_of_every_series() {
        let mut recorded = Recorded::new(3, 5, 1_767_225_600_000, 2);
        let batches: Vec<Batch> = recorded.by_ref().collect();
        assert_eq!(batches.len(), 5);
        assert!(batches.iter().all(|batch| batch.body_bytes.len() == 30 && batch.series.len() == 30));
        let bytes: usize = batches.iter().map(|batch| batch.bodies.len()).sum();
        assert_eq!(recorded.body_bytes(), bytes as u64);
        // The metrics of a device share their messages; the next device's message follows.
        let parts = &batches[1].part;
        assert!(parts[1..10].iter().all(|step| *step == 0) && parts[10] > 0, "{parts:?}");
        assert!(batches[0].revision.iter().all(|revision| *revision > 9 * 3 * MESSAGE_BYTES - 1_000));
    }
}
