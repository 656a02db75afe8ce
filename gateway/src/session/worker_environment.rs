//! The process of a session on its worker.

use std::{cell::RefCell, time::Duration};

use catchment_partial::Width;
use tokio::time::Instant;

use super::{close_reason::CloseReason, context::Context, environment::Environment, handle::SessionHandle};
use crate::{
    device::{Admission, DeviceSessions, IntakeOutcome, Opened, SessionId, SessionIdentity, Welcome},
    intake::{Intake, TimeRules},
    metrics::Metrics,
    mqtt::connection::Open,
    shard::Backpressure,
};

/// What a session reaches of its worker. Device and shard are borrowed for the length of a call, the shard to be
/// changed only while it is: a panic elsewhere does not poison it.
pub(super) struct WorkerEnvironment<'a> {
    pub(super) id: SessionId,
    pub(super) handle: &'a SessionHandle,
    pub(super) device_sessions: &'a RefCell<DeviceSessions>,
    pub(super) context: &'a Context,
}

impl Environment for WorkerEnvironment<'_> {
    fn rules(&self) -> TimeRules {
        self.context.rules()
    }

    fn mono(&self) -> Duration {
        self.context.clock.mono()
    }

    fn window_width(&self) -> Option<Width> {
        self.context.shard.borrow().state().width()
    }

    fn takes_states(&self) -> bool {
        self.context.state_support.get()
    }

    fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    fn readings_wait(&self) -> Duration {
        self.device_sessions.borrow().readings_wait(self.mono())
    }

    fn note_refused(&mut self, readings: u64) {
        self.context.shard.borrow_mut().note_refused(readings);
    }

    fn admit(&mut self, identity: SessionIdentity<'_>) -> Admission {
        let (session_table, now) = (&self.context.session_table, Instant::now());
        let silence = |other| session_table.silence(other, now);
        let admission = self.device_sessions.borrow_mut().admit(self.id, identity, silence);
        if let Admission::Displaces(other) = admission {
            session_table.end(other, CloseReason::Displaced);
        }
        admission
    }

    fn hello(&mut self, epoch: &str) -> Welcome {
        self.device_sessions.borrow_mut().hello(self.id, epoch.into(), &self.context.shard.borrow())
    }

    fn open(&mut self, open: &Open, silence_max: Option<Duration>) -> Result<Opened, Backpressure> {
        self.handle.set_silence_max(silence_max);
        let opened =
            self.device_sessions.borrow_mut().open(self.id, open, &mut self.context.shard.borrow_mut())?;
        if let Some(other) = opened.taken_over {
            self.context.session_table.end(other, CloseReason::Replaced);
        }
        Ok(opened)
    }

    fn take(&mut self, intake: &Intake) -> Result<IntakeOutcome, Backpressure> {
        let mut device_sessions = self.device_sessions.borrow_mut();
        let outcome = device_sessions.take(self.id, intake, &mut self.context.shard.borrow_mut());
        if matches!(outcome, Ok(IntakeOutcome::Taken { .. })) {
            self.handle.mark_delivered();
        }
        outcome
    }
}
