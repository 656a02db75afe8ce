//! One aggregator and its gateways, their devices, and the model with the expected results.

use std::{net::SocketAddr, path::Path};

use catchment_aggregator::Options;
use catchment_certs::Role;
use catchment_gateway::Settings;
use catchment_settings::HumanDuration;
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

use crate::{
    connection::{Connection, Credentials, Protocol},
    device::Device,
    eventually::{eventually, within},
    model::{Model, QueryRequest, Reading, differences, labels},
    now_ms,
    pki::Pki,
    query::{self, QueryResult},
    server::{Mode, Program, Server},
};

/// Width of the worlds' windows, in milliseconds.
pub const WIDTH_MS: i64 = 1000;
const GRACE_MS: u64 = 200;

/// Builder of a world.
pub struct Builder {
    sites: Vec<(String, String)>,
    mode: Mode,
    gateway: Box<dyn Fn(&mut Settings)>,
    aggregator: Box<dyn Fn(&mut Options)>,
}

impl Builder {
    /// Adds a gateway.
    #[must_use]
    pub fn gateway(mut self, site: &str, name: &str) -> Self {
        self.sites.push((site.to_owned(), name.to_owned()));
        self
    }

    /// Runs the real programs instead of threads.
    #[must_use]
    pub fn processes(mut self) -> Self {
        self.mode = Mode::Processes;
        self
    }

    /// Changes the settings of each gateway.
    #[must_use]
    pub fn settings(mut self, change: impl Fn(&mut Settings) + 'static) -> Self {
        self.gateway = Box::new(change);
        self
    }

    /// Changes the settings of the aggregator.
    #[must_use]
    pub fn options(mut self, change: impl Fn(&mut Options) + 'static) -> Self {
        self.aggregator = Box::new(change);
        self
    }

    /// Builds the world and starts all of its servers.
    ///
    /// # Panics
    /// When a server does not start.
    pub async fn start(self) -> World {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new(&dir.path().join("pki"));
        let mut options = Options {
            identity: Some(pki.identity(Role::Aggregator, "", "centre")),
            stop_timeout: Some(HumanDuration::secs(5)),
            ..Options::default()
        };
        (self.aggregator)(&mut options);
        let program = Program::Aggregator(Box::new(options));
        let mut aggregator = Server::new(program, self.mode, &dir.path().join("aggregator"));
        aggregator.start().await;
        let (gateways, mode) = (Vec::new(), self.mode);
        let mut world = World { gateways, aggregator, pki, model: Model::default(), dir, mode };
        for (site, name) in self.sites {
            world.add_gateway(&site, &name, &self.gateway).await;
        }
        world
    }
}

/// A gateway of a world.
pub struct Gateway {
    /// Its site.
    pub site: String,
    /// Its name.
    pub name: String,
    /// The server.
    pub server: Server,
}

/// Servers, identities and model. Fields are dropped in order: gateways before the aggregator, the folder last.
pub struct World {
    /// The gateways, in the order of the builder.
    pub gateways: Vec<Gateway>,
    /// The aggregator.
    pub aggregator: Server,
    /// The trust root.
    pub pki: Pki,
    /// The readings sent.
    pub model: Model,
    dir: TempDir,
    mode: Mode,
}

impl World {
    /// A builder without gateways, in threads mode.
    pub fn builder() -> Builder {
        Builder {
            sites: Vec::new(),
            mode: Mode::Threads,
            gateway: Box::new(|_| ()),
            aggregator: Box::new(|_| ()),
        }
    }

    /// A world with one gateway, `gw` at `berlin`.
    pub async fn small() -> Self {
        Self::builder().gateway("berlin", "gw").start().await
    }

