//! Parameters of a request: of its URL, and of its body if that is a form.

use std::{sync::Arc, time::Duration};

use catchment_promql::{Grid, Matcher, parse_matchers};
use form_urlencoded::parse;

use super::{
    failure::ApiError,
    times::{GREATEST_MS, LEAST_MS, parse_duration, parse_time},
};

/// Most steps between start and end of a range.
const STEPS_MAX: i64 = 11_000;
/// Most `match[]` of a request.
const MATCHES_MAX: usize = 64;

/// Names and values, those of the body first.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Decodes the query of a URL and a form.
    pub(super) fn decode(form: &[u8], query: Option<&str>) -> Self {
        let query = parse(query.unwrap_or_default().as_bytes()).into_owned();
        Self(parse(form).into_owned().chain(query).collect())
    }

    /// The first value of a name, if it is not empty.
    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The expression; empty, if there is none, which its parser refuses.
    pub(super) fn expression(&self) -> &str {
        self.get("query").unwrap_or_default()
    }

    /// The metric that is asked for alone.
    pub(super) fn metric(&self) -> Option<&str> {
        self.get("metric")
    }

    /// A time, Unix milliseconds.
    ///
    /// # Errors
    /// It is not one.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_time(text).map(Some).ok_or_else(|| {
            ApiError::parameter(name, format_args!("cannot parse {text:?} to a valid timestamp"))
        })
    }

    fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_duration(text).map(Some).ok_or_else(|| {
            ApiError::parameter(name, format_args!("cannot parse {text:?} to a valid duration"))
        })
    }

    /// How long the request may take.
    ///
    /// # Errors
    /// It is no duration, or not positive.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        let Some(ms) = self.duration("timeout")? else { return Ok(None) };
        match u64::try_from(ms) {
            Ok(ms) if ms > 0 => Ok(Some(Duration::from_millis(ms))),
            _ => Err(ApiError::parameter("timeout", "it must be positive")),
        }
    }

    /// Most entries of the answer; `None` without a limit, which 0 means too.
    ///
    /// # Errors
    /// It is no number, or negative.
    pub(super) fn limit(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let limit: usize = text
            .parse()
            .map_err(|_| ApiError::parameter(name, format_args!("{text:?} is not a number from 0 on")))?;
        Ok(Some(limit).filter(|limit| *limit > 0))
    }

    /// Whether values of times for which readings may still come are left out.
    ///
    /// # Errors
    /// Neither `hide` nor `show`.
    pub(super) fn hides_incomplete(&self) -> Result<bool, ApiError> {
        match self.get("incomplete") {
            None | Some("show") => Ok(false),
            Some("hide") => Ok(true),
            Some(other) => {
                Err(ApiError::parameter("incomplete", format_args!("{other:?} is neither hide nor show")))
            }
        }
    }

    /// Refuses what would change the answer and cannot be done.
    ///
    /// # Errors
    /// There is such a parameter.
    pub(super) fn refuse_lookback(&self) -> Result<(), ApiError> {
        match self.get("lookback_delta") {
            None => Ok(()),
            Some(_) => Err(ApiError::parameter(
                "lookback_delta",
                "an instant selector looks back 5m, or the width of a window if that is more; leave the parameter out",
            )),
        }
    }

    /// The times of a range query.
    ///
    /// # Errors
    /// A part is missing or wrong, or there are too many steps.
    pub(super) fn grid(&self) -> Result<Grid, ApiError> {
        let missing = |name| ApiError::parameter(name, "it is missing");
        let start = self.time("start")?.ok_or_else(|| missing("start"))?;
        let end = self.time("end")?.ok_or_else(|| missing("end"))?;
        if end < start {
            return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
        }
        let step = self.duration("step")?.ok_or_else(|| missing("step"))?;
        if step < 1 {
            return Err(ApiError::parameter("step", "the step must be at least 1ms"));
        }
        let steps = (end - start) / step;
        if steps > STEPS_MAX {
            return Err(ApiError::bad(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ));
        }
        // Not negative, and far below the range of usize.
        Ok(Grid { start_ms: start, step_ms: step, count: usize::try_from(steps).unwrap_or(0) + 1 })
    }

    /// From when to when series are listed, Unix milliseconds, the end exclusive: by default always.
    ///
    /// # Errors
    /// A time is wrong, or the end is before the start.
    pub(super) fn range(&self) -> Result<(i64, i64), ApiError> {
        let start = self.time("start")?.unwrap_or(LEAST_MS);
        let end = self.time("end")?.unwrap_or(GREATEST_MS);
        if end < start {
            return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
        }
        Ok((start, end.saturating_add(1)))
    }

    /// The texts of all `match[]`.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn matches(&self) -> Result<Vec<String>, ApiError> {
        let matches = self.0.iter().filter(|(name, _)| name == "match[]");
        let matches: Vec<String> = matches.map(|(_, text)| text.clone()).collect();
        if matches.len() > MATCHES_MAX {
            return Err(ApiError::parameter(
                "match[]",
                format_args!("{} selectors, at most {MATCHES_MAX} are allowed", matches.len()),
            ));
        }
        Ok(matches)
    }
}

