//! `catchment-certs issue`: makes keys and their certificates.

use std::path::PathBuf;

use catchment_proto::id::Name;
use clap::{Args, Subcommand};

use super::{
    NewKey, Output, many, report,
    run::{Failure, identity, note, open, request},
};
use crate::{Identity, Role, authority::Host};

#[derive(Debug, Subcommand)]
pub(super) enum Issue {
    /// Issue one device, or all devices in a CSV file.
    #[command(
        after_help = "The CSV file has the header line `site,name` or `site,name,days`. Devices that have an identity \
        are skipped, so the same command resumes an interrupted run.\n\nExamples:\n  catchment-certs issue device \
        --dir PKI --site berlin --name press-17\n  catchment-certs issue device --dir PKI --from devices.csv"
    )]
    Device(IssueDevice),
    /// Issue a gateway: server of its site's devices, client of an aggregator.
    #[command(after_help = "Example:\n  catchment-certs issue gateway --dir PKI --site berlin --name gw-1 \
        --host gw-1.example.org 10.0.0.5")]
    Gateway(IssueGateway),
    /// Issue an aggregator.
    #[command(after_help = "Example:\n  catchment-certs issue aggregator --dir PKI --name centre \
        --host centre.example.org")]
    Aggregator(IssueAggregator),
    /// Issue an operator: a person or program that may query.
    #[command(after_help = "Example:\n  catchment-certs issue operator --dir PKI --name ada")]
    Operator(IssueOperator),
}

#[derive(Debug, Args)]
pub(super) struct IssueDevice {
    /// Site of the device.
    #[arg(long, required_unless_present = "from")]
    site: Option<Name>,
    /// Name of the device.
    #[arg(long, required_unless_present = "from")]
    name: Option<Name>,
    /// CSV file with the header `site,name`, one device per line; a column `days` is its validity.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["site", "name", "out"])]
    from: Option<PathBuf>,
    /// Revoke valid certificates whose folder is not below PKI, and issue these devices again.
    #[arg(long, requires = "from")]
    replace_missing: bool,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct IssueGateway {
    /// Site of the gateway.
    #[arg(long)]
    site: Name,
    /// Name of the gateway.
    #[arg(long)]
    name: Name,
    /// DNS names or IP addresses that devices connect to.
    #[arg(long = "host", value_name = "HOST", required = true, num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct IssueAggregator {
    /// Name of the aggregator.
    #[arg(long)]
    name: Name,
    /// DNS names or IP addresses that gateways and operators connect to.
    #[arg(long = "host", value_name = "HOST", required = true, num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct IssueOperator {
    /// Name of the operator.
    #[arg(long)]
    name: Name,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(command: Issue) -> Result<(), Failure> {
    match command {
        Issue::Device(arguments) => device(arguments),
        Issue::Gateway(IssueGateway { site, name, hosts, key, output }) => {
            one(identity(Role::Gateway, Some(site), name)?, hosts, output, &key)
        }
        Issue::Aggregator(IssueAggregator { name, hosts, key, output }) => {
            one(identity(Role::Aggregator, None, name)?, hosts, output, &key)
        }
        Issue::Operator(IssueOperator { name, key, output }) => {
            one(identity(Role::Operator, None, name)?, Vec::new(), output, &key)
        }
    }
}

fn device(arguments: IssueDevice) -> Result<(), Failure> {
    let IssueDevice { output, site, name, from, replace_missing, key } = arguments;
    match (from, site, name) {
        (Some(file), _, _) => many::issue(&file, replace_missing, key.kind, &output),
        (None, Some(site), Some(name)) => {
            one(identity(Role::Device, Some(site), name)?, Vec::new(), output, &key)
        }
        _ => Err(Failure::Usage("give --site and --name, or --from FILE".to_owned())),
    }
}

fn one(identity: Identity, hosts: Vec<Host>, output: Output, key: &NewKey) -> Result<(), Failure> {
    let format = output.pki.format;
    let authority = open(&output, &identity)?;
    let request = request(identity, hosts, output, key.kind)?;
    let issued = authority.issue(&request, &mut note)?;
    report::made(format, "issued", &request.identity, &issued)
}
