//! What the reading half of a session decides, without tasks, sockets and timers: bytes in, effects out.
//!
//! [`ReadCore::step`] decodes a slice, hands it on, queues what is answered, and says what its driver does before the
//! next step. The session drives it with a socket and timers (`read`), the simulation with queues and a clock of its
//! own.
//!
//! Invariants: nothing is decoded before what was decoded earlier is handed on, or refused; an acknowledgement is
//! queued only for what the device's sessions have taken; a response is queued only when the queue has room, except for
//! acknowledgements by number, which the queue merges, and replies, after which the session waits for room.

mod end;
mod step;
#[cfg(test)]
mod tests;

use std::{cell::Cell, mem, rc::Rc, time::Duration};

use catchment_journal::Position;

pub use self::step::{Pause, Step};
use super::{
    close_reason::CloseReason,
    encode::Encoder,
    environment::Environment,
    protocol::{Closing, DecodeStop, Decoder, Protocol},
    responses::ResponseQueue,
};
use crate::{
    device::{Admission, IntakeOutcome, SessionIdentity},
    intake::{Intake, Refusal},
    shard::Backpressure,
};

thread_local! {
    /// Lent to a session while it decodes.
    static SPARE: Cell<Intake> = Cell::default();
}

/// What messages became that were taken.
#[derive(Clone, Copy)]
struct Taken {
    ack: u64,
    durable_at: Position,
    slow: bool,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Stage {
    /// Decode a slice.
    Decode,
    /// Report the refusals of decoding, from this one on.
    RefuseDecoded(usize),
    /// Hand the messages on.
    HandOn,
    /// Report the refusals of the device's sessions, from this one on, and acknowledge.
    RefuseTaken(usize, Taken),
    /// Replies are queued: wait for room.
    Replied { slow: bool },
    /// Act on what stopped the decoder.
    Stopped,
}

/// What a stage leads to: the next stage, something for the driver, or the session's end.
type Stepped = Result<Option<Step>, CloseReason>;

/// Whether one more response may be queued.
enum Room {
    Free,
    /// The queue is full.
    Wait,
    /// The queue is full, and the device does not read.
    Unread,
}

/// The core of a session's reading half.
pub struct ReadCore {
    decoder: Decoder,
    encoder: Encoder,
    responses: Rc<ResponseQueue>,
    stage: Stage,
    /// The session counts among the connections of its device, or was refused.
    admitted: bool,
    /// The driver has given up waiting for room.
    unread: bool,
    /// Bytes at the front of the buffer that are decoded.
    consumed: usize,
    /// The slice in hand.
    intake: Intake,
    /// Why decoding it stopped.
    stop: DecodeStop,
    /// When it was read.
    read_at: Duration,
    /// What the device's sessions refused of it.
    refused: Vec<Refusal>,
}

impl ReadCore {
    /// The beginning of a connection.
    pub fn new(kind: Protocol, decoder: Decoder, responses: Rc<ResponseQueue>) -> Self {
        Self {
            decoder,
            encoder: Encoder::new(kind),
            responses,
            stage: Stage::Decode,
            admitted: false,
            unread: false,
            consumed: 0,
            intake: Intake::default(),
            stop: DecodeStop::More,
            read_at: Duration::ZERO,
            refused: Vec::new(),
        }
    }

    /// Runs until the driver must do something. `buffer` begins with the same bytes until the answer is
    /// [`Step::ReadMore`]. `closing`: no more bytes will come.
    pub fn step(
        &mut self,
        buffer: &[u8],
        closing: Option<Closing>,
        environment: &mut impl Environment,
    ) -> Step {
        loop {
            let stepped = match self.stage {
                Stage::Decode => self.decode(buffer, closing, environment),
                Stage::RefuseDecoded(from) => self.refuse_decoded(from, environment),
                Stage::HandOn => self.hand_on(environment),
                Stage::RefuseTaken(from, taken) => self.refuse_taken(from, taken, environment),
                Stage::Replied { slow } => self.replied(slow, environment),
                Stage::Stopped => self.stopped(environment),
            };
            match stepped {
                Ok(None) => {}
                Ok(Some(step)) => return step,
                Err(why) => return Step::Close(why),
            }
        }
    }

    /// The device does not read its responses: the next step after [`Step::AwaitRoom`] does without room.
    pub const fn give_up_room(&mut self) {
        self.unread = true;
    }

