//! The demo's servers and devices: start, counts, stop.
//!
//! The aggregator runs on this runtime, each gateway on a thread of its own, all on free ports of 127.0.0.1.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use catchment_settings::output;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet, block_in_place},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    machine::Machine,
    pki::{Pki, SITES, SensorPlan},
    signals::Sensor,
};
use crate::{
    device::{
        Codec, DeliverError, Event, Frames, GatewayAddress, GatewayLink, JsonLines, Message, Options,
        Protocol, Values, deliver, random_epoch,
    },
    failure::Failure,
    time::now_ms,
};

/// Window width of the gateways: values appear this long after their measurement, at the latest, if nothing is delayed.
pub(super) const WINDOW: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(500);
/// Sampling period of each device.
const PERIOD: Duration = Duration::from_secs(1);

/// The running servers.
pub(super) struct Servers {
    /// `https://HOST:PORT`.
    pub(super) aggregator: String,
    /// In the order of [`SITES`].
    pub(super) gateways: Vec<GatewayAddress>,
    stop_aggregator: oneshot::Sender<()>,
    aggregator_task: JoinHandle<Result<(), catchment_aggregator::RunError>>,
    gateway_handles: Vec<catchment_gateway::Handle>,
}

impl Servers {
    /// Starts an aggregator and a gateway for each site, with their data below `dir`.
    pub(super) async fn start(pki: &Pki, dir: &Path) -> Result<Self, Failure> {
        let options = catchment_aggregator::Options {
            identity: Some(pki.aggregator.clone()),
            listen: Some(([127, 0, 0, 1], 0).into()),
            data: Some(dir.join("aggregator")),
            ..catchment_aggregator::Options::default()
        };
        let config = catchment_aggregator::Config::try_from(options).map_err(Failure::failed)?;
        let aggregator = catchment_aggregator::bind(config).await.map_err(Failure::failed)?;
        let url = format!("https://{}", aggregator.local_addr());
        let (stop_aggregator, stopped) = oneshot::channel::<()>();
        let aggregator_task = tokio::spawn(aggregator.run(async {
            let _ = stopped.await;
        }));
        let mut gateway_handles = Vec::new();
        for (site, identity) in SITES.iter().zip(&pki.gateways) {
            let settings =
                gateway_settings(identity.clone(), url.clone(), dir.join(format!("gateway-{site}")));
            let config = settings.check().map_err(Failure::failed)?;
            // Blocks until the gateway's thread is ready.
            let handle = block_in_place(|| catchment_gateway::spawn(config)).map_err(Failure::failed)?;
            gateway_handles.push(handle);
        }
        let gateways = gateway_handles
            .iter()
            .map(|handle| GatewayAddress { host: handle.addr.ip().to_string(), port: handle.addr.port() });
        let gateways = gateways.collect();
        Ok(Self { aggregator: url, gateways, stop_aggregator, aggregator_task, gateway_handles })
    }

    /// Stops all servers in order: gateways first, so that they can still deliver.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        let mut result = Ok(());
        for handle in self.gateway_handles {
            let stopped = tokio::task::spawn_blocking(|| handle.stop()).await;
            let stopped =
                stopped.map_err(Failure::failed).and_then(|stopped| stopped.map_err(Failure::failed));
            result = result.and(stopped);
        }
        // Fails when the aggregator has ended by itself; its result says why.
        let _ = self.stop_aggregator.send(());
        let stopped = self.aggregator_task.await.map_err(Failure::failed)?;
        result.and(stopped.map_err(Failure::failed))
    }
}

fn gateway_settings(identity: PathBuf, aggregator: String, data: PathBuf) -> catchment_gateway::Settings {
    catchment_gateway::Settings {
        identity: Some(identity),
        listen: Some(([127, 0, 0, 1], 0).into()),
        aggregator: Some(vec![aggregator]),
        data: Some(data),
        window: Some(catchment_settings::HumanDuration(WINDOW)),
        grace: Some(catchment_settings::HumanDuration(GRACE)),
        // Enough for a demo, with few threads.
        shards: Some(1),
        ..catchment_gateway::Settings::default()
    }
}

/// Replies to the devices, summed over all of them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    measured: AtomicU64,
    acknowledged: AtomicU64,
    refusals: AtomicU64,
    /// Latest event time that was acknowledged, Unix milliseconds.
    last_ms: AtomicI64,
}

impl Ledger {
    /// Readings made so far.
    pub(super) fn measured(&self) -> u64 {
        self.measured.load(Ordering::Relaxed)
    }

