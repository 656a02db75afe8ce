//! What a watch has been sent: everything, for a table, or only what is new.

use std::collections::{BTreeMap, BTreeSet};

use catchment_proto::wire::{
    AggregateResponse, WatchReset, WatchResponse, aggregate_response, watch_response::Kind,
};

use crate::{
    aggregator_client::RESULT_POINTS_MAX,
    query_result::{Point, QueryResult, ResultSeries, Value},
};

/// What a message tells its reader.
pub(super) enum Update {
    /// Points of a range are sent again.
    Reset(WatchReset),
    /// A round is complete; `first`: of this watch; `merged`: changes were merged for the first time.
    Round { first: bool, merged: bool },
}

type Values = Vec<Option<Value>>;

/// A series: the number of its selector, and its labels.
type Name = (usize, BTreeMap<String, String>);

/// The points of a watch, and where it continues.
pub(super) struct Known {
    /// Whether points are kept after they were shown.
    keeps: bool,
    selectors: Vec<String>,
    /// Header of the answer, without series.
    answer: QueryResult,
    series: BTreeMap<Name, BTreeMap<i64, Values>>,
    points: usize,
    /// Points of ranges that are sent again and have not come yet.
    stale: BTreeSet<(Name, i64)>,
    token: Vec<u8>,
    merged: u64,
    rounds: u64,
}

impl Known {
    /// Nothing yet, of these selectors.
    pub(super) fn new(keeps: bool, selectors: &[String]) -> Self {
        // Results name them if there are several.
        let selectors = if selectors.len() > 1 { selectors.to_vec() } else { Vec::new() };
        Self {
            keeps,
            selectors,
            answer: QueryResult::default(),
            series: BTreeMap::new(),
            points: 0,
            stale: BTreeSet::new(),
            token: Vec::new(),
            merged: 0,
            rounds: 0,
        }
    }

    /// Where the watch continues; empty: at the beginning.
    pub(super) fn token(&self) -> Vec<u8> {
        self.token.clone()
    }

    /// Takes a message; returns what there is to show.
    pub(super) fn take(&mut self, message: WatchResponse) -> Option<Update> {
        match message.kind? {
            Kind::Header(header) => {
                let kind = Some(aggregate_response::Kind::Header(header));
                // A watch that was cut within a reset continues before it.
                self.stale.clear();
                self.answer = QueryResult { selectors: self.selectors.clone(), ..QueryResult::default() };
                self.answer.push_message(AggregateResponse { kind });
                None
            }
            Kind::Series(series) => {
                let mut part = QueryResult::default();
                part.push_message(AggregateResponse { kind: Some(aggregate_response::Kind::Series(series)) });
                part.series.into_iter().for_each(|series| self.add(series));
                None
            }
            Kind::Reset(reset) => {
                for (name, points) in &self.series {
                    let again = points.keys().filter(|start| (reset.from_ms..reset.to_ms).contains(*start));
                    self.stale.extend(again.map(|start_ms| (name.clone(), *start_ms)));
                }
                Some(Update::Reset(reset))
            }
            Kind::Progress(progress) => {
                self.drop_stale();
                self.token = progress.token;
                self.answer.complete_until_ms = progress.complete_until_ms;
                let merged = self.merged == 0 && progress.merged > 0;
                self.merged = progress.merged;
                if self.rounds > 0 {
                    // What the header says of gateways was known at the beginning.
                    self.answer.completeness = None;
                }
                self.rounds += 1;
                Some(Update::Round { first: self.rounds == 1, merged })
            }
        }
    }

    fn add(&mut self, ResultSeries { selector, labels, points }: ResultSeries) {
        let name = (selector, labels);
        let known = self.series.entry(name.clone()).or_default();
        for Point { start_ms, values } in points {
            if !self.stale.is_empty() {
                self.stale.remove(&(name.clone(), start_ms));
            }
            if known.insert(start_ms, values).is_none() {
                self.points += 1;
            }
        }
        while self.points > RESULT_POINTS_MAX {
            // The oldest goes.
            let first = self.series.values().filter_map(|points| points.first_key_value()).map(|(at, _)| *at);
            let Some(first) = first.min() else { return };
            self.retain(|start_ms| start_ms > first);
        }
    }

    /// Drops points that were to be sent again and were not: they hold no readings any more.
    fn drop_stale(&mut self) {
        for (name, start_ms) in std::mem::take(&mut self.stale) {
            if let Some(points) = self.series.get_mut(&name)
                && points.remove(&start_ms).is_some()
            {
                self.points -= 1;
            }
        }
        self.series.retain(|_, points| !points.is_empty());
    }

    fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        self.series.retain(|_, points| {
            points.retain(|start_ms, _| keep(*start_ms));
            !points.is_empty()
        });
        self.points = self.series.values().map(BTreeMap::len).sum();
    }

    /// What there is to show of points that end after `from_ms`: all of it, or what came since it was shown last.
    pub(super) fn result(&mut self, from_ms: i64) -> QueryResult {
        let series = match self.keeps {
            true => {
                self.retain(|start_ms| start_ms >= from_ms);
                self.series.clone()
            }
            false => std::mem::take(&mut self.series),
        };
        if !self.keeps {
            self.points = 0;
        }
        let series = series.into_iter().map(|((selector, labels), points)| {
            let points = points.into_iter().map(|(start_ms, values)| Point { start_ms, values }).collect();
            ResultSeries { selector, labels, points }
        });
        QueryResult { series: series.collect(), ..self.answer.clone() }
    }
}

#[cfg(test)]
mod tests {
    use catchment_proto::wire::{self, Header, SeriesPoints, WatchProgress};

    use super::*;

    fn message(kind: Kind) -> WatchResponse {
        WatchResponse { kind: Some(kind) }
    }

    fn series(device: &str, points: &[(i64, f64)]) -> WatchResponse {
        let value = |number| wire::Value { number: Some(number), ..wire::Value::default() };
        message(Kind::Series(SeriesPoints {
            labels: [("device".to_owned(), device.to_owned())].into(),
            points: points
                .iter()
                .map(|(start_ms, number)| wire::Point { start_ms: *start_ms, values: vec![value(*number)] })
                .collect(),
            ..SeriesPoints::default()
        }))
    }

    fn progress(number: u8) -> WatchResponse {
        message(Kind::Progress(WatchProgress {
            token: vec![number],
            complete_until_ms: Some(i64::from(number)),
            merged: u64::from(number > 1),
        }))
    }

    fn starts(result: &QueryResult) -> Vec<Vec<i64>> {
        let points = |series: &ResultSeries| series.points.iter().map(|point| point.start_ms).collect();
        result.series.iter().map(points).collect()
    }

    fn begun(keeps: bool) -> Known {
        let mut known = Known::new(keeps, &[]);
        let header = Header { aggregates: vec!["count".to_owned()], ..Header::default() };
        assert!(known.take(message(Kind::Header(header))).is_none());
        assert!(known.take(series("b", &[(10, 1.0), (20, 2.0)])).is_none());
        assert!(known.take(series("a", &[(20, 3.0)])).is_none());
        assert!(matches!(known.take(progress(1)), Some(Update::Round { first: true, merged: false })));
        known
    }

    #[test]
    fn a_table_keeps_the_points_of_its_range() {
        let mut known = begun(true);
        assert_eq!(starts(&known.result(0)), [vec![20], vec![10, 20]]);
        known.take(series("b", &[(20, 7.0)]));
        assert!(matches!(known.take(progress(2)), Some(Update::Round { first: false, merged: true })));
        let result = known.result(15);
        assert_eq!((starts(&result), known.token()), (vec![vec![20], vec![20]], vec![2]));
        assert_eq!(result.number(&result.series[1].points[0], "count"), Some(7.0));
        assert_eq!(result.complete_until_ms, Some(2));
        let reset = WatchReset { from_ms: 0, to_ms: 30, reason: "restart".to_owned() };
        assert!(matches!(known.take(message(Kind::Reset(reset.clone()))), Some(Update::Reset(_))));
        assert_eq!(starts(&known.result(0)), [vec![20], vec![20]], "until the range was sent");
        // A cut within it takes nothing.
        assert!(known.take(message(Kind::Header(Header::default()))).is_none());
        known.take(progress(3));
        assert_eq!(starts(&known.result(0)), [vec![20], vec![20]]);
        known.take(message(Kind::Reset(reset)));
        known.take(series("a", &[(20, 3.0)]));
        known.take(progress(4));
        assert_eq!(starts(&known.result(0)), [vec![20]]);
    }

    #[test]
    fn other_formats_show_what_is_new() {
        let mut known = begun(false);
        assert_eq!(starts(&known.result(0)), [vec![20], vec![10, 20]]);
        assert!(known.result(0).series.is_empty());
        known.take(series("a", &[(20, 4.0)]));
        assert_eq!(starts(&known.result(i64::MAX)), [vec![20]], "also of points before the range");
    }
}