    /// The decoder, for what its deadlines depend on.
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    fn decode(
        &mut self,
        buffer: &[u8],
        closing: Option<Closing>,
        environment: &mut impl Environment,
    ) -> Stepped {
        let rest = buffer.get(self.consumed..).unwrap_or_default();
        if let Some(wait) = self.rate_wait(rest, environment) {
            environment.metrics().pace.rate_waits.inc();
            return Ok(Some(Step::Pause(Pause::Rate(wait))));
        }
        self.intake = SPARE.take();
        self.intake.measure_by(environment.window_width());
        self.intake.states.refuse(!environment.takes_states());
        let (consumed, stop) = self.decoder.decode(rest, closing, &environment.rules(), &mut self.intake);
        self.consumed += consumed;
        self.stop = stop;
        // Also those of a session that is not admitted.
        count(&self.intake.refusals, environment);
        self.admit_first(environment)?;
        self.stage = Stage::RefuseDecoded(0);
        Ok(None)
    }

    /// How long the device has to wait before more of it is decoded, if it sends too many readings. A CONNECT has none.
    fn rate_wait(&self, rest: &[u8], environment: &impl Environment) -> Option<Duration> {
        if rest.is_empty() || self.decoder.is_opening() {
            return None;
        }
        Some(environment.readings_wait()).filter(|wait| !wait.is_zero())
    }

    /// The first message makes the session one of its device's connections. A client of MQTT says who it is before.
    fn admit_first(&mut self, environment: &mut impl Environment) -> Result<(), CloseReason> {
        if self.admitted || self.decoder.is_mqtt() {
            return Ok(());
        }
        let identity = match &self.stop {
            DecodeStop::Hello(epoch) if self.intake.is_empty() => SessionIdentity::Epoch(epoch),
            _ if self.intake.is_empty() => return Ok(()),
            _ => SessionIdentity::Unknown,
        };
        self.admitted = true;
        admit(identity, environment)
    }

    fn refuse_decoded(&mut self, from: usize, environment: &impl Environment) -> Stepped {
        let refusals = mem::take(&mut self.intake.refusals);
        let waiting = self.refuse(&refusals, from, environment);
        self.intake.refusals = refusals;
        if let Some(at) = waiting {
            self.stage = Stage::RefuseDecoded(at);
            return Ok(Some(Step::AwaitRoom));
        }
        self.read_at = environment.mono();
        if self.intake.messages.is_empty() && self.intake.fresh.is_empty() {
            return self.reply(Position::ZERO, false);
        }
        self.stage = Stage::HandOn;
        Ok(None)
    }

    fn hand_on(&mut self, environment: &mut impl Environment) -> Stepped {
        match environment.take(&self.intake) {
            Ok(IntakeOutcome::Taken { ack, durable_at, refusals, slow }) => {
                count(&refusals, environment);
                self.refused = refusals;
                self.stage = Stage::RefuseTaken(0, Taken { ack, durable_at, slow });
                Ok(None)
            }
            Ok(IntakeOutcome::Ended) => Err(CloseReason::Replaced),
            Err(backpressure) => pause(&backpressure, environment),
        }
    }

    fn refuse_taken(&mut self, from: usize, taken: Taken, environment: &impl Environment) -> Stepped {
        let refusals = mem::take(&mut self.refused);
        if let Some(at) = self.refuse(&refusals, from, environment) {
            self.refused = refusals;
            self.stage = Stage::RefuseTaken(at, taken);
            return Ok(Some(Step::AwaitRoom));
        }
        self.intake.amend_replies(&refusals);
        if !self.intake.messages.is_empty() && self.encoder.acknowledges() {
            self.responses.ack(taken.durable_at, taken.ack, self.read_at);
        }
        self.reply(taken.durable_at, taken.slow)
    }

    /// Queues replies.
    fn reply(&mut self, durable_at: Position, slow: bool) -> Stepped {
        if !self.intake.replies.is_empty() {
            match self.decoder.replies(&self.intake.replies) {
                Ok(bytes) => self.responses.replies(durable_at, bytes, self.read_at),
                Err(close_bytes) => return Err(self.broken(close_bytes)),
            }
        }
        self.stage = Stage::Replied { slow };
        Ok(None)
    }

    fn replied(&mut self, slow: bool, environment: &impl Environment) -> Stepped {
        if !self.intake.replies.is_empty() {
            match self.room() {
                Room::Free => {}
                Room::Wait => return Ok(Some(Step::AwaitRoom)),
                // A reply must not be dropped.
                Room::Unread => return Err(CloseReason::Unread),
            }
        }
        self.intake.reuse();
        SPARE.set(mem::take(&mut self.intake));
        self.stage = Stage::Stopped;
        if slow {
            environment.metrics().pace.slowed.inc();
            return Ok(Some(Step::Pause(Pause::Slow)));
        }
        Ok(None)
    }

