//! The actor of a device: all its sessions meet here, and nothing else decides over its readings.
//!
//! It drops what was taken before (by sequence number), turns a session's series indexes into the device's own,
//! and hands the rest to the shard. It lives on the device's worker, beside its sessions: no message to it
//! crosses a thread. The arithmetic is in [`crate::fold`]; this is mailbox, lookup and counting.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use actix::{Actor, Context, Handler, Message};
use catchment_journal::Position;
use catchment_proto::Name;
use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::{
    fold::IntakeEntry,
    intake::{Head, Intake, Reason, Refusal},
    metrics::Metrics,
    shard::{Shard, Wait},
};

/// Messages that wait for a device's actor; a session awaits each before it sends the next, so there are never
/// more than one a session.
const MAILBOX: usize = 16;

/// Number of a session, unique in its process.
pub type SessionId = u64;

/// A session begins. When it is one too many, the oldest of the device is told to end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Attach {
    /// The session.
    pub session: SessionId,
    /// Told when the session must end.
    pub end: Arc<Notify>,
}

/// A session has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Detach {
    /// The session.
    pub session: SessionId,
}

/// A session's messages are numbered within an epoch from here on.
#[derive(Debug, Message)]
#[rtype(result = "Welcome")]
pub struct Hello {
    /// The session.
    pub session: SessionId,
    /// The epoch, 1 to 64 bytes.
    pub epoch: Arc<str>,
}

/// Answer to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Highest sequence number taken of the epoch.
    pub highest: u64,
    /// It is durable once the journal is synced up to here.
    pub durable_at: Position,
}

/// Messages of a session.
#[derive(Debug, Message)]
#[rtype(result = "Answer")]
pub struct Take {
    /// The session.
    pub session: SessionId,
    /// What was decoded.
    pub intake: Intake,
}

/// What became of the messages.
#[derive(Debug)]
pub enum Answer {
    /// All were taken, but for what was refused.
    Taken {
        /// What the acknowledgement says: the highest sequence number, or the last message's ordinal.
        ack: u64,
        /// It may be sent once the journal is synced up to here.
        durable_at: Position,
        /// What was refused here, in addition to what decoding refused.
        refusals: Vec<Refusal>,
        /// The device is to be slowed: journal or outbox come near their bound.
        slow: bool,
    },
    /// Nothing was taken: try again with the same messages.
    Wait(Intake, Wait),
}

/// A session, as its device's actor sees it.
#[derive(Debug)]
struct Session {
    id: SessionId,
    end: Arc<Notify>,
    epoch: Option<Arc<str>>,
    /// The session's series indexes: the device's index, or `None` for a series that is refused.
    series: HashMap<u32, Option<u32>>,
}

/// The actor of a device.
pub struct DeviceActor {
    name: Name,
    index: Option<u32>,
    sessions: Vec<Session>,
    sessions_max: usize,
    series_max: usize,
    shard: Rc<RefCell<Shard>>,
    metrics: Arc<Metrics>,
}

impl DeviceActor {
    /// The actor of a device that is not connected yet.
    pub fn new(
        name: Name,
        sessions_max: usize,
        series_max: usize,
        shard: Rc<RefCell<Shard>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { name, index: None, sessions: Vec::new(), sessions_max, series_max, shard, metrics }
    }

