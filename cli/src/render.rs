//! Results as text: JSON for programs, CSV for spreadsheets, tables for people.
//!
//! Pure: from a [`QueryResult`] to a `String`. Labels and aggregates keep the requested order. In JSON and CSV, numbers
//! are the shortest that read back as the same double; tables round them. Counts are whole numbers.

mod completeness;

use std::io;

use catchment_columns::GapJson;
use catchment_settings::text::{is_unprintable, printable};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use self::completeness::completeness_json;
use crate::{
    aggregate_list::is_arithmetic,
    query_result::{Gap, Point, QueryResult, ResultSeries, Value},
    time::rfc3339,
};

/// Output format of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ResultFormat {
    /// A table for people.
    Table,
    /// One JSON value.
    Json,
    /// A header line, then one line per point.
    Csv,
}

/// Output format of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListFormat {
    /// A table for people.
    Table,
    /// One JSON value.
    Json,
}

/// 2^53: every whole number up to it is exact as a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Aggregates whose values are whole numbers, without their arguments.
const COUNTS: [&str; 9] =
    ["count", "state_count", "below", "at_least", "between", "distinct", "resets", "changes", "transitions"];

/// Whether an aggregate is a count, whose values are whole numbers.
fn counts(aggregate: &str) -> bool {
    COUNTS.contains(&aggregate.split('(').next().unwrap_or_default()) && !is_arithmetic(aggregate)
}

/// A count as a whole number, if it is one.
fn whole(aggregate: &str, value: f64) -> Option<u64> {
    (counts(aggregate) && value.fract() == 0.0 && (0.0..=WHOLE_MAX).contains(&value)).then_some(value as u64)
}

/// Formats a result; `by` gives the order of the labels.
pub fn result_text(result: &QueryResult, by: &[String], format: ResultFormat) -> String {
    match format {
        ResultFormat::Json => result_json(result),
        ResultFormat::Csv => result_csv(result, by),
        ResultFormat::Table => result_table(result, by),
    }
}

/// The result as one line of JSON.
pub fn result_json(result: &QueryResult) -> String {
    json_line(&ResultJson(result))
}

/// Any value as one line of JSON.
pub fn json_line(value: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string(value).expect("maps have string keys and nothing fails to serialize");
    text.push('\n');
    // Unprintable characters occur only in strings, where an escape means the same character.
    match text.trim_end().contains(is_unprintable) {
        true => text.trim_end().chars().map(escaped).chain(["\n".to_owned()]).collect(),
        false => text,
    }
}

/// A character of a JSON string, escaped if it would act on a terminal.
fn escaped(character: char) -> String {
    match is_unprintable(character) {
        true => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        false => character.to_string(),
    }
}

/// The announcement that points of a range are sent again, as one line of JSON.
pub fn reset_json(from_ms: i64, to_ms: i64, reason: &str) -> String {
    let (from, to) = (rfc3339(from_ms), rfc3339(to_ms));
    json_line(&serde_json::json!({ "reset": { "from": from, "to": to, "reason": reason } }))
}

struct ResultJson<'a>(&'a QueryResult);

impl Serialize for ResultJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let gaps: Vec<GapJson<'_>> = self.0.gaps.iter().map(gap_json).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("complete_until", &self.0.complete_until_ms.map(rfc3339))?;
        if let Some(completeness) = &self.0.completeness {
            map.serialize_entry("completeness", &completeness_json(completeness))?;
        }
        if !gaps.is_empty() {
            map.serialize_entry("gaps", &gaps)?;
        }
        map.serialize_entry("series", &SeriesJson(self.0))?;
        map.end()
    }
}

fn gap_json(of: &Gap) -> GapJson<'_> {
    let Gap { site, gateway, from_ms, to_ms, batches } = of;
    let (from, to) = (from_ms.map(rfc3339), rfc3339(*to_ms));
    GapJson { site, gateway, from, to, batches: *batches }
}

/// What a table prints below: who is behind, what was corrected late or refused, and one line for each gap; empty if there
/// is nothing to say.
pub fn completeness_text(result: &QueryResult) -> String {
    let line = result.completeness.as_ref().map(completeness::completeness_text).unwrap_or_default();
    line + &gaps_text(result)
}

