//! The points of a chart: a query whose step fits the panel, and its answer as columns.

use std::collections::BTreeMap;

use catchment_aggregator::calendar::Zone;
use catchment_proto::wire::{AggregateResponse, aggregate_response::Kind};
use serde::Serialize;

use super::{
    connection::Connection,
    error::DataError,
    parameters::Parameters,
    step::{POINTS_MAX, candidates, is_too_narrow, width_ms},
};
use crate::{
    aggregate_list::AggregateList,
    aggregator_client::AggregatorClient,
    length::Length,
    query_result::{QueryRequest, QueryResult, ResultSeries, Value},
    suggestions,
    time::{Moment, Span, now_ms, span_text},
};

/// Most series of a panel.
pub(super) const SERIES_MAX: u32 = 20;
/// Most aggregates of a panel.
const AGGREGATES_MAX: usize = 12;
/// Most values of a panel, a state counting as two: below 20 MB as JSON.
pub(super) const VALUES_MAX: usize = 1_000_000;

/// The points of a chart.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    now_ms: i64,
    from_ms: i64,
    to_ms: i64,
    /// Width of a point, of calendar steps about.
    step_ms: i64,
    /// The step for people.
    step: String,
    /// Points are complete up to here; absent: not known of a gateway.
    complete_until_ms: Option<i64>,
    /// Gateways that count in that, and those that are not there yet.
    expected: u32,
    behind: u32,
    gaps: Vec<Gap>,
    aggregates: Vec<String>,
    series: Vec<Series>,
    /// Further series were left out.
    pub(super) more: bool,
    /// Why there are no series, if the selector selects none.
    nothing: Option<String>,
}

/// Times of which windows are lost.
#[derive(Debug, Serialize)]
struct Gap {
    gateway: String,
    from_ms: Option<i64>,
    to_ms: i64,
}

/// The points of a series.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    labels: BTreeMap<String, String>,
    start_ms: Vec<i64>,
    /// One for each aggregate, with one value for each start.
    columns: Vec<Vec<Cell>>,
}

/// A value: a number, a text, pairs of state and number, or null.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Cell {
    None,
    Number(f64),
    Text(String),
    States(Vec<(String, f64)>),
}

/// Asks for a chart.
///
/// # Errors
/// A parameter is wrong, or the aggregator refuses or is away.
pub(super) async fn answer(connection: &Connection, parameters: &Parameters) -> Result<Chart, DataError> {
    Ok(answer_with_step(connection, parameters).await?.0)
}

/// As [`answer`], with the step in force.
///
/// # Errors
/// As [`answer`].
pub(super) async fn answer_with_step(
    connection: &Connection,
    parameters: &Parameters,
) -> Result<(Chart, Length), DataError> {
    let asked = Asked::of(parameters, now_ms())?;
    let mut client = connection.client().await?;
    connection.note(chart(&mut client, asked).await).await
}

/// The query behind a chart, to be watched: all of its series, from where its range begins now.
///
/// # Errors
/// A parameter is wrong.
pub(super) fn watched(parameters: &Parameters, step: Length) -> Result<QueryRequest, DataError> {
    let asked = Asked::of(parameters, now_ms())?;
    Ok(QueryRequest { top: 0, order: String::new(), ascending: false, ..asked.request(step) })
}

async fn chart(client: &mut AggregatorClient, asked: Asked) -> Result<(Chart, Length), DataError> {
    let steps: Vec<Length> = match asked.step {
        Some(step) => vec![step],
        None => candidates(asked.to_ms.saturating_sub(asked.from_ms), asked.points).collect(),
    };
    let mut refused = DataError::Parameter("the range is too long for a chart".to_owned());
    for step in steps {
        let request = asked.request(step);
        match collect(client, &request).await {
            // Windows are wider than that.
            Err(error) if is_too_narrow(&error) => refused = error,
            Err(error) => return Err(error),
            Ok(mut result) => {
                suggestions::explain_empty(client, &request, &mut result).await;
                return Ok((asked.chart(&request, step, result), step));
            }
        }
    }
    Err(refused)
}

/// The result of a query, within the bounds of a panel.
async fn collect(client: &mut AggregatorClient, request: &QueryRequest) -> Result<QueryResult, DataError> {
    let (mut result, mut values) = (QueryResult::default(), 0_usize);
    client
        .answer(request, |message| {
            values = values.saturating_add(values_in(&message));
            if values > VALUES_MAX {
                return Err(DataError::TooMuch(VALUES_MAX));
            }
            result.push_message(message);
            Ok(())
        })
        .await?;
    Ok(result)
}

