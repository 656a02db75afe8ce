//! The actors of a worker's devices, by device. Bounded by the devices that were connected within ten minutes
//! ([`super::actor::IDLE`]).

use std::cell::RefCell;

use actix::{Actor, Addr};
use catchment_proto::Name;
use hashbrown::HashMap;

/// Actors by device.
pub struct ActorRegistry<A: Actor>(RefCell<HashMap<Name, Addr<A>>>);

impl<A: Actor> Default for ActorRegistry<A> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<A: Actor> ActorRegistry<A> {
    /// The running actor of a device, else the one that `start` starts.
    pub(super) fn get_or_start(&self, name: &Name, start: impl FnOnce() -> Addr<A>) -> Addr<A> {
        let mut actors = self.0.borrow_mut();
        if let Some(actor) = actors.get(name).filter(|actor| actor.connected()) {
            return actor.clone();
        }
        let actor = start();
        actors.insert(name.clone(), actor.clone());
        actor
    }

    /// The device's actor ends.
    pub(super) fn remove(&self, name: &Name) {
        self.0.borrow_mut().remove(name);
    }

    /// Whether there is none.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}