/// The name of a gateway, fit for a terminal.
fn printable_name(site: &str, gateway: &str) -> String {
    crate::failure::one_line(&format!("{site}/{gateway}"))
}

/// One line for each gap; empty without gaps.
fn gaps_text(result: &QueryResult) -> String {
    let line = |gap: &Gap| {
        let from = gap.from_ms.map_or_else(|| "the beginning".to_owned(), rfc3339);
        let batches = match gap.batches {
            0 => "an unknown number of batches".to_owned(),
            1 => "1 batch".to_owned(),
            many => format!("{many} batches"),
        };
        let name = printable_name(&gap.site, &gap.gateway);
        format!("incomplete: {name} lost windows from {from} to {}, {batches}\n", rfc3339(gap.to_ms))
    };
    result.gaps.iter().map(line).collect()
}

struct SeriesJson<'a>(&'a QueryResult);

impl Serialize for SeriesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.series.len()))?;
        for series in &self.0.series {
            list.serialize_element(&OneSeriesJson(self.0, series))?;
        }
        list.end()
    }
}

struct OneSeriesJson<'a>(&'a QueryResult, &'a ResultSeries);

impl Serialize for OneSeriesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let points: Vec<PointJson<'_>> = self.1.points.iter().map(|point| PointJson(self.0, point)).collect();
        let mut map = serializer.serialize_map(None)?;
        if let Some(selector) = self.0.selectors.get(self.1.selector) {
            map.serialize_entry("selector", selector)?;
        }
        map.serialize_entry("labels", &self.1.labels)?;
        map.serialize_entry("points", &points)?;
        map.end()
    }
}

struct PointJson<'a>(&'a QueryResult, &'a Point);

impl Serialize for PointJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("t", &rfc3339(self.1.start_ms))?;
        for (index, aggregate) in self.0.aggregates.iter().enumerate() {
            match self.1.values.get(index).and_then(Option::as_ref) {
                None => map.serialize_entry(aggregate, &())?,
                Some(Value::Number(value)) => match whole(aggregate, *value) {
                    Some(count) => map.serialize_entry(aggregate, &count)?,
                    None => map.serialize_entry(aggregate, value)?,
                },
                Some(Value::Text(text)) => map.serialize_entry(aggregate, text)?,
                Some(Value::States(states)) => map.serialize_entry(aggregate, &StatesJson(states))?,
            }
        }
        map.end()
    }
}

struct StatesJson<'a>(&'a [(String, f64)]);

impl Serialize for StatesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(state, number)| (state, number)))
    }
}

/// A value as a cell: `number` formats numbers; of states as `auto=3600 off=20`.
fn cell(aggregate: &str, value: Option<&Value>, number: fn(&str, Option<f64>) -> String) -> String {
    match value {
        None => number(aggregate, None),
        Some(Value::Number(value)) => number(aggregate, Some(*value)),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::States(states)) => {
            let pair = |(state, value): &(String, f64)| {
                format!("{}={}", state_name(state), number("", Some(*value)))
            };
            states.iter().map(pair).collect::<Vec<_>>().join(" ")
        }
    }
}

/// A state, in quotation marks if it could not be told from what is around it.
fn state_name(state: &str) -> String {
    match state.contains(|c: char| c.is_whitespace() || matches!(c, '=' | '"')) {
        true => format!("\"{}\"", state.replace('\\', "\\\\").replace('"', "\\\"")),
        false => state.to_owned(),
    }
}

/// A number as text that reads back as the same double.
fn exact(aggregate: &str, value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) => whole(aggregate, value).map_or_else(|| value.to_string(), |count| count.to_string()),
    }
}

