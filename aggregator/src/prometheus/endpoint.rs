//! Paths below `/api/v1`.

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// An expression at one time.
    Query,
    /// An expression at each step of a range.
    QueryRange,
    /// An expression, formatted.
    FormatQuery,
    /// Labels of series.
    Series,
    /// Names of labels.
    Labels,
    /// Values of a label.
    LabelValues(String),
    /// Types of metrics.
    Metadata,
    /// Version of the server.
    BuildInfo,
    /// Exemplars: there are none.
    QueryExemplars,
    /// Rules: there are none.
    Rules,
    /// Alerts: there are none.
    Alerts,
    /// Anything else.
    Unknown,
}

/// All names of endpoints: labels for metrics.
pub(crate) const ENDPOINTS: [&str; 12] = [
    "query",
    "query_range",
    "format_query",
    "series",
    "labels",
    "label_values",
    "metadata",
    "buildinfo",
    "query_exemplars",
    "rules",
    "alerts",
    "unknown",
];

impl Endpoint {
    /// The endpoint of a path.
    pub(super) fn of(path: &str) -> Self {
        let rest = path.strip_prefix("/api/v1/").unwrap_or_default();
        match rest {
            "query" => Self::Query,
            "query_range" => Self::QueryRange,
            "format_query" => Self::FormatQuery,
            "series" => Self::Series,
            "labels" => Self::Labels,
            "metadata" => Self::Metadata,
            "status/buildinfo" => Self::BuildInfo,
            "query_exemplars" => Self::QueryExemplars,
            "rules" => Self::Rules,
            "alerts" => Self::Alerts,
            _ => rest
                .strip_prefix("label/")
                .and_then(|rest| rest.strip_suffix("/values"))
                .filter(|label| !label.contains('/'))
                .map_or(Self::Unknown, |label| Self::LabelValues(label.to_owned())),
        }
    }

    /// Its name, one of [`ENDPOINTS`].
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::QueryRange => "query_range",
            Self::FormatQuery => "format_query",
            Self::Series => "series",
            Self::Labels => "labels",
            Self::LabelValues(_) => "label_values",
            Self::Metadata => "metadata",
            Self::BuildInfo => "buildinfo",
            Self::QueryExemplars => "query_exemplars",
            Self::Rules => "rules",
            Self::Alerts => "alerts",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it takes a form as the body of a POST too.
    pub(super) fn takes_post(&self) -> bool {
        matches!(
            self,
            Self::Query
                | Self::QueryRange
                | Self::FormatQuery
                | Self::Series
                | Self::Labels
                | Self::QueryExemplars
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_endpoints_with_known_names() {
        for (path, endpoint) in [
            ("query", Endpoint::Query),
            ("query_range", Endpoint::QueryRange),
            ("format_query", Endpoint::FormatQuery),
            ("series", Endpoint::Series),
            ("labels", Endpoint::Labels),
            ("label/__name__/values", Endpoint::LabelValues("__name__".to_owned())),
            ("metadata", Endpoint::Metadata),
            ("status/buildinfo", Endpoint::BuildInfo),
            ("query_exemplars", Endpoint::QueryExemplars),
            ("rules", Endpoint::Rules),
            ("alerts", Endpoint::Alerts),
            ("status/config", Endpoint::Unknown),
            ("label/a/b/values", Endpoint::Unknown),
            ("Query", Endpoint::Unknown),
            ("query/", Endpoint::Unknown),
            ("", Endpoint::Unknown),
        ] {
            let found = Endpoint::of(&format!("/api/v1/{path}"));
            assert!(ENDPOINTS.contains(&found.name()));
            assert_eq!(found, endpoint, "{path}");
        }
    }
}
