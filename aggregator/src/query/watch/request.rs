//! From a request to what it watches: a plan over all times, and where its points begin.

use catchment_partial::Timestamp;
use catchment_proto::wire::{AggregateRequest, Fill, WatchRequest};
use prost::Message as _;

use super::{
    error::WatchError,
    token::{self, Token},
};
use crate::query::{error::QueryError, plan::Plan};

/// The times over which queries are watched, Unix milliseconds: the years 1678 to 2261.
pub(super) const FROM_MS: i64 = -9_200_000_000_000;
pub(super) const TO_MS: i64 = 9_200_000_000_000;

/// Calendar steps are known for so many years (of 365 days) beyond the present: windows after that are not sent.
const CALENDAR_YEARS: i64 = 10;
const YEAR_MS: i64 = 365 * 86_400_000;

/// A checked request.
#[derive(Debug)]
pub(super) struct Request {
    /// The query over all times.
    pub(super) plan: Plan,
    /// Equal for equal queries, whatever their range; with calendar steps, if they begin in the same year.
    pub(super) key: Vec<u8>,
    /// Of the query, whatever its range.
    pub(super) hash: u64,
    /// Where points begin, Unix milliseconds: at the start of a point.
    pub(super) from_ms: i64,
    /// Points of open windows are wanted.
    pub(super) open_windows: bool,
    /// The token of a subscription that continues.
    pub(super) resume: Option<Token>,
}

impl Request {
    /// Checks a request that arrives at `now_ms`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(request: WatchRequest, now_ms: i64) -> Result<Self, WatchError> {
        let WatchRequest { query, resume, open_windows } = request;
        let query = query.unwrap_or_default();
        refuse_unsupported(&query)?;
        let given_ms = query.from_ms;
        let query = AggregateRequest { from_ms: FROM_MS, to_ms: TO_MS, ..query };
        let hash = token::hash(&query.encode_to_vec());
        let resume = match resume.is_empty() {
            true => None,
            false => Some(Token::decode(&resume, hash)?),
        };
        let from_ms = match (given_ms, &resume) {
            (0, Some(token)) => token.from_ms,
            (0, None) => now_ms,
            (given_ms, _) => given_ms,
        };
        let known = Timestamp::from_millis(from_ms).filter(|_| (FROM_MS..TO_MS).contains(&from_ms));
        known.ok_or(WatchError::From(from_ms))?;
        let query = match query.calendar_step {
            None => query,
            Some(_) => listed(query, from_ms, now_ms),
        };
        let key = query.encode_to_vec();
        let plan = Plan::new(query).map_err(QueryError::from)?;
        let from_ms = plan.range.point(from_ms).max(FROM_MS);
        Ok(Self { plan, key, hash, from_ms, open_windows, resume })
    }
}

/// A query over as many calendar steps as are listed: from the year in which its points begin to ten years from now.
fn listed(query: AggregateRequest, from_ms: i64, now_ms: i64) -> AggregateRequest {
    let year = |ms: i64, later: i64| (ms.div_euclid(YEAR_MS) + later).saturating_mul(YEAR_MS);
    let to_ms = year(now_ms.max(from_ms), CALENDAR_YEARS + 1).min(TO_MS);
    AggregateRequest { from_ms: year(from_ms, 0).max(FROM_MS), to_ms, ..query }
}

/// Refuses what makes no sense of points that are sent one by one.
fn refuse_unsupported(query: &AggregateRequest) -> Result<(), WatchError> {
    if query.step_ms == 0 && query.calendar_step.is_none() {
        return Err(WatchError::NoStep);
    }
    let given = [
        (query.top != 0, "top"),
        (!query.order.is_empty(), "order"),
        (query.ascending, "ascending"),
        (query.fill != Fill::None as i32, "fill"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(WatchError::Unsupported(what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use catchment_proto::wire::{CalendarStep, calendar_step::Unit};

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_123;

    fn query() -> AggregateRequest {
        AggregateRequest { selector: "m".to_owned(), step_ms: 1_000, ..AggregateRequest::default() }
    }

    fn checked(query: AggregateRequest, resume: Vec<u8>) -> Result<Request, WatchError> {
        Request::new(WatchRequest { query: Some(query), resume, open_windows: false }, NOW_MS)
    }

    #[test]
    fn points_begin_now_or_where_the_request_or_the_token_says() {
        let fresh = checked(query(), Vec::new()).unwrap();
        assert_eq!(fresh.from_ms, 1_700_000_000_000);
        let earlier = checked(AggregateRequest { from_ms: -1, to_ms: 7, ..query() }, Vec::new()).unwrap();
        assert_eq!(
            (earlier.from_ms, earlier.hash),
            (-1_000, fresh.hash),
            "the range is not part of the query"
        );
        let token = Token { run: 1, cursor: 2, from_ms: 3_000, open_from_ms: 4, query: fresh.hash };
        let resumed = checked(query(), token.encode()).unwrap();
        assert_eq!((resumed.from_ms, resumed.resume), (3_000, Some(token)));
        let moved = checked(AggregateRequest { from_ms: 9_999, ..query() }, token.encode()).unwrap();
        assert_eq!(moved.from_ms, 9_000);
    }

    #[test]
    fn days_begin_in_their_zone_and_watches_of_a_year_share_them() {
        let days = |from_ms| {
            let calendar_step = Some(CalendarStep { unit: Unit::Day as i32, count: 1 });
            let time_zone = "Europe/Berlin".to_owned();
            checked(AggregateRequest { from_ms, step_ms: 0, calendar_step, time_zone, ..query() }, Vec::new())
        };
        // 2023-11-14 in Berlin begins at 23:00 UTC of the day before.
        let now = days(0).unwrap();
        assert_eq!(now.from_ms, 1_699_916_400_000);
        assert_eq!((now.plan.range.point(NOW_MS), now.plan.bytes() < 64 << 10), (now.from_ms, true));
        let earlier = days(NOW_MS - 10 * 86_400_000).unwrap();
        assert_eq!((&earlier.key, earlier.from_ms), (&now.key, now.from_ms - 10 * 86_400_000));
        let long_ago = days(NOW_MS - 3 * YEAR_MS).unwrap();
        assert!(long_ago.key != now.key && long_ago.hash == now.hash);
        assert!(days(FROM_MS).unwrap_err().to_string().contains("calendar steps"));
    }

    #[test]
    fn what_cannot_be_watched_is_refused() {
        let of = |query| checked(query, Vec::new()).map(|_| ()).unwrap_err().to_string();
        assert!(of(AggregateRequest { step_ms: 0, ..query() }).contains("step"));
        assert!(of(AggregateRequest { top: 1, ..query() }).contains("top"));
        assert!(of(AggregateRequest { order: "count".to_owned(), ..query() }).contains("order"));
        assert!(of(AggregateRequest { fill: Fill::Zero as i32, ..query() }).contains("fill"));
        assert!(of(AggregateRequest { selector: String::new(), ..query() }).contains("selector"));
        assert!(of(AggregateRequest { from_ms: i64::MAX, ..query() }).contains("from"));
        let other = checked(AggregateRequest { selector: "n".to_owned(), ..query() }, Vec::new()).unwrap();
        let token = Token { run: 1, cursor: 2, from_ms: 3, open_from_ms: 4, query: other.hash };
        assert!(matches!(checked(query(), token.encode()), Err(WatchError::Token(_))));
        assert!(matches!(checked(query(), vec![1, 2, 3]), Err(WatchError::Token(_))));
    }
}
