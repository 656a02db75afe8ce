//! Parameters of a URL.

use std::collections::BTreeMap;

use catchment_proto::wire;

use super::error::DataError;

/// Most rows of a list in one answer.
const ROWS_MAX: usize = 500;

/// The parameters by name; the last one of a name counts.
#[derive(Debug, Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

/// Which rows of a list are asked for.
#[derive(Debug)]
pub(super) struct Rows {
    /// A part of a name, in lower case; empty: all.
    pub(super) search: String,
    /// The column to sort by.
    pub(super) sort: String,
    pub(super) descending: bool,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl Parameters {
    /// Of the part of a URL after `?`.
    pub(super) fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// A text, trimmed; empty: it is not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |text| text.trim())
    }

    /// A whole number, or `default`.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn number(&self, name: &str, default: u32) -> Result<u32, DataError> {
        match self.text(name) {
            "" => Ok(default),
            text => text
                .parse()
                .map_err(|_| DataError::Parameter(format!("{name}={text:?} is not a whole number"))),
        }
    }

    /// A list of names, separated by commas.
    pub(super) fn names(&self, name: &str) -> Vec<String> {
        let names = self.text(name).split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }

    /// Which rows of a list.
    ///
    /// # Errors
    /// An offset or a limit that is no number.
    pub(super) fn rows(&self) -> Result<Rows, DataError> {
        Ok(Rows {
            search: self.text("search").to_lowercase(),
            sort: self.text("sort").to_owned(),
            descending: self.text("descending") == "1",
            offset: self.number("offset", 0)? as usize,
            limit: (self.number("limit", 100)? as usize).min(ROWS_MAX),
        })
    }
}

impl Rows {
    /// As a request to an aggregator; with `problems`, for entries with problems of so many seconds alone.
    pub(super) fn request(&self, problems: bool, seconds: u32) -> wire::PageRequest {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        wire::PageRequest {
            selector: String::new(),
            search: self.search.clone(),
            sort: self.sort.clone(),
            descending: self.descending,
            offset: number(self.offset),
            limit: number(self.limit),
            problems,
            problem_ms: i64::from(seconds).saturating_mul(1_000).max(1),
            expires_within_s: 0,
        }
    }

    /// Whether one of the names holds the searched text.
    pub(super) fn finds(&self, names: &[&str]) -> bool {
        self.search.is_empty() || names.iter().any(|name| name.to_lowercase().contains(&self.search))
    }

    /// The asked part of sorted rows.
    pub(super) fn cut<'a, T>(&self, rows: &'a [T]) -> &'a [T] {
        let end = self.offset.saturating_add(self.limit).min(rows.len());
        rows.get(self.offset..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bounded_and_found_without_regard_to_case() {
        let rows = Parameters::parse("search=+PRESS&limit=99999&offset=3&descending=1").rows().unwrap();
        assert_eq!((rows.limit, rows.offset, rows.descending), (ROWS_MAX, 3, true));
        assert!(rows.finds(&["rome", "Press-17"]) && !rows.finds(&["rome"]));
        assert_eq!(rows.cut(&[1, 2, 3, 4, 5]), [4, 5]);
        assert!(rows.cut(&[1]).is_empty());
        let huge = Parameters::parse(&format!("offset={}", u32::MAX)).rows().unwrap();
        assert!(huge.cut(&[1]).is_empty());
        assert!(Parameters::parse("limit=x").rows().is_err());
        assert_eq!(Parameters::parse("by=a,,+b").names("by"), ["a", "b"]);
    }
}
