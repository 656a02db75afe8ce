//! What is to be said with an answer: from when on it is incomplete, and why.

use std::collections::BTreeSet;

use catchment_promql::{Answer, Grid, Samples, Value};
use catchment_proto::{GatewayId, wire};

use super::super::completeness::Completeness;

/// Most gateways, and most gaps, that are named for a fetch.
const NAMED_MAX: usize = 3;
/// Most notes of a query.
const NOTES_MAX: usize = 100;

/// The times of a fetch, and those of the expression to which they belong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) fetch: Grid,
    pub(super) plan: Grid,
    pub(super) width_ms: i64,
}

impl Times {
    /// The first time of the expression for which readings after `data_ms` count; `None`: there is none.
    fn first_after(self, data_ms: i64) -> Option<i64> {
        let Grid { start_ms, step_ms, count } = self.fetch;
        // Times are rounded down to windows.
        let next = data_ms.div_euclid(self.width_ms).saturating_add(1).saturating_mul(self.width_ms);
        let passed = next.saturating_sub(start_ms).max(0);
        let step = usize::try_from(passed.saturating_add(step_ms - 1) / step_ms).unwrap_or(usize::MAX);
        if step >= count {
            return None;
        }
        // A time of its own (`@`) counts everywhere.
        let is_fixed = count == 1 && self.plan.count > 1;
        Some(if is_fixed { self.plan.start_ms } else { self.shown(self.fetch.time(step)) })
    }

    /// A time of readings as one of the expression: an `offset` lies between.
    fn shown(self, data_ms: i64) -> i64 {
        data_ms.saturating_add(self.plan.end_ms().saturating_sub(self.fetch.end_ms()))
    }

    /// The end of the last range.
    fn end_ms(self) -> i64 {
        self.fetch.end_ms().div_euclid(self.width_ms).saturating_mul(self.width_ms)
    }
}

/// Notes of all fetches of a query.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Values from this time of the expression on may change.
    incomplete_from_ms: Option<i64>,
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
}

impl Notes {
    /// Adds how complete a fetch is.
    pub(super) fn add(&mut self, of: &Completeness, times: Times, now_ms: i64) {
        let end_ms = times.end_ms().min(now_ms);
        if of.until_ms.is_some_and(|until_ms| until_ms >= end_ms) {
            return;
        }
        self.incomplete(times.first_after(of.until_ms.unwrap_or(i64::MIN)));
        let behind = |progress: &&wire::GatewayProgress| {
            progress.complete_until_ms.is_none_or(|until_ms| until_ms < end_ms)
        };
        let mut late: Vec<_> = of.gateways.iter().filter(behind).collect();
        late.sort_by_key(|progress| progress.complete_until_ms);
        for progress in late.iter().take(NAMED_MAX) {
            let name = format!("{}/{}", progress.site, progress.gateway);
            self.warn(match (progress.complete_until_ms, progress.lag_ms) {
                (Some(until_ms), Some(lag_ms)) => {
                    let (time, lag) = (shown_time(times.shown(until_ms)), shown_lag(lag_ms));
                    format!("figures after {time} are incomplete: gateway {name} is {lag} behind")
                }
                _ => format!("figures are incomplete: gateway {name} has delivered nothing yet"),
            });
        }
        if late.len() > NAMED_MAX {
            self.warn(format!("figures are incomplete: {} more gateways are behind", late.len() - NAMED_MAX));
        }
        for gap in of.gaps.iter().take(NAMED_MAX) {
            let lost = match gap.batches {
                0 => "readings".to_owned(),
                1 => "1 batch".to_owned(),
                count => format!("{count} batches"),
            };
            self.gap(gap, times, &format!("lost {lost}"));
        }
        if of.gaps.len() > NAMED_MAX {
            self.warn(format!(
                "figures are incomplete: {} more losses of gateways",
                of.gaps.len() - NAMED_MAX
            ));
        }
        if late.is_empty() && of.gaps.is_empty() {
            self.warn("figures are incomplete: a gateway of some of the series is not known".to_owned());
        }
    }

    /// Adds a span of time in which stored readings of a gateway cannot be read.
    pub(super) fn add_damaged(&mut self, gateway: &GatewayId, (from_ms, to_ms): (i64, i64), times: Times) {
        self.incomplete(times.first_after(from_ms));
        let gap = wire::Gap {
            site: gateway.site.to_string(),
            gateway: gateway.name.to_string(),
            from_ms: Some(from_ms),
            to_ms,
            batches: 0,
        };
        self.gap(&gap, times, "has damaged readings in this store");
    }

    fn gap(&mut self, gap: &wire::Gap, times: Times, what: &str) {
        let wire::Gap { site, gateway, from_ms, to_ms, .. } = gap;
        let to = shown_time(times.shown(*to_ms));
        self.warn(match from_ms {
            Some(from_ms) => {
                let from = shown_time(times.shown(*from_ms));
                format!("figures between {from} and {to} are incomplete: gateway {site}/{gateway} {what}")
            }
            None => format!("figures before {to} are incomplete: gateway {site}/{gateway} {what}"),
        });
    }

    fn incomplete(&mut self, from_ms: Option<i64>) {
        self.incomplete_from_ms = self.incomplete_from_ms.into_iter().chain(from_ms).min();
    }

