//! A result as a chart: an SVG image that needs neither scripts nor fonts.
//!
//! * `panels`: which aggregates share a scale, and which of them are lines or bands;
//! * `trace`: a series' points as lines and bands in pixels, as many as can be seen;
//! * `scale`: from values to pixels, and the marks of the value axis;
//! * `ticks`: the marks of the time axis, in the time zone of the query;
//! * `svg`: the elements, with escaped text;
//! * `legend`: title, series and notes;
//! * `png`: the image as pixels, with a font of its own.

mod legend;
mod panels;
mod png;
mod scale;
mod svg;
#[cfg(test)]
mod tests;
mod ticks;
mod trace;

use catchment_aggregator::calendar::Zone;

pub(crate) use self::png::png;
use self::{
    panels::{Panel, panels},
    scale::{Scale, TimeScale},
    svg::Svg,
    trace::Trace,
};
use crate::{
    failure::Failure,
    query_result::{QueryRequest, QueryResult, ResultSeries},
    time::rfc3339,
};

/// Most series drawn.
const SERIES_MAX: usize = 20;
/// Above so many series, bands are paler.
const BANDS_MANY: usize = 6;
/// Most panels, one above the other.
const PANELS_MAX: usize = 12;
/// Most known losses that are hatched.
const GAPS_MAX: usize = 100;

/// Size of the image and of its parts, in pixels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 88.0;
/// Half of the width of a digit of a mark, with some room.
const TEXT_HALF_WIDTH: f64 = 4.0;
const PLOT_WIDTH: f64 = WIDTH - LEFT - 20.0;
const TITLE_HEIGHT: f64 = 52.0;
const PANEL_TITLE_HEIGHT: f64 = 24.0;
const AXIS_HEIGHT: f64 = 44.0;

/// A chart and what it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chart {
    /// The SVG document.
    pub(crate) svg: String,
    /// One line for each kind of thing that it does not show.
    pub(crate) notes: Vec<String>,
}

/// Draws a result.
///
/// # Errors
/// None of the aggregates is a number.
pub(crate) fn draw(request: &QueryRequest, result: &QueryResult) -> Result<Chart, Failure> {
    let (panels, mut notes) = panels(result);
    if panels.is_empty() && !result.aggregates.is_empty() {
        return Err(Failure::usage(format!(
            "a chart draws numbers, and --agg {} has none: add for example count, or use --format table",
            result.aggregates.join(",")
        )));
    }
    let drawn = result.series.get(..SERIES_MAX).unwrap_or(&result.series);
    if result.series.len() > SERIES_MAX {
        let more = result.series.len() - SERIES_MAX;
        notes.push(format!("{more} more series are not drawn: choose with --top {SERIES_MAX} --order NAME"));
    }
    let zone = Zone::named(&request.time_zone).unwrap_or(Zone::UTC);
    let time = TimeScale::new(request, drawn);
    let plot_height = if panels.len() > 1 { 150.0 } else { 300.0 };
    let panels_height = (plot_height + PANEL_TITLE_HEIGHT) * panels.len().max(1) as f64;
    let legend_top = TITLE_HEIGHT + panels_height + AXIS_HEIGHT;
    let height = legend_top + legend::height(drawn.len(), notes.len());
    let mut svg = Svg::new(WIDTH, height);
    legend::title(&mut svg, request, result, &zone);
    let mut top = TITLE_HEIGHT;
    for panel in &panels {
        let plot = Plot { top: top + PANEL_TITLE_HEIGHT, height: plot_height, time: &time };
        plot.draw(&mut svg, panel, request, result, drawn, &zone);
        top += PANEL_TITLE_HEIGHT + plot_height;
    }
    if panels.is_empty() || drawn.iter().all(|series| series.points.is_empty()) {
        svg.text(
            LEFT + PLOT_WIDTH / 2.0,
            // In the first panel: between two there are marks.
            TITLE_HEIGHT + PANEL_TITLE_HEIGHT + plot_height / 2.0,
            "middle",
            "note",
            "no points in this range",
        );
    }
    time_axis(&mut svg, &time, &zone, TITLE_HEIGHT + panels_height);
    legend::series(&mut svg, request, result, drawn, &notes, legend_top);
    Ok(Chart { svg: svg.finish(), notes })
}

