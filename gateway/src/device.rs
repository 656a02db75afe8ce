//! The actor of a device: all its sessions meet here, and nothing else decides over its readings.
//!
//! It drops what was taken before (by sequence number), turns a session's series indexes into the device's own,
//! and hands the rest to the shard. It lives on the device's worker, beside its sessions: no message to it
//! crosses a thread. What it decides is in `desk`, the arithmetic in [`crate::fold`]; this is the mailbox.

mod client;
mod desk;

use std::{cell::RefCell, rc::Rc, sync::Arc};

use actix::{Actor, Context, Handler, Message};
use catchment_proto::Name;
use tokio::sync::Notify;

pub use self::desk::{Answer, Desk, Opened, Welcome};
use crate::{
    intake::Intake,
    metrics::Metrics,
    mqtt::connection::Open,
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

/// Messages of a session.
#[derive(Debug, Message)]
#[rtype(result = "Answer")]
pub struct Take {
    /// The session.
    pub session: SessionId,
    /// What was decoded.
    pub intake: Intake,
}

/// A client (MQTT) opens its session.
#[derive(Debug, Message)]
#[rtype(result = "Result<Opened, Wait>")]
pub struct OpenClient {
    /// The session.
    pub session: SessionId,
    /// What the client asks for.
    pub open: Open,
}

/// The actor of a device.
pub struct DeviceActor {
    desk: Desk,
    shard: Rc<RefCell<Shard>>,
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
        Self { desk: Desk::new(name, sessions_max, series_max, metrics), shard }
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
        self.desk.attach(message.session, message.end);
    }
}

impl Handler<Detach> for DeviceActor {
    type Result = ();

    fn handle(&mut self, message: Detach, _: &mut Self::Context) {
        self.desk.detach(message.session);
    }
}

impl Handler<Hello> for DeviceActor {
    type Result = actix::MessageResult<Hello>;

    fn handle(&mut self, message: Hello, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.desk.hello(message.session, message.epoch, &self.shard.borrow()))
    }
}

impl Handler<OpenClient> for DeviceActor {
    type Result = actix::MessageResult<OpenClient>;

    fn handle(&mut self, message: OpenClient, _: &mut Self::Context) -> Self::Result {
        let mut shard = self.shard.borrow_mut();
        actix::MessageResult(self.desk.open(message.session, &message.open, &mut shard))
    }
}

impl Handler<Take> for DeviceActor {
    type Result = actix::MessageResult<Take>;

    fn handle(&mut self, message: Take, _: &mut Self::Context) -> Self::Result {
        // Synchronous, so the shard is borrowed by nobody else.
        let taken = self.desk.take(message.session, &message.intake, &mut self.shard.borrow_mut());
        actix::MessageResult(taken.unwrap_or_else(|wait| Answer::Wait(message.intake, wait)))
    }
}
