//! The flags of a query.

use std::path::PathBuf;

use catchment_proto::wire;
use clap::Args;

use super::{Connection, RangeArgs};
use crate::{aggregate_list::AggregateList, export::FileFormat, length::Length, render::ResultFormat};

/// A query.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment query 'temperature{site=\"berlin\"}' --last 15m --step 1m --agg count,mean,p99 --by device
  catchment query '{device=~\"press-.*\"}' --by __name__,device --from 2026-11-22T10:00:00Z --to now --format json
  catchment query temperature --from now-1d --step 1h --by site --format csv > temperature.csv
  catchment query temperature --last 30d --step 1m --by device --agg mean,p99 --format parquet -o temperature.parquet
  catchment query temperature --last 1d --step 5m --by site --agg mean,p50,p99,count --format svg -o temperature.svg
  catchment query temperature --last 1d --step 5m --by site --format png -o temperature.png
  catchment query energy --from 2026-01-01 --step 1mo --tz Europe/Berlin --agg sum --by site --fill zero
  catchment query temperature --last 7d --by site,device --agg p99,sum/count --top 10 --order p99
  catchment query temperature humidity --last 1h --without gateway --agg mean,max-min
  catchment query mode --last 1d --by device --agg 'state_times,share_of(auto),histogram(10,20,30)'

A range covers the windows that start in [from, to). Without --step there is one point for the whole range.")]
pub struct QueryArgs {
    /// PromQL vector selector, for example temperature{site="berlin",device=~"press-.*"}; series of several stay apart
    #[arg(value_name = "SELECTOR", required = true, num_args = 1..)]
    pub selectors: Vec<String>,
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Connection,
    /// The range.
    #[command(flatten)]
    pub range: RangeArgs,
    /// Width of each point: a multiple of the gateways' window such as 1m or 24h, or calendar days, weeks (from Monday
    /// on), months or years: 1d, 1w, 3mo, 1y
    #[arg(long, value_name = "DURATION", value_parser = step)]
    pub step: Option<Length>,
    /// Time zone of days, weeks, months, years and dates: an IANA name such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// Aggregates, in column order: count, mean, p99, rate, 'below(20)', 'time_in(auto)' …, or two with + - * or /
    /// between, such as sum/count [default: the aggregator's]
    #[arg(long, value_name = "NAME,…", value_parser = AggregateList::parse, num_args = 1)]
    pub agg: Vec<AggregateList>,
    /// Labels to group by; without it, all selected series are merged into one
    #[arg(long, value_name = "LABEL,…", value_delimiter = ',', num_args = 1)]
    pub by: Vec<String>,
    /// Labels to merge over: series that agree in all others stay together
    #[arg(long, value_name = "LABEL,…", value_delimiter = ',', num_args = 1, conflicts_with = "by")]
    pub without: Vec<String>,
    /// Only the first N series in the order of --order
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub top: Option<u32>,
    /// Sort series by an aggregate over the whole range, the greatest first [default with --top: the first of --agg]
    #[arg(long, value_name = "NAME")]
    pub order: Option<String>,
    /// Sort the least first
    #[arg(long)]
    pub ascending: bool,
    /// What stands for points without readings; without it they are left out
    #[arg(long, value_enum, requires = "step")]
    pub fill: Option<Fill>,
    /// Compute from the stored windows instead of merged minutes, hours and days: a check, with the same result
    #[arg(long)]
    pub from_windows: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    pub format: QueryFormat,
    /// Write to a file, which appears when it is complete [default: standard output]
    #[arg(short, long, value_name = "FILE", value_parser = file)]
    pub output: Option<PathBuf>,
}

/// `-` names standard output elsewhere; here it would be a file of that name.
fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => {
            Err("leave it out to write to standard output, or write ./- for a file of that name".to_owned())
        }
        path => Ok(path.into()),
    }
}

/// Output format of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum QueryFormat {
    /// A table for people
    Table,
    /// One JSON value
    Json,
    /// A header line, then one line per point
    Csv,
    /// A Parquet file (Snappy): for pandas, Polars, DuckDB and Spark
    Parquet,
    /// An Arrow IPC stream: for pyarrow and Polars
    Arrow,
    /// A chart as an SVG image
    Svg,
    /// A chart as a PNG image, 1,920 pixels wide
    Png,
}

/// What becomes of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// A text.
    Text(ResultFormat),
    /// A file with columns, written as the points come.
    Columns(FileFormat),
    /// A chart.
    Chart(Image),
}

/// Format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Shapes and texts.
    Svg,
    /// Pixels.
    Png,
}

impl Image {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

impl QueryFormat {
    /// What becomes of the result.
    pub fn kind(self) -> OutputKind {
        match self {
            Self::Table => OutputKind::Text(ResultFormat::Table),
            Self::Json => OutputKind::Text(ResultFormat::Json),
            Self::Csv => OutputKind::Text(ResultFormat::Csv),
            Self::Parquet => OutputKind::Columns(FileFormat::Parquet),
            Self::Arrow => OutputKind::Columns(FileFormat::Arrow),
            Self::Svg => OutputKind::Chart(Image::Svg),
            Self::Png => OutputKind::Chart(Image::Png),
        }
    }
}

/// What stands for a point without readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fill {
    /// A point without values
    Null,
    /// The values of the previous point
    Previous,
    /// A point of zeros
    Zero,
}

impl From<Fill> for wire::Fill {
    fn from(fill: Fill) -> Self {
        match fill {
            Fill::Null => Self::Null,
            Fill::Previous => Self::Previous,
            Fill::Zero => Self::Zero,
        }
    }
}

fn step(text: &str) -> Result<Length, String> {
    let step: Length = text.parse().map_err(|error: crate::length::LengthError| error.to_string())?;
    if step.is_zero() { Err("must be at least 1ms".to_owned()) } else { Ok(step) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn parsed(flags: &str) -> Result<QueryArgs, clap::Error> {
        let line = format!("catchment query --aggregator https://c:1 --identity i {flags}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Query(query) => Ok(query),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_documented_query_is_understood() {
        let query = parsed("temperature --last 15m --step 1m --agg count,mean,p99 --by device --format json")
            .unwrap();
        assert_eq!(query.agg, [AggregateList(["count", "mean", "p99"].map(str::to_owned).to_vec())]);
        let minutes = |minutes: u64| Some(Length::Fixed(std::time::Duration::from_secs(60 * minutes)));
        assert_eq!((query.range.last, query.step), (minutes(15), minutes(1)));
        assert_eq!((query.by, query.format), (vec!["device".to_owned()], QueryFormat::Json));
    }

    #[test]
    fn selectors_and_flags_may_be_mixed() {
        let query =
            parsed("a --top 3 --order p99-p50 b --step 1mo --fill zero --without room,gateway").unwrap();
        assert_eq!(query.selectors, ["a", "b"]);
        assert_eq!(
            (query.top, query.order.as_deref(), query.fill),
            (Some(3), Some("p99-p50"), Some(Fill::Zero))
        );
        assert_eq!(query.without, ["room", "gateway"]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for flags in [
            "",
            "x --last 1m --from now-1h",
            "x --to now",
            "x --step 0s",
            "x --step 1M",
            "x --by a --without b",
            "x --fill zero",
            "x --top 0",
            "x --fill some --step 1m",
        ] {
            assert!(parsed(flags).is_err(), "{flags}");
        }
        assert!(parsed("x --step 1M").unwrap_err().to_string().contains("1mo"));
    }
}
