//! The world of one schedule: devices, gateways, one aggregator, their disks, and the messages between them.
//!
//! Each method is one step; `schedule` decides which steps happen in which order. A step that meets a defect returns
//! its description.

use std::{collections::VecDeque, time::Duration};

use catchment_aggregator::store::MemoryTree;
use catchment_journal::sim::SimDisk;
use catchment_proto::wire::{self, deliver_request, deliver_response};

use crate::{
    aggregator::{Aggregator, Server},
    device::{Device, ToDevice, Wire},
    gateway::{End, Gateway},
    histories::Histories,
    random::Random,
    stats::RunStats,
    truth::Truth,
};

mod aggregator;
mod refill;
mod site;

pub use refill::{Refill, StoreCopy};
pub use site::Site;

/// Width of all windows.
pub const WIDTH_MS: u32 = 1_000;
const START_MS: i64 = 1_700_000_000_000;
/// More series than a schedule has.
pub const SERIES_ENOUGH: usize = 1_000;

/// A delivery stream.
struct Stream {
    site: usize,
    epoch: u64,
    up: VecDeque<wire::DeliverRequest>,
    down: VecDeque<wire::DeliverResponse>,
    /// The gateway still uses it; otherwise the aggregator gets only what was sent before.
    used: bool,
    server: Server,
}

