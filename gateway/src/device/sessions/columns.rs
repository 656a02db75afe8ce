//! Readings of a session's messages into the columns of an entry: numbers and states apart.

use super::registry::SessionEntry;
use crate::{
    fold::IntakeEntry,
    intake::{Reading, States},
    shard::SeriesFull,
};

/// Writes the columns of an entry.
pub(super) struct Columns<'a> {
    session: &'a SessionEntry,
    states: &'a States,
    pub(super) entry: IntakeEntry,
    /// Times of the last number and of the last state.
    last_time: i64,
    last_state_time: i64,
    /// Place in the entry of each of the intake's texts, once it is used.
    places: Vec<Option<u32>>,
}

/// What of a message was refused because there is no place for its series.
pub(super) struct Refused {
    pub(super) count: u32,
    pub(super) full: SeriesFull,
}

impl<'a> Columns<'a> {
    /// Columns of an empty entry; `states`: those of the intake.
    pub(super) fn new(session: &'a SessionEntry, states: &'a States, entry: IntakeEntry) -> Self {
        let places = vec![None; states.text_count()];
        Self { session, states, entry, last_time: 0, last_state_time: 0, places }
    }

    /// Adds a message's readings, which begin at an index of the intake. Readings of series that are refused are left
    /// out.
    pub(super) fn add(&mut self, start: usize, readings: &[Reading]) -> Refused {
        let mut refused = Refused { count: 0, full: SeriesFull::Device };
        let states = self.states;
        let mut rest = readings;
        for (place, text) in states.of(start..start.saturating_add(readings.len())) {
            let before = place.checked_sub(start + readings.len() - rest.len());
            let Some((numbers, behind)) = before.and_then(|before| rest.split_at_checked(before)) else {
                break;
            };
            self.add_numbers(numbers, &mut refused);
            let Some((reading, behind)) = behind.split_first() else { break };
            self.add_state(reading, text, &mut refused);
            rest = behind;
        }
        self.add_numbers(rest, &mut refused);
        refused
    }

    fn series(&self, reading: &Reading, refused: &mut Refused) -> Option<u32> {
        let series = self.session.series.get(reading.series);
        if series.is_none() {
            refused.count += 1;
            refused.full = self.session.series.full(reading.series);
        }
        series
    }

    /// Adds readings without states.
    fn add_numbers(&mut self, readings: &[Reading], refused: &mut Refused) {
        self.entry.series.reserve(readings.len());
        self.entry.time.reserve(readings.len());
        self.entry.value.reserve(readings.len());
        let mut last: Option<(u32, u32)> = None;
        for reading in readings {
            // Readings of one series mostly follow one another.
            let series = match last {
                Some((known, series)) if known == reading.series => series,
                _ => {
                    let Some(series) = self.series(reading, refused) else { continue };
                    last = Some((reading.series, series));
                    series
                }
            };
            self.add_number(series, reading.time.as_nanos(), reading.value);
        }
    }

    #[inline]
    fn add_number(&mut self, series: u32, time: i64, value: f64) {
        self.entry.series.push(series);
        self.entry.time.push(time.wrapping_sub(self.last_time));
        self.entry.value.push(value);
        self.last_time = time;
    }

    /// Adds a reading with a state, and its number if it has one.
    fn add_state(&mut self, reading: &Reading, text: u32, refused: &mut Refused) {
        let Some(series) = self.series(reading, refused) else { return };
        let time = reading.time.as_nanos();
        match reading.number() {
            Some(number) => self.add_number(series, time, number),
            None => self.entry.states_alone = self.entry.states_alone.saturating_add(1),
        }
        let alone = u32::from(reading.number().is_none());
        // Places are far below 2^31: an entry has some ten thousand states.
        let place = self.place(text) << 1 | alone;
        self.entry.state_series.push(series);
        self.entry.state_time.push(time.wrapping_sub(self.last_state_time));
        self.entry.state_text.push(place);
        self.last_state_time = time;
    }

    /// The entry's place of a text of the intake.
    fn place(&mut self, text: u32) -> u32 {
        let new = u32::try_from(self.entry.text_bytes.len()).unwrap_or(u32::MAX);
        let known = self.places.get_mut(text as usize);
        if let Some(Some(place)) = known {
            return *place;
        }
        let written = self.states.text(text);
        self.entry.texts.push_str(written);
        self.entry.text_bytes.push(u32::try_from(written.len()).unwrap_or(u32::MAX));
        if let Some(place) = known {
            *place = Some(new);
        }
        new
    }
}
