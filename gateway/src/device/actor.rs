//! The actor of a device: it runs the device's sessions, and reports how they ended. It begins with the first
//! connection of its device, and ends some time after the last.
//!
//! What is kept of a device is in the shard. An actor remembers which of the device's names are spelled in two ways and
//! how long its programs are silent, and learns both again.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, Message,
    SpawnHandle, WrapFuture as _,
};
use catchment_certs::Accepted;
use catchment_proto::Name;
use catchment_settings::supervise::catch;
use tokio::sync::watch;

use super::{
    actors::ActorRegistry,
    sessions::{DeviceSessions, SessionId},
};
use crate::session::{self, CloseReason, EndSignal, SessionHandle};

/// How long an actor without a session stays: devices that report every few minutes keep theirs.
pub(super) const IDLE: Duration = Duration::from_secs(600);

/// The actors of a worker's devices.
pub type Actors = ActorRegistry<DeviceActor>;

/// A connection of the device, after its handshake: a session begins. Its first message makes it one of the
/// device's connections, or it is refused.
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

impl Actors {
    /// The actor of a device, started if it has none.
    pub fn get(
        self: &Rc<Self>,
        name: &Name,
        sessions_max: usize,
        context: &Rc<session::Context>,
    ) -> Addr<DeviceActor> {
        self.get_or_start(name, || {
            DeviceActor::new(name.clone(), sessions_max, Rc::clone(context), Rc::clone(self)).start()
        })
    }
}

/// The actor of a device.
pub struct DeviceActor {
    name: Name,
    device_sessions: Rc<RefCell<DeviceSessions>>,
    context: Rc<session::Context>,
    /// It removes itself from here when it ends.
    actors: Rc<Actors>,
    /// It has no session, and ends by this.
    ending: Option<SpawnHandle>,
}

impl DeviceActor {
    /// The actor of a device that is not connected yet.
    fn new(name: Name, sessions_max: usize, context: Rc<session::Context>, actors: Rc<Actors>) -> Self {
        let metrics = Arc::clone(&context.metrics);
        let mut device_sessions =
            DeviceSessions::new(name.clone(), sessions_max, context.series_max, metrics);
        device_sessions.limit_readings(context.session_table.readings_rate);
        Self { name, device_sessions: Rc::new(RefCell::new(device_sessions)), context, actors, ending: None }
    }

    /// Ends the actor in a while if it has no session then. A connection that is already on its way to it comes first:
    /// an actor empties its mailbox before it looks at its timers.
    fn end_when_idle(&mut self, actor: &mut Context<Self>) {
        if let Some(before) = self.ending.take() {
            actor.cancel_future(before);
        }
        if !self.device_sessions.borrow().is_idle() {
            return;
        }
        self.ending = Some(actor.run_later(IDLE, |this, actor| {
            this.ending = None;
            if this.device_sessions.borrow().is_idle() {
                this.actors.remove(&this.name);
                actor.stop();
            }
        }));
    }

    /// Reports to the operator how a session ended.
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
        let Accepted { stream, addr, slot, session: registered, .. } = accepted;
        let end = EndSignal::new(self.context.ending.child_token());
        {
            let mut device_sessions = self.device_sessions.borrow_mut();
            if let Some(oldest) = device_sessions.attach(session) {
                self.context.session_table.end(oldest, CloseReason::Replaced);
            }
            device_sessions.hold(&mut self.context.shard.borrow_mut());
        }
        self.end_when_idle(actor);
        let from_outside = end.clone();
        registered.on_end(move |why| from_outside.end(why.into()));
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
            drop((count_guard, registered));
            this.end_when_idle(actor);
        });
        actor.spawn(ended);
    }
}

#[cfg(test)]
mod tests;