    fn stopped(&mut self, environment: &mut impl Environment) -> Stepped {
        let step = match &mut self.stop {
            DecodeStop::More => Some(Step::ReadMore { consumed: mem::take(&mut self.consumed) }),
            DecodeStop::Enough => Some(Step::Yield),
            DecodeStop::Hello(_) => return self.hello(environment),
            DecodeStop::Open(_) => return self.open(environment),
            DecodeStop::Done => return Err(CloseReason::Peer),
            DecodeStop::Broken(close_bytes) => {
                let close_bytes = mem::take(close_bytes);
                return Err(self.broken(close_bytes));
            }
        };
        self.stage = Stage::Decode;
        Ok(step)
    }

    fn hello(&mut self, environment: &mut impl Environment) -> Stepped {
        match self.room() {
            Room::Free => {}
            Room::Wait => return Ok(Some(Step::AwaitRoom)),
            // A device that says hello over and over without reading has lost its right to an answer.
            Room::Unread => return Err(CloseReason::Unread),
        }
        if let DecodeStop::Hello(epoch) = &self.stop {
            let welcome = environment.hello(epoch);
            let mut bytes = Vec::new();
            self.encoder.welcome(epoch, welcome.highest, &mut bytes);
            self.responses.push(welcome.durable_at, bytes);
        }
        self.stage = Stage::Decode;
        Ok(None)
    }

    /// Opens the session of an MQTT client.
    fn open(&mut self, environment: &mut impl Environment) -> Stepped {
        if let DecodeStop::Open(open) = &self.stop {
            if !mem::replace(&mut self.admitted, true) {
                admit(SessionIdentity::Client(&open.client), environment)?;
            }
            match environment.open(open, self.decoder.silence_max()) {
                Ok(opened) => {
                    let bytes = self.decoder.accept(opened.present);
                    self.responses.push(opened.durable_at, bytes);
                }
                Err(backpressure) => return pause(&backpressure, environment),
            }
        }
        self.stage = Stage::Decode;
        Ok(None)
    }

    /// Queues refusals from one on, in their order, each once there is room. Returns the one that waits for room.
    fn refuse(&mut self, refusals: &[Refusal], from: usize, environment: &impl Environment) -> Option<usize> {
        if !self.encoder.acknowledges() {
            return None;
        }
        for (at, refusal) in refusals.iter().enumerate().skip(from) {
            match self.room() {
                Room::Free => {
                    let mut bytes = Vec::new();
                    self.encoder.refusal(refusal, &mut bytes);
                    self.responses.push(Position::ZERO, bytes);
                }
                Room::Wait => return Some(at),
                Room::Unread => _ = environment.metrics().answers_dropped.inc(),
            }
        }
        None
    }

    /// Whether one more response may be queued. Without room, the driver is asked for each one.
    fn room(&mut self) -> Room {
        let unread = mem::take(&mut self.unread);
        match self.responses.has_room() {
            true => Room::Free,
            false if unread => Room::Unread,
            false => Room::Wait,
        }
    }

    /// The connection must end, with these last bytes.
    fn broken(&self, close_bytes: Vec<u8>) -> CloseReason {
        self.responses.push(Position::ZERO, close_bytes);
        CloseReason::Broken
    }
}

/// Takes a place among the connections of the device, or fails: then nothing of the session is taken.
fn admit(identity: SessionIdentity<'_>, environment: &mut impl Environment) -> Result<(), CloseReason> {
    match environment.admit(identity) {
        Admission::Admitted | Admission::Displaces(_) => Ok(()),
        Admission::Full => Err(CloseReason::TooMany),
    }
}

fn count(refusals: &[Refusal], environment: &mut impl Environment) {
    let mut readings = 0_u64;
    for refusal in refusals {
        environment.metrics().refuse(refusal.reason, refusal.count.into());
        readings = readings.saturating_add(refusal.count.into());
    }
    if readings > 0 {
        environment.note_refused(readings);
    }
}

/// What was not taken now is tried again after a pause, unless it never will be.
fn pause(backpressure: &Backpressure, environment: &impl Environment) -> Stepped {
    let pause = match backpressure {
        Backpressure::Failed(_) => return Err(CloseReason::Failed),
        Backpressure::Devices(_) => return Err(CloseReason::DevicesFull),
        Backpressure::Sync => Pause::Sync,
        Backpressure::Room(_) => Pause::Room,
    };
    environment.metrics().pace.waits.inc();
    Ok(Some(Step::Pause(pause)))
}
