//! Figures, goals and verdicts: the document `docs/benchmarks.md`.

use std::fmt::Write as _;

use crate::machine::Machine;

/// The value at a fraction of the sorted values; 0 without any.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len().saturating_sub(1)) as f64 * q).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

/// The direction of improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// The value that floor and aim apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Our figure.
    Ours,
    /// Our figure divided by the reference's.
    Ratio,
}

/// The goal for a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) measure: Measure,
    pub(crate) better: Better,
    pub(crate) floor: f64,
    pub(crate) aim: f64,
}

/// The reference of a figure: its name, and its own figure or the reason why there is none.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) value: Result<f64, String>,
}

/// A measured figure.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) reference: Reference,
    pub(crate) goal: Goal,
}

impl Measurement {
    /// Our figure divided by the reference's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.reference.value.as_ref().ok().filter(|value| **value > 0.0).map(|value| self.ours / value)
    }

    fn measured(&self) -> Option<f64> {
        match self.goal.measure {
            Measure::Ours => Some(self.ours),
            Measure::Ratio => self.ratio(),
        }
    }

    /// How much better than a goal; 1: just reached.
    fn above(&self, goal: f64) -> Option<f64> {
        let measured = self.measured().filter(|measured| *measured > 0.0)?;
        Some(match self.goal.better {
            Better::Higher => measured / goal,
            Better::Lower => goal / measured,
        })
    }

    /// How much better than the floor.
    pub(crate) fn above_floor(&self) -> Option<f64> {
        self.above(self.goal.floor)
    }

    /// The aim on the scale of [`Self::above_floor`].
    pub(crate) fn aim_above_floor(&self) -> f64 {
        match self.goal.better {
            Better::Higher => self.goal.aim / self.goal.floor,
            Better::Lower => self.goal.floor / self.goal.aim,
        }
    }

    /// The verdict in words.
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.above(self.goal.aim), self.above_floor()) {
            (Some(aim), _) if aim >= 1.0 => "aim",
            (_, Some(floor)) if floor >= 1.0 => "floor",
            (_, Some(_)) => "**below the floor**",
            _ => "not compared",
        }
    }
}

/// A figure at increasing numbers of devices or series.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) sizes: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Growth {
    /// The cost at each size, as a multiple of the cost at the first.
    pub(crate) fn costs(&self) -> Vec<f64> {
        let base = self.values.first().copied().unwrap_or(0.0);
        let cost = |value: &f64| match self.better {
            Better::Higher if *value > 0.0 => base / value,
            Better::Lower if base > 0.0 => value / base,
            _ => f64::INFINITY,
        };
        self.values.iter().map(cost).collect()
    }

    /// The worst of these costs.
    pub(crate) fn worst(&self) -> f64 {
        self.costs().into_iter().fold(1.0, f64::max)
    }
}

/// The results of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) growth: Vec<Growth>,
    /// Figures that could not be measured, with the reason.
    pub(crate) failures: Vec<(String, String)>,
    /// Versions of the references.
    pub(crate) versions: Vec<String>,
}

/// A number for people.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        s if s >= 1e6 => format!("{:.2} M", value / 1e6),
        s if s >= 1e4 => format!("{:.1} k", value / 1e3),
        s if s >= 100.0 => format!("{value:.0}"),
        s if s >= 10.0 => format!("{value:.1}"),
        s if s >= 0.01 || s == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn goal(goal: Goal, value: f64) -> String {
    match goal.measure {
        Measure::Ours => number(value),
        Measure::Ratio => format!("{}x", number(value)),
    }
}

const HOW_TO_READ: &str = "Each figure covers the server's process alone; the load comes from another process. A CPU-second is a second of the\n\
server's processor time, user and system, counted by the operating system from the first message to the last\n\
acknowledgement, so it does not depend on the number of processors or their other work. Every message that a protocol\n\
acknowledges was acknowledged, which here means durable. The reference is measured in the same run, in turn with our\n\
figure; each is the median of its repetitions. `ratio` is ours divided by the reference's. The verdict compares our\n\
figure or the ratio, whichever the floor is written in, with floor and aim; `aim` and `floor` mean that it is reached.\n\
Latencies and memory are better when lower; for these, and for uplink bytes, the ratio must stay at or below floor and\n\
aim. Half load is half of the rate that the same connections reach when each sends as soon as it may, spread evenly over\n\
connections and time; load and server share the processors. The time of a query is that up to the end of its answer, over\n\
TLS, of the quickest of several; DuckDB answers in a process of its own, warm, with two threads, and the answers are compared.\n";

/// The document; `plot` is the name of the drawing next to it.
pub(crate) fn markdown(report: &Report, machine: &Machine, command: &str, plot: &str) -> String {
    let mut text =
        String::from("# Benchmarks\n\nMeasured by `cargo xtask bench`, which writes this file.\n\n");
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "* Date: {}\n* Machine: {}, {} cores, {} of memory, {}\n* Commit: {}\n* Command: `{command}`\n",
        machine.date, machine.processor, machine.cores, machine.memory, machine.kernel, machine.commit
    );
    for version in &report.versions {
        let _ = writeln!(text, "* Reference: {version}");
    }
    let _ = write!(
        text,
        "\n{HOW_TO_READ}\n![ratio of each figure to its floor and aim]({plot})\n\n## Figures\n\n"
    );
    text.push_str("| figure | ours | unit | reference | reference's | ratio | floor | aim | verdict |\n");
    text.push_str("| --- | ---: | --- | --- | ---: | ---: | ---: | ---: | --- |\n");
    for measurement in &report.measurements {
        let reference = match &measurement.reference.value {
            Ok(value) => number(*value),
            Err(reason) => format!("none: {reason}"),
        };
        let ratio = measurement.ratio().map_or_else(|| "-".to_owned(), number);
        let Measurement { what, unit, ours, .. } = measurement;
        let _ = writeln!(
            text,
            "| {what} | {} | {unit} | {} | {reference} | {ratio} | {} | {} | {} |",
            number(*ours),
            measurement.reference.name,
            goal(measurement.goal, measurement.goal.floor),
            goal(measurement.goal, measurement.goal.aim),
            measurement.verdict()
        );
    }
    for (name, error) in &report.failures {
        let _ = writeln!(text, "\nNot measured: {name}: {error}");
    }
    if !report.growth.is_empty() {
        text.push_str("\n## Growth\n\nThe same figures with more devices, series or stored windows. Cost is that of a message, a device, a ");
        text.push_str(
            "partial or a\nquestion, as a multiple of the cost at the smallest size; the floor is at most 1.3, the aim 1.\n\n",
        );
        text.push_str("| figure | sizes | figures | unit | cost | worst | verdict |\n");
        text.push_str("| --- | --- | --- | --- | --- | ---: | --- |\n");
        for growth in &report.growth {
            let sizes: Vec<String> = growth.sizes.iter().map(ToString::to_string).collect();
            let list = |values: &[f64]| values.iter().map(|v| number(*v)).collect::<Vec<_>>().join(", ");
            let worst = growth.worst();
            let verdict = if worst <= 1.05 {
                "aim"
            } else if worst <= 1.3 {
                "floor"
            } else {
                "**above 1.3**"
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {verdict} |",
                growth.what,
                sizes.join(", "),
                list(&growth.values),
                growth.unit,
                list(&growth.costs()),
                number(worst)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests;
