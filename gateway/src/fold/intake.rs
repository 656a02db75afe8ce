//! Readings into open windows: numbers first, then states. A partial does not depend on their order.

use std::{iter::Zip, slice::Iter};

use catchment_partial::{Timestamp, Width, Window};

use super::{
    device::Device,
    due::Due,
    entry::IntakeEntry,
    state::{ApplyError, State},
    windows::Open,
};

/// The readings of an intake that are numbers: series, time, value.
struct Readings<'a> {
    columns: Zip<Zip<Iter<'a, u32>, Iter<'a, i64>>, Iter<'a, f64>>,
    nanos: i64,
}

impl<'a> Readings<'a> {
    fn new(intake: &'a IntakeEntry) -> Self {
        Self { columns: intake.series.iter().zip(&intake.time).zip(&intake.value), nanos: 0 }
    }
}

impl Iterator for Readings<'_> {
    type Item = (u32, Timestamp, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let ((series, step), value) = self.columns.next()?;
        self.nanos = self.nanos.wrapping_add(*step);
        Some((*series, Timestamp::from_nanos(self.nanos), *value))
    }
}

/// The states of an intake: series, time, text, and whether it stands beside no number.
struct States<'a> {
    intake: &'a IntakeEntry,
    texts: Vec<&'a str>,
}

impl<'a> States<'a> {
    /// `None` if the columns do not fit together.
    fn new(intake: &'a IntakeEntry) -> Option<Self> {
        let count = intake.state_series.len();
        if intake.state_time.len() != count || intake.state_text.len() != count {
            return None;
        }
        let mut rest = &*intake.texts;
        let mut texts = Vec::with_capacity(intake.text_bytes.len());
        for length in &intake.text_bytes {
            let text;
            (text, rest) = rest.split_at_checked(*length as usize)?;
            texts.push(text);
        }
        let known = intake.state_text.iter().all(|text| (*text as usize >> 1) < texts.len());
        known.then_some(Self { intake, texts })
    }

    fn iter(&self) -> impl Iterator<Item = (u32, Timestamp, &'a str, bool)> {
        let IntakeEntry { state_series, state_time, state_text, .. } = self.intake;
        let mut nanos = 0_i64;
        state_series.iter().zip(state_time).zip(state_text).filter_map(move |((series, step), text)| {
            nanos = nanos.wrapping_add(*step);
            let written = *self.texts.get(*text as usize >> 1)?;
            Some((*series, Timestamp::from_nanos(nanos), written, text & 1 == 1))
        })
    }
}

/// Where readings of an entry go: the windows of a device.
struct Target<'a> {
    number: u32,
    device: &'a mut Device,
    due: &'a mut Due,
    watermark: Option<Timestamp>,
    width: Width,
    running: u32,
    /// The entry's position.
    position: u64,
    /// Position by which a window that it opens falls due.
    opened: u64,
}

impl Target<'_> {
    /// The open window of a series at a time, opened if it was not. `None` for an unknown series.
    #[inline]
    fn window(&mut self, index: u32, window: Window) -> Option<&mut Open> {
        let series = self.device.series.get_mut(index)?;
        series.used = self.running;
        let (open, new) = series.window(window, self.position, self.opened);
        open.revision = self.position;
        if new {
            self.device.open_windows += 1;
            let place = (self.number, index, window);
            if self.watermark.is_some_and(|watermark| window.end() <= watermark) {
                self.due.push_late(self.opened, place);
            } else {
                self.due.push_on_time(self.opened, place);
            }
        }
        Some(open)
    }

    fn push_numbers(&mut self, intake: &IntakeEntry) {
        let mut readings = Readings::new(intake).peekable();
        while let Some(&(index, first, _)) = readings.peek() {
            // Consecutive readings mostly belong to one window of one series: it is looked up once for all of them.
            let window = Window::containing(first, self.width);
            let Some(open) = self.window(index, window) else { return };
            let (start, end) = (window.start(), window.end());
            let mut run = std::iter::from_fn(|| {
                let same = |reading: &(u32, Timestamp, f64)| {
                    reading.0 == index && (first == reading.1 || (start <= reading.1 && reading.1 < end))
                };
                readings.next_if(same).map(|(_, time, value)| (time, value))
            });
            match (run.next(), run.next()) {
                (Some(first), Some(second)) => open.partial.push_run([first, second].into_iter().chain(run)),
                (Some((time, value)), None) => open.partial.push(time, value),
                (None, _) => return,
            }
        }
    }

    fn push_states(&mut self, states: &States<'_>) {
        for (index, time, state, alone) in states.iter() {
            let window = Window::containing(time, self.width);
            let Some(open) = self.window(index, window) else { return };
            match alone {
                true => open.partial.push_state(time, state),
                false => open.partial.push_state_of_number(time, state),
            }
        }
    }
}

impl State {
    pub(super) fn fold(&mut self, position: u64, intake: &IntakeEntry) -> Result<(), ApplyError> {
        let width = self.width.ok_or(ApplyError::NoWidth)?;
        if intake.series.len() != intake.value.len() || intake.series.len() != intake.time.len() {
            return Err(ApplyError::Columns);
        }
        let states = States::new(intake).ok_or(ApplyError::Columns)?;
        self.before_change(intake.device);
        let unknown = |series| ApplyError::Unknown { device: intake.device, series };
        let device = self.devices.get_mut(intake.device).ok_or(unknown(None))?;
        let first_unknown = |numbers| device.series.first_unknown(numbers);
        if let Some(series) = first_unknown(&intake.series).or_else(|| first_unknown(&intake.state_series)) {
            return Err(unknown(Some(series)));
        }
        device.used = self.running;
        device.advance(&intake.epoch, intake.reaches());
        device.clients.note(intake, device.used);
        let damaged_range = self
            .damaged_range
            .as_ref()
            .filter(|damaged_range| damaged_range.devices.contains(&intake.device));
        let opened = damaged_range.map_or(position, |damaged_range| damaged_range.from);
        let mut target = Target {
            number: intake.device,
            device,
            due: &mut self.due,
            watermark: self.watermark,
            width,
            running: self.running,
            position,
            opened,
        };
        target.push_numbers(intake);
        target.push_states(&states);
        Ok(())
    }
}
