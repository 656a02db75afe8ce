//! How wide the windows of selected series are in a range, as far as a few rows tell. Wider ones that are met only while
//! rows are read make the expression be evaluated again.

use catchment_partial::Window;

use super::{
    super::error::QueryError,
    fold::Wanted,
    read,
    select::{Member, Selected},
    source::StoreSource,
};
use crate::store::Steps;

/// Span of rows that is looked at where no single window is known.
const SAMPLE_MS: i64 = 3_600_000;
/// Most common multiple of widths.
const WIDTH_MAX_MS: i64 = 31 * 86_400_000;

/// The least common multiple of the widths of windows in a range and of `known_ms`, which is at least 1.
///
/// # Errors
/// [`QueryError::Execution`]: it is too wide; what ends the query.
pub(super) async fn width_ms(
    source: &StoreSource<'_>,
    selected: &Selected,
    range_ms: (i64, i64),
    known_ms: i64,
) -> Result<i64, QueryError> {
    let (mut widths, memory) = (Vec::new(), source.sink.task.memory());
    for sample in &selected.samples {
        for span in spans(sample, range_ms) {
            source.sink.yield_point().await?;
            let mut rows =
                source.store.rows(&read::request(sample.id, span, Wanted::LastWindow, &Steps::Every(1)))?;
            let mut visit = |window: Window, _: &[u8]| {
                let width = i64::from(window.width().as_millis());
                if !widths.contains(&width) {
                    widths.push(width);
                }
            };
            while rows.advance(&mut visit)? {
                memory.set(rows.memory())?;
                source.sink.yield_point().await?;
            }
        }
    }
    // Windows that do not divide an interval are not merged into it.
    let is_merged = |interval: &i64| widths.is_empty() || widths.iter().any(|width| interval % width == 0);
    widths.extend(selected.merged_ms.filter(is_merged));
    widths.iter().try_fold(known_ms, |all, width| common(all, *width))
}

/// Where rows of a series are looked at: at the end of a range, and at its beginning.
fn spans(sample: &Member, (from_ms, to_ms): (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
    let (first, last) = (sample.rows.0.as_millis().max(from_ms), sample.rows.1.as_millis());
    let end = match last < to_ms {
        true => (last, last.saturating_add(1)),
        // Also before the range: its beginning may be rounded down to a window.
        false => (to_ms.saturating_sub(SAMPLE_MS).max(sample.rows.0.as_millis()), to_ms),
    };
    let begin = (first, first.saturating_add(SAMPLE_MS).min(end.0));
    [end, begin].into_iter().filter(|(from, to)| from < to)
}

/// The least common multiple of two widths.
///
/// # Errors
/// It is too wide.
pub(super) fn common(a: i64, b: i64) -> Result<i64, QueryError> {
    let (mut greatest, mut rest) = (a, b);
    while rest != 0 {
        (greatest, rest) = (rest, greatest % rest);
    }
    let multiple = (a / greatest.max(1)).checked_mul(b).filter(|multiple| *multiple <= WIDTH_MAX_MS);
    multiple.ok_or_else(|| {
        QueryError::Execution(format!(
            "windows of {a} ms and of {b} ms are selected together, and no time of a month is the end of both: select the series of one width",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_width_holds_whole_windows_of_each() {
        for (a, b, expected) in
            [(1, 10_000, 10_000), (10_000, 15_000, 30_000), (60_000, 3_600_000, 3_600_000)]
        {
            assert_eq!((common(a, b).unwrap(), common(b, a).unwrap()), (expected, expected));
        }
        assert!(common(86_399_999, 86_399_998).unwrap_err().to_string().contains("one width"));
    }
}