    /// Takes what a session decoded. Synchronous, so the shard is borrowed by nobody else.
    fn take(&mut self, session: SessionId, intake: &Intake) -> Result<Answer, Wait> {
        let mut shard = self.shard.borrow_mut();
        shard.room()?;
        let device = match self.index {
            Some(index) => index,
            None => *self.index.insert(shard.device(&self.name)?),
        };
        let Some(session) = self.sessions.iter_mut().find(|known| known.id == session) else {
            // The session was ended from here; its answers no longer matter.
            return Ok(Answer::Taken { ack: 0, durable_at: shard.end(), refusals: Vec::new(), slow: false });
        };
        learn(session, device, intake, self.series_max, &mut shard)?;
        let epoch = session.epoch.clone();
        let mut highest = epoch.as_deref().map_or(0, |epoch| shard.state().highest(device, epoch));
        let mut entry = IntakeEntry { device, ..IntakeEntry::default() };
        let mut refusals = Vec::new();
        let (mut start, mut last_time, mut duplicates) = (0, 0_i64, 0);
        for head in &intake.heads {
            let readings = intake.readings.get(start..head.readings_end).unwrap_or_default();
            start = head.readings_end;
            if let Some(seq) = head.seq {
                if seq <= highest {
                    duplicates += 1;
                    continue;
                }
                highest = seq;
            }
            let mut refused = 0;
            for reading in readings {
                let Some(Some(series)) = session.series.get(&reading.series) else {
                    refused += 1;
                    continue;
                };
                let time = reading.time.as_nanos();
                entry.series.push(*series);
                entry.time.push(time.wrapping_sub(last_time));
                entry.value.push(reading.value);
                last_time = time;
            }
            if refused > 0 {
                refusals.push(too_many_series(head, refused, self.series_max));
            }
        }
        let ack = if epoch.is_some() { highest } else { intake.heads.last().map_or(0, |head| head.ordinal) };
        let taken = entry.value.len() as u64;
        let before = epoch.as_deref().map_or(0, |epoch| shard.state().highest(device, epoch));
        let moved = highest > before;
        if let Some(epoch) = epoch.filter(|_| moved) {
            entry.epoch = epoch.as_ref().to_owned();
            entry.seq = highest;
            entry.previous = before;
        }
        if taken > 0 || moved {
            shard.take(entry)?;
        }
        self.metrics.readings.inc_by(taken);
        self.metrics.messages.inc_by(intake.heads.len() as u64 - duplicates);
        self.metrics.duplicates.inc_by(duplicates);
        Ok(Answer::Taken { ack, durable_at: shard.end(), refusals, slow: shard.is_pressed() })
    }
}

/// Learns the device's index of each series that the session uses for the first time.
fn learn(
    session: &mut Session,
    device: u32,
    intake: &Intake,
    series_max: usize,
    shard: &mut Shard,
) -> Result<(), Wait> {
    for (index, metric, labels) in &intake.fresh {
        let known = shard.series(device, metric, labels)?;
        session.series.insert(*index, known);
        // The session's table began anew: what it used before will not come again.
        if session.series.len() > series_max.saturating_mul(4).max(1024) {
            let keep = u32::try_from(series_max.saturating_mul(2)).unwrap_or(u32::MAX);
            let oldest = index.saturating_sub(keep);
            session.series.retain(|index, _| *index >= oldest);
        }
    }
    Ok(())
}

fn too_many_series(head: &Head, count: u32, series_max: usize) -> Refusal {
    Refusal {
        reason: Reason::TooManySeries,
        message: format!("{count} readings of new series: a device may have {series_max} series"),
        ordinal: head.ordinal,
        seq: head.seq,
        count,
    }
}

impl Actor for DeviceActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Attach> for DeviceActor {
    type Result = ();

    fn handle(&mut self, message: Attach, _: &mut Self::Context) {
        if self.sessions.len() >= self.sessions_max {
            let oldest = self.sessions.remove(0);
            tracing::debug!(device = %self.name, session = oldest.id, "ended by a newer session");
            oldest.end.notify_one();
        }
        self.sessions.push(Session {
            id: message.session,
            end: message.end,
            epoch: None,
            series: HashMap::new(),
        });
    }
}

impl Handler<Detach> for DeviceActor {
    type Result = ();

    fn handle(&mut self, message: Detach, _: &mut Self::Context) {
        self.sessions.retain(|session| session.id != message.session);
    }
}

impl Handler<Hello> for DeviceActor {
    type Result = actix::MessageResult<Hello>;

    fn handle(&mut self, message: Hello, _: &mut Self::Context) -> Self::Result {
        let shard = self.shard.borrow();
        let device = shard.state().device(&self.name);
        let highest = device.map_or(0, |device| shard.state().highest(device, &message.epoch));
        if let Some(session) = self.sessions.iter_mut().find(|known| known.id == message.session) {
            session.epoch = Some(message.epoch);
        }
        actix::MessageResult(Welcome { highest, durable_at: shard.end() })
    }
}

impl Handler<Take> for DeviceActor {
    type Result = actix::MessageResult<Take>;

    fn handle(&mut self, message: Take, _: &mut Self::Context) -> Self::Result {
        let answer = match self.take(message.session, &message.intake) {
            Ok(answer) => answer,
            Err(wait) => Answer::Wait(message.intake, wait),
        };
        actix::MessageResult(answer)
    }
}
