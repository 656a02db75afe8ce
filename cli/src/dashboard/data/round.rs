//! What a watch sends, gathered until a round is complete.

use std::collections::{BTreeMap, BTreeSet};

use catchment_proto::wire::{AggregateResponse, WatchResponse, aggregate_response, watch_response::Kind};
use serde::Serialize;

use super::{
    error::DataError,
    explore::{SERIES_MAX, Series, VALUES_MAX},
};
use crate::{
    query_result::{Point, QueryResult, ResultSeries, Value},
    time::now_ms,
};

type Labels = BTreeMap<String, String>;

/// Changes of a chart.
#[derive(Debug, Default, Serialize)]
pub(super) struct Round {
    /// These are all points: what is not among them is gone.
    all: bool,
    /// Ranges of starts, Unix milliseconds, whose points are all among these: others there are gone.
    resets: Vec<(i64, i64)>,
    /// Each point replaces an earlier one of the same start.
    series: Vec<Series>,
    complete_until_ms: Option<i64>,
}

/// Gathers the messages of a watch, also over several connections.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    token: Vec<u8>,
    /// Number of aggregates.
    width: usize,
    /// Points that start longer ago than this are not shown.
    span_ms: i64,
    round: Round,
    points: BTreeMap<Labels, BTreeMap<i64, Vec<Option<Value>>>>,
    values: usize,
    /// All series that came, as long as a chart shows so many.
    seen: BTreeSet<Labels>,
}

impl Rounds {
    /// Where a watch continues; empty: at the beginning.
    pub(super) fn token(&self) -> Vec<u8> {
        self.token.clone()
    }

    /// A watch begins, of a range of this length; it continues from the token.
    pub(super) fn begin(&mut self, span_ms: i64) {
        self.span_ms = span_ms;
        self.clear();
        self.round.all = self.token.is_empty();
    }

    /// Whether there are more series than a chart shows.
    pub(super) fn are_many(&self) -> bool {
        self.seen.len() > SERIES_MAX as usize
    }

    /// Takes a message.
    ///
    /// # Errors
    /// A round has more values than a chart.
    pub(super) fn take(&mut self, message: WatchResponse) -> Result<(), DataError> {
        match message.kind {
            Some(Kind::Header(header)) => {
                self.width = header.aggregates.len();
                self.round.complete_until_ms = header.complete_until_ms;
            }
            Some(Kind::Series(series)) => {
                let mut part = QueryResult::default();
                part.push_message(AggregateResponse { kind: Some(aggregate_response::Kind::Series(series)) });
                let floor_ms = now_ms().saturating_sub(self.span_ms.saturating_mul(2));
                for series in part.series {
                    self.add(series, floor_ms)?;
                }
            }
            Some(Kind::Reset(reset)) => {
                let range = reset.from_ms..reset.to_ms;
                for points in self.points.values_mut() {
                    points.retain(|start_ms, _| !range.contains(start_ms));
                }
                self.round.resets.push((reset.from_ms, reset.to_ms));
            }
            Some(Kind::Progress(progress)) => {
                self.token = progress.token;
                self.round.complete_until_ms = progress.complete_until_ms;
            }
            None => {}
        }
        Ok(())
    }

    fn add(&mut self, series: ResultSeries, floor_ms: i64) -> Result<(), DataError> {
        let ResultSeries { labels, points, .. } = series;
        let recent = points.into_iter().filter(|point| point.start_ms >= floor_ms);
        let mut recent = recent.peekable();
        if recent.peek().is_none() {
            return Ok(());
        }
        if !self.seen.contains(&labels) && !self.are_many() {
            self.seen.insert(labels.clone());
        }
        let known = self.points.entry(labels).or_default();
        for Point { start_ms, values } in recent {
            let states = values.iter().flatten().map(|value| match value {
                Value::States(states) => 2 * states.len(),
                Value::Number(_) | Value::Text(_) => 0,
            });
            self.values = self.values.saturating_add(values.len() + states.sum::<usize>());
            if self.values > VALUES_MAX {
                return Err(DataError::TooMuch(VALUES_MAX));
            }
            known.insert(start_ms, values);
        }
        Ok(())
    }

