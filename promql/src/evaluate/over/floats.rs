//! Functions of numbers.

use crate::{
    error::PromqlError,
    evaluate::{Context, pace::Pace, quantile, ranges::Ranges, sliding::Sliding},
    figures::{
        Count, Counter, Ends, Extrapolation, Figures, Greatest, Least, Mean, Spread, Stamp, Sum, Summary,
    },
    function::Function,
    value::Column,
};

type FiguresPane = (i64, Figures);

/// The values of a function, of all steps.
pub(super) fn column(function: Function, panes: &[FiguresPane], ranges: &Ranges) -> Column {
    use Function as F;
    let of = Ranged { panes, ranges };
    match function {
        F::AvgOverTime => of.merged(|mean: Mean, _| Some(mean.value())),
        F::SumOverTime => of.merged(|sum: Sum, _| Some(sum.value())),
        F::CountOverTime => of.merged(|Count(count), _| Some(count)),
        F::MinOverTime => of.merged(|Least(least), _| Some(least.value)),
        F::MaxOverTime => of.merged(|Greatest(greatest), _| Some(greatest.value)),
        F::TsOfMinOverTime => of.merged(|Least(least), _| Some(of.time(least))),
        F::TsOfMaxOverTime => of.merged(|Greatest(greatest), _| Some(of.time(greatest))),
        F::StdvarOverTime => of.merged(|spread: Spread, _| Some(spread.variance())),
        F::StddevOverTime => of.merged(|spread: Spread, _| Some(spread.variance().sqrt())),
        F::Delta => of.merged(|ends: Ends, end| Extrapolation::from(ends).over(of.start(end), end)),
        F::Increase => {
            of.merged(|counter: Counter, end| Extrapolation::from(counter).over(of.start(end), end))
        }
        F::Rate => of.merged(|counter: Counter, end| Extrapolation::from(counter).rate(of.start(end), end)),
        F::Resets => of.merged(|counter: Counter, _| Some(counter.resets)),
        F::Changes => of.merged(|counter: Counter, _| Some(counter.changes)),
        F::FirstOverTime => of.ends(|first, _| first.first.value),
        F::LastOverTime => of.ends(|_, last| last.last.value),
        F::TsOfFirstOverTime => of.ends(|first, _| of.time(first.first)),
        F::TsOfLastOverTime => of.ends(|_, last| of.time(last.last)),
        F::PresentOverTime => of.ends(|_, _| 1.0),
        // Others are answered elsewhere, or are of no range.
        _ => Column::absent(ranges.steps()),
    }
}

#[derive(Clone, Copy)]
struct Ranged<'r> {
    panes: &'r [FiguresPane],
    ranges: &'r Ranges,
}

impl Ranged<'_> {
    /// A number of the summary, and of the end, of each range.
    fn merged<S: Summary<Figures>>(&self, number: impl Fn(S, i64) -> Option<f64>) -> Column {
        let mut column = Column::absent(self.ranges.steps());
        let mut sliding = Sliding::new();
        for reach in self.ranges.reaches(self.panes) {
            let summary = sliding.summary(self.panes, reach);
            if let Some(number) = summary.and_then(|summary| number(summary, reach.end_ms)) {
                column.set(reach.step, number);
            }
        }
        column
    }

    /// A number of the first and the last pane of each range.
    fn ends(&self, number: impl Fn(&Figures, &Figures) -> f64) -> Column {
        let mut column = Column::absent(self.ranges.steps());
        for reach in self.ranges.reaches(self.panes) {
            if let Some([(_, only)]) = self.panes.get(reach.from..reach.to) {
                column.set(reach.step, number(only, only));
            } else if let Some([(_, first), .., (_, last)]) = self.panes.get(reach.from..reach.to) {
                column.set(reach.step, number(first, last));
            }
        }
        column
    }

    fn start(&self, end_ms: i64) -> i64 {
        end_ms.saturating_sub(self.ranges.range_ms)
    }

    /// The time of a reading, Unix seconds.
    fn time(&self, stamp: Stamp) -> f64 {
        (stamp.sample_ms - self.ranges.sample_lag_ms) as f64 / 1_000.0
    }
}

/// Quantiles of samples: panes of one reading.
pub(super) async fn quantiles(
    context: &Context<'_>,
    quantiles: &[f64],
    panes: &[FiguresPane],
    ranges: &Ranges,
) -> Result<Column, PromqlError> {
    let mut column = Column::absent(ranges.steps());
    let (mut numbers, mut pace) = (Vec::new(), Pace::new(context));
    for (reach, quantile) in ranges.reaches(panes).zip(quantiles) {
        let within = panes.get(reach.from..reach.to).unwrap_or_default();
        if within.is_empty() {
            continue;
        }
        pace.did(within.len()).await?;
        numbers.clear();
        numbers.extend(within.iter().map(|(_, figures)| figures.last.value));
        column.set(reach.step, quantile::of_numbers(*quantile, &mut numbers));
    }
    Ok(column)
}