fn values_in(message: &AggregateResponse) -> usize {
    let Some(Kind::Series(series)) = &message.kind else { return 0 };
    let columns = series.columns.iter().flat_map(|columns| &columns.columns);
    let columns = columns.map(|column| {
        let states: usize = column.values.iter().map(|value| 2 * value.states.len()).sum();
        column.numbers.len() + column.values.len() + states
    });
    let points = series.points.iter().flat_map(|point| &point.values).map(|value| 1 + 2 * value.states.len());
    columns.chain(points).sum()
}

/// What a page asks for, checked.
#[derive(Debug)]
struct Asked {
    now_ms: i64,
    from_ms: i64,
    to_ms: i64,
    /// `None`: one that makes at most `points` points.
    step: Option<Length>,
    points: u32,
    query: QueryRequest,
}

impl Asked {
    fn of(parameters: &Parameters, now_ms: i64) -> Result<Self, DataError> {
        let wrong =
            |name: &str, error: &dyn std::fmt::Display| DataError::Parameter(format!("{name}: {error}"));
        let time_zone = parameters.text("zone").to_owned();
        let zone = Zone::named(&time_zone).map_err(|error| wrong("zone", &error))?;
        let moment = |name: &str, default: &str| -> Result<Moment, DataError> {
            let text = Some(parameters.text(name)).filter(|text| !text.is_empty()).unwrap_or(default);
            text.parse().map_err(|error: crate::time::MomentError| wrong(name, &error))
        };
        let span = Span::Between(moment("from", "now-15m")?, moment("to", "now")?);
        let (from_ms, to_ms) = span.resolve(now_ms, &zone).map_err(|error| wrong("range", &error))?;
        let step = match parameters.text("step") {
            "" | "auto" => None,
            text => Some(text.parse().map_err(|error: crate::length::LengthError| wrong("step", &error))?),
        };
        if let Some(step) = step {
            let width_ms = width_ms(step);
            let most = i64::from(POINTS_MAX);
            if width_ms < 1 || to_ms.saturating_sub(from_ms).div_euclid(width_ms) > most {
                let words = "step: a panel holds 2,000 points of a series at most: take a wider step or `auto`, or a shorter range";
                return Err(DataError::Parameter(words.to_owned()));
            }
        }
        let Ok(aggregates) = AggregateList::parse(parameters.text("agg"));
        if aggregates.0.len() > AGGREGATES_MAX {
            return Err(DataError::Parameter(format!(
                "agg: a panel holds {AGGREGATES_MAX} aggregates at most"
            )));
        }
        let order = Some(parameters.text("order")).filter(|order| !order.is_empty()).unwrap_or("count");
        let query = QueryRequest {
            selector: parameters.text("selector").to_owned(),
            time_zone,
            by: parameters.names("by"),
            aggregates: aggregates.0,
            // One more than is shown tells that there are more.
            top: SERIES_MAX + 1,
            order: order.to_owned(),
            ascending: parameters.text("ascending") == "1",
            ..QueryRequest::default()
        };
        let points = parameters.number("points", 1_000)?;
        Ok(Self { now_ms, from_ms, to_ms, step, points, query })
    }

    /// The query with a step. A fixed step begins at a multiple of it, so that the first point is whole.
    fn request(&self, step: Length) -> QueryRequest {
        let query = self.query.clone();
        match step {
            Length::Fixed(_) => {
                let step_ms = width_ms(step).max(1);
                let from_ms = self.from_ms.saturating_sub(self.from_ms.rem_euclid(step_ms));
                QueryRequest { from_ms, to_ms: self.to_ms, step_ms: Some(step_ms), ..query }
            }
            Length::Calendar(step) => {
                QueryRequest { from_ms: self.from_ms, to_ms: self.to_ms, calendar_step: Some(step), ..query }
            }
        }
    }

