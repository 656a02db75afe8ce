//! A frame of readings as encoders write it, from its bytes straight into the intake.
//!
//! It takes the messages that [`super::wire_format`] has views of, with definitions before columns before single
//! readings; of any other it leaves no trace, and the generated types decide what it is. What cannot be undone
//! (definitions, names seen for the first time) waits until all of the message behind it was found well-formed.
//!
//! A column or reading in which something is refused is decoded by the generated types as well, so that there is one
//! place that refuses.

use catchment_partial::{Timestamp, unzigzag};
use catchment_proto::wire::{Column, Reading as WireReading, SeriesName};
use prost::Message;

use super::{
    SeriesAliases, define, take_column, take_reading,
    wire_format::{ColumnView, ReadingView, delimited, keys, varint},
};
use crate::{
    decode::sink::Sink,
    intake::{Reading, TimeRules, shapes::Kind},
};

/// Takes all of a message, without ending it, or nothing at all.
pub(super) fn decode(body: &[u8], aliases: &mut SeriesAliases, sink: &mut Sink<'_>) -> Option<()> {
    let mut rest = body;
    if varint(&mut rest)? != keys::MESSAGE_READINGS {
        return None;
    }
    let readings = delimited(&mut rest)?;
    if !rest.is_empty() {
        return None;
    }
    let save_point = sink.save_point();
    let taken = take(readings, aliases, sink);
    if taken.is_none() {
        sink.undo(save_point);
    }
    taken
}

/// A part of the message and what is behind it; parts stand in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Define,
    Column,
    Reading,
}

#[inline]
fn next_part<'b>(rest: &mut &'b [u8]) -> Option<(Part, &'b [u8])> {
    let part = match varint(rest)? {
        keys::DEFINE => Part::Define,
        keys::COLUMNS => Part::Column,
        keys::READINGS => Part::Reading,
        _ => return None,
    };
    Some((part, delimited(rest)?))
}

fn take(readings: &[u8], aliases: &mut SeriesAliases, sink: &mut Sink<'_>) -> Option<()> {
    let mut rest = readings;
    if let Some(behind) = rest.strip_prefix(&[keys::SEQ as u8]) {
        rest = behind;
        sink.seq = Some(varint(&mut rest)?).filter(|seq| *seq != 0);
    }
    let (mut last, mut checked) = (Part::Define, false);
    while !rest.is_empty() {
        let here = rest;
        let (part, bytes) = next_part(&mut rest)?;
        if part < last {
            return None;
        }
        last = part;
        let known = match part {
            Part::Define => None,
            Part::Column => column(bytes, aliases, sink)?,
            Part::Reading => reading(bytes, sink),
        };
        if known.is_some() {
            continue;
        }
        if !checked {
            check(here, last)?;
            checked = true;
        }
        match part {
            Part::Define => define(&SeriesName::decode(bytes).ok()?, aliases, sink),
            Part::Column => take_column(&Column::decode(bytes).ok()?, aliases, sink),
            Part::Reading => learn(bytes, sink)?,
        }
    }
    Some(())
}

/// Whether all parts are well-formed, in order, and such that there are views of them.
fn check(mut rest: &[u8], mut last: Part) -> Option<()> {
    while !rest.is_empty() {
        let (part, bytes) = next_part(&mut rest)?;
        if part < last {
            return None;
        }
        last = part;
        match part {
            Part::Define => drop(SeriesName::decode(bytes).ok()?),
            Part::Column => ColumnView::of(bytes)?.has_steps().then_some(())?,
            Part::Reading => {
                ReadingView::of(bytes)?;
                WireReading::decode(bytes).ok()?;
            }
        }
    }
    Some(())
}

/// Takes a column; `None` when it is malformed, `Some(None)`, and nothing changed, when its name is to be looked up
/// again.
#[inline]
fn column(bytes: &[u8], aliases: &mut SeriesAliases, sink: &mut Sink<'_>) -> Option<Option<()>> {
    let view = ColumnView::of(bytes)?;
    let start = sink.intake.readings.len();
    let known = aliases.series(view.series, sink.table.generation());
    if let Some(series) = known
        && view.values.len() <= sink.room()
        && fill(&view, series, sink.rules, &mut sink.intake.readings).is_some()
    {
        sink.admit(view.values.len());
        return Some(Some(()));
    }
    sink.intake.readings.truncate(start);
    if known.is_none() && aliases.meaning(view.series).is_some_and(Result::is_ok) {
        return Some(None);
    }
    take_column(&Column::decode(bytes).ok()?, aliases, sink);
    Some(Some(()))
}

/// Appends the readings of a column; `None`, with some of them appended, when one is to be refused.
#[inline]
fn fill(view: &ColumnView<'_>, series: u32, rules: &TimeRules, readings: &mut Vec<Reading>) -> Option<()> {
    let value_of = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes);
    if !view.values.iter().all(|bytes| value_of(bytes).is_finite()) {
        return None;
    }
    let reading = |nanos: i64, bytes: &[u8; 8]| Reading {
        series,
        time: Timestamp::from_nanos(nanos),
        value: value_of(bytes) + 0.0,
    };
    let further = view.values.len().checked_sub(1)?;
    let mut steps = view.steps;
    let count = view.step_count();
    let step = match count {
        0 if steps.is_empty() => 0,
        1 => unzigzag(varint(&mut steps)?),
        _ if count != further => return None,
        _ => 0,
    };
    if view.first_time_ns == 0 {
        let now = rules.now.as_nanos();
        readings.extend(view.values.iter().map(|bytes| reading(now, bytes)));
        return view.has_steps().then_some(());
    }
    let within = |nanos: i64| rules.check(Timestamp::from_nanos(nanos)).is_ok();
    let mut nanos = view.first_time_ns;
    if !within(nanos) {
        return None;
    }
    if count > 1 {
        let (first, others) = view.values.split_first()?;
        readings.push(reading(nanos, first));
        readings.reserve(further);
        for bytes in others {
            nanos = nanos.checked_add(unzigzag(varint(&mut steps)?))?;
            if !within(nanos) {
                return None;
            }
            readings.push(reading(nanos, bytes));
        }
        return steps.is_empty().then_some(());
    }
    // Between two times within the bounds all are.
    let last = i64::try_from(further).ok().and_then(|further| step.checked_mul(further)?.checked_add(nanos));
    if !steps.is_empty() || !within(last?) {
        return None;
    }
    readings.extend(view.values.iter().map(|bytes| {
        let reading = reading(nanos, bytes);
        nanos = nanos.wrapping_add(step);
        reading
    }));
    Some(())
}

/// Takes a single reading whose name is known; `None`, and nothing changed, for any other.
#[inline]
fn reading(bytes: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let view = ReadingView::of(bytes)?;
    let shape = sink.table.shapes.find(Kind::Frames, &sink.base, view.name)?;
    let (_, series) = sink.table.shapes.member(shape, 0)?;
    let time = match view.time_ns {
        0 => sink.rules.now,
        nanos => sink.rules.check(Timestamp::from_nanos(nanos)).ok()?,
    };
    if !view.value.is_finite() || sink.room() == 0 {
        return None;
    }
    sink.admit(1);
    sink.push(series, time, view.value);
    Some(())
}

/// Takes a single reading by way of the generated type, and notes its name; `None` when it is malformed.
fn learn(bytes: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let view = ReadingView::of(bytes)?;
    let wire = WireReading::decode(bytes).ok()?;
    if let Some(series) = take_reading(&wire, sink) {
        sink.begin_shape(Kind::Frames, view.name);
        sink.learn("", series);
    }
    Some(())
}

#[cfg(test)]
mod tests;
