//! Functions of Prometheus that have no answer here, and what to use instead.

/// Why a function is refused, and what to use instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice(pub &'static str);

/// Names of refused functions.
const REFUSED: [(&str, &str); 17] = [
    (
        "irate",
        "single readings are not kept, only windows of them; take rate over two windows, such as rate(x[20s]) where a window has 10s",
    ),
    (
        "idelta",
        "single readings are not kept, only windows of them; take delta over two windows, such as delta(x[20s]) where a window has 10s",
    ),
    (
        "deriv",
        "a regression needs single readings, which are not kept; take delta(x[1h]) / 3600, or rate(x[1h]) for a counter",
    ),
    (
        "predict_linear",
        "a regression needs single readings, which are not kept; take x + 4 * delta(x[1h]) for the value in four hours",
    ),
    (
        "holt_winters",
        "smoothing needs single readings, which are not kept; take avg_over_time over a longer range",
    ),
    (
        "double_exponential_smoothing",
        "smoothing needs single readings, which are not kept; take avg_over_time over a longer range",
    ),
    (
        "mad_over_time",
        "it needs single readings, which are not kept; take stddev_over_time, or quantile_over_time(0.75, x[1h]) - quantile_over_time(0.25, x[1h])",
    ),
    ("integral", "it needs single readings, which are not kept; take avg_over_time(x[1h]) * 3600"),
    ("info", "join labels with * on (LABELS) group_left (LABELS)"),
    ("histogram_quantiles", "take histogram_quantile for each quantile"),
    ("start_timestamp", "take ts_of_first_over_time over a range"),
    ("start", "only @ start() after a selector is, not the function"),
    ("end", "only @ end() after a selector is, not the function"),
    ("range", "write the range as a number of seconds"),
    ("step", "write the step as a number of seconds"),
    ("max_of", "take scalar(clamp_min(vector(A), B))"),
    ("min_of", "take scalar(clamp_max(vector(A), B))"),
];

impl Advice {
    /// What to use instead of a function, if it is refused.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        REFUSED.iter().find(|(known, _)| *known == name).map(|(_, advice)| Self(advice))
    }
}