    fn chart(&self, request: &QueryRequest, step: Length, result: QueryResult) -> Chart {
        let more = result.series.len() > SERIES_MAX as usize;
        let counted = result.completeness.as_ref();
        let (expected, behind) = counted.map_or((0, 0), |counted| (counted.expected, counted.behind));
        let gaps = result.gaps.into_iter().map(|gap| Gap {
            gateway: format!("{}/{}", gap.site, gap.gateway),
            from_ms: gap.from_ms,
            to_ms: gap.to_ms,
        });
        let width = result.aggregates.len();
        let shown = result.series.into_iter().take(SERIES_MAX as usize);
        let mut series: Vec<Series> = shown.map(|one| Series::of(one, width)).collect();
        // In an order that does not change with the values.
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Chart {
            now_ms: self.now_ms,
            from_ms: request.from_ms,
            to_ms: request.to_ms,
            step_ms: width_ms(step),
            step: match step {
                Length::Fixed(_) => span_text(width_ms(step)),
                Length::Calendar(step) => format!("{} {:?}", step.count(), step.unit()).to_lowercase(),
            },
            complete_until_ms: result.complete_until_ms,
            expected,
            behind,
            gaps: gaps.collect(),
            aggregates: result.aggregates,
            series,
            more,
            nothing: result.nothing_selected,
        }
    }
}

impl Series {
    /// The points of a series with so many values each, as columns.
    pub(super) fn of(series: ResultSeries, width: usize) -> Self {
        let mut columns: Vec<Vec<Cell>> =
            (0..width).map(|_| Vec::with_capacity(series.points.len())).collect();
        let start_ms = series.points.iter().map(|point| point.start_ms).collect();
        for point in series.points {
            let mut values = point.values.into_iter();
            for column in &mut columns {
                column.push(match values.next().flatten() {
                    None => Cell::None,
                    Some(Value::Number(number)) => Cell::Number(number),
                    Some(Value::Text(text)) => Cell::Text(text),
                    Some(Value::States(states)) => Cell::States(states),
                });
            }
        }
        Self { labels: series.labels, start_ms, columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query_result::Point;

    fn asked(query: &str) -> Result<Asked, String> {
        Asked::of(&Parameters::parse(query), 1_000_000_500).map_err(|error| {
            assert_eq!((error.kind(), error.status().as_u16()), ("refused", 400));
            error.to_string()
        })
    }

    #[test]
    fn a_chart_is_bounded_and_its_points_are_whole() {
        let asked_for = asked("selector=x&from=now-10m&by=site,,device&agg=mean,below(1,2)").unwrap();
        let step: Length = "10s".parse().unwrap();
        let request = asked_for.request(step);
        assert_eq!((request.from_ms, request.step_ms), (999_400_000, Some(10_000)));
        assert_eq!((request.top, request.order.as_str()), (SERIES_MAX + 1, "count"));
        assert_eq!(request.by, ["site", "device"]);
        assert_eq!(request.aggregates, ["mean", "below(1,2)"]);
        for (query, word) in [
            ("selector=x&from=now-1d&step=1s", "wider step"),
            ("selector=x&step=0s", "wider step"),
            ("selector=x&step=1M", "1mo"),
            ("selector=x&from=yesterday", "RFC 3339"),
            ("selector=x&from=now&to=now-1h", "empty"),
            ("selector=x&zone=Mars/Base", "zone"),
            ("selector=x&points=many", "whole number"),
            ("selector=x&agg=p1,p2,p3,p4,p5,p6,p7,p8,p9,p10,p11,p12,p13", "at most"),
        ] {
            let words = asked(query).unwrap_err();
            assert!(words.contains(word), "{query}: {words}");
        }
    }

    #[test]
    fn the_twenty_first_series_only_tells_that_there_are_more() {
        let series = |number: u32| ResultSeries {
            labels: [("device".to_owned(), format!("{:02}", 50 - number))].into(),
            points: vec![Point { start_ms: 5, values: vec![Some(Value::Number(1.0)), None] }],
            ..ResultSeries::default()
        };
        let result = QueryResult {
            aggregates: vec!["mean".to_owned(), "last_state".to_owned()],
            series: (0..21).map(series).collect(),
            ..QueryResult::default()
        };
        let asked = asked("selector=x").unwrap();
        let step = "1s".parse().unwrap();
        let chart = asked.chart(&asked.request(step), step, result);
        assert_eq!((chart.series.len(), chart.more), (20, true));
        assert_eq!(chart.series[0].labels["device"], "31");
        let json = serde_json::to_value(&chart.series[0]).unwrap();
        assert_eq!(json["columns"], serde_json::json!([[1.0], [null]]));
        assert_eq!((chart.step.as_str(), chart.step_ms), ("1s", 1_000));
    }
}