/// Parses the texts of `match[]`. The cost grows with the square of their lengths.
///
/// # Errors
/// One of them is wrong.
pub(super) fn parsed(matches: &[String]) -> Result<Vec<Arc<[Matcher]>>, ApiError> {
    let parse = |text: &String| parse_matchers(text).map_err(|error| ApiError::parameter("match[]", error));
    matches.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Parameters {
        Parameters::decode(b"", Some(query))
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        String::from_utf8(result.unwrap_err().body().to_vec()).unwrap()
    }

    #[test]
    fn a_form_precedes_the_url() {
        let both = Parameters::decode(b"query=a%2Bb+c&limit=1", Some("query=url&time=4"));
        assert_eq!(both.expression(), "a+b c");
        assert_eq!(both.time("time"), Ok(Some(4_000)));
        assert_eq!(both.limit("limit"), Ok(Some(1)));
        assert_eq!(of("").expression(), "");
        assert_eq!(of("time=").time("time"), Ok(None));
    }

    #[test]
    fn a_range_has_start_end_and_step() {
        let grid = of("start=0&end=10&step=3").grid();
        assert_eq!(grid, Ok(Grid { start_ms: 0, step_ms: 3_000, count: 4 }));
        let most = of("start=0&end=11000&step=1s").grid().unwrap();
        assert_eq!(most.count, 11_001);
        for (query, word) in [
            ("end=1&step=1", "start"),
            ("start=1&step=1", "end"),
            ("start=0&end=1", "step"),
            ("start=2&end=1&step=1", "end timestamp must not be before start time"),
            ("start=0&end=1&step=0", "at least 1ms"),
            ("start=0&end=1&step=-1", "at least 1ms"),
            ("start=0&end=1&step=0.0001", "at least 1ms"),
            ("start=0&end=1&step=NaN", "cannot parse"),
            ("start=NaN&end=1&step=1", "cannot parse"),
            ("start=0&end=11001&step=1", "exceeded maximum resolution of 11,000"),
            ("start=-1e300&end=1e300&step=1", "exceeded maximum resolution"),
        ] {
            let error = refused(of(query).grid());
            assert!(error.contains("bad_data") && error.contains(word), "{query}: {error}");
        }
    }

    #[test]
    fn limits_and_timeouts_are_checked() {
        assert_eq!(of("limit=0").limit("limit"), Ok(None));
        assert!(refused(of("limit=-1").limit("limit")).contains("limit"));
        assert_eq!(of("timeout=1m").timeout(), Ok(Some(Duration::from_secs(60))));
        assert!(refused(of("timeout=0").timeout()).contains("positive"));
        assert!(refused(of("timeout=x").timeout()).contains("duration"));
        assert_eq!(of("incomplete=hide").hides_incomplete(), Ok(true));
        assert_eq!(of("incomplete=show").hides_incomplete(), Ok(false));
        assert!(refused(of("incomplete=x").hides_incomplete()).contains("neither hide nor show"));
        assert!(refused(of("lookback_delta=1m").refuse_lookback()).contains("5m"));
        assert_eq!(of("x=1").refuse_lookback(), Ok(()));
    }

    #[test]
    fn lists_cover_all_times_by_default() {
        assert_eq!(of("").range(), Ok((LEAST_MS, GREATEST_MS + 1)));
        assert_eq!(of("start=1&end=2").range(), Ok((1_000, 2_001)));
        assert!(of("start=3&end=2").range().is_err());
    }

    #[test]
    fn too_many_selectors_are_refused() {
        let many = "match[]=a&".repeat(MATCHES_MAX + 1);
        assert!(refused(of(&many).matches().map(|_| ())).contains("at most 64"));
        assert_eq!(of("").matches().unwrap().len(), 0);
    }
}
