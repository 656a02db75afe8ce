//! Which aggregates share a panel, and how each is drawn.

use crate::query_result::{QueryResult, Value};

use super::PANELS_MAX;

/// One scale with its lines and bands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Panel {
    /// What is drawn, for people.
    pub(super) title: String,
    /// Pairs of columns, the lower and the upper edge.
    pub(super) bands: Vec<(usize, usize)>,
    /// In the order of the aggregates.
    pub(super) lines: Vec<Line>,
    /// Whether the scale begins at 0: counts, sums and times.
    pub(super) from_zero: bool,
}

/// A line of each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Index of the aggregate.
    pub(super) column: usize,
    /// How it is drawn.
    pub(super) style: Style,
}

/// How a line is drawn, so that lines of one colour can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// The first one.
    Thick,
    /// All others.
    Thin,
}

impl Line {
    /// Its class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self.style {
            Style::Thick => "line",
            Style::Thin => "line thin",
        }
    }
}

impl Panel {
    /// The columns that its scale must hold.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.bands
            .iter()
            .flat_map(|(low, high)| [*low, *high])
            .chain(self.lines.iter().map(|line| line.column))
    }
}

/// The percentile of `p99`.
fn percentile(name: &str) -> Option<f64> {
    match name {
        "median" => Some(50.0),
        _ => name.strip_prefix('p')?.parse().ok().filter(|p| (0.0..=100.0).contains(p)),
    }
}

/// Whether an aggregate has the unit and the scale of the readings.
fn is_level(name: &str) -> bool {
    const LEVELS: [&str; 7] = ["mean", "avg", "first", "last", "interquartile_mean", "min", "max"];
    LEVELS.contains(&name)
        || percentile(name).is_some()
        || ["trimmed_mean(", "time_weighted_mean"].iter().any(|level| name.starts_with(level))
            && !name.contains(['+', '*', '/'])
}

/// Whether 0 belongs to the scale.
fn is_amount(name: &str) -> bool {
    const AMOUNTS: [&str; 12] = [
        "count",
        "state_count",
        "below",
        "at_least",
        "between",
        "distinct",
        "resets",
        "changes",
        "transitions",
        "share_of",
        "time_in",
        "rate",
    ];
    AMOUNTS.contains(&name.split('(').next().unwrap_or_default())
}

/// Whether the column has texts or states, which no scale holds.
fn is_text(result: &QueryResult, column: usize) -> bool {
    let points = || result.series.iter().flat_map(|series| &series.points);
    let mut values = points().filter_map(|point| point.values.get(column)?.as_ref());
    values.next().is_some_and(|value| !matches!(value, Value::Number(_)))
}

/// The panels of a result, and notes about the aggregates that are not drawn.
pub(super) fn panels(result: &QueryResult) -> (Vec<Panel>, Vec<String>) {
    let mut notes = Vec::new();
    let (mut levels, mut others): (Vec<usize>, Vec<Panel>) = Default::default();
    let mut first_level = None;
    for (column, name) in result.aggregates.iter().enumerate() {
        if is_text(result, column) {
            notes.push(format!("{name} is no number and not drawn"));
        } else if is_level(name) {
            first_level.get_or_insert(others.len());
            levels.push(column);
        } else {
            let lines = vec![Line { column, style: Style::Thick }];
            others.push(Panel { title: name.clone(), lines, from_zero: is_amount(name), ..Panel::default() });
        }
    }
    if let Some(place) = first_level {
        others.insert(place, level_panel(&result.aggregates, &levels));
    }
    if others.len() > PANELS_MAX {
        notes.push(format!(
            "{} more aggregates are not drawn: ask for fewer with --agg",
            others.len() - PANELS_MAX
        ));
        others.truncate(PANELS_MAX);
    }
    (others, notes)
}

/// The panel of what has the scale of the readings: a band from the least to the greatest percentile, one from minimum to
/// maximum, and lines.
fn level_panel(names: &[String], columns: &[usize]) -> Panel {
    let name = |column: usize| names.get(column).map_or("", String::as_str);
    let mut percentiles: Vec<(f64, usize)> =
        columns.iter().filter_map(|column| Some((percentile(name(*column))?, *column))).collect();
    percentiles.sort_by(|a, b| a.0.total_cmp(&b.0));
    let named = |wanted: &str| columns.iter().copied().find(|column| name(*column) == wanted);
    let (mut bands, mut titles) = (Vec::new(), Vec::new());
    if let (Some(min), Some(max)) = (named("min"), named("max")) {
        bands.push((min, max));
    }
    // The band of percentiles lies on top: it is narrower.
    if let [(_, low), .., (_, high)] = percentiles.as_slice() {
        bands.push((*low, *high));
    }
    let in_band = |column: usize| bands.iter().any(|(low, high)| [*low, *high].contains(&column));
    let mut lines: Vec<Line> = Vec::new();
    for column in columns.iter().copied().filter(|column| !in_band(*column)) {
        let style = if lines.is_empty() { Style::Thick } else { Style::Thin };
        titles.push(match style {
            Style::Thick => format!("{} (line)", name(column)),
            Style::Thin => format!("{} (thin)", name(column)),
        });
        lines.push(Line { column, style });
    }
    titles.extend(bands.iter().map(|(low, high)| format!("{} to {} (band)", name(*low), name(*high))));
    Panel { title: titles.join(", "), bands, lines, from_zero: false }
}