    /// Readings that were acknowledged as durable, without those refused.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Refusals that devices received.
    pub(super) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Latest event time that was acknowledged, Unix milliseconds.
    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    fn observe(&self, event: &Event<'_, Values>) {
        if let Event::Settled { message, refused, durable, .. } = event {
            let refused = u64::from(*refused);
            self.refusals.fetch_add(refused, Ordering::Relaxed);
            if *durable {
                let readings = (message.body.readings.len() as u64).saturating_sub(refused);
                self.acknowledged.fetch_add(readings, Ordering::Relaxed);
                self.last_ms.fetch_max(message.body.time_ms, Ordering::Relaxed);
            }
        }
    }
}

/// The running devices.
pub(super) struct Devices {
    /// The replies that they received.
    pub(super) ledger: Arc<Ledger>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<Result<(), DeliverError>>,
}

/// Source of a device's readings.
enum Source {
    Machine(Machine),
    Sensor(Sensor),
}

impl Source {
    fn sample(&mut self) -> Values {
        match self {
            Self::Machine(machine) => block_in_place(|| machine.sample(now_ms())),
            Self::Sensor(sensor) => sensor.sample(now_ms()),
        }
    }
}

impl Devices {
    /// Starts this machine and the simulated sensors as devices.
    pub(super) fn start(pki: &Pki, gateways: &[GatewayAddress]) -> Result<Self, Failure> {
        let mut devices =
            Self { ledger: Arc::default(), stop: watch::channel(false).0, tasks: JoinSet::new() };
        let address =
            |site: usize| gateways.get(site).cloned().ok_or_else(|| Failure::failed("a site has no gateway"));
        match Machine::new() {
            Ok(machine) => {
                let link = GatewayLink::load(address(0)?, &pki.machine, Protocol::Json)?;
                devices.spawn(link, Source::Machine(machine), Protocol::Json, Duration::ZERO);
            }
            Err(error) => output::eprint_line(format_args!(
                "cannot read this machine's metrics ({error}); only the simulated sensors report"
            )),
        }
        let count = pki.sensors.len().max(1);
        for (index, plan) in pki.sensors.iter().enumerate() {
            let SensorPlan { identity, site, kind, protocol, seed } = plan;
            let link = GatewayLink::load(address(*site)?, identity, *protocol)?;
            let offset = PERIOD.mul_f64(index as f64 / count as f64);
            devices.spawn(link, Source::Sensor(Sensor::new(*kind, *seed)), *protocol, offset);
        }
        Ok(devices)
    }

    fn spawn(&mut self, link: GatewayLink, source: Source, protocol: Protocol, offset: Duration) {
        let (ledger, stop) = (Arc::clone(&self.ledger), self.stop.subscribe());
        match protocol {
            Protocol::Json => self.tasks.spawn(device(link, JsonLines, source, ledger, stop, offset)),
            Protocol::Frames => {
                self.tasks.spawn(device(link, Frames::default(), source, ledger, stop, offset))
            }
        };
    }

    /// Completes when a device has failed, with the reason.
    pub(super) async fn failed(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => return error.to_string(),
                Some(Err(error)) => return error.to_string(),
                None => std::future::pending().await,
            }
        }
    }

    /// Stops measuring and waits until every reading is acknowledged.
    pub(super) async fn stop(mut self, patience: Duration) -> Result<Arc<Ledger>, Failure> {
        self.stop.send_replace(true);
        let all = async {
            while let Some(done) = self.tasks.join_next().await {
                done.map_err(Failure::failed)?.map_err(Failure::failed)?;
            }
            Ok(())
        };
        tokio::time::timeout(patience, all).await.unwrap_or_else(|_| {
            let patience = humantime::format_duration(patience);
            Err(Failure::failed(format!("the gateways have not acknowledged everything within {patience}")))
        })?;
        Ok(self.ledger)
    }
}

/// Runs one device until it is stopped and everything is acknowledged.
async fn device<C: Codec<Body = Values>>(
    link: GatewayLink,
    codec: C,
    source: Source,
    ledger: Arc<Ledger>,
    stop: watch::Receiver<bool>,
    offset: Duration,
) -> Result<(), DeliverError> {
    // While a gateway is unreachable, a minute of readings waits here, and more in the device's window.
    let (sender, messages) = mpsc::channel(64);
    let options = Options::new(random_epoch());
    let delivering = deliver(&link, codec, &options, messages, |event| ledger.observe(&event));
    let (delivered, ()) = tokio::join!(delivering, measure(source, sender, &ledger, stop, offset));
    delivered
}

/// Measures every [`PERIOD`] until it is stopped or the receiver is gone.
async fn measure(
    mut source: Source,
    sender: mpsc::Sender<Message<Values>>,
    ledger: &Ledger,
    mut stop: watch::Receiver<bool>,
    offset: Duration,
) {
    let mut ticks = interval_at(Instant::now() + offset, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for seq in 1.. {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let body = source.sample();
        let readings = body.readings.len() as u64;
        if sender.send(Message { seq, body }).await.is_err() {
            return;
        }
        ledger.measured.fetch_add(readings, Ordering::Relaxed);
    }
}
