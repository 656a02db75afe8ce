//! A session of a simulated gateway: the product's reading core, driven one read at a time.

use std::{num::NonZeroU16, rc::Rc, sync::Arc, time::Duration};

use catchment_gateway::{
    clock::{Clock as _, ManualClock},
    decode::{DecodeLimits, line_protocol::Precision},
    device::{Admission, DeviceSessions, IntakeOutcome, Opened, SessionId, SessionIdentity, Welcome},
    intake::{Intake, TimeRules},
    metrics::Metrics,
    mqtt::connection::{MqttOptions, Open},
    session::{
        CloseReason,
        environment::Environment,
        protocol::{Closing, Decoder, Protocol, ProtocolOptions},
        read_core::{ReadCore, Step},
        responses::{Response, ResponseQueue},
    },
    shard::{Backpressure, Shard},
};
use catchment_journal::{Position, sim::SimDisk};
use catchment_partial::{Timestamp, Width};

use crate::{device::ToDevice, end::End, limits::limits, messages};

/// A session.
pub(super) struct Session {
    /// Number of its device.
    pub(super) device: usize,
    protocol: Protocol,
    core: ReadCore,
    /// Bytes that were read and are not decoded.
    inbox: Vec<u8>,
    /// The core waits before it reads on.
    blocked: bool,
    /// Answers that wait for a sync.
    responses: Rc<ResponseQueue>,
}

/// What a read led to.
pub(super) enum Outcome {
    /// The session continues.
    Open,
    /// The session has ended, as devices must expect.
    Closed,
}

impl Session {
    /// A connection with its handshake made.
    pub(super) fn new(device: usize, protocol: Protocol) -> Self {
        let mqtt = MqttOptions { topics: Arc::default(), receive_max: NonZeroU16::MAX };
        let options = ProtocolOptions { precision: Precision::Nanoseconds, json: Arc::default(), mqtt };
        let decoder = Decoder::new(protocol, DecodeLimits::default(), limits().series_max, &options);
        let responses = Rc::<ResponseQueue>::default();
        let core = ReadCore::new(protocol, decoder, Rc::clone(&responses));
        Self { device, protocol, core, inbox: Vec::new(), blocked: false, responses }
    }

    /// Reads up to `most` bytes, and hands on what is whole; bytes stay where they are while the session waits.
    ///
    /// # Errors
    /// See [`End`].
    pub(super) fn read(
        &mut self,
        up: &mut Vec<u8>,
        most: usize,
        process: &mut Process<'_>,
    ) -> Result<Outcome, End> {
        if !self.blocked {
            self.inbox.extend(up.drain(..most.min(up.len())));
        }
        self.step(None, process)
    }

    /// The connection broke: what was read is decoded to its end, if there is room.
    ///
    /// # Errors
    /// See [`End`].
    pub(super) fn lose(&mut self, process: &mut Process<'_>) -> Result<Outcome, End> {
        self.step(Some(Closing::Abrupt), process)
    }

    fn step(&mut self, closing: Option<Closing>, process: &mut Process<'_>) -> Result<Outcome, End> {
        self.blocked = true;
        match self.core.step(&self.inbox, closing, process) {
            Step::ReadMore { consumed } => {
                self.inbox.drain(..consumed);
                self.blocked = false;
            }
            // The next read steps on.
            Step::Yield | Step::AwaitRoom | Step::Pause(_) => {}
            Step::Close(CloseReason::Failed) => return Err(End::Failed),
            Step::Close(CloseReason::Replaced | CloseReason::TooMany) => return Ok(Outcome::Closed),
            Step::Close(why) => return Err(End::Defect(format!("a session ends: {why:?}"))),
        }
        Ok(Outcome::Open)
    }

    /// The answers that may leave.
    ///
    /// # Errors
    /// An answer that no device here causes, as a refusal is.
    pub(super) fn responses(&mut self, durable: Position) -> Result<Vec<ToDevice>, String> {
        let mut leaving = Vec::new();
        self.responses.drain_ready(durable, |response| {
            leaving.push(match response {
                Response::Ack { ack, .. } => Ok(ToDevice::Ack(ack)),
                Response::Encoded { bytes, .. } => messages::welcome(self.protocol, &bytes),
            });
        });
        leaving.into_iter().collect()
    }
}

/// What a session reaches of its gateway.
pub(super) struct Process<'a> {
    /// Its number.
    pub(super) id: SessionId,
    /// The device's sessions.
    pub(super) device_sessions: &'a mut DeviceSessions,
    /// The shard.
    pub(super) shard: &'a mut Shard<SimDisk>,
    /// What is counted.
    pub(super) metrics: &'a Metrics,
    /// The gateway's clock.
    pub(super) clock: &'a ManualClock,
    /// How long another session has been silent.
    pub(super) silence: &'a dyn Fn(SessionId) -> Option<Duration>,
    /// The session that this one has displaced.
    pub(super) displaced: Option<SessionId>,
}

impl Environment for Process<'_> {
    fn rules(&self) -> TimeRules {
        TimeRules { now: self.clock.wall(), oldest: Timestamp::MIN, newest: Timestamp::MAX }
    }

    fn mono(&self) -> Duration {
        self.clock.mono()
    }

    fn window_width(&self) -> Option<Width> {
        self.shard.state().width()
    }

    fn takes_states(&self) -> bool {
        true
    }

    fn metrics(&self) -> &Metrics {
        self.metrics
    }

    fn readings_wait(&self) -> Duration {
        self.device_sessions.readings_wait(self.clock.mono())
    }

    fn note_refused(&mut self, readings: u64) {
        self.shard.note_refused(readings);
    }

    fn admit(&mut self, identity: SessionIdentity<'_>) -> Admission {
        let admission = self.device_sessions.admit(self.id, identity, self.silence);
        if let Admission::Displaces(other) = admission {
            self.displaced = Some(other);
        }
        admission
    }

    fn hello(&mut self, epoch: &str) -> Welcome {
        self.device_sessions.hello(self.id, epoch.into(), self.shard)
    }

    fn open(&mut self, open: &Open, _: Option<Duration>) -> Result<Opened, Backpressure> {
        self.device_sessions.open(self.id, open, self.shard)
    }

    fn take(&mut self, intake: &Intake) -> Result<IntakeOutcome, Backpressure> {
        self.device_sessions.take(self.id, intake, self.shard)
    }
}
