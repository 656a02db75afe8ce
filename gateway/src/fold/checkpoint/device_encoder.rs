//! A device on its way into a checkpoint, piece by piece: a device that sends its history has a hundred thousand open
//! windows, more than a worker's thread encodes in one go.
//!
//! Invariants:
//! - The device does not change until it is encoded ([`crate::fold::snapshot`]), so the pieces are those of one moment.
//! - The bytes do not depend on how much is encoded at once.

use catchment_partial::Window;
use catchment_proto::wire::Label;
use prost::Message;

use super::device::{
    CLIENTS_TAG, ClientMessage, DeviceMessage, EpochMessage, OPEN_TAG, SERIES_TAG, SeriesMessage,
    open_message,
};
use crate::fold::{
    chunks::Chunks,
    device::{Device, Series},
};

/// Packet identifiers of a client that are encoded at once, and how many of them cost as much as a window.
const IDS_AT_ONCE: usize = 1_024;
const IDS_PER_WINDOW: usize = 16;

/// About how much work it is to encode a device: one for each open window and each series.
pub(in crate::fold) fn work(device: &Device) -> usize {
    let ids: usize = device.clients.iter().map(|client| client.open.len()).sum();
    1 + device.open_windows + device.series.len() + ids / IDS_PER_WINDOW
}

/// What is encoded next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Head,
    /// The series with this number or a higher one; its windows after this one, if it is begun.
    Series(u32, Option<Window>),
    /// The client at this place; its identifiers after this one, if it is begun.
    Client(usize, Option<u16>),
    /// Nothing.
    End,
}

/// A device that is being encoded.
#[derive(Clone, Debug)]
pub(in crate::fold) struct DeviceEncoder {
    next: Next,
    /// The device's fields so far.
    fields: Chunks,
    /// Those of the series or client that is begun: its length comes first, and is known only at its end.
    begun: Chunks,
}

impl DeviceEncoder {
    pub(in crate::fold) fn new() -> Self {
        Self { next: Next::Head, fields: Chunks::default(), begun: Chunks::default() }
    }

    /// Encodes about so much of the device, at least one piece. Returns how much work it was.
    pub(in crate::fold) fn step(&mut self, device: &Device, most: usize) -> usize {
        let mut done = 0;
        while done < most.max(1) && !self.is_complete() {
            done += match self.next {
                Next::Head => self.head(device),
                Next::Series(number, after) => self.series(device, number, after, most.max(1) - done),
                Next::Client(at, after) => self.client(device, at, after),
                Next::End => 0,
            };
        }
        done
    }

    pub(in crate::fold) const fn is_complete(&self) -> bool {
        matches!(self.next, Next::End)
    }

    /// The encoded device.
    pub(in crate::fold) fn into_fields(self) -> Chunks {
        self.fields
    }

    fn head(&mut self, device: &Device) -> usize {
        let epochs = device.epochs.iter();
        let message = DeviceMessage {
            name: device.name.as_str().to_owned(),
            epochs: epochs.map(|e| EpochMessage { text: e.text.to_string(), highest: e.highest }).collect(),
            ..DeviceMessage::default()
        };
        message.encode_raw(self.fields.tail());
        self.next = Next::Series(0, None);
        1
    }

    fn series(&mut self, device: &Device, number: u32, after: Option<Window>, most: usize) -> usize {
        let Some(series) = device.series.from(number).next() else {
            self.skip_series(number, device.series.next());
            let message = DeviceMessage { unnumbered: device.unnumbered, ..DeviceMessage::default() };
            message.encode_raw(self.fields.tail());
            self.next = Next::Client(0, None);
            return 1;
        };
        if after.is_none() {
            self.skip_series(number, series.number);
            self.begin_series(series);
        }
        let (mut windows, mut done, mut last) = (series.open.after(after), 0, after);
        for open in windows.by_ref().take(most) {
            prost::encoding::message::encode(OPEN_TAG, &open_message(open), self.begun.tail());
            (done, last) = (done + 1, Some(open.window));
        }
        if windows.next().is_some() {
            self.next = Next::Series(series.number, last);
            return done;
        }
        SeriesMessage { used_s: series.used, ..SeriesMessage::default() }.encode_raw(self.begun.tail());
        self.fields.put_field(SERIES_TAG, &mut self.begun);
        self.next = Next::Series(series.number.saturating_add(1), None);
        done + 1
    }

    fn begin_series(&mut self, series: &Series) {
        let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
        let message = SeriesMessage {
            metric: series.metric.as_str().to_owned(),
            labels: series.labels.iter().map(label).collect(),
            ..SeriesMessage::default()
        };
        message.encode_raw(self.begun.tail());
    }

    /// The next series has this number, not the expected one.
    fn skip_series(&mut self, expected: u32, number: u32) {
        if let Some(skipped) = number.checked_sub(expected).filter(|skipped| *skipped > 0) {
            let message = SeriesMessage { skipped, ..SeriesMessage::default() };
            prost::encoding::message::encode(SERIES_TAG, &message, self.fields.tail());
        }
    }

    fn client(&mut self, device: &Device, at: usize, after: Option<u16>) -> usize {
        let Some(client) = device.clients.iter().nth(at) else {
            DeviceMessage { used_s: device.used, ..DeviceMessage::default() }.encode_raw(self.fields.tail());
            self.next = Next::End;
            return 1;
        };
        if after.is_none() {
            let message = ClientMessage { id: client.id.to_string(), ..ClientMessage::default() };
            message.encode_raw(self.begun.tail());
        }
        // Always the same number, so that the bytes are the same. Readers join the lists.
        let ids: Vec<u16> = client.open_after(after).take(IDS_AT_ONCE).collect();
        let (done, last) = (1 + ids.len() / IDS_PER_WINDOW, ids.last().copied());
        let open = ids.into_iter().map(u32::from).collect();
        ClientMessage { open, ..ClientMessage::default() }.encode_raw(self.begun.tail());
        if let Some(last) = last.filter(|last| client.open_after(Some(*last)).next().is_some()) {
            self.next = Next::Client(at, Some(last));
            return done;
        }
        ClientMessage { used_s: client.used, ..ClientMessage::default() }.encode_raw(self.begun.tail());
        self.fields.put_field(CLIENTS_TAG, &mut self.begun);
        self.next = Next::Client(at + 1, None);
        done
    }
}
