//! The reading half of a session: bytes in, whole messages to the device's sessions, one hand-over at a time.

use std::{cell::Cell, pin::pin, time::Duration};

use catchment_journal::Position;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
    time::{Instant, sleep},
};

use super::{
    close_reason::CloseReason,
    connection::Session,
    deadlines::{DeadlineTimer, DecodedSlice, ReadDeadlines},
    protocol::{Closing, DecodeStop},
    stream::Inbox,
    unfinished::UnfinishedGuard,
};
use crate::{
    device::{IntakeOutcome, SessionIdentity},
    intake::{Intake, Refusal},
    mqtt::{connection::Open, packets::Reply},
    shard::Backpressure,
};

/// Pause before messages for which there was no room are tried again.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// Pause of each session near the bounds: much less is taken then than the aggregator can take away.
const SLOW_PAUSE: Duration = Duration::from_millis(50);
/// Pause before messages are tried again that were ahead of the disk.
const SYNC_PAUSE: Duration = Duration::from_millis(1);

thread_local! {
    /// Lent to a session while it decodes.
    static SPARE: Cell<Intake> = Cell::default();
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// The reading half.
    pub(super) async fn read(&self, mut inbox: Inbox) -> CloseReason {
        let mut cancelled = pin!(self.handle.end.cancelled());
        let (mut timer, mut times) = (DeadlineTimer::default(), ReadDeadlines::default());
        let mut held = UnfinishedGuard::new(&self.context.session_table.unfinished);
        let mut closing = None;
        loop {
            let before = self.decoder.borrow().progress();
            let decoded = match self.decode(&mut inbox, closing).await {
                Ok(decoded) => decoded,
                Err(why) => return why,
            };
            if closing.is_some() {
                return CloseReason::Peer;
            }
            if decoded {
                // Other sessions run first: a device that sends without a pause gets what they leave, and delays each of
                // them by one slice.
                yield_now().await;
            }
            if let Some(why) = self.note(before, decoded, &inbox, &mut times, &mut held) {
                return why;
            }
            let due = self.due(&times);
            tokio::select! {
                biased;
                () = &mut cancelled => return self.context.cancel_reason(),
                // Before the deadline: what has come while this session waited was in time.
                read = self.stream.fill(&mut inbox) => closing = match read {
                    Ok(1..) => None,
                    Ok(0) => Some(Closing::Orderly),
                    Err(_) => Some(Closing::Abrupt),
                },
                () = timer.expires(due.map(|(due, _)| due)) => {
                    return due.map_or(CloseReason::Silent, |(_, why)| why);
                }
            }
        }
    }

    /// Notes for the deadlines and the bounds what decoding did, from a place of the decoder on. Returns why the session
    /// ends, if a message takes too long: while its bytes keep coming no timer expires.
    fn note(
        &self,
        before: (u64, bool),
        decoded: bool,
        inbox: &Inbox,
        times: &mut ReadDeadlines,
        held: &mut UnfinishedGuard<'_>,
    ) -> Option<CloseReason> {
        let after = self.decoder.borrow().progress();
        // Within a line that is skipped nothing ends, whatever is consumed.
        let finished = decoded && !(after == before && after.1);
        let slice = DecodedSlice { finished, within: !inbox.unread().is_empty() || after.1 };
        if !(finished || slice.within) {
            return None;
        }
        let now = Instant::now();
        if finished {
            self.handle.record_message(now);
        }
        let anew = times.note(slice, now);
        held.set(inbox.held(), anew, &self.handle);
        times.is_late(&self.context.session_table.deadlines, now).then_some(CloseReason::Unfinished)
    }

    /// The next deadline, and why the session ends then.
    fn due(&self, times: &ReadDeadlines) -> Option<(Instant, CloseReason)> {
        let decoder = self.decoder.borrow();
        let (opening, keep_alive) = (decoder.is_opening(), decoder.silence_max());
        times.due(self.handle.last_message_at(), &self.context.session_table.deadlines, opening, keep_alive)
    }

    /// Decodes and hands on all that is whole in the inbox; tells whether anything was.
    async fn decode(&self, inbox: &mut Inbox, closing: Option<Closing>) -> Result<bool, CloseReason> {
        let mut start = 0;
        loop {
            let mut intake = SPARE.take();
            intake.measure_by(self.context.shard.borrow().state().width());
            let rules = self.context.rules();
            let rest = inbox.unread().get(start..).unwrap_or_default();
            let (consumed, stop) = self.decoder.borrow_mut().decode(rest, closing, &rules, &mut intake);
            start += consumed;
            self.admit_first(&intake, &stop)?;
            self.hand_on(&mut intake).await?;
            intake.reuse();
            SPARE.set(intake);
            match stop {
                // A slice: what else was read waits behind the others.
                DecodeStop::Enough => yield_now().await,
                DecodeStop::More => break,
                DecodeStop::Hello(epoch) => Box::pin(self.hello(&epoch)).await?,
                DecodeStop::Open(open) => Box::pin(self.open(open)).await?,
                DecodeStop::Done => return Err(CloseReason::Peer),
                DecodeStop::Broken(close_bytes) => return Err(self.broken(close_bytes)),
            }
        }
        inbox.consume(start);
        Ok(start > 0)
    }

    /// Hands messages to the device's sessions until they are taken.
    async fn hand_on(&self, intake: &mut Intake) -> Result<(), CloseReason> {
        if !intake.refusals.is_empty() {
            Box::pin(self.refuse(&intake.refusals)).await?;
        }
        let read_at = self.context.clock.mono();
        if intake.messages.is_empty() && intake.fresh.is_empty() {
            return self.reply(&intake.replies, Position::ZERO, read_at).await;
        }
        let silent = intake.messages.is_empty();
        loop {
            let taken =
                self.device_sessions.borrow_mut().take(self.id, intake, &mut self.context.shard.borrow_mut());
            match taken {
                Ok(IntakeOutcome::Taken { ack, durable_at, refusals, slow }) => {
                    self.handle.mark_delivered();
                    if !refusals.is_empty() {
                        Box::pin(self.refuse(&refusals)).await?;
                    }
                    intake.amend_replies(&refusals);
                    if !silent && self.encoder.acknowledges() {
                        self.responses.ack(durable_at, ack, read_at);
                    }
                    self.reply(&intake.replies, durable_at, read_at).await?;
                    if slow {
                        self.context.metrics.slowed.inc();
                        Box::pin(sleep(SLOW_PAUSE)).await;
                    }
                    return Ok(());
                }
                Ok(IntakeOutcome::Ended) => return Err(CloseReason::Replaced),
                Err(backpressure) => Box::pin(self.pause(&backpressure)).await?,
            }
        }
    }

    /// Before the same is tried again.
    async fn pause(&self, backpressure: &Backpressure) -> Result<(), CloseReason> {
        let pause = match backpressure {
            Backpressure::Failed(_) => return Err(CloseReason::Failed),
            Backpressure::Devices(_) => return Err(CloseReason::DevicesFull),
            Backpressure::Sync => SYNC_PAUSE,
            Backpressure::Room(_) => ROOM_PAUSE,
        };
        self.context.metrics.waits.inc();
        tokio::select! {
            () = sleep(pause) => Ok(()),
            () = self.handle.end.cancelled() => Err(self.context.cancel_reason()),
        }
    }

    /// Puts replies in line, and waits while the device does not read those before.
    async fn reply(
        &self,
        replies: &[Reply],
        durable_at: Position,
        read_at: Duration,
    ) -> Result<(), CloseReason> {
        if replies.is_empty() {
            return Ok(());
        }
        let encoded = self.decoder.borrow_mut().replies(replies);
        match encoded {
            Ok(bytes) => self.responses.replies(durable_at, bytes, read_at),
            Err(close_bytes) => return Err(self.broken(close_bytes)),
        }
        // A reply must not be dropped.
        if self.room().await? { Ok(()) } else { Err(CloseReason::Unread) }
    }

    /// The connection must end, with these last bytes.
    fn broken(&self, close_bytes: Vec<u8>) -> CloseReason {
        self.responses.push(Position::ZERO, close_bytes);
        CloseReason::Broken
    }

    /// Opens the session of an MQTT client.
    async fn open(&self, open: Open) -> Result<(), CloseReason> {
        self.admit(SessionIdentity::Client(&open.client))?;
        self.handle.set_silence_max(self.decoder.borrow().silence_max());
        loop {
            let opened =
                self.device_sessions.borrow_mut().open(self.id, &open, &mut self.context.shard.borrow_mut());
            match opened {
                Ok(opened) => {
                    let bytes = self.decoder.borrow_mut().accept(opened.present);
                    self.responses.push(opened.durable_at, bytes);
                    return Ok(());
                }
                Err(backpressure) => Box::pin(self.pause(&backpressure)).await?,
            }
        }
    }

    async fn hello(&self, epoch: &str) -> Result<(), CloseReason> {
        // A device that says hello over and over without reading has lost its right to an answer.
        if !self.room().await? {
            return Err(CloseReason::Unread);
        }
        let welcome =
            self.device_sessions.borrow_mut().hello(self.id, epoch.into(), &self.context.shard.borrow());
        let mut bytes = Vec::new();
        self.encoder.welcome(epoch, welcome.highest, &mut bytes);
        self.responses.push(welcome.durable_at, bytes);
        Ok(())
    }

    /// Counts refusals, and tells them in order: the device is not read on until there is room for each.
    async fn refuse(&self, refusals: &[Refusal]) -> Result<(), CloseReason> {
        for refusal in refusals {
            self.context.metrics.refuse(refusal.reason, refusal.count.into());
            if !self.encoder.acknowledges() {
                continue;
            }
            if !self.room().await? {
                self.context.metrics.answers_dropped.inc();
                continue;
            }
            let mut bytes = Vec::new();
            self.encoder.refusal(refusal, &mut bytes);
            self.responses.push(Position::ZERO, bytes);
        }
        Ok(())
    }
}