    /// Warns.
    pub(super) fn warn(&mut self, text: String) {
        if self.warnings.len() < NOTES_MAX {
            self.warnings.insert(text);
        }
    }

    /// Informs.
    pub(super) fn inform(&mut self, text: &str) {
        if self.infos.len() < NOTES_MAX {
            self.infos.insert(text.to_owned());
        }
    }

    /// Says them with an answer; leaves out values that may change, if that is wanted.
    pub(super) fn put_into(self, answer: &mut Answer, grid: Grid, hide_incomplete: bool) {
        self.warnings.into_iter().for_each(|text| answer.annotations.warn(text));
        self.infos.into_iter().for_each(|text| answer.annotations.inform(text));
        let Some(from_ms) = self.incomplete_from_ms.filter(|_| hide_incomplete) else { return };
        let Value::Vector(series) = &mut answer.value else { return };
        let hidden = (0..grid.count).filter(|step| grid.time(*step) >= from_ms);
        for step in hidden {
            for of in series.iter_mut() {
                match &mut of.samples {
                    Samples::Floats(column) => column.remove(step),
                    Samples::Windows(windows) => windows.get_mut(step).into_iter().for_each(|of| *of = None),
                }
            }
        }
        series.retain(|of| match &of.samples {
            Samples::Floats(column) => !column.is_absent(),
            Samples::Windows(windows) => windows.iter().any(Option::is_some),
        });
    }
}

fn shown_time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

fn shown_lag(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        _ => humantime::format_duration(std::time::Duration::from_secs(seconds.unsigned_abs())).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use catchment_promql::{Annotations, Column, Labels, Series};

    use super::*;
    use crate::testing::gateway;

    const PLAN: Grid = Grid { start_ms: 100_000, step_ms: 20_000, count: 4 };

    fn times(fetch: Grid) -> Times {
        Times { fetch, plan: PLAN, width_ms: 10_000 }
    }

    fn progress(gateway: &str, until_ms: Option<i64>) -> wire::GatewayProgress {
        wire::GatewayProgress {
            site: "berlin".to_owned(),
            gateway: gateway.to_owned(),
            complete_until_ms: until_ms,
            lag_ms: until_ms.map(|until_ms| 170_000 - until_ms),
            ..wire::GatewayProgress::default()
        }
    }

    #[test]
    fn times_of_readings_belong_to_times_of_the_expression() {
        let plain = times(PLAN);
        assert_eq!(
            [0, 99_999, 100_000, 129_999, 130_000].map(|ms| plain.first_after(ms)),
            [100_000, 100_000, 120_000, 140_000, 140_000].map(Some)
        );
        assert_eq!(
            [149_999, 150_000, 160_000].map(|ms| plain.first_after(ms)),
            [Some(160_000), Some(160_000), None]
        );
        assert_eq!(times(PLAN.moved(-50_000)).first_after(60_000), Some(120_000));
        assert_eq!(times(Grid::instant(100_000)).first_after(50_000), Some(100_000));
        assert_eq!(times(Grid::instant(100_000)).first_after(100_000), None);
    }

    #[test]
    fn an_answer_says_who_is_behind_and_hides_what_may_change_if_asked() {
        let mut notes = Notes::default();
        let gap = wire::Gap {
            site: "berlin".to_owned(),
            gateway: "gw-1".to_owned(),
            from_ms: Some(110_000),
            to_ms: 120_000,
            batches: 2,
        };
        let completeness = Completeness {
            until_ms: Some(128_000),
            gaps: vec![gap],
            gateways: vec![progress("gw-1", Some(128_000)), progress("gw-2", Some(165_000))],
            ..Completeness::default()
        };
        notes.add(&completeness, times(PLAN), 170_000);
        notes.add_damaged(&gateway("berlin", "gw-2"), (131_000, 132_000), times(PLAN));
        let mut answer = Answer {
            value: Value::Vector(vec![
                Series::floats(Labels::default(), Column::full(vec![1.0; 4])),
                Series::floats(Labels::default(), {
                    let mut late = Column::absent(4);
                    late.set(3, 1.0);
                    late
                }),
            ]),
            annotations: Annotations::default(),
        };
        notes.put_into(&mut answer, PLAN, true);
        assert_eq!(
            answer.annotations.warnings(),
            [
                "figures after 1970-01-01T00:02:08Z are incomplete: gateway berlin/gw-1 is 42 s behind",
                "figures between 1970-01-01T00:01:50Z and 1970-01-01T00:02:00Z are incomplete: gateway berlin/gw-1 lost 2 batches",
                "figures between 1970-01-01T00:02:11Z and 1970-01-01T00:02:12Z are incomplete: gateway berlin/gw-2 has damaged readings in this store",
            ]
        );
        let Value::Vector(series) = answer.value else { panic!("a vector") };
        assert_eq!(series.len(), 1);
        let Samples::Floats(column) = &series[0].samples else { panic!("numbers") };
        assert_eq!(column.iter().map(|(step, _)| step).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_complete_answer_says_nothing() {
        let mut notes = Notes::default();
        notes.add(&Completeness { until_ms: Some(160_000), ..Completeness::default() }, times(PLAN), 170_000);
        assert!(notes.warnings.is_empty() && notes.incomplete_from_ms.is_none());
        notes.add(&Completeness::default(), times(PLAN), 170_000);
        assert_eq!(notes.incomplete_from_ms, Some(100_000));
    }
}
