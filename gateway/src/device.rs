//! The actor of a device: it runs all sessions of the device, and nothing else decides over its readings.
//!
//! A connection comes to it as one message and becomes a session in its context, so a reading crosses no mailbox: a
//! session asks the device's desk directly, which drops what was taken before (by sequence number), turns the
//! session's series indexes into the device's own, and hands the rest to the shard. Actor, sessions and shard live on
//! one thread. What is decided is in `desk`, the arithmetic in [`crate::fold`].

mod actors;
mod client;
mod desk;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, SpawnHandle, WrapFuture as _,
};
use catchment_certs::Accepted;
use catchment_proto::Name;
use catchment_settings::supervise::catch;
use tokio::sync::watch;

pub use self::actors::Actors;
pub use self::desk::{Admission, Answer, Desk, Opened, Welcome, Who};
use crate::session::{self, End, vitals::Vitals};

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
    pub counted: Counted,
}

/// A session that counts as one of its worker's until this is dropped, however it ends.
#[derive(Debug)]
pub struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    /// Counts one.
    pub fn new(sessions: &Arc<watch::Sender<usize>>) -> Self {
        sessions.send_modify(|count| *count += 1);
        Self(Arc::clone(sessions))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The actor of a device.
pub struct DeviceActor {
    name: Name,
    desk: Rc<RefCell<Desk>>,
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
        let desk = Desk::new(name.clone(), sessions_max, context.series_max, metrics);
        Self { name, desk: Rc::new(RefCell::new(desk)), context, actors, ending: None }
    }

    /// A session has ended: what an operator is to know of it.
    fn ended(&self, why: End, vitals: &Vitals, addr: SocketAddr) {
        let device = &self.name;
        tracing::debug!(%device, %addr, ?why, "session ended");
        match (why, vitals.silence_of_the_living()) {
            (End::Displaced, Some(silent)) => {
                self.context.metrics.displaced_alive();
                self.desk.borrow_mut().lives(silent);
                tracing::warn!(
                    %device, %addr, ?silent,
                    "a newer connection of the same device displaced one whose program lives: give each program an \
                     identity of its own, or raise sessions_max or sessions_silent_after"
                );
            }
            (End::TooMany, _) => tracing::warn!(
                %device, %addr,
                "a device has as many connections as it may, and all are alive: the newest was refused; give each \
                 program an identity of its own, or raise sessions_max"
            ),
            (End::DevicesFull, _) => tracing::warn!(
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
        let Connect { session, accepted, counted } = connect;
        let alpn = session::agreed(&accepted);
        let Accepted { stream, addr, slot, .. } = accepted;
        let end = self.context.ending.child_token();
        {
            let mut desk = self.desk.borrow_mut();
            desk.attach(session, end.clone());
            desk.hold(&mut self.context.shard.borrow_mut());
        }
        self.end_when_idle(actor);
        let vitals = Vitals::new(end, Some(slot));
        self.context.sitting.enter(session, &vitals);
        let (desk, context) = (Rc::clone(&self.desk), Rc::clone(&self.context));
        // On the heap: the session's future would hold it several times over.
        let stream = Box::new(stream);
        // A panic costs this connection. If it met the shard half changed, it has poisoned that too: see `ShardCell`.
        let serving = catch(session::run(stream, alpn, session, Rc::clone(&vitals), desk, context));
        let ended = serving.into_actor(self).map(move |ended, this, actor| {
            this.desk.borrow_mut().detach(session);
            this.context.sitting.leave(session);
            match ended {
                Ok(why) => this.ended(why, &vitals, addr),
                Err(panic) => {
                    this.context.metrics.sessions_panicked.inc();
                    tracing::error!(device = %this.name, %addr, panic, "a session panicked: its connection is closed");
                    if this.context.shard.borrow().is_poisoned() {
                        let why = format!("a session of device {} panicked: {panic}", this.name);
                        this.context.supervisor.report(&why);
                    }
                }
            }
            drop(counted);
            this.end_when_idle(actor);
        });
        actor.spawn(ended);
    }
}
