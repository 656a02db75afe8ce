//! The actor of a device: it runs all sessions of the device, and nothing else decides over its readings.
//!
//! A connection comes to it as one message and becomes a session in its context, so a reading crosses no mailbox: a
//! session asks the device's desk directly, which drops what was taken before (by sequence number), turns the
//! session's series indexes into the device's own, and hands the rest to the shard. Actor, sessions and shard live on
//! one thread. What is decided is in `desk`, the arithmetic in [`crate::fold`].

mod client;
mod desk;

use std::{cell::RefCell, rc::Rc};

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, WrapFuture as _};
use catchment_certs::Accepted;
use catchment_proto::Name;
use tokio::sync::watch;

pub use self::desk::{Answer, Desk, Opened, Welcome};
use crate::session;

/// Number of a session, unique in its process.
pub type SessionId = u64;

/// A connection of the device, with its handshake made: a session begins. When it is one too many, the oldest of the
/// device is told to end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Connect {
    /// Number of the session.
    pub session: SessionId,
    /// The connection, registered with this thread.
    pub accepted: Accepted,
}

/// The actor of a device.
pub struct DeviceActor {
    name: Name,
    desk: Rc<RefCell<Desk>>,
    context: Rc<session::Context>,
    /// Sessions of the worker; whoever sends [`Connect`] has counted it.
    sessions: Rc<watch::Sender<usize>>,
}

impl DeviceActor {
    /// The actor of a device that is not connected yet.
    pub fn new(
        name: Name,
        sessions_max: usize,
        context: Rc<session::Context>,
        sessions: Rc<watch::Sender<usize>>,
    ) -> Self {
        let metrics = std::sync::Arc::clone(&context.metrics);
        let desk = Desk::new(name.clone(), sessions_max, context.series_max, metrics);
        Self { name, desk: Rc::new(RefCell::new(desk)), context, sessions }
    }
}

impl Actor for DeviceActor {
    type Context = Context<Self>;
}

impl Handler<Connect> for DeviceActor {
    type Result = ();

    fn handle(&mut self, connect: Connect, actor: &mut Self::Context) {
        let Connect { session, accepted } = connect;
        let alpn = session::agreed(&accepted);
        let Accepted { stream, addr, permit, .. } = accepted;
        let end = self.context.ending.child_token();
        self.desk.borrow_mut().attach(session, end.clone());
        let (desk, context) = (Rc::clone(&self.desk), Rc::clone(&self.context));
        // On the heap: the session's future would hold it several times over.
        let stream = Box::new(stream);
        let serving = session::run(stream, alpn, session, end, desk, context);
        let ended = serving.into_actor(self).map(move |why, this, _| {
            this.desk.borrow_mut().detach(session);
            tracing::debug!(device = %this.name, %addr, ?why, "session ended");
            drop(permit);
            this.sessions.send_modify(|count| *count -= 1);
        });
        actor.spawn(ended);
    }
}
