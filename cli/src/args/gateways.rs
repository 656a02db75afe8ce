//! The command line of `catchment gateways`.

use clap::{Args, Subcommand};

use super::{Connection, ListFlags};

/// Gateways to list, or a subcommand.
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  catchment gateways --format json
  catchment gateways '{site=\"berlin\"}'
  catchment gateways retire berlin/gw-1"
)]
pub struct GatewaysArgs {
    /// Subcommand; `None` lists.
    #[command(subcommand)]
    pub command: Option<GatewaysCommand>,
    /// What to list.
    #[command(flatten)]
    pub list: ListFlags,
}

/// Subcommands of `gateways`.
#[derive(Clone, Debug, Subcommand)]
pub enum GatewaysCommand {
    /// Take a gateway that is gone for good out of completeness; its windows stay
    Retire(RetireArgs),
}

/// The gateway to retire.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment gateways retire berlin/gw-1
  catchment gateways retire berlin/gw-1 --undo

A gateway that is connected is refused: stop it first. A retired gateway that connects again counts again by itself.")]
pub struct RetireArgs {
    /// The gateway
    #[arg(value_name = "SITE/GATEWAY", value_parser = gateway_name)]
    pub gateway: GatewayName,
    /// Let it count again
    #[arg(long)]
    pub undo: bool,
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Connection,
}

/// A gateway by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayName {
    /// Its site.
    pub site: String,
    /// Its name within the site.
    pub gateway: String,
}

fn gateway_name(text: &str) -> Result<GatewayName, String> {
    match text.split_once('/') {
        Some((site, gateway)) if !site.is_empty() && !gateway.is_empty() && !gateway.contains('/') => {
            Ok(GatewayName { site: site.to_owned(), gateway: gateway.to_owned() })
        }
        _ => Err("give the gateway as SITE/GATEWAY, as `catchment gateways` lists it".to_owned()),
    }
}
