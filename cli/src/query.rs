//! `query`, once or repeatedly: from flags to a request, and from its result to text.

use std::time::Duration;

use catchment_aggregator::calendar::Zone;
use catchment_proto::wire::Fill;
use catchment_settings::output;

use crate::{
    aggregator_client::{AggregatorClient, ClientError},
    args::{Image, OutputKind, QueryArgs, WatchArgs},
    chart, export,
    failure::Failure,
    length::Length,
    print::{print, print_bytes},
    query_result::{QueryRequest, QueryResult},
    render::{self, ResultFormat},
    suggestions,
    time::{now_ms, whole_millis},
};

/// The request that the flags describe, if the current time is `now_ms`.
///
/// # Errors
/// A range that ends before it begins, a time zone that is not known, or an order without series to sort.
pub fn request(args: &QueryArgs, now_ms: i64) -> Result<QueryRequest, Failure> {
    let time_zone = args.tz.clone().unwrap_or_default();
    let zone = Zone::named(&time_zone).map_err(|error| Failure::usage(format!("--tz: {error}")))?;
    if args.ascending && args.order.is_none() && args.top.is_none() {
        return Err(Failure::usage("--ascending sorts by --order or with --top: add one of them"));
    }
    let (from_ms, to_ms) = args.range.span().resolve(now_ms, &zone).map_err(Failure::usage)?;
    let mut selectors = args.selectors.iter().cloned();
    let aggregates: Vec<String> = args.agg.iter().flat_map(|list| list.0.iter().cloned()).collect();
    let (step_ms, calendar_step) = match args.step {
        None => (None, None),
        Some(Length::Fixed(step)) => (Some(whole_millis(step)), None),
        Some(Length::Calendar(step)) => (None, Some(step)),
    };
    Ok(QueryRequest {
        selector: selectors.next().unwrap_or_default(),
        more_selectors: selectors.collect(),
        from_ms,
        to_ms,
        step_ms,
        calendar_step,
        time_zone,
        by: trimmed_names(&args.by),
        without: trimmed_names(&args.without),
        top: args.top.unwrap_or(0),
        order: order(args, &aggregates),
        ascending: args.ascending,
        fill: args.fill.map_or(Fill::None, Fill::from),
        aggregates,
        from_windows: args.from_windows,
    })
}

/// What series are sorted by: with `--top`, the first aggregate unless another is given; empty: their labels.
fn order(args: &QueryArgs, aggregates: &[String]) -> String {
    match (&args.order, args.top, aggregates.first()) {
        (Some(order), ..) => order.trim().to_owned(),
        (None, None, _) => String::new(),
        (None, Some(_), Some(first)) => first.clone(),
        // The first of those that an aggregator computes by default.
        (None, Some(_), None) => "count".to_owned(),
    }
}

/// The names of a list, trimmed, without empty ones.
fn trimmed_names(list: &[String]) -> Vec<String> {
    list.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Runs the query once and prints the result.
///
/// # Errors
/// Wrong usage, or a failed request.
pub async fn query(args: &QueryArgs) -> Result<(), Failure> {
    let request = request(args, now_ms())?;
    let format = match args.format.kind() {
        OutputKind::Text(format) => format,
        OutputKind::Columns(file) => return export::export(args, &request, file).await,
        OutputKind::Chart(image) => return draw(args, &request, image).await,
    };
    let result = result(args, &request).await?;
    if format != ResultFormat::Table
        && let Some(reason) = &result.nothing_selected
    {
        output::eprint_line(crate::failure::one_line(reason));
    }
    if format == ResultFormat::Csv {
        // On standard error: the CSV stays a plain table.
        render::completeness_text(&result).lines().for_each(output::eprint_line);
    }
    let text = render::result_text(&result, &request.by, format);
    match &args.output {
        None => print(&text),
        Some(path) => export::write_whole(path, text.as_bytes()),
    }
}

/// The result, with advice if nothing is selected.
async fn result(args: &QueryArgs, request: &QueryRequest) -> Result<QueryResult, Failure> {
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    let mut result = client.aggregate(request).await?;
    suggestions::explain_empty(&mut client, request, &mut result).await;
    Ok(result)
}

/// Runs the query and draws its result. Standard error says how complete it is and what is not drawn.
async fn draw(args: &QueryArgs, request: &QueryRequest, image: Image) -> Result<(), Failure> {
    if args.output.is_none() {
        export::refuse_terminal(image.name())?;
    }
    let result = result(args, request).await?;
    let chart = chart::draw(request, &result)?;
    let notes = result.nothing_selected.iter().chain(&chart.notes);
    notes.for_each(|note| output::eprint_line(crate::failure::one_line(note)));
    render::completeness_text(&result).lines().for_each(output::eprint_line);
    let bytes = match image {
        Image::Svg => chart.svg.into_bytes(),
        Image::Png => chart::png(&chart.svg)?,
    };
    match &args.output {
        None => print_bytes(&bytes),
        Some(path) => export::write_whole(path, &bytes),
    }
}

/// Repeats the query: shows each result and reports each outage once, until an error is final or standard output has no
/// reader.
///
/// # Errors
/// Wrong usage, a refused identity, or a request that cannot succeed.
pub(crate) async fn poll_forever(
    args: &WatchArgs,
    show: impl Fn(&QueryRequest, &QueryResult) -> Result<bool, Failure>,
    report: impl Fn(String),
) -> Result<(), Failure> {
    let connection = &args.query.connection;
    let mut client = None;
    let mut outage = Outage::default();
    loop {
        let request = request(&args.query, now_ms())?;
        let polled = async {
            let client = match &mut client {
                Some(client) => client,
                none => none
                    .insert(AggregatorClient::connect(&connection.aggregator, &connection.identity).await?),
            };
            let mut result = client.aggregate(&request).await?;
            suggestions::explain_empty(client, &request, &mut result).await;
            Ok::<_, ClientError>(result)
        };
        let pause = match polled.await {
            Ok(result) => {
                if !show(&request, &result)? {
                    return Ok(());
                }
                if outage.clear() {
                    report("the aggregator answers again".to_owned());
                }
                args.every
            }
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => outage.record_failure(&error, &report).mul_f64(rand::random_range(0.5..1.0)),
        };
        tokio::time::sleep(pause).await;
    }
}

/// First and longest pause between retries.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// An outage: requests fail, but not for good.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// The last pause, if there is an outage.
    pause: Option<Duration>,
}

