//! Results as files that programs read, Parquet and Arrow: written as they come, so that their size does not matter.
//!
//! * `writer`: record batches into the format.
//! * `target`: where the bytes go: a file that appears when it is complete, or standard output.

mod target;
mod writer;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use catchment_aggregator::{calendar::Zone, query::Aggregate};
use catchment_columns::{Kind as ValueKind, LabelColumns, Layout, Rows, metadata};
use catchment_proto::wire::{AggregateResponse, Header, aggregate_response::Kind};
use catchment_settings::output;
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

use self::{target::Target, writer::Writer};
use crate::{
    aggregator_client::{AggregatorClient, ClientError},
    args::QueryArgs,
    failure::{Failure, one_line},
    query_result::{QueryRequest, QueryResult},
    render, suggestions,
};

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Parquet, compressed with Snappy.
    Parquet,
    /// A stream of Arrow's IPC format.
    Arrow,
}

impl FileFormat {
    /// As on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }
}

/// Runs the query and writes its result.
///
/// # Errors
/// A terminal as output, a failed request, or the system's error of writing.
pub(crate) async fn export(
    args: &QueryArgs,
    request: &QueryRequest,
    format: FileFormat,
) -> Result<(), Failure> {
    if args.output.is_none() {
        refuse_terminal(format.name())?;
    }
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    let target = Target::open(args.output.as_deref())?;
    let mut export = Export::new(request, format, &target);
    match client.answer(request, |message| export.push(message)).await {
        Ok(()) => {}
        // `| head` has read enough.
        Err(Ended::Closed) => return Ok(()),
        Err(Ended::Client(error)) => return Err(error.into()),
        Err(Ended::Failed(failure)) => return Err(failure),
    }
    let (rows, header) = match export.finish() {
        Ok(done) => done,
        Err(Ended::Failed(failure)) => return Err(failure),
        Err(_) => return Ok(()),
    };
    let bytes = target.written();
    target.complete()?;
    if let Some(path) = &args.output {
        output::eprint_line(format_args!("{}: {rows} points, {}", path.display(), BinaryBytes(bytes)));
    }
    report(&mut client, request, rows, header).await;
    Ok(())
}

/// Refuses a format that a terminal cannot show.
///
/// # Errors
/// Standard output is a terminal.
pub(crate) fn refuse_terminal(format: &str) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--format {format}: it is not for terminals: write it to a file with -o FILE, or redirect standard output"
    )))
}

/// Says on standard error how complete the result is: a file says it only in its metadata.
async fn report(client: &mut AggregatorClient, request: &QueryRequest, rows: u64, header: Header) {
    let mut result = QueryResult::default();
    result.push_message(AggregateResponse { kind: Some(Kind::Header(header)) });
    if rows == 0 {
        suggestions::explain_empty(client, request, &mut result).await;
    }
    if let Some(reason) = &result.nothing_selected {
        output::eprint_line(one_line(reason));
    }
    render::completeness_text(&result).lines().for_each(output::eprint_line);
}

/// Writes all bytes to a file that appears when it is complete.
///
/// # Errors
/// The system's error.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let target = Target::open(Some(path))?;
    let mut writer = target.writer()?;
    let written = writer.write_all(bytes).and_then(|()| writer.flush());
    match written {
        Err(error) => target.failed(&error).map_or(Ok(()), Err),
        Ok(()) => target.complete(),
    }
}

/// Why an export ended before its end.
enum Ended {
    /// Nobody reads the output any more.
    Closed,
    Client(ClientError),
    Failed(Failure),
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// A result that is being written.
struct Export<'a> {
    request: &'a QueryRequest,
    format: FileFormat,
    target: &'a Target,
    /// Once the header has come.
    open: Option<(Rows, Writer)>,
    /// The last one that came.
    header: Header,
    rows: u64,
    bar: ProgressBar,
}

impl<'a> Export<'a> {
    fn new(request: &'a QueryRequest, format: FileFormat, target: &'a Target) -> Self {
        // How many points there will be is not known. It is drawn on standard error, if that is a terminal.
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} points, {msg}, {elapsed}") {
            bar.set_style(style);
        }
        Self { request, format, target, open: None, header: Header::default(), rows: 0, bar }
    }

    fn push(&mut self, message: AggregateResponse) -> Result<(), Ended> {
        match message.kind {
            Some(Kind::Header(header)) => {
                if self.open.is_none() {
                    self.open = Some(self.begin(&header)?);
                }
                self.header = header;
            }
            Some(Kind::Series(series)) => {
                let Some((rows, _)) = &mut self.open else { return Err(headless()) };
                rows.push(series);
                if rows.is_full() {
                    self.write()?;
                }
            }
            // A kind that only a newer aggregator knows.
            None => {}
        }
        Ok(())
    }

    fn begin(&self, header: &Header) -> Result<(Rows, Writer), Ended> {
        let layout = layout(self.request, header);
        let schema = match self.format {
            FileFormat::Arrow => layout.schema_with(metadata(header)),
            // It comes at the end of the file, when it is final.
            FileFormat::Parquet => layout.schema(),
        };
        let out = self.target.writer().map_err(Ended::Failed)?;
        let writer = Writer::new(self.format, &schema, out).map_err(|error| self.ended(&error))?;
        Ok((Rows::new(layout, schema), writer))
    }

    /// Writes the rows that there are.
    fn write(&mut self) -> Result<(), Ended> {
        let Some((rows, writer)) = &mut self.open else { return Err(headless()) };
        self.rows += rows.len() as u64;
        let written = rows.take().map_err(io::Error::other).and_then(|batch| writer.write(&batch));
        self.bar.set_message(BinaryBytes(self.target.written()).to_string());
        self.bar.set_position(self.rows);
        written.map_err(|error| self.ended(&error))
    }

    /// Ends the file; returns the number of rows and the last header.
    fn finish(mut self) -> Result<(u64, Header), Ended> {
        if self.open.as_ref().is_some_and(|(rows, _)| !rows.is_empty()) {
            self.write()?;
        }
        self.bar.finish_and_clear();
        let Some((_, writer)) = self.open.take() else { return Err(headless()) };
        writer.finish(metadata(&self.header)).map_err(|error| self.ended(&error))?;
        Ok((self.rows, self.header))
    }

    fn ended(&self, error: &io::Error) -> Ended {
        self.target.failed(error).map_or(Ended::Closed, Ended::Failed)
    }
}

/// Every answer begins with its header.
fn headless() -> Ended {
    Ended::Failed(Failure::failed(
        "the aggregator's answer has no header; this is a defect of the aggregator",
    ))
}

/// The columns of the result of a request.
fn layout(request: &QueryRequest, header: &Header) -> Layout {
    let labels = match request.without.is_empty() {
        true => LabelColumns::Each(request.by.clone()),
        false => LabelColumns::Map,
    };
    let zone = Zone::named(&request.time_zone).ok().filter(|_| request.calendar_step.is_some());
    let zone = zone.as_ref().and_then(|zone| zone.time_zone().iana_name()).unwrap_or_default();
    let aggregates = header.aggregates.iter().map(|name| (name.clone(), kind(name))).collect();
    Layout::new(labels, !request.more_selectors.is_empty(), zone, aggregates)
}

/// What the values of an aggregate are; of one that only a newer aggregator knows: numbers.
fn kind(name: &str) -> ValueKind {
    name.parse().map_or(ValueKind::Number, |aggregate: Aggregate| aggregate.kind())
}

#[cfg(test)]
mod tests;