    /// Adds a gateway, with changed settings, and starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn add_gateway(&mut self, site: &str, name: &str, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings {
            identity: Some(self.pki.identity(Role::Gateway, site, name)),
            aggregator: Some(vec![format!("https://{}", self.aggregator.addr())]),
            window: Some(HumanDuration(std::time::Duration::from_millis(WIDTH_MS as u64))),
            grace: Some(HumanDuration(std::time::Duration::from_millis(GRACE_MS))),
            stop_timeout: Some(HumanDuration::secs(5)),
            shards: Some(2),
            ..Settings::default()
        };
        change(&mut settings);
        let program = Program::Gateway(Box::new(settings));
        let folder = self.dir.path().join(format!("{site}-{name}"));
        let mut server = Server::new(program, self.mode, &folder);
        server.start().await;
        self.gateways.push(Gateway { site: site.to_owned(), name: name.to_owned(), server });
    }

    /// A folder for the test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Address of the first gateway.
    pub fn gateway_addr(&self) -> SocketAddr {
        self.gateways[0].server.addr()
    }

    /// A device of a gateway, which numbers its messages and resends them.
    pub fn device(&self, gateway: usize, name: &str, protocol: Protocol) -> Device {
        let Gateway { site, name: gateway, server } = &self.gateways[gateway];
        let place = labels(&[("site", site), ("gateway", gateway), ("device", name)]);
        Device::new(self.pki.device(site, name), server.addr(), protocol, place, self.model.clone())
    }

    /// A plain connection of a device to the first gateway.
    ///
    /// # Panics
    /// When it fails within the wait limit.
    pub async fn connect(&self, name: &str, protocol: Protocol) -> Connection {
        let Gateway { site, server, .. } = &self.gateways[0];
        let identity = self.pki.device(site, name);
        let opening = Connection::open(server.addr(), Credentials::of(&identity), protocol);
        within("a connection", opening).await.unwrap()
    }

    /// Records in the model a reading of a device of the first gateway that is not sent by a [`Device`].
    pub fn note(&self, device: &str, own: &[(&str, &str)], metric: &str, time_ms: i64, value: f64) {
        let Gateway { site, name, .. } = &self.gateways[0];
        let mut labels = labels(own);
        labels.extend(crate::model::labels(&[("site", site), ("gateway", name), ("device", device)]));
        self.model.note(Reading { metric: metric.to_owned(), labels, time_ms, value });
    }

    /// An operator's connection to the aggregator.
    pub fn operator(&self) -> Channel {
        query::channel(self.aggregator.addr(), &self.pki.operator())
    }

    /// Queries as an operator.
    ///
    /// # Errors
    /// An error of the aggregator or the connection.
    pub async fn query(&self, query: &QueryRequest) -> Result<QueryResult, Status> {
        query::aggregate(self.operator(), query).await
    }

    /// Waits until the result is complete up to a time, and returns it.
    ///
    /// # Panics
    /// When that does not happen within the wait limit.
    pub async fn complete(&self, query: &QueryRequest, until_ms: i64) -> QueryResult {
        let channel = self.operator();
        eventually("a complete result", async || {
            let answer =
                query::aggregate(channel.clone(), query).await.map_err(|status| status.to_string())?;
            match answer.complete_until_ms {
                Some(complete) if complete >= until_ms => Ok(answer),
                other => Err(format!("complete until {other:?}, wanted {until_ms}")),
            }
        })
        .await
    }

    /// Waits until the results equal the model's, then until all gateways have closed and delivered all windows up
    /// to the current time and the newest reading, and checks that the results still do: nothing is missing or
    /// doubled, and live state became durable.
    ///
    /// # Panics
    /// When a result differs.
    pub async fn agrees(&self, queries: &[QueryRequest]) {
        self.equals(queries).await;
        let until = self.model.end_ms(WIDTH_MS).unwrap_or(0).max(now_ms());
        for query in queries {
            let answer = self.complete(query, until).await;
            check_differences(query, &differences(&self.model.answer(query, WIDTH_MS), &answer.table))
                .unwrap();
        }
    }

    /// As [`Self::agrees`], but gateways must report that something may be lost: no result claims to be complete.
    ///
    /// # Panics
    /// When a result differs, or claims to be complete.
    pub async fn agrees_without_claim(&self, queries: &[QueryRequest]) {
        self.equals(queries).await;
        let until = self.model.end_ms(WIDTH_MS).unwrap_or(0).max(now_ms());
        eventually("gateways with a late enough watermark", async || {
            let list = query::gateways(self.operator(), "").await.map_err(|status| status.to_string())?;
            let are_as_far = list.iter().all(|gateway| gateway.watermark_ms.is_some_and(|ms| ms >= until));
            if are_as_far { Ok(()) } else { Err(format!("{list:?}, wanted {until}")) }
        })
        .await;
        for query in queries {
            let answer = self.query(query).await.unwrap();
            check_differences(query, &differences(&self.model.answer(query, WIDTH_MS), &answer.table))
                .unwrap();
            let (complete, gaps) = (answer.complete_until_ms, answer.gaps);
            assert!(complete.is_none() && gaps > 0, "complete until {complete:?}, {gaps} gaps: {query:?}");
        }
    }

    async fn equals(&self, queries: &[QueryRequest]) {
        let channel = self.operator();
        for query in queries {
            let right = self.model.answer(query, WIDTH_MS);
            assert!(!right.is_empty(), "a query without an expected result: {query:?}");
            eventually("a result that equals the model's", async || {
                let answer =
                    query::aggregate(channel.clone(), query).await.map_err(|status| status.to_string())?;
                check_differences(query, &differences(&right, &answer.table))
            })
            .await;
        }
    }
}

/// The first of some differences, as an error.
fn check_differences(query: &QueryRequest, differences: &[String]) -> Result<(), String> {
    if differences.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = differences.iter().take(5).map(String::as_str).collect();
    Err(format!("{query:?}\n{} points differ:\n{}", differences.len(), shown.join("\n")))
}