impl Outage {
    /// Records a failed attempt; returns the pause before the next.
    pub(crate) fn record_failure(&mut self, error: &ClientError, report: impl Fn(String)) -> Duration {
        if self.pause.is_none() {
            report(format!("{error}; retrying until the aggregator answers, Ctrl-C to stop"));
        }
        let pause = self.pause.map_or(BACKOFF_FIRST, |pause| (pause * 2).min(BACKOFF_MAX));
        self.pause = Some(pause);
        pause
    }

    /// Records a result; returns whether it ended an outage.
    pub(crate) fn clear(&mut self) -> bool {
        self.pause.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn an_outage_is_reported_once_and_its_pauses_grow_to_a_bound() {
        let error =
            ClientError::Connect { server: "c".to_owned(), reason: "gone".to_owned(), lasting: false };
        assert!(!error.is_final());
        let said = std::cell::RefCell::new(Vec::new());
        let report = |line: String| said.borrow_mut().push(line);
        let mut outage = Outage::default();
        assert!(!outage.clear());
        for _ in 0..2 {
            let pauses: Vec<u128> =
                (0..7).map(|_| outage.record_failure(&error, report).as_millis()).collect();
            assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
            assert!(outage.clear() && !outage.clear());
        }
        assert_eq!(said.borrow().len(), 2);
        assert!(said.borrow()[0].contains("gone") && said.borrow()[0].contains("retrying"));
    }

    #[test]
    fn a_refusal_is_final() {
        let refused =
            |lasting| ClientError::Connect { server: String::new(), reason: String::new(), lasting };
        assert!(refused(true).is_final() && !refused(false).is_final());
        assert!(ClientError::Request("step".to_owned()).is_final());
        let status = |code| ClientError::Status { server: String::new(), code, message: String::new() };
        assert!(
            !status(tonic::Code::Unavailable).is_final() && !status(tonic::Code::DeadlineExceeded).is_final()
        );
        assert!(status(tonic::Code::Unimplemented).is_final());
    }

    fn request_of(flags: &str) -> Result<QueryRequest, Failure> {
        let line = format!("catchment query x --aggregator https://c:1 --identity i {flags}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Query(args) => request(&args, 1_000_000),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_request() {
        let flags = "--last 10s --step 1s --agg p99,between(1,2) --agg count --by site,,device";
        let request = request_of(flags).unwrap();
        assert_eq!((request.from_ms, request.to_ms, request.step_ms), (990_000, 1_000_000, Some(1000)));
        assert_eq!(request.aggregates, ["p99", "between(1,2)", "count"]);
        assert_eq!(request.by, ["site", "device"]);
    }

    #[test]
    fn calendar_steps_keep_their_zone_and_several_selectors_their_order() {
        let request =
            request_of("y z --last 1d --step 1w --tz Europe/Berlin --fill previous --without site,").unwrap();
        assert_eq!((request.selector.as_str(), request.more_selectors.len()), ("x", 2));
        assert_eq!(request.step_ms, None);
        assert_eq!(request.calendar_step.map(|step| step.count()), Some(1));
        assert_eq!((request.time_zone.as_str(), request.fill), ("Europe/Berlin", Fill::Previous));
        assert_eq!(request.without, ["site"]);
        let error = request_of("--tz Europe/Berln").unwrap_err();
        assert!(
            error.exit_status() == 2 && error.to_string().contains("did you mean Europe/Berlin?"),
            "{error}"
        );
    }

    #[test]
    fn the_top_is_that_of_the_first_aggregate() {
        let order =
            |flags: &str| request_of(flags).map(|request| (request.top, request.order, request.ascending));
        assert_eq!(order("--top 3 --agg p99,count").unwrap(), (3, "p99".to_owned(), false));
        assert_eq!(order("--top 3 --ascending").unwrap(), (3, "count".to_owned(), true));
        assert_eq!(order("--order sum/count").unwrap(), (0, "sum/count".to_owned(), false));
        assert_eq!(order("").unwrap(), (0, String::new(), false));
        assert_eq!(order("--ascending").unwrap_err().exit_status(), 2);
    }

    #[test]
    fn ranges_have_defaults() {
        let request = request_of("").unwrap();
        assert_eq!((request.from_ms, request.to_ms, request.step_ms), (100_000, 1_000_000, None));
        let request = request_of("--from now-10s").unwrap();
        assert_eq!((request.from_ms, request.to_ms), (990_000, 1_000_000));
        let request = request_of("--from 5 --to 7").unwrap();
        assert_eq!((request.from_ms, request.to_ms), (5000, 7000));
        assert_eq!(request_of("--from 7 --to 5").unwrap_err().exit_status(), 2);
    }
}
