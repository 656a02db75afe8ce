//! `watch`: the latest result, pushed by the aggregator where it can, else by repeating the query.

use std::io::{self, IsTerminal as _};

use catchment_settings::output;

use crate::{
    aggregator_client::{AggregatorClient, ClientError},
    args::{OutputKind, QueryArgs, WatchArgs},
    failure::Failure,
    print::print_to_reader,
    query::{Outage, poll_forever, request},
    query_result::{QueryRequest, QueryResult},
    render::{self, ResultFormat},
    suggestions,
    time::now_ms,
    watch::known::{Known, Update},
};

mod known;

/// Clears a terminal.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Shows the latest result until it is interrupted. On a terminal each one replaces the previous one. During an outage it
/// retries after growing pauses and reports the outage once.
///
/// # Errors
/// Wrong usage, a refused identity, or a request that cannot succeed.
pub async fn watch(args: &WatchArgs) -> Result<(), Failure> {
    let OutputKind::Text(format) = args.query.format.kind() else {
        return Err(Failure::usage("--format: a watch has no end, so it is no file: use table, json or csv"));
    };
    if args.query.output.is_some() {
        return Err(Failure::usage("--output: a watch has no end: redirect standard output instead"));
    }
    let clear = if io::stdout().is_terminal() { CLEAR } else { "" };
    let report = |line: String| output::eprint_line(format_args!("catchment watch: {line}"));
    let show = |request: &QueryRequest, result: &QueryResult| {
        print_to_reader(&format!("{clear}{}", render::result_text(result, &request.by, format)))
    };
    let watching = async {
        if is_pushed(&args.query) && follow(args, (format, clear), &report).await? == End::Reader {
            return Ok(());
        }
        poll_forever(args, show, report).await
    };
    tokio::select! {
        result = watching => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Whether the aggregator can push the result: not one point for a range that moves, nor a range that ends, nor what
/// depends on all points of it.
fn is_pushed(query: &QueryArgs) -> bool {
    let whole = query.top.is_some() || query.order.is_some() || query.fill.is_some();
    query.step.is_some() && query.range.to.is_none() && !whole
}

/// Why pushing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Standard output has no reader.
    Reader,
    /// The aggregator is older and does not push.
    Unknown,
}

/// Shows what the aggregator pushes. After a cut it continues where it was.
async fn follow(
    args: &WatchArgs,
    (format, clear): (ResultFormat, &str),
    report: &impl Fn(String),
) -> Result<End, Failure> {
    let connection = &args.query.connection;
    let mut outage = Outage::default();
    let mut known = Known::new(format == ResultFormat::Table, &args.query.selectors);
    let mut client: Option<AggregatorClient> = None;
    loop {
        // Points before the range are not wanted, also if everything has to be sent again.
        let request = request(&args.query, now_ms())?;
        let attempt = async {
            let client = match &mut client {
                Some(client) => client,
                none => none
                    .insert(AggregatorClient::connect(&connection.aggregator, &connection.identity).await?),
            };
            let mut stream = client.watch(&request, known.token()).await?;
            while let Some(message) = stream.message().await.map_err(|status| client.refused(&status))? {
                if outage.clear() {
                    report("the aggregator answers again; the watch continues where it was".to_owned());
                }
                let Some(update) = known.take(message) else { continue };
                let mut shown = Shown { args, format, clear, report, client: &mut *client };
                if !shown.update(&mut known, update).await? {
                    return Ok(Some(End::Reader));
                }
            }
            Ok::<_, Failed>(None)
        };
        let error = match attempt.await {
            Ok(Some(end)) => return Ok(end),
            // It ended without a reason.
            Ok(None) => ClientError::Cut { server: connection.aggregator.clone() },
            Err(Failed::Output(failure)) => return Err(failure),
            Err(Failed::Client(error)) => error,
        };
        if error.is_unimplemented() {
            report(format!("this aggregator does not push: the query is repeated every {:?}", args.every));
            return Ok(End::Unknown);
        }
        if error.is_final() {
            return Err(error.into());
        }
        let pause = outage.record_failure(&error, report).mul_f64(rand::random_range(0.5..1.0));
        tokio::time::sleep(pause).await;
    }
}

/// Why an attempt failed.
enum Failed {
    Client(ClientError),
    Output(Failure),
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}

/// How updates are shown.
struct Shown<'a, R> {
    args: &'a WatchArgs,
    format: ResultFormat,
    clear: &'a str,
    report: &'a R,
    client: &'a mut AggregatorClient,
}

impl<R: Fn(String)> Shown<'_, R> {
    /// Shows an update; returns whether standard output can still have a reader.
    async fn update(&mut self, known: &mut Known, update: Update) -> Result<bool, Failure> {
        let query = &self.args.query;
        let request = request(query, now_ms())?;
        match update {
            Update::Reset(reset) if self.format == ResultFormat::Json => {
                print_to_reader(&render::reset_json(reset.from_ms, reset.to_ms, &reset.reason))
            }
            Update::Reset(reset) => {
                (self.report)(format!("points are sent again: {}", crate::failure::one_line(&reset.reason)));
                Ok(true)
            }
            Update::Round { first, merged } => {
                if merged {
                    (self.report)(
                        "this reader is slower than the data: changes of a point are merged".to_owned(),
                    );
                }
                let mut result = known.result(request.from_ms);
                if first {
                    suggestions::explain_empty(self.client, &request, &mut result).await;
                }
                let (csv, empty) = (self.format == ResultFormat::Csv, result.series.is_empty());
                if empty && !first && self.format != ResultFormat::Table {
                    return Ok(true);
                }
                let text = render::result_text(&result, &request.by, self.format);
                // Its header comes once.
                let text =
                    if csv && !first { text.split_once('\n').map_or("", |(_, rows)| rows) } else { &text };
                print_to_reader(&format!("{}{text}", self.clear_of()))
            }
        }
    }

    /// Only a table replaces what was shown.
    fn clear_of(&self) -> &str {
        if self.format == ResultFormat::Table { self.clear } else { "" }
    }
}
