//! Queries to an aggregator and their results, as plain data.
//!
//! Wire messages are converted here and nowhere else; [`crate::aggregator_client`] bounds their size.

use std::collections::BTreeMap;

use catchment_aggregator::calendar::{CalendarStep, Unit};
use catchment_proto::wire;

/// A query: docs/queries.md describes selectors, aggregates and labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRequest {
    /// PromQL vector selector.
    pub selector: String,
    /// Further selectors: the series of each stay apart.
    pub more_selectors: Vec<String>,
    /// Start of the range, Unix milliseconds: windows that start at or after it.
    pub from_ms: i64,
    /// End of the range, Unix milliseconds: windows that start before it.
    pub to_ms: i64,
    /// Width of a point in milliseconds; `None`: one point for the range, or a calendar step.
    pub step_ms: Option<i64>,
    /// Width of a point in days, weeks, months or years.
    pub calendar_step: Option<CalendarStep>,
    /// IANA name of the zone of calendar steps; empty: UTC.
    pub time_zone: String,
    /// Group-by labels.
    pub by: Vec<String>,
    /// Labels to merge over, instead of those to group by.
    pub without: Vec<String>,
    /// Most series; 0: all.
    pub top: u32,
    /// Aggregate over the whole range by which series are sorted; empty: by labels.
    pub order: String,
    /// The least first.
    pub ascending: bool,
    /// What stands for points without readings.
    pub fill: wire::Fill,
    /// Names of aggregates; empty: the aggregator's default.
    pub aggregates: Vec<String>,
    /// Computes from the windows as long as they are stored: a check, with the same result.
    pub from_windows: bool,
}

impl QueryRequest {
    /// Whether it asks for what only aggregators know that say so in the header.
    pub(crate) fn needs_version_1(&self) -> bool {
        let Self { more_selectors, calendar_step, without, top, order, fill, .. } = self;
        !more_selectors.is_empty()
            || calendar_step.is_some()
            || !without.is_empty()
            || *top > 0
            || !order.is_empty()
            || *fill != wire::Fill::None
    }

    /// As a message.
    pub(crate) fn to_wire(&self) -> wire::AggregateRequest {
        use wire::calendar_step::Unit as WireUnit;
        let calendar_step = self.calendar_step.map(|step| {
            let unit = match step.unit() {
                Unit::Day => WireUnit::Day,
                Unit::Week => WireUnit::Week,
                Unit::Month => WireUnit::Month,
                Unit::Year => WireUnit::Year,
            };
            wire::CalendarStep { unit: unit.into(), count: step.count() }
        });
        wire::AggregateRequest {
            selector: self.selector.clone(),
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            step_ms: self.step_ms.unwrap_or(0),
            by: self.by.clone(),
            aggregates: self.aggregates.clone(),
            from_windows: self.from_windows,
            columns: true,
            without: self.without.clone(),
            calendar_step,
            time_zone: self.time_zone.clone(),
            top: self.top,
            order: self.order.clone(),
            ascending: self.ascending,
            fill: self.fill.into(),
            more_selectors: self.more_selectors.clone(),
        }
    }

    /// All selectors, in order.
    pub(crate) fn selectors(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.selector).chain(&self.more_selectors)
    }
}

/// The result of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryResult {
    /// The time up to which it is complete, Unix milliseconds; `None` if a gateway has never delivered.
    pub complete_until_ms: Option<i64>,
    /// Which gateways count in that; `None`: from an older aggregator, or nothing is selected.
    pub completeness: Option<Completeness>,
    /// Known losses within the range.
    pub gaps: Vec<Gap>,
    /// Names of the aggregates, in the order of each point's values.
    pub aggregates: Vec<String>,
    /// In the requested order; sorted by their labels unless another was.
    pub series: Vec<ResultSeries>,
    /// The selectors, if there are several.
    pub selectors: Vec<String>,
    /// A message that no series is selected, with similar names; `None` if some are.
    pub nothing_selected: Option<String>,
}

/// The gateways that count in how far a result is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Their number.
    pub expected: u32,
    /// How many of them have not delivered all windows of the range up to now.
    pub behind: u32,
    /// Windows of the range that they corrected after they had delivered them.
    pub late_corrections: u64,
    /// Readings that they refused in the range, as far as reported.
    pub refused_readings: u64,
    /// The gateways, at most 1,000.
    pub gateways: Vec<GatewayProgress>,
}

/// How far a gateway has delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayProgress {
    /// Its site.
    pub site: String,
    /// Its name.
    pub gateway: String,
    /// It has delivered its windows up to here, Unix milliseconds; `None`: not known.
    pub complete_until_ms: Option<i64>,
    /// How far that is behind the aggregator's clock, milliseconds.
    pub lag_ms: Option<i64>,
    /// It is connected.
    pub connected: bool,
    /// As in [`Completeness`], of this gateway.
    pub late_corrections: u64,
    /// As in [`Completeness`], of this gateway.
    pub refused_readings: u64,
}

