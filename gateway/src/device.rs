//! The actor of a device: it runs all sessions of the device, and nothing else decides over its readings.
//!
//! A connection comes to it as one message and becomes a session in its context, so a reading crosses no mailbox: a
//! session asks the device's sessions directly, which drop what was taken before (by sequence number), turn the
//! session's series indexes into the device's own, and hand the rest to the shard. Actor, sessions and shard live on
//! one thread. What is decided is in `sessions`, the arithmetic in [`crate::fold`].

mod actors;
mod mqtt_session;
mod sessions;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, SpawnHandle, WrapFuture as _,
};
use catchment_certs::Accepted;
use catchment_proto::Name;
use catchment_settings::supervise::catch;
use tokio::sync::watch;

pub use self::actors::Actors;
pub use self::sessions::{Admission, DeviceSessions, IntakeOutcome, Opened, SessionIdentity, Welcome};
use crate::session::{self, CloseReason, table::SessionHandle};

/// Number of a session, unique in its process.
pub type SessionId = u64;

/// A connection of the device, with its handshake made: a session begins. Its first message makes it one of the device's
/// connections, or it is refused.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Connect {
    /// Number of the session.
    pub session: SessionId,
    /// The connection, registered with this thread.
    pub accepted: Accepted,
    /// Its place in the count of the worker's sessions.
    pub count_guard: CountGuard,
}

/// A session that counts as one of its worker's until this is dropped, however it ends.
#[derive(Debug)]
pub struct CountGuard(Arc<watch::Sender<usize>>);

impl CountGuard {
    /// Counts one.
    pub fn new(sessions: &Arc<watch::Sender<usize>>) -> Self {
        sessions.send_modify(|count| *count += 1);
        Self(Arc::clone(sessions))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The actor of a device.
pub struct DeviceActor {
    name: Name,
    device_sessions: Rc<RefCell<DeviceSessions>>,
    context: Rc<session::Context>,
    /// Where it stands, to take itself out.
    actors: Rc<Actors>,
    /// It has no session, and ends by this.
    ending: Option<SpawnHandle>,
}

impl DeviceActor {
    /// The actor of a device that is not connected yet.
    fn new(name: Name, sessions_max: usize, context: Rc<session::Context>, actors: Rc<Actors>) -> Self {
        let metrics = Arc::clone(&context.metrics);
        let device_sessions = DeviceSessions::new(name.clone(), sessions_max, context.series_max, metrics);
        Self { name, device_sessions: Rc::new(RefCell::new(device_sessions)), context, actors, ending: None }
    }

    /// A session has ended: what an operator is to know of it.
    fn ended(&self, why: CloseReason, handle: &SessionHandle, addr: SocketAddr) {
        let device = &self.name;
        tracing::debug!(%device, %addr, ?why, "session ended");
        match (why, handle.silence_if_alive()) {
            (CloseReason::Displaced, Some(silent)) => {
                self.context.metrics.displaced_alive();
                self.device_sessions.borrow_mut().extend_silence(silent);
                tracing::warn!(
                    %device, %addr, ?silent,
                    "a newer connection of the same device displaced one whose program lives: give each program an \
                     identity of its own, or raise sessions_max or sessions_silent_after"
                );
            }
            (CloseReason::TooMany, _) => tracing::warn!(
                %device, %addr,
                "a device has as many connections as it may, and all are alive: the newest was refused; give each \
                 program an identity of its own, or raise sessions_max"
            ),
            (CloseReason::DevicesFull, _) => tracing::warn!(
                %device, %addr,
                "a new device was refused: the gateway knows as many as it may; raise devices_max, or lower device_expiry"
            ),
            _ => {}
        }
    }
}

impl Actor for DeviceActor {
    type Context = Context<Self>;

    fn started(&mut self, actor: &mut Self::Context) {
        self.end_when_idle(actor);
    }
}

impl Handler<Connect> for DeviceActor {
    type Result = ();

    fn handle(&mut self, connect: Connect, actor: &mut Self::Context) {
        let Connect { session, accepted, count_guard } = connect;
        let alpn = session::negotiated_protocol(&accepted);
        let Accepted { stream, addr, slot, .. } = accepted;
        let end = self.context.ending.child_token();
        {
            let mut device_sessions = self.device_sessions.borrow_mut();
            device_sessions.attach(session, end.clone());
            device_sessions.hold(&mut self.context.shard.borrow_mut());
        }
        self.end_when_idle(actor);
        let handle = SessionHandle::new(end, Some(slot));
        self.context.session_table.insert(session, &handle);
        let (device_sessions, context) = (Rc::clone(&self.device_sessions), Rc::clone(&self.context));
        // On the heap: the session's future would hold it several times over.
        let stream = Box::new(stream);
        // A panic costs this connection. If it met the shard half changed, it has poisoned that too: see `ShardCell`.
        let serving =
            catch(session::run(stream, alpn, session, Rc::clone(&handle), device_sessions, context));
        let ended = serving.into_actor(self).map(move |ended, this, actor| {
            this.device_sessions.borrow_mut().detach(session);
            this.context.session_table.remove(session);
            match ended {
                Ok(why) => this.ended(why, &handle, addr),
                Err(panic) => {
                    this.context.metrics.sessions_panicked.inc();
                    tracing::error!(device = %this.name, %addr, panic, "a session panicked: its connection is closed");
                    if this.context.shard.borrow().is_poisoned() {
                        let why = format!("a session of device {} panicked: {panic}", this.name);
                        this.context.supervisor.report(&why);
                    }
                }
            }
            drop(count_guard);
            this.end_when_idle(actor);
        });
        actor.spawn(ended);
    }
}
