//! The flags of `top`.

use std::time::Duration;

use clap::Args;

use super::{Connection, positive_duration};

/// What to show of the fleet.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment top
  catchment top --view devices --filter press-
  catchment top --view gateways --once

Keys: 1 to 4 choose the view, / filters, s changes the order, r asks and sorts again, arrows and Page keys move, q ends.
Rows keep their place when values change; s and r sort them anew. Sparklines show the last 15 minutes: readings a minute,
of metrics their mean. NO_COLOR switches colours off. While the aggregator is away, the last values stay and the status
line says so.")]
pub struct TopArgs {
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Connection,
    /// First view
    #[arg(long, value_enum, default_value_t = View::Sites)]
    pub view: View,
    /// Show only rows whose names contain a text, in upper or lower case
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// Print the view once, as a table
    #[arg(long)]
    pub once: bool,
    /// Draw with ASCII characters only [default: where the locale is not UTF-8]
    #[arg(long)]
    pub ascii: bool,
    /// Pause between two answers; longer where an answer takes long
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, default_value = "2s")]
    pub every: Duration,
}

/// What the rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum View {
    /// Sites, with the worst lag of their gateways
    #[default]
    Sites,
    /// Gateways and their lag
    Gateways,
    /// Devices and when they were last seen
    Devices,
    /// Metrics and their means
    Metrics,
}