/// The whole system and its surroundings.
pub struct World {
    /// The source of all decisions.
    pub random: Random,
    /// Devices.
    pub devices: Vec<Device>,
    /// Gateways.
    pub sites: Vec<Site>,
    /// The aggregator, while it runs.
    pub aggregator: Option<Aggregator>,
    /// Its disk.
    pub disk: SimDisk,
    /// Its blocks.
    pub tree: MemoryTree,
    /// Disk or blocks were disturbed in a way that may keep it from starting.
    pub disturbed: bool,
    /// The right answers.
    pub truth: Truth,
    /// What batches said about earlier ones.
    pub histories: Histories,
    /// What happened.
    pub stats: RunStats,
    /// The right time, Unix nanoseconds.
    pub now: i64,
    /// No gateway's clock was ever set.
    pub clocks_are_right: bool,
    /// The limit of series from the aggregator's next start on.
    pub series_max: usize,
    /// Starts of the aggregator, from a number of the seed on: every third one is of the first version.
    aggregator_starts: u64,
    /// From now on the aggregator is of this version.
    upgraded: bool,
    streams: Vec<Stream>,
    /// Whether it may lose what it acknowledged.
    pub refill: Refill,
    store_copy: Option<StoreCopy>,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let now = (START_MS + random.between(0, 100_000)) * 1_000_000;
        let sites: Vec<Site> = (0..1 + random.index(2)).map(|n| Site::new(n, now, &mut random)).collect();
        let devices =
            (0..1 + random.index(5)).map(|n| Device::new(n, n % sites.len(), &mut random)).collect();
        // Mostly more than enough; otherwise so few that batches are refused until the limit is raised.
        let series_max = if random.chance(300) { 1 + random.index(8) } else { SERIES_ENOUGH };
        Self {
            devices,
            series_max,
            aggregator: None,
            disk: SimDisk::new(random.bits()),
            tree: MemoryTree::new(),
            disturbed: false,
            truth: Truth::new(i64::from(WIDTH_MS) * 1_000_000),
            histories: Histories::default(),
            stats: RunStats::default(),
            now,
            clocks_are_right: true,
            aggregator_starts: (now / 1_000_000).unsigned_abs(),
            upgraded: false,
            streams: Vec::new(),
            refill: Refill::of(seed),
            store_copy: None,
            sites,
            random,
        }
    }

    /// Time passes on all clocks.
    pub fn advance(&mut self, by: Duration) {
        self.now += i64::try_from(by.as_nanos()).unwrap_or(0);
        self.sites.iter().for_each(|site| site.clock.advance(by));
    }

    /// A device takes readings.
    pub fn take(&mut self, device: usize) {
        let device = &mut self.devices[device];
        let site = &self.sites[device.gateway].name;
        device.take(self.now, &mut self.random, site, &mut self.truth);
    }

    /// A device connects, if its gateway runs, or sends its next message.
    pub fn send(&mut self, device: usize) {
        let known = &mut self.devices[device];
        if known.wire.is_some() {
            return known.send();
        }
        let site = &mut self.sites[known.gateway];
        let Some(gateway) = &mut site.process else { return };
        site.next_session += 1;
        gateway.attach(site.next_session, device, known);
        known.connect(site.next_session);
    }

    /// A device reads a response.
    pub fn receive(&mut self, device: usize) {
        let device = &mut self.devices[device];
        device.receive(&self.sites[device.gateway].name, &mut self.truth);
    }

    /// A device loses its connection. The gateway may notice later, and read a part of what was sent.
    pub fn cut_device(&mut self, device: usize, reboot: bool) {
        let known = &mut self.devices[device];
        let site = &mut self.sites[known.gateway];
        let wire = match reboot {
            true => known.reboot(&site.name, &mut self.truth),
            false => known.disconnect(&site.name, &mut self.truth),
        };
        let Some(Wire { session, mut up, .. }) = wire else { return };
        self.stats.cuts += 1;
        up.truncate(self.random.index(up.len() + 1));
        site.orphans.insert(session, (device, up));
    }

    /// A gateway reads from a device, and from a connection that the device has already lost.
    ///
    /// # Errors
    /// A defect.
    pub fn read(&mut self, device: usize) -> Result<(), String> {
        // Mostly whole messages, sometimes a few bytes of one.
        let most = if self.random.chance(100) { 20 } else { 1_500 };
        let most = 1 + self.random.index(most);
        let known = &mut self.devices[device];
        let site = &mut self.sites[known.gateway];
        let Some(gateway) = &mut site.process else { return Ok(()) };
        let mut result = Ok(());
        if let Some(wire) = &mut known.wire {
            result = gateway.read(wire.session, &mut wire.up, most);
        }
        let orphan = site.orphans.iter_mut().find(|(_, (owner, _))| *owner == device);
        if let Some((session, (_, up))) = orphan {
            let session = *session;
            result = result.and_then(|()| gateway.read(session, up, most));
            if up.is_empty() || !gateway.is_open(session) || self.random.chance(200) {
                result = result.and_then(|()| gateway.lose(session));
                site.orphans.remove(&session);
            }
        }
        // The gateway has closed the connection.
        if known.wire.as_ref().is_some_and(|wire| !gateway.is_open(wire.session)) {
            drop(known.disconnect(&site.name, &mut self.truth));
        }
        let number = known.gateway;
        self.gateway_ended(number, result)
    }

    /// A gateway writes the responses that may leave.
    ///
    /// # Errors
    /// A defect.
    pub fn answer(&mut self, device: usize) -> Result<(), String> {
        let known = &mut self.devices[device];
        let site = &mut self.sites[known.gateway];
        let (Some(wire), Some(gateway)) = (&mut known.wire, &mut site.process) else { return Ok(()) };
        wire.down.extend(gateway.responses(wire.session)?);
        // Acks are cumulative: a slow reader gets only the newest.
        if wire.down.len() > 4 && matches!(wire.down.back(), Some(ToDevice::Ack(_))) {
            wire.down.drain(..wire.down.len() - 1);
        }
        Ok(())
    }

    /// Does something in a gateway that may end it.
    ///
    /// # Errors
    /// A defect.
    pub fn drive(
        &mut self,
        site: usize,
        step: impl FnOnce(&mut Gateway) -> Result<(), End>,
    ) -> Result<(), String> {
        let result = self.sites[site].process.as_mut().map_or(Ok(()), step);
        self.gateway_ended(site, result)
    }

    fn gateway_ended(&mut self, site: usize, result: Result<(), End>) -> Result<(), String> {
        match result {
            Ok(()) => Ok(()),
            Err(End::Failed) => {
                self.stop_gateway(site);
                Ok(())
            }
            Err(End::Defect(why)) => Err(why),
        }
    }

    /// A gateway's process ends, whatever it was doing.
    pub fn stop_gateway(&mut self, site: usize) {
        self.sites[site].process = None;
        self.sites[site].orphans.clear();
        self.cut_stream(site);
        for device in 0..self.devices.len() {
            if self.devices[device].gateway == site {
                let name = &self.sites[site].name;
                drop(self.devices[device].disconnect(name, &mut self.truth));
            }
        }
    }

    /// A gateway's process starts.
    ///
    /// # Errors
    /// A defect.
    pub fn start_gateway(&mut self, site: usize) -> Result<(), String> {
        let site = &mut self.sites[site];
        if site.process.is_none() {
            let windows = site.windows()?;
            let limits = self.refill.limits();
            site.process = Gateway::start(&site.disk, (windows, limits), &site.clock, (1, START_MS))?;
            if site.process.is_none() && !site.disturbed {
                return Err("a gateway does not start".to_owned());
            }
        }
        Ok(())
    }

    /// A gateway sends its next messages to the aggregator, beginning a stream if it has none.
    ///
    /// # Errors
    /// A defect.
    pub fn deliver(&mut self, site: usize, live: bool) -> Result<(), String> {
        if self.aggregator.is_none() || self.sites[site].process.is_none() {
            return Ok(());
        }
        let stream = self.streams.iter().position(|stream| stream.site == site && stream.used);
        let Some(stream) = stream else {
            let Some(gateway) = &self.sites[site].process else { return Ok(()) };
            let start = gateway.begin_stream();
            let epoch = start.epoch;
            let up =
                VecDeque::from([wire::DeliverRequest { kind: Some(deliver_request::Kind::Start(start)) }]);
            self.streams.push(Stream {
                site,
                epoch,
                up,
                down: VecDeque::new(),
                used: true,
                server: Server::default(),
            });
            return Ok(());
        };
        let batches_max = 1 + self.random.index(3);
        let Some(gateway) = &mut self.sites[site].process else { return Ok(()) };
        let result = match live {
            true => Ok(gateway.live()),
            false => gateway.next_deliveries(batches_max),
        };
        match result {
            Ok(messages) => {
                let stream = &mut self.streams[stream];
                for message in &messages {
                    self.histories.note(site, stream.epoch, message)?;
                }
                stream.up.extend(messages);
                Ok(())
            }
            Err(end) => self.gateway_ended(site, Err(end)),
        }
    }

    /// A gateway reads a response of the aggregator.
    ///
    /// # Errors
    /// A defect.
    pub fn acknowledge(&mut self, site: usize) -> Result<(), String> {
        let stream = self.streams.iter_mut().find(|stream| stream.site == site && stream.used);
        let (Some(stream), Some(gateway)) = (stream, &mut self.sites[site].process) else { return Ok(()) };
        match stream.down.pop_front().and_then(|answer| answer.kind) {
            Some(deliver_response::Kind::Resume(resume)) => match gateway.connect(&resume) {
                Ok(true) => {}
                Ok(false) => {
                    if !self.sites[site].went_back {
                        return Err(format!("a folder that is what it was begins a new epoch: {resume:?}"));
                    }
                    self.stats.epochs += 1;
                    self.truth.noticed(&self.sites[site].name);
                    self.cut_stream(site);
                }
                Err(end) => return self.gateway_ended(site, Err(end)),
            },
            Some(deliver_response::Kind::Ack(ack)) => gateway.acknowledged(ack.number),
            Some(deliver_response::Kind::Refusal(refusal)) => {
                gateway.refused(refusal.number);
                self.stats.refusals += 1;
            }
            Some(deliver_response::Kind::Raw(_) | deliver_response::Kind::Revocations(_)) | None => {}
        }
        Ok(())
    }

    /// A gateway loses its stream. The aggregator may notice later, and take a part of what was sent.
    pub fn cut_stream(&mut self, site: usize) {
        if let Some(gateway) = &mut self.sites[site].process {
            gateway.disconnect();
        }
        for stream in self.streams.iter_mut().filter(|stream| stream.site == site && stream.used) {
            stream.used = false;
            stream.up.truncate(self.random.index(stream.up.len() + 1));
            self.stats.cuts += 1;
        }
    }

    /// The aggregator continues with one of the streams.
    pub fn serve(&mut self) {
        let Some(aggregator) = &mut self.aggregator else { return };
        if self.streams.is_empty() {
            return;
        }
        let at = self.random.index(self.streams.len());
        let stream = &mut self.streams[at];
        let id = &self.sites[stream.site].id;
        let result = aggregator
            .poll_store(&mut stream.server, &mut stream.down)
            .and_then(|()| aggregator.receive(id, &mut stream.server, &mut stream.up, &mut stream.down));
        let spent = !stream.used && (stream.up.is_empty() || self.random.chance(100));
        if result.is_err() || spent {
            let gone = self.streams.remove(at);
            if gone.used
                && let Some(gateway) = &mut self.sites[gone.site].process
            {
                gateway.disconnect();
            }
            let same =
                |stream: &Stream| stream.site == gone.site && stream.server.is_same_folder(&gone.server);
            if !self.streams.iter().any(same) {
                aggregator.drop_live(&gone.server);
            }
        }
    }

    /// What each part waits for, for a message.
    pub fn describe(&self) -> String {
        let gateways: Vec<_> =
            self.sites.iter().map(|site| site.process.as_ref().map(Gateway::describe)).collect();
        let aggregator = self.aggregator.as_ref().map(Aggregator::describe);
        let waiting = self.devices.iter().filter(|device| !device.is_done()).count();
        format!("{waiting} devices wait; gateways {gateways:?}; aggregator {aggregator:?}")
    }
}
