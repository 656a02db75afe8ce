//! From a request to what it watches: a plan over all times, and where its points begin.

use catchment_partial::Timestamp;
use catchment_proto::wire::{AggregateRequest, Fill, WatchRequest};
use prost::Message as _;

use super::{
    error::WatchError,
    token::{self, Token},
    watched::point_start,
};
use crate::query::{
    error::QueryError,
    plan::{Plan, Range},
};

/// The times over which queries are watched, Unix milliseconds: the years 1678 to 2261.
pub(super) const FROM_MS: i64 = -9_200_000_000_000;
pub(super) const TO_MS: i64 = 9_200_000_000_000;

/// A checked request.
#[derive(Debug)]
pub(super) struct Request {
    /// The query over all times.
    pub(super) plan: Plan,
    /// Equal for equal queries, whatever their range.
    pub(super) key: Vec<u8>,
    /// Of the key.
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
        let key = query.encode_to_vec();
        let hash = token::hash(&key);
        let plan = Plan::new(query).map_err(QueryError::from)?;
        let resume = match resume.is_empty() {
            true => None,
            false => Some(Token::decode(&resume, hash)?),
        };
        let from_ms = match (given_ms, &resume) {
            (0, Some(token)) => start_of(&plan.range, token.from_ms)?,
            (0, None) => start_of(&plan.range, now_ms)?,
            (given_ms, _) => start_of(&plan.range, given_ms)?,
        };
        Ok(Self { plan, key, hash, from_ms, open_windows, resume })
    }
}

/// Start of the point that contains a time.
fn start_of(range: &Range, ms: i64) -> Result<i64, WatchError> {
    let known = Timestamp::from_millis(ms).filter(|_| (FROM_MS..TO_MS).contains(&ms));
    known.ok_or(WatchError::From(ms))?;
    Ok(point_start(range, ms).max(FROM_MS))
}

/// Refuses what makes no sense of points that are sent one by one, and what is not computed yet.
fn refuse_unsupported(query: &AggregateRequest) -> Result<(), WatchError> {
    if query.step_ms == 0 && query.calendar_step.is_none() {
        return Err(WatchError::NoStep);
    }
    let given = [
        (query.top != 0, "top"),
        (!query.order.is_empty(), "order"),
        (query.ascending, "ascending"),
        (query.fill != Fill::None as i32, "fill"),
        (!query.without.is_empty(), "without"),
        (query.calendar_step.is_some(), "a calendar step"),
        (!query.more_selectors.is_empty(), "several selectors"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(WatchError::Unsupported(what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
    fn what_cannot_be_watched_is_refused() {
        let of = |query| checked(query, Vec::new()).map(|_| ()).unwrap_err().to_string();
        assert!(of(AggregateRequest { step_ms: 0, ..query() }).contains("step"));
        assert!(of(AggregateRequest { top: 1, ..query() }).contains("top"));
        assert!(of(AggregateRequest { selector: String::new(), ..query() }).contains("selector"));
        assert!(of(AggregateRequest { from_ms: i64::MAX, ..query() }).contains("from"));
        let other = checked(AggregateRequest { selector: "n".to_owned(), ..query() }, Vec::new()).unwrap();
        let token = Token { run: 1, cursor: 2, from_ms: 3, open_from_ms: 4, query: other.hash };
        assert!(matches!(checked(query(), token.encode()), Err(WatchError::Token(_))));
        assert!(matches!(checked(query(), vec![1, 2, 3]), Err(WatchError::Token(_))));
    }
}