/// A time range in which some or all windows of a gateway are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// The gateway's site.
    pub site: String,
    /// Its name.
    pub gateway: String,
    /// The windows end after this, Unix milliseconds; `None`: from the beginning.
    pub from_ms: Option<i64>,
    /// The windows end at or before this, Unix milliseconds.
    pub to_ms: i64,
    /// Missing batches; 0: unknown.
    pub batches: u64,
}

/// One merged series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultSeries {
    /// Which of the selectors it belongs to.
    pub selector: usize,
    /// The values of the group-by labels.
    pub labels: BTreeMap<String, String>,
    /// In order of time.
    pub points: Vec<Point>,
}

/// The aggregates of one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Start of the window, Unix milliseconds.
    pub start_ms: i64,
    /// One for each of the result's aggregates; `None` if undefined.
    pub values: Vec<Option<Value>>,
}

/// The value of an aggregate.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A text: the latest state.
    Text(String),
    /// A number for each state, in the order of the states.
    States(Vec<(String, f64)>),
}

impl QueryResult {
    /// Adds the next message of the response stream.
    pub(crate) fn push_message(&mut self, message: wire::AggregateResponse) {
        use wire::aggregate_response::Kind;
        match message.kind {
            Some(Kind::Header(header)) => {
                self.completeness = completeness_of(&header);
                self.complete_until_ms = header.complete_until_ms;
                self.gaps = header.gaps.into_iter().map(Gap::from).collect();
                self.aggregates = header.aggregates;
            }
            Some(Kind::Series(part)) => {
                let points = match part.columns {
                    Some(columns) => points_of(columns),
                    None => part.points.into_iter().map(Point::from).collect(),
                };
                let selector = part.selector as usize;
                let last = self.series.last_mut();
                match last.filter(|last| last.labels == part.labels && last.selector == selector) {
                    // A long series spans several messages.
                    Some(last) => last.points.extend(points),
                    None => self.series.push(ResultSeries { selector, labels: part.labels, points }),
                }
            }
            // A kind that only a newer aggregator knows.
            None => {}
        }
    }

    /// The number of one aggregate at a point.
    pub fn number(&self, point: &Point, aggregate: &str) -> Option<f64> {
        let index = self.aggregates.iter().position(|name| name == aggregate)?;
        match point.values.get(index)?.as_ref()? {
            Value::Number(number) => Some(*number),
            Value::Text(_) | Value::States(_) => None,
        }
    }

    /// The sum of `count` over all series and points.
    pub fn total_count(&self) -> u64 {
        let points = self.series.iter().flat_map(|series| &series.points);
        let counts = points.filter_map(|point| self.number(point, "count"));
        counts.map(|count| count as u64).sum()
    }
}

/// The points that columns hold. A column that is too short lacks values.
fn points_of(columns: wire::PointColumns) -> Vec<Point> {
    let mut start_ms = 0_i64;
    let mut points: Vec<Point> = Vec::with_capacity(columns.start_ms.len());
    for later in columns.start_ms {
        start_ms = start_ms.saturating_add(later);
        points.push(Point { start_ms, values: Vec::with_capacity(columns.columns.len()) });
    }
    for wire::ValueColumn { numbers, values } in columns.columns {
        let mut numbers =
            numbers.into_iter().map(|number| (!number.is_nan()).then_some(Value::Number(number)));
        let mut values = values.into_iter().map(Value::from_wire);
        for point in &mut points {
            point.values.push(numbers.next().or_else(|| values.next()).flatten());
        }
    }
    points
}

/// What a header says of gateways; an older aggregator says nothing.
fn completeness_of(header: &wire::Header) -> Option<Completeness> {
    let gateway = |of: &wire::GatewayProgress| GatewayProgress {
        site: of.site.clone(),
        gateway: of.gateway.clone(),
        complete_until_ms: of.complete_until_ms,
        lag_ms: of.lag_ms,
        connected: of.connected,
        late_corrections: of.late_corrections,
        refused_readings: of.refused_readings,
    };
    let said = header.gateways_expected > 0 || header.request_version > 0;
    said.then(|| Completeness {
        expected: header.gateways_expected,
        behind: header.gateways_behind,
        late_corrections: header.late_corrections,
        refused_readings: header.refused_readings,
        gateways: header.gateways.iter().map(gateway).collect(),
    })
}

impl From<wire::Gap> for Gap {
    fn from(wire::Gap { site, gateway, from_ms, to_ms, batches }: wire::Gap) -> Self {
        Self { site, gateway, from_ms, to_ms, batches }
    }
}

