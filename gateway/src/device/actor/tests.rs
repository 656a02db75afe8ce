//! An actor from its first connection to its end.

use std::{num::NonZeroU16, path::Path, sync::Arc};

use actix_rt::System;
use catchment_settings::supervise::Supervisor;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    clock::SystemClock,
    config::tests::given,
    decode::DecodeLimits,
    intake::StateSupport,
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
        metric_parts: Arc::default(),
        limits: shard::ShardLimits::of(&config, 1),
        clock: Arc::clone(&clock) as _,
        metrics: Arc::clone(&metrics),
        budget: Arc::default(),
    };
    let shard = Shard::open(&setup).unwrap().0;
    let mqtt = MqttOptions { topics: Arc::clone(&config.topics), receive_max: NonZeroU16::MIN };
    let protocols =
        ProtocolOptions { precision: config.line_protocol_precision, json: Arc::clone(&config.json), mqtt };
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
        state_support: StateSupport::default(),
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
        assert!(!first.connected() && actors.is_empty());
        assert!(actors.get(&name, 4, &context).connected());
    });
}