/// The labels of the time axis.
fn time_axis(svg: &mut Svg, time: &TimeScale, zone: &Zone, top: f64) {
    for tick in ticks::ticks(time.from_ms, time.to_ms, zone) {
        let x = time.x(tick.ms);
        // The text of the last mark must not leave the picture.
        let anchored =
            |text: &str| if x > WIDTH - TEXT_HALF_WIDTH * text.len() as f64 { "end" } else { "middle" };
        svg.text(x, top + 16.0, anchored(&tick.label), "tick", &tick.label);
        if let Some(date) = &tick.date {
            svg.text(x, top + 31.0, anchored(date), "tick", date);
        }
    }
}

/// Where a panel is.
struct Plot<'a> {
    top: f64,
    height: f64,
    time: &'a TimeScale,
}

impl Plot<'_> {
    fn draw(
        &self,
        svg: &mut Svg,
        panel: &Panel,
        request: &QueryRequest,
        result: &QueryResult,
        drawn: &[ResultSeries],
        zone: &Zone,
    ) {
        svg.text(LEFT, self.top - 8.0, "start", "panel", &panel.title);
        let scale = Scale::new(panel, drawn, self.top, self.height);
        for value in scale.ticks() {
            let y = scale.y(value);
            svg.line(LEFT, y, LEFT + PLOT_WIDTH, y, "grid");
            svg.text(LEFT - 8.0, y + 4.0, "end", "tick", &scale.label(value));
        }
        for tick in ticks::ticks(self.time.from_ms, self.time.to_ms, zone) {
            let x = self.time.x(tick.ms);
            svg.line(x, self.top, x, self.top + self.height, "grid");
        }
        self.hatch(svg, request, result);
        let trace = Trace { time: self.time, scale: &scale, gap_ms: trace::gap_ms(request) };
        // Many bands, one over the other, would hide the lines.
        let faint = if drawn.len() > BANDS_MANY { " faint" } else { "" };
        for (index, series) in drawn.iter().enumerate() {
            for (low, high) in &panel.bands {
                let class = format!("band s{}{faint}", index % svg::COLOURS);
                svg.path(&trace.band(series, *low, *high), &class);
            }
        }
        for (index, series) in drawn.iter().enumerate() {
            for line in &panel.lines {
                let class = format!("{} s{} d{}", line.class(), index % svg::COLOURS, index / svg::COLOURS);
                let (path, dots) = trace.line(series, line.column);
                svg.path(&path, &class);
                svg.dots(&dots, &format!("dot s{}", index % svg::COLOURS));
            }
        }
        svg.line(LEFT, self.top + self.height, LEFT + PLOT_WIDTH, self.top + self.height, "axis");
    }

    /// Marks what is not complete yet, and what is lost.
    fn hatch(&self, svg: &mut Svg, request: &QueryRequest, result: &QueryResult) {
        let mut mark = |from_ms: i64, to_ms: i64, why: &str| {
            let (from_ms, to_ms) = (from_ms.max(self.time.from_ms), to_ms.min(self.time.to_ms));
            if from_ms < to_ms {
                let (from, to) = (self.time.x(from_ms), self.time.x(to_ms));
                svg.hatched(from, self.top, to - from, self.height, why);
            }
        };
        let expected = result.completeness.as_ref().is_some_and(|completeness| completeness.expected > 0);
        match result.complete_until_ms {
            Some(until) => mark(until, request.to_ms, &format!("not complete after {}", rfc3339(until))),
            None if expected => {
                mark(request.from_ms, request.to_ms, "not complete: a gateway never delivered")
            }
            None => {}
        }
        for gap in result.gaps.iter().take(GAPS_MAX) {
            let why = format!("{}/{} lost windows here", gap.site, gap.gateway);
            mark(gap.from_ms.unwrap_or(i64::MIN), gap.to_ms, &why);
        }
    }
}
