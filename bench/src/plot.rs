//! The drawing next to the document, as plain SVG: each figure relative to its floor, and the growth of cost.

use std::fmt::Write as _;

use crate::report::{Growth, Measurement, Report};

const WIDTH: f64 = 900.0;
const ROW: f64 = 24.0;
const LABELS: f64 = 400.0;
const TOP: f64 = 56.0;
/// Ends of the logarithmic axis, as multiples of the floor.
const LEAST: f64 = 0.1;
const MOST: f64 = 20.0;
const GROWTH_HEIGHT: f64 = 250.0;
/// Ends of the axis of costs.
const COST_LEAST: f64 = 0.6;
const COST_MOST: f64 = 2.0;
const COLOURS: [&str; 11] = [
    "#1b6ca8", "#c0392b", "#27864a", "#8e44ad", "#b9770e", "#444444", "#16a2a2", "#d35db3", "#7a8b00",
    "#5b6ee1", "#a0522d",
];

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The horizontal position of a multiple of the floor.
fn across(multiple: f64) -> f64 {
    let share = (multiple.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LABELS + share * (WIDTH - LABELS - 20.0)
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, colour: &str, text: &str) {
    let text = escaped(text);
    // Writing to a String cannot fail.
    let _ =
        writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{colour}">{text}</text>"#);
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(out, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#);
}

fn row(out: &mut String, measurement: &Measurement, y: f64) {
    text(out, LABELS - 10.0, y + 4.0, "end", "#222", &measurement.what);
    let aim = across(measurement.aim_above_floor());
    line(out, (aim, y - 8.0), (aim, y + 8.0), r##"stroke="#27864a" stroke-width="3""##);
    let Some(above) = measurement.above_floor() else { return };
    let colour = match (above >= measurement.aim_above_floor(), above >= 1.0) {
        (true, _) => "#27864a",
        (_, true) => "#1b6ca8",
        _ => "#c0392b",
    };
    let x = across(above);
    line(out, (across(1.0), y), (x, y), &format!(r#"stroke="{colour}" stroke-width="5""#));
    let _ = writeln!(out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="5" fill="{colour}"/>"#);
}

fn growth(out: &mut String, lines: &[Growth], top: f64) {
    let bottom = top + GROWTH_HEIGHT;
    let sizes = lines.iter().map(|one| one.sizes.len()).max().unwrap_or(1).max(2);
    let x = |place: usize| LABELS + place as f64 / (sizes - 1) as f64 * (WIDTH - LABELS - 60.0);
    let y = |cost: f64| {
        let share = (cost.clamp(COST_LEAST, COST_MOST) / COST_LEAST).ln() / (COST_MOST / COST_LEAST).ln();
        bottom - share * GROWTH_HEIGHT
    };
    text(
        out,
        LABELS,
        top - 14.0,
        "start",
        "#222",
        "Cost with more devices or series, as a multiple of the first",
    );
    for (cost, name, style) in [
        (1.0, "1", r##"stroke="#999""##),
        (1.3, "1.3 (floor)", r##"stroke="#c0392b" stroke-dasharray="4 3""##),
    ] {
        line(out, (LABELS, y(cost)), (x(sizes - 1), y(cost)), style);
        text(out, x(sizes - 1) + 4.0, y(cost) + 4.0, "start", "#666", name);
    }
    for place in 0..sizes {
        let factor = 10_u64.pow(u32::try_from(place).unwrap_or(0));
        text(out, x(place), bottom + 16.0, "middle", "#666", &format!("{factor}x"));
    }
    for (number, (one, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let points: Vec<String> =
            one.costs().iter().enumerate().map(|(p, cost)| format!("{:.1},{:.1}", x(p), y(*cost))).collect();
        let points = points.join(" ");
        let _ = writeln!(
            out,
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>"#
        );
        text(out, LABELS - 10.0, top + 16.0 + number as f64 * 20.0, "end", colour, &one.what);
    }
}

/// The whole drawing.
pub(crate) fn svg(report: &Report) -> String {
    let rows = report.measurements.len() as f64 * ROW;
    let below = if report.growth.is_empty() { 20.0 } else { GROWTH_HEIGHT + 90.0 };
    let height = TOP + rows + below;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(
        &mut out,
        LABELS,
        18.0,
        "start",
        "#222",
        "How much better than its floor (logarithmic); green mark: the aim",
    );
    for multiple in [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0] {
        let style = if multiple == 1.0 { r##"stroke="#222""## } else { r##"stroke="#ddd""## };
        line(&mut out, (across(multiple), TOP - 14.0), (across(multiple), TOP + rows), style);
        text(&mut out, across(multiple), TOP - 20.0, "middle", "#666", &format!("{multiple}x"));
    }
    for (index, measurement) in report.measurements.iter().enumerate() {
        row(&mut out, measurement, TOP + index as f64 * ROW + ROW / 2.0);
    }
    if !report.growth.is_empty() {
        growth(&mut out, &report.growth, TOP + rows + 50.0);
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Better, Goal, Measure, Reference};

    #[test]
    fn every_figure_has_its_mark_and_every_growth_its_line() {
        let goal = Goal { measure: Measure::Ratio, better: Better::Lower, floor: 3.0, aim: 2.0 };
        let reference = Reference { name: "b".into(), value: Ok(1.0) };
        let measurement = Measurement { what: "p50 < p99".into(), unit: "ms", ours: 2.5, reference, goal };
        let (what, unit, better) = ("json".to_owned(), "1/s", Better::Higher);
        let growth = Growth { what, unit, better, sizes: vec![1, 10, 100], values: vec![1.0, 0.9, 0.1] };
        let report = Report { measurements: vec![measurement; 3], growth: vec![growth], ..Report::default() };
        let drawing = svg(&report);
        assert_eq!(drawing.matches("<circle").count(), 3);
        assert_eq!(drawing.matches("<polyline").count(), 1);
        assert!(drawing.contains("p50 &lt; p99") && !drawing.contains("NaN") && !drawing.contains("inf"));
        assert!(across(0.0) == LABELS && across(1e9) < WIDTH);
    }
}
