//! Title, series and notes of a chart.

use catchment_aggregator::calendar::Zone;
use catchment_settings::text::one_line;

use super::{
    LEFT, PLOT_WIDTH, WIDTH,
    svg::{self, Svg},
    ticks::local_text,
};
use crate::{
    query_result::{QueryRequest, QueryResult, ResultSeries},
    render::completeness_text,
    time::span_text,
};

/// Height of a row.
const ROW: f64 = 18.0;
/// Series side by side.
const COLUMNS: usize = 2;
/// Most characters of a title and of a series, which fit beside each other.
const TITLE_CHARACTERS: usize = 100;
const LABEL_CHARACTERS: usize = 58;
/// Most characters of what is shown for a pointer.
const WHOLE_CHARACTERS: usize = 1000;
/// Most characters of the description.
const DESCRIPTION_CHARACTERS: usize = 4000;

/// Height of the legend in pixels.
pub(super) fn height(series: usize, notes: usize) -> f64 {
    ROW * (series.div_ceil(COLUMNS) + notes + 1) as f64
}

/// A text of at most so many characters.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// A text of at most so many characters, without those in the middle: names differ at their ends.
fn without_middle(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let tail = most / 2;
    text.chars().take(most - tail - 1).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

/// The title, and below it range, step and time zone.
pub(super) fn title(svg: &mut Svg, request: &QueryRequest, result: &QueryResult, zone: &Zone) {
    let selectors: Vec<String> = request.selectors().map(|selector| one_line(selector)).collect();
    let title = shortened(&selectors.join(", "), WHOLE_CHARACTERS);
    let step = match (request.calendar_step, request.step_ms) {
        (Some(step), _) => format!("step {} {:?}", step.count(), step.unit()).to_lowercase(),
        (None, Some(step)) => format!("step {}", span_text(step)),
        (None, None) => "one point for the range".to_owned(),
    };
    let name = if request.time_zone.is_empty() { "UTC" } else { &request.time_zone };
    let (from, to) = (local_text(request.from_ms, zone), local_text(request.to_ms, zone));
    let range = format!("{from} to {to} {name}, {step}");
    let (count, aggregates) = (result.series.len(), result.aggregates.join(", "));
    let complete = one_line(&completeness_text(result));
    let description = format!("{range}; {count} series of {aggregates}. {complete}");
    let description = shortened(&description, DESCRIPTION_CHARACTERS);
    svg.described(&title, &description);
    svg.text(LEFT, 24.0, "start", "title", &shortened(&title, TITLE_CHARACTERS));
    svg.text(LEFT, 42.0, "start", "note", &range);
}

/// The name of a series: its selector, if there are several, and its labels, those of `--by` first.
fn name(request: &QueryRequest, result: &QueryResult, series: &ResultSeries) -> String {
    let mut parts: Vec<String> = result.selectors.get(series.selector).cloned().into_iter().collect();
    let asked = request.by.iter().filter_map(|label| Some((label, series.labels.get(label)?)));
    let others = series.labels.iter().filter(|(label, _)| !request.by.contains(label));
    parts.extend(asked.chain(others).map(|(label, value)| format!("{label}={value}")));
    match parts.is_empty() {
        true => "all selected series".to_owned(),
        false => parts.join(" "),
    }
}

/// The series with their colours, and notes.
pub(super) fn series(
    svg: &mut Svg,
    request: &QueryRequest,
    result: &QueryResult,
    drawn: &[ResultSeries],
    notes: &[String],
    top: f64,
) {
    let width = (WIDTH - LEFT) / COLUMNS as f64;
    for (index, series) in drawn.iter().enumerate() {
        let (x, y) = (LEFT + width * (index % COLUMNS) as f64, top + ROW * (index / COLUMNS) as f64);
        let class = format!("line s{} d{}", index % svg::COLOURS, index / svg::COLOURS);
        svg.path(&format!("M{x:.1} {y:.1}h24"), &class);
        let name = name(request, result, series);
        svg.text_with_title(
            x + 30.0,
            y + 4.0,
            &without_middle(&name, LABEL_CHARACTERS),
            &shortened(&name, WHOLE_CHARACTERS),
        );
    }
    let below = top + ROW * drawn.len().div_ceil(COLUMNS) as f64;
    for (index, note) in notes.iter().enumerate() {
        let note = shortened(note, (PLOT_WIDTH / 7.0) as usize);
        svg.text(LEFT, below + ROW * index as f64 + 4.0, "start", "note", &note);
    }
}
