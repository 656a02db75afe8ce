//! A trust root, its identities, and one aggregator with one gateway, started as in the README, in a temporary folder.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::Context as _;
use catchment_certs::{
    Identity, Role, TrustDomain,
    authority::{Authority, Host, IssueRequest},
};
use catchment_proto::{DeviceId, Name};
use tokio_rustls::rustls::ClientConfig;

use crate::{
    load::{Target, client},
    process::{Server, beside, free_addr},
};

const SITE: &str = "plant";

/// A trust root and identities, made on first use.
pub(crate) struct Pki {
    authority: Authority,
}

impl Pki {
    /// Makes a trust root in a folder that does not exist.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let pki = Self { authority: Authority::init(dir, &TrustDomain::new("bench.local")?, 3_650)? };
        for (role, name) in [(Role::Aggregator, "centre"), (Role::Gateway, "gateway")] {
            let mut request = IssueRequest::new(identity(role, name)?);
            request.hosts = vec![Host::Ip([127, 0, 0, 1].into()), Host::Dns("localhost".to_owned())];
            pki.authority.issue(&request, &mut |_| ())?;
        }
        Ok(pki)
    }

    fn dir(&self, role: Role, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.authority.identity_dir(&identity(role, name)?))
    }

    /// Folder of the gateway's identity, which the references use too.
    pub(crate) fn gateway(&self) -> anyhow::Result<PathBuf> {
        self.dir(Role::Gateway, "gateway")
    }

    /// Folder of the aggregator's identity.
    pub(crate) fn aggregator(&self) -> anyhow::Result<PathBuf> {
        self.dir(Role::Aggregator, "centre")
    }

    /// Folders of the identities of `count` further gateways.
    pub(crate) fn gateways(&self, count: usize) -> anyhow::Result<Vec<PathBuf>> {
        (0..count)
            .map(|number| {
                let name = format!("gateway-{number:03}");
                let mut request = IssueRequest::new(identity(Role::Gateway, &name)?);
                request.hosts = vec![Host::Dns("localhost".to_owned())];
                self.authority.issue(&request, &mut |_| ())?;
                self.dir(Role::Gateway, &name)
            })
            .collect()
    }

    /// Folders of the identities of `count` gateways, each of a site of its own: `site-00`, `site-01` …; made on first
    /// use.
    pub(crate) fn sites(&self, count: i64) -> anyhow::Result<Vec<PathBuf>> {
        let dir = |number: i64| {
            let site = Name::new(&format!("site-{number:02}"))?;
            let identity = Identity::from_parts(Role::Gateway, Some(site), Name::new("gateway")?);
            let identity = identity.context("a gateway has a site")?;
            let dir = self.authority.identity_dir(&identity);
            if !dir.exists() {
                let mut request = IssueRequest::new(identity);
                request.hosts = vec![Host::Dns("localhost".to_owned())];
                self.authority.issue(&request, &mut |_| ())?;
            }
            Ok(dir)
        };
        (0..count).map(dir).collect()
    }

    /// Folder of an operator's identity, made on first use.
    pub(crate) fn operator(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir(Role::Operator, name)?;
        if !dir.exists() {
            self.authority.issue(&IssueRequest::new(identity(Role::Operator, name)?), &mut |_| ())?;
        }
        Ok(dir)
    }

    /// The client configurations of `count` devices.
    pub(crate) fn devices(&self, count: usize, alpn: &[&[u8]]) -> anyhow::Result<Arc<[Arc<ClientConfig>]>> {
        let name = |number: usize| Name::new(&format!("press-{number:05}"));
        let ids = (0..count)
            .map(|number| Ok(DeviceId { site: Name::new(SITE)?, name: name(number)? }))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.authority.issue_devices(&ids, None, &mut |_| (), &mut |_| ())?;
        let config = |id: DeviceId| client(&self.authority.identity_dir(&Identity::Device(id)), alpn);
        ids.into_iter().map(config).collect()
    }
}

fn identity(role: Role, name: &str) -> anyhow::Result<Identity> {
    let site = role.has_site().then(|| Name::new(SITE)).transpose()?;
    Identity::from_parts(role, site, Name::new(name)?).context("the role does not match its site")
}

/// An aggregator, alone.
pub(crate) fn aggregator(pki: &Pki, dir: &Path) -> anyhow::Result<Server> {
    aggregator_with(pki, dir, &[])
}

/// As [`aggregator`], with these flags besides.
pub(crate) fn aggregator_with(pki: &Pki, dir: &Path, flags: &[&str]) -> anyhow::Result<Server> {
    let mut command = Command::new(beside("catchment-aggregator")?);
    command.arg("--identity").arg(pki.aggregator()?).arg("--data").arg(dir.join("aggregator"));
    command.args(["--listen", "127.0.0.1:0"]).args(flags);
    Server::start(command, &dir.join("aggregator.log"))
}

/// One site: a gateway and its aggregator, with empty data folders.
pub(crate) struct Site {
    // Dropped, and so stopped, in this order.
    pub(crate) gateway: Server,
    _aggregator: Server,
    pub(crate) http: SocketAddr,
}

impl Site {
    /// Starts both in a new folder, the gateway with additional flags.
    pub(crate) fn start(pki: &Pki, dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)?;
        let aggregator = aggregator(pki, dir)?;
        let addr = aggregator.addr;
        Self::start_towards(pki, dir, flags, aggregator, addr)
    }

    /// As [`Self::start`], but the gateway reaches the aggregator at another address.
    pub(crate) fn start_towards(
        pki: &Pki,
        dir: &Path,
        flags: &[&str],
        aggregator: Server,
        addr: SocketAddr,
    ) -> anyhow::Result<Self> {
        let http = free_addr()?;
        let mut command = Command::new(beside("catchment-gateway")?);
        command.arg("--identity").arg(pki.gateway()?).arg("--data").arg(dir.join("gateway"));
        command.args(["--listen", "127.0.0.1:0", "--http", &http.to_string()]);
        command.args(["--aggregator", &format!("https://{addr}")]).args(flags);
        let gateway = Server::start(command, &dir.join("gateway.log"))?;
        Ok(Self { gateway, _aggregator: aggregator, http })
    }

    /// Stops the gateway in order, and starts it again in its folder.
    pub(crate) fn restart_gateway(self, pki: &Pki, dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let Self { gateway, _aggregator: aggregator, .. } = self;
        drop(gateway);
        let addr = aggregator.addr;
        Self::start_towards(pki, dir, flags, aggregator, addr)
    }

    /// The gateway as the target of a load.
    pub(crate) fn target(&self, devices: &Arc<[Arc<ClientConfig>]>) -> Target {
        target(&self.gateway, devices)
    }
}

/// A server as the target of a load.
pub(crate) fn target(server: &Server, devices: &Arc<[Arc<ClientConfig>]>) -> Target {
    Target { addr: server.addr, pid: Some(server.pid()), devices: Arc::clone(devices) }
}
