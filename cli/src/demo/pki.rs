//! The demo's identities: a trust root of its own, two sites, their devices. Blocks while it makes them.

use std::path::{Path, PathBuf};

use catchment_certs::{
    Identity, Role, TrustDomain,
    authority::{Authority, Host, IssueRequest, ROOT_DAYS},
};
use catchment_proto::id::{DeviceId, Name};

use super::{machine::Machine, signals::Kind};
use crate::{device::Protocol, failure::Failure};

/// The sites of the demo; this machine is at the first.
pub(super) const SITES: [&str; 2] = ["berlin", "lyon"];

/// Folders of the identities.
#[derive(Debug)]
pub(super) struct Pki {
    pub(super) aggregator: PathBuf,
    pub(super) operator: PathBuf,
    /// In the order of [`SITES`].
    pub(super) gateways: Vec<PathBuf>,
    pub(super) machine: PathBuf,
    pub(super) sensors: Vec<SensorPlan>,
}

/// One simulated sensor.
#[derive(Debug)]
pub(super) struct SensorPlan {
    pub(super) identity: PathBuf,
    /// Index into [`SITES`].
    pub(super) site: usize,
    pub(super) kind: Kind,
    pub(super) protocol: Protocol,
    pub(super) seed: u64,
}

/// Makes the root and all identities in a folder.
///
/// # Errors
/// Files that cannot be written.
pub(super) fn make(dir: &Path, sensors: u32) -> Result<Pki, Failure> {
    let domain = TrustDomain::new("demo.local").map_err(Failure::failed)?;
    let authority = Authority::init(dir, &domain, ROOT_DAYS).map_err(Failure::failed)?;
    let issue = |role, site: Option<&str>, name: &str| -> Result<PathBuf, Failure> {
        let mut request = IssueRequest::new(identity(role, site, name)?);
        if role.is_server() {
            request.hosts = vec![Host::Ip([127, 0, 0, 1].into()), Host::Dns("localhost".to_owned())];
        }
        Ok(authority.issue(&request, &mut |_| ()).map_err(Failure::failed)?.dir)
    };
    let first = SITES.first().copied();
    let aggregator = issue(Role::Aggregator, None, "centre")?;
    let operator = issue(Role::Operator, None, "demo")?;
    let gateways =
        SITES.iter().map(|site| issue(Role::Gateway, Some(site), "gateway")).collect::<Result<_, _>>()?;
    let machine = issue(Role::Device, first, &Machine::name())?;
    let plans: Vec<(DeviceId, SensorPlan)> =
        (0..sensors).map(|number| plan(&authority, number)).collect::<Result<_, Failure>>()?;
    let (devices, sensors): (Vec<_>, Vec<_>) = plans.into_iter().unzip();
    authority.issue_devices(&devices, None, &mut |_| (), &mut |_| ()).map_err(Failure::failed)?;
    Ok(Pki { aggregator, operator, gateways, machine, sensors })
}

/// Kinds, sites and protocols are spread so that every combination occurs.
fn plan(authority: &Authority, number: u32) -> Result<(DeviceId, SensorPlan), Failure> {
    let kind = Kind::of(number);
    let site = (number / 3) as usize % SITES.len();
    let protocol = if (number / 6).is_multiple_of(2) { Protocol::Json } else { Protocol::Frames };
    let name = format!("{}-{:02}", kind.prefix(), number / 3 + 1);
    let site_name = SITES.get(site).copied().unwrap_or_default();
    let device = DeviceId {
        site: Name::new(site_name).map_err(Failure::failed)?,
        name: Name::new(&name).map_err(Failure::failed)?,
    };
    let identity = authority.identity_dir(&Identity::Device(device.clone()));
    Ok((device, SensorPlan { identity, site, kind, protocol, seed: u64::from(number) }))
}

fn identity(role: Role, site: Option<&str>, name: &str) -> Result<Identity, Failure> {
    let site = site.map(Name::new).transpose().map_err(Failure::failed)?;
    let name = Name::new(name).map_err(Failure::failed)?;
    Identity::from_parts(role, site, name)
        .ok_or_else(|| Failure::failed(format!("the role {role} does not match its site")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use catchment_certs::IdentityFolder;

    use super::*;

    #[test]
    fn every_identity_can_be_loaded_and_sensors_are_mixed() {
        let dir = tempfile::tempdir().unwrap();
        let pki = make(&dir.path().join("pki"), 13).unwrap();
        let role = |dir: &Path| IdentityFolder::load(dir).unwrap().peer().identity.role();
        assert_eq!(role(&pki.aggregator), Role::Aggregator);
        assert_eq!(role(&pki.operator), Role::Operator);
        assert!(pki.gateways.iter().all(|dir| role(dir) == Role::Gateway));
        assert_eq!(role(&pki.machine), Role::Device);
        assert!(pki.sensors.iter().all(|sensor| role(&sensor.identity) == Role::Device));
        let mixed: HashSet<_> =
            pki.sensors.iter().map(|s| (s.site, s.kind.prefix(), s.protocol.to_string())).collect();
        assert_eq!(mixed.len(), 12, "two sites, three kinds, two protocols");
    }
}