/// A number for people: six significant digits, times as RFC 3339.
pub fn rounded(aggregate: &str, value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    if let Some(count) = whole(aggregate, value) {
        return count.to_string();
    }
    if aggregate.ends_with("_time") && !is_arithmetic(aggregate) {
        // Unix seconds.
        return rfc3339((value * 1000.0).round() as i64);
    }
    let magnitude = value.abs();
    if value != 0.0 && !(1e-4..1e15).contains(&magnitude) {
        return format!("{value:.5e}");
    }
    let before_point = if magnitude >= 1.0 { magnitude.log10() as usize + 1 } else { 1 };
    let text = format!("{value:.*}", 6_usize.saturating_sub(before_point));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Names of the label columns: the requested ones, then any others in the result.
fn label_columns(result: &QueryResult, by: &[String]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let given = result.series.iter().flat_map(|series| series.labels.keys());
    for name in by.iter().chain(given) {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    columns
}

/// Header and rows of a result; `show` formats a number.
fn grid(result: &QueryResult, by: &[String], show: fn(&str, Option<f64>) -> String) -> Vec<Vec<String>> {
    let labels = label_columns(result, by);
    let mut rows = vec![labels.clone()];
    for header in &mut rows {
        if !result.selectors.is_empty() {
            header.insert(0, "selector".to_owned());
        }
        header.push("t".to_owned());
        header.extend(result.aggregates.iter().cloned());
    }
    for series in &result.series {
        for point in &series.points {
            let label = |name: &String| series.labels.get(name).cloned().unwrap_or_default();
            let selector = result.selectors.get(series.selector).cloned();
            let mut row: Vec<String> = selector.into_iter().chain(labels.iter().map(label)).collect();
            row.push(rfc3339(point.start_ms));
            let values = result.aggregates.iter().enumerate();
            row.extend(
                values.map(|(i, name)| cell(name, point.values.get(i).and_then(Option::as_ref), show)),
            );
            rows.push(row);
        }
    }
    rows
}

/// A text as a cell that a spreadsheet shows and does not evaluate: unprintable characters are replaced, and a text
/// that begins like a formula (`=`, `+`, `-`, `@`) gets a leading apostrophe unless it is a plain number.
fn text_cell(text: &str) -> String {
    let text = printable(text);
    let number =
        text.parse::<f64>().is_ok() && !text.contains(|c: char| c.is_alphabetic() && !"eE".contains(c));
    // A spreadsheet may strip leading white space first.
    match text.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
        && !number
    {
        true => format!("'{text}"),
        false => text,
    }
}

fn result_csv(result: &QueryResult, by: &[String]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Header, labels and states are foreign text; numbers stay as they are.
    let mut rows = grid(result, by, exact).into_iter();
    let written: Result<(), csv::Error> =
        rows.try_for_each(|row| writer.write_record(row.iter().map(|cell| text_cell(cell))));
    let bytes =
        written.map_err(io::Error::from).and_then(|()| writer.into_inner().map_err(|e| e.into_error()));
    String::from_utf8(bytes.expect("rows have equal length and a Vec takes every write"))
        .expect("made of strings")
}

fn result_table(result: &QueryResult, by: &[String]) -> String {
    let rows = grid(result, by, rounded);
    let numbers_from = label_columns(result, by).len() + 1 + usize::from(!result.selectors.is_empty());
    if let Some(reason) = &result.nothing_selected {
        return format!("no readings\n{}\n", crate::failure::one_line(reason));
    }
    let complete = result.complete_until_ms.map_or_else(
        || match result.gaps.iter().any(|gap| gap.from_ms.is_none()) {
            true => "not known: windows of the range are lost".to_owned(),
            false => {
                "not known: of a gateway that holds selected series it is not known how far it has delivered"
                    .to_owned()
            }
        },
        rfc3339,
    );
    let body = if rows.len() > 1 { table(&rows, numbers_from) } else { "no readings\n".to_owned() };
    format!("{body}complete until {complete}\n{}", completeness_text(result))
}

/// A table whose first row is the header; columns from `numbers_from` on are right-aligned.
pub fn table(rows: &[Vec<String>], numbers_from: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut rows = rows.iter().map(|row| {
        row.iter().enumerate().map(|(column, text)| {
            let alignment = if column < numbers_from { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(crate::failure::one_line(text)).set_alignment(alignment)
        })
    });
    if let Some(header) = rows.next() {
        table.set_header(header);
    }
    for row in rows {
        table.add_row(row);
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests;
