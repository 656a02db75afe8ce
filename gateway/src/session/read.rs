//! The reading half of a session: drives its core (`read_core`) with the socket, timers and deadlines.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    close_reason::CloseReason,
    connection::Session,
    deadlines::{DeadlineTimer, DecodedSlice, ReadDeadlines},
    protocol::Closing,
    read_core::{Pause, Step},
    stream::{Inbox, SessionStream},
    unfinished::UnfinishedGuard,
    worker_environment::WorkerEnvironment,
};
use crate::{device::DelayGuard, turns::Slice};

impl<S: SessionStream> Session<S> {
    /// The reading half.
    pub(super) async fn read(&self, mut inbox: Inbox) -> CloseReason {
        let mut ended = pin!(self.handle.ended());
        let (mut timer, mut times) = (DeadlineTimer::default(), ReadDeadlines::default());
        let mut held = UnfinishedGuard::new(&self.context.session_table.unfinished);
        let mut closing = None;
        loop {
            let before = self.core.borrow().decoder().progress();
            let slice = match self.decode(&mut inbox, closing, &mut held).await {
                Ok(slice) => slice,
                Err(why) => return why,
            };
            if closing.is_some() {
                return CloseReason::Peer;
            }
            let decoded = slice.is_some();
            if let Some(slice) = slice {
                // Other sessions run first: a device that sends without a pause gets the time that they leave, and
                // delays each of them by one slice.
                slice.give_way().await;
            }
            if self.context.session_table.waiting.is_full() {
                Box::pin(self.wait_to_read()).await;
            }
            times.hold_back(self.handle.take_held_back());
            if let Some(why) = self.note(before, decoded, &inbox, &mut times, &mut held) {
                return why;
            }
            let due = self.due(&times);
            tokio::select! {
                biased;
                why = &mut ended => return why,
                // Before the deadline: bytes that came while this session waited were in time.
                read = self.stream.fill(&mut inbox, &self.context.session_table.waiting) => closing = match read {
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

    /// Updates deadlines and bounds after decoding. `before`: the decoder's progress then. Returns why the session
    /// ends, if a message takes too long: while its bytes keep coming no timer expires.
    fn note(
        &self,
        before: (u64, bool),
        decoded: bool,
        inbox: &Inbox,
        times: &mut ReadDeadlines,
        held: &mut UnfinishedGuard<'_>,
    ) -> Option<CloseReason> {
        let after = self.core.borrow().decoder().progress();
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
        let core = self.core.borrow();
        let decoder = core.decoder();
        let (opening, keep_alive) = (decoder.is_opening(), decoder.silence_max());
        times.due(self.handle.last_message_at(), &self.context.session_table.deadlines, opening, keep_alive)
    }

    /// Decodes and hands on all that is whole in the inbox. Returns the last slice of it, if anything was. While the
    /// session waits, what it holds counts among what waits; `held` is what else it holds.
    async fn decode(
        &self,
        inbox: &mut Inbox,
        closing: Option<Closing>,
        held: &mut UnfinishedGuard<'_>,
    ) -> Result<Option<Slice>, CloseReason> {
        loop {
            // Of what was read before the end, nothing is taken after it.
            if let Some(why) = self.handle.why() {
                return Err(why);
            }
            let slice = Slice::begin();
            let step = self.core.borrow_mut().step(inbox.unread(), closing, &mut self.environment());
            match step {
                Step::ReadMore { consumed } => {
                    inbox.consume(consumed);
                    return Ok((consumed > 0).then_some(slice));
                }
                // A slice has ended: the rest of what was read waits until the other sessions had a turn.
                Step::Yield => {
                    let _waits = self.context.session_table.waiting.hold(inbox.held());
                    slice.give_way().await;
                }
                Step::AwaitRoom => {
                    if !Box::pin(self.waiting(inbox, held, self.room())).await? {
                        self.core.borrow_mut().give_up_room();
                    }
                }
                Step::Pause(pause) => Box::pin(self.waiting(inbox, held, self.pause(pause))).await?,
                Step::Close(why) => return Err(why),
            }
        }
    }

    /// Waits. Meanwhile the session holds exactly what it has read and decoded, and not the buffer that it shares with the
    /// other sessions of its thread.
    async fn waiting<T>(
        &self,
        inbox: &mut Inbox,
        held: &mut UnfinishedGuard<'_>,
        wait: impl Future<Output = T>,
    ) -> T {
        inbox.consume(0);
        // What is unfinished of it waits with the rest, and is counted once.
        held.set(0, false, &self.handle);
        let bytes = inbox.held() + self.core.borrow_mut().compact();
        let _waits = self.context.session_table.waiting.hold(bytes);
        wait.await
    }

    /// Waits while the sessions that wait hold all that they may, and there is no room for more. No deadline of the device
    /// runs meanwhile. Also until the session is ended from outside, which the caller looks at.
    async fn wait_to_read(&self) {
        while self.context.session_table.waiting.is_full() && self.handle.why().is_none() {
            let pause = Pause::Room.duration();
            self.handle.hold_back(pause);
            self.look_at_connection();
            if self.sleep(pause).await.is_err() {
                return;
            }
        }
    }

    /// Sleeps, at most until the session is ended from outside.
    async fn sleep(&self, pause: Duration) -> Result<(), CloseReason> {
        tokio::select! {
            () = sleep(pause) => Ok(()),
            why = self.handle.ended() => Err(why),
        }
    }

    /// The session, as its reading half needs it.
    pub(super) fn environment(&self) -> WorkerEnvironment<'_> {
        let Self { id, handle, device_sessions, context, .. } = self;
        WorkerEnvironment { id: *id, handle, device_sessions, context }
    }

    /// A session that waits for room or for its rate is not read, for as long as that takes. What it has read stays, but
    /// if its device is gone, it keeps no other connection of the device out.
    fn look_at_connection(&self) {
        if self.stream.is_broken() {
            self.handle.record_broken();
        }
    }

    async fn pause(&self, pause: Pause) -> Result<(), CloseReason> {
        if pause != Pause::Sync {
            self.look_at_connection();
        }
        let _for_room = (pause == Pause::Room).then(|| self.context.session_table.waiting.wait_for_room());
        let _delayed = matches!(pause, Pause::Rate(_)).then(|| {
            self.handle.hold_back(pause.duration());
            DelayGuard::new(&self.device_sessions)
        });
        if pause == Pause::Slow {
            sleep(pause.duration()).await;
            return Ok(());
        }
        self.sleep(pause.duration()).await
    }
}