impl From<wire::Point> for Point {
    fn from(wire: wire::Point) -> Self {
        Self { start_ms: wire.start_ms, values: wire.values.into_iter().map(Value::from_wire).collect() }
    }
}

impl Value {
    /// `None`: undefined.
    fn from_wire(wire::Value { number, text, states }: wire::Value) -> Option<Self> {
        let states = || states.into_iter().map(|of| (of.state, of.number)).collect::<Vec<_>>();
        match (number, text) {
            (Some(number), _) => Some(Self::Number(number)),
            (None, Some(text)) => Some(Self::Text(text)),
            (None, None) => Some(states()).filter(|states| !states.is_empty()).map(Self::States),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: f64) -> wire::Value {
        wire::Value { number: Some(number), ..wire::Value::default() }
    }

    #[test]
    fn a_value_is_a_number_a_text_or_states() {
        let text = wire::Value { text: Some("auto".to_owned()), ..wire::Value::default() };
        let states = vec![wire::StateValue { state: "auto".to_owned(), number: 0.5 }];
        let states = wire::Value { states, ..wire::Value::default() };
        let wire =
            wire::Point { start_ms: 1, values: vec![number(2.0), text, states, wire::Value::default()] };
        let expected = vec![
            Some(Value::Number(2.0)),
            Some(Value::Text("auto".to_owned())),
            Some(Value::States(vec![("auto".to_owned(), 0.5)])),
            None,
        ];
        assert_eq!(Point::from(wire), Point { start_ms: 1, values: expected });
    }

    #[test]
    fn columns_are_points() {
        let texts =
            ["auto", "off"].map(|text| wire::Value { text: Some(text.to_owned()), ..Default::default() });
        let columns = wire::PointColumns {
            start_ms: vec![5_000, 10, 20],
            columns: vec![
                wire::ValueColumn { numbers: vec![1.0, f64::NAN, 3.0], values: Vec::new() },
                wire::ValueColumn { numbers: Vec::new(), values: texts.to_vec() },
            ],
        };
        let (number, text) =
            (|number| Some(Value::Number(number)), |text: &str| Some(Value::Text(text.to_owned())));
        let expected = [
            (5_000, vec![number(1.0), text("auto")]),
            (5_010, vec![None, text("off")]),
            (5_030, vec![number(3.0), None]),
        ];
        assert_eq!(points_of(columns), expected.map(|(start_ms, values)| Point { start_ms, values }));
    }

    #[test]
    fn what_only_newer_aggregators_know_is_known_of_a_request() {
        let old = QueryRequest { step_ms: Some(1), by: vec!["a".to_owned()], ..QueryRequest::default() };
        assert!(!old.needs_version_1());
        for new in [
            QueryRequest { calendar_step: CalendarStep::new(1, Unit::Day), ..old.clone() },
            QueryRequest { more_selectors: vec!["m".to_owned()], ..old.clone() },
            QueryRequest { without: vec!["a".to_owned()], ..old.clone() },
            QueryRequest { top: 1, ..old.clone() },
            QueryRequest { order: "count".to_owned(), ..old.clone() },
            QueryRequest { fill: wire::Fill::Zero, ..old },
        ] {
            assert!(new.needs_version_1(), "{new:?}");
        }
    }

    fn part(device: &str, start_ms: i64) -> wire::AggregateResponse {
        let labels = [("device".to_owned(), device.to_owned())].into();
        let points = vec![wire::Point { start_ms, values: vec![number(2.0)] }];
        let series = wire::SeriesPoints { labels, points, ..Default::default() };
        wire::AggregateResponse { kind: Some(wire::aggregate_response::Kind::Series(series)) }
    }

    #[test]
    fn the_parts_of_a_long_series_are_joined() {
        let header = wire::Header {
            complete_until_ms: Some(7),
            aggregates: vec!["count".to_owned()],
            gaps: vec![wire::Gap { gateway: "gw".to_owned(), to_ms: 5, ..wire::Gap::default() }],
            ..Default::default()
        };
        let mut result = QueryResult::default();
        result.push_message(wire::AggregateResponse {
            kind: Some(wire::aggregate_response::Kind::Header(header)),
        });
        for (device, start_ms) in [("a", 0), ("a", 10), ("b", 0)] {
            result.push_message(part(device, start_ms));
        }
        result.push_message(wire::AggregateResponse { kind: None });
        let lengths: Vec<usize> = result.series.iter().map(|series| series.points.len()).collect();
        assert_eq!(lengths, [2, 1]);
        assert_eq!((result.complete_until_ms, result.total_count()), (Some(7), 6));
        assert_eq!(result.gaps, [Gap { gateway: "gw".to_owned(), to_ms: 5, ..Gap::default() }]);
        assert_eq!(result.number(&result.series[0].points[0], "mean"), None);
    }
}
