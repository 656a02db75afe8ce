//! The actors of a worker's devices: each begins with the first connection of its device, and ends some time after the last.
//!
//! What is kept of a device stands in the shard. An actor remembers which of its device's names are spelled in two ways and how long
//! its programs are silent, and learns both again.

use std::{cell::RefCell, rc::Rc, time::Duration};

use actix::{Actor as _, ActorContext as _, Addr, AsyncContext as _, Context};
use catchment_proto::Name;
use hashbrown::HashMap;

use super::DeviceActor;
use crate::session;

/// How long an actor without a session stays: devices that report every few minutes keep theirs.
pub(super) const IDLE: Duration = Duration::from_secs(600);

/// Actors by device. Bounded by the devices that were connected within ten minutes.
#[derive(Default)]
pub struct Actors(RefCell<HashMap<Name, Addr<DeviceActor>>>);

impl Actors {
    /// The actor of a device, started if it has none.
    pub fn get(
        self: &Rc<Self>,
        name: &Name,
        sessions_max: usize,
        context: &Rc<session::Context>,
    ) -> Addr<DeviceActor> {
        let mut actors = self.0.borrow_mut();
        if let Some(actor) = actors.get(name).filter(|actor| actor.connected()) {
            return actor.clone();
        }
        let actor = DeviceActor::new(name.clone(), sessions_max, Rc::clone(context), Rc::clone(self)).start();
        actors.insert(name.clone(), actor.clone());
        actor
    }
}

impl DeviceActor {
    /// Ends the actor in a while, if it has no session then. A connection that is on its way to it comes before: an actor takes
    /// what is in its mailbox before it looks at its timers.
    pub(super) fn end_when_idle(&mut self, actor: &mut Context<Self>) {
        if let Some(before) = self.ending.take() {
            actor.cancel_future(before);
        }
        if !self.desk.borrow().is_idle() {
            return;
        }
        self.ending = Some(actor.run_later(IDLE, |this, actor| {
            this.ending = None;
            if this.desk.borrow().is_idle() {
                this.actors.0.borrow_mut().remove(&this.name);
                actor.stop();
            }
        }));
    }
}
