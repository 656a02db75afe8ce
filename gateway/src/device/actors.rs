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
        if !self.device_sessions.borrow().is_idle() {
            return;
        }
        self.ending = Some(actor.run_later(IDLE, |this, actor| {
            this.ending = None;
            if this.device_sessions.borrow().is_idle() {
                this.actors.0.borrow_mut().remove(&this.name);
                actor.stop();
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU16, path::Path, sync::Arc};

    use actix_rt::System;
    use catchment_settings::supervise::Supervisor;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        clock::SystemClock,
        config::tests::given,
        decode::DecodeLimits,
        metrics::Metrics,
        mqtt::connection::MqttOptions,
        session::{
            Context,
            commit_waiters::CommitWaiters,
            protocol::ProtocolOptions,
            table::{SessionBounds, SessionTable},
        },
        shard::{self, Setup, Shard, ShardCell},
    };

    fn context(folder: &Path) -> Rc<Context> {
        let (config, metrics) = (given().check().unwrap(), Metrics::new());
        let clock = Arc::new(SystemClock::new());
        let setup = Setup {
            folder,
            index: 0,
            facts: shard::ShardFacts::default(),
            window: config.window,
            limits: shard::ShardLimits::of(&config, 1),
            clock: Arc::clone(&clock) as _,
            metrics: Arc::clone(&metrics),
            budget: Arc::default(),
        };
        let shard = Shard::open(&setup).unwrap().0;
        let mqtt = MqttOptions { topics: Arc::clone(&config.topics), receive_max: NonZeroU16::MIN };
        let protocols = ProtocolOptions {
            precision: config.line_protocol_precision,
            json: Arc::clone(&config.json),
            mqtt,
        };
        Rc::new(Context {
            limits: DecodeLimits::default(),
            series_max: config.series_max,
            protocols,
            past_max: config.past_max,
            future_max: config.future_max,
            clock,
            shard: Rc::new(ShardCell::new(shard)),
            commit_waiters: CommitWaiters::default(),
            supervisor: Arc::new(Supervisor::default()),
            session_table: SessionTable::new(SessionBounds::of(&config, 1)),
            metrics,
            ending: CancellationToken::new(),
        })
    }

    #[test]
    fn an_actor_without_a_session_ends_and_leaves_nothing() {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().start_paused(true).build().unwrap()
        };
        System::with_tokio_rt(runtime).block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (context, actors) = (context(folder.path()), Rc::<Actors>::default());
            let name = Name::new("press").unwrap();
            let first = actors.get(&name, 4, &context);
            tokio::time::sleep(IDLE / 2).await;
            assert!(first.connected() && actors.get(&name, 4, &context) == first);
            tokio::time::sleep(IDLE).await;
            assert!(!first.connected() && actors.0.borrow().is_empty());
            assert!(actors.get(&name, 4, &context).connected());
        });
    }
}