    /// The round that a progress message completed.
    pub(super) fn finish(&mut self) -> Round {
        let width = self.width;
        let points = std::mem::take(&mut self.points).into_iter().filter(|(_, points)| !points.is_empty());
        let series = points.map(|(labels, points)| {
            let points = points.into_iter().map(|(start_ms, values)| Point { start_ms, values }).collect();
            Series::of(ResultSeries { labels, points, ..ResultSeries::default() }, width)
        });
        let series = series.collect();
        let round = Round { series, ..std::mem::take(&mut self.round) };
        self.clear();
        round
    }

    fn clear(&mut self) {
        self.round = Round::default();
        self.points.clear();
        self.values = 0;
    }
}

#[cfg(test)]
mod tests {
    use catchment_proto::wire::{self, Header, SeriesPoints, WatchProgress, WatchReset};

    use super::*;

    fn series(device: &str, points: &[(i64, f64)]) -> Kind {
        let value = |number| wire::Value { number: Some(number), ..wire::Value::default() };
        let point = |(start_ms, number): &(i64, f64)| wire::Point {
            start_ms: *start_ms,
            values: vec![value(*number)],
        };
        Kind::Series(SeriesPoints {
            labels: [("device".to_owned(), device.to_owned())].into(),
            points: points.iter().map(point).collect(),
            ..SeriesPoints::default()
        })
    }

    fn take(rounds: &mut Rounds, kinds: impl IntoIterator<Item = Kind>) -> serde_json::Value {
        let header = Header { aggregates: vec!["mean".to_owned()], ..Header::default() };
        let progress = WatchProgress { token: vec![7], complete_until_ms: Some(9), merged: 0 };
        let kinds = [Kind::Header(header)].into_iter().chain(kinds).chain([Kind::Progress(progress)]);
        for kind in kinds {
            rounds.take(WatchResponse { kind: Some(kind) }).unwrap();
        }
        serde_json::to_value(rounds.finish()).unwrap()
    }

    #[test]
    fn a_round_holds_the_last_value_of_each_point_and_only_what_a_reset_sends_again() {
        let now = now_ms();
        let mut rounds = Rounds::default();
        rounds.begin(900_000);
        let old = series("old", &[(now - 2_000_000, 1.0)]);
        let first = take(&mut rounds, [series("a", &[(now, 1.0)]), old, series("a", &[(now, 2.0)])]);
        assert_eq!((&first["all"], &first["complete_until_ms"]), (&true.into(), &9.into()));
        assert_eq!(first["series"].as_array().unwrap().len(), 1, "{first}");
        assert_eq!(first["series"][0]["columns"], serde_json::json!([[2.0]]));

        // Another connection continues it.
        rounds.begin(900_000);
        let reset = WatchReset { from_ms: now, to_ms: now + 10, reason: String::new() };
        let kinds =
            [series("a", &[(now - 1, 1.0), (now, 3.0)]), Kind::Reset(reset), series("b", &[(now, 4.0)])];
        let second = take(&mut rounds, kinds);
        assert_eq!((&second["all"], &second["resets"][0][1]), (&false.into(), &(now + 10).into()));
        assert_eq!(second["series"][0]["start_ms"], serde_json::json!([now - 1]), "{second}");
        assert_eq!(second["series"][1]["start_ms"], serde_json::json!([now]));
        assert_eq!(rounds.token(), [7]);
    }

    #[test]
    fn a_chart_shows_a_bounded_number_of_series_and_values() {
        let now = now_ms();
        let mut rounds = Rounds::default();
        rounds.begin(900_000);
        for number in 0..=SERIES_MAX {
            assert!(!rounds.are_many());
            let kind = Some(series(&number.to_string(), &[(now, 1.0)]));
            rounds.take(WatchResponse { kind }).unwrap();
        }
        assert!(rounds.are_many());
        rounds.begin(i64::MAX);
        let points: Vec<_> = (0..VALUES_MAX as i64 + 1).map(|start| (start, 1.0)).collect();
        let much = rounds.take(WatchResponse { kind: Some(series("a", &points)) });
        assert!(matches!(much, Err(DataError::TooMuch(VALUES_MAX))));
    }
}
