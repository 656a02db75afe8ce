//! The two views of a metric `m`: its readings, named `m`, and its windows, named `m:window`.
//!
//! Stored names have no colon, so a store's selector cannot test the second name: conditions on it are turned into
//! conditions on the stored name where that is exact, or lets too much pass, and are checked again on what comes.

use catchment_promql::{METRIC_NAME, Matcher, Test};
use regex_syntax::hir::{Hir, HirKind};

use crate::selector::{self, Selector, SelectorError};

/// What the names of windows end in.
pub(super) const WINDOW_SUFFIX: &str = ":window";

/// Series of one view.
pub(super) struct View {
    /// Selects stored series; a few too many of windows.
    pub(super) selector: Selector,
    /// Whether they are windows.
    pub(super) is_windows: bool,
    /// Conditions on the name of windows that the selector does not test.
    names: Vec<Matcher>,
}

impl View {
    /// Whether a stored metric of the selected series belongs to the view.
    pub(super) fn admits(&self, metric: &str) -> bool {
        if self.names.is_empty() {
            return true;
        }
        let name = name_of(metric, self.is_windows);
        self.names.iter().all(|matcher| matcher.passes(&name))
    }

    /// All series of numbers.
    pub(super) fn all() -> Self {
        Self { selector: Selector::default(), is_windows: false, names: Vec::new() }
    }
}

/// The name of a metric in a view.
pub(super) fn name_of(metric: &str, is_windows: bool) -> String {
    if is_windows { format!("{metric}{WINDOW_SUFFIX}") } else { metric.to_owned() }
}

/// The views from which these conditions select: windows where one on the name asks for them.
///
/// # Errors
/// A regular expression is too large.
pub(super) fn views(matchers: &[Matcher]) -> Result<Vec<View>, SelectorError> {
    let names = || matchers.iter().filter(|matcher| &*matcher.label == METRIC_NAME);
    let count = matchers.iter().filter(|of| matches!(of.test, Test::Regex(..) | Test::NotRegex(..))).count();
    let others = || {
        let others = matchers.iter().filter(|matcher| &*matcher.label != METRIC_NAME);
        others.map(|matcher| stored(matcher, count)).collect::<Result<Vec<_>, _>>()
    };
    let mut views = Vec::new();
    // A stored name has no colon.
    if !names().any(|name| matches!(&name.test, Test::Equal(name) if name.contains(':'))) {
        let mut all = others()?;
        for name in names() {
            all.push(stored(name, count)?);
        }
        views.push(View { selector: Selector::of(all), is_windows: false, names: Vec::new() });
    }
    if names().any(|name| asks_for_windows(&name.test)) {
        let mut all = others()?;
        for name in names() {
            all.extend(of_windows(&name.test, count)?);
        }
        views.push(View { selector: Selector::of(all), is_windows: true, names: names().cloned().collect() });
    }
    Ok(views)
}

/// The same condition on a stored label.
fn stored(matcher: &Matcher, count: usize) -> Result<selector::Matcher, SelectorError> {
    use selector::Test as Stored;
    let compile = |written: &str, regex: &regex::Regex| {
        // Those that match everything are known by how they are written.
        let pattern = if matches!(written, ".*" | ".+") { written } else { regex.as_str() };
        Stored::regex(&matcher.label, pattern, count)
    };
    let test = match &matcher.test {
        Test::Equal(value) => Stored::Equal((**value).to_owned()),
        Test::NotEqual(value) => Stored::NotEqual((**value).to_owned()),
        Test::Regex(written, regex) => compile(written, regex)?,
        Test::NotRegex(written, regex) => match compile(written, regex)? {
            Stored::Regex(regex) => Stored::NotRegex(regex),
            other => other,
        },
    };
    Ok(selector::Matcher { label: (*matcher.label).to_owned(), test })
}

fn asks_for_windows(test: &Test) -> bool {
    match test {
        Test::Equal(name) => name.ends_with(WINDOW_SUFFIX),
        Test::Regex(pattern, _) => has_colon(pattern),
        Test::NotEqual(_) | Test::NotRegex(..) => false,
    }
}

/// Whether a pattern has a colon, other than those of its groups `(?:…)` and classes `[[:alpha:]]`.
fn has_colon(pattern: &str) -> bool {
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once(':') {
        let flags = before.rsplit_once("(?").map(|(_, flags)| flags);
        let is_group = flags.is_some_and(|flags| flags.chars().all(|c| c.is_ascii_alphabetic() || c == '-'));
        if !(is_group || before.ends_with('[') || after.starts_with(']')) {
            return true;
        }
        rest = after;
    }
    false
}

/// A condition on a stored name that all names of windows with this property fulfil; `None`: there is none.
fn of_windows(test: &Test, count: usize) -> Result<Option<selector::Matcher>, SelectorError> {
    use selector::Test as Stored;
    let bare = |name: &str| name.strip_suffix(WINDOW_SUFFIX).unwrap_or(name).to_owned();
    let test = match test {
        // Of a name that is none of windows, the check of what comes leaves nothing.
        Test::Equal(name) => Some(Stored::Equal(bare(name))),
        Test::NotEqual(name) => name.ends_with(WINDOW_SUFFIX).then(|| Stored::NotEqual(bare(name))),
        Test::Regex(pattern, _) => {
            without_suffix(pattern).map(|pattern| Stored::regex(METRIC_NAME, &pattern, count)).transpose()?
        }
        Test::NotRegex(..) => None,
    };
    Ok(test.map(|test| selector::Matcher { label: METRIC_NAME.to_owned(), test }))
}

/// A pattern without the suffix with which all texts end that it matches; `None`: it is not known that they do.
fn without_suffix(pattern: &str) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let (before, last) = match hir.kind() {
        HirKind::Concat(pieces) => pieces.split_last().map(|(last, before)| (before, last))?,
        _ => (&[][..], &hir),
    };
    let HirKind::Literal(literal) = last.kind() else { return None };
    let rest = literal.0.strip_suffix(WINDOW_SUFFIX.as_bytes())?;
    let pieces = before.iter().cloned().chain([Hir::literal(rest)]);
    Some(Hir::concat(pieces.collect()).to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use catchment_proto::{GatewayId, Labels, MetricName, Name, SeriesKey};

    use super::*;

    pub(in super::super) fn matcher(label: &str, operator: &str, value: &str) -> Matcher {
        let regex = || regex::Regex::new(&format!("^(?s:{value})$")).unwrap();
        let test = match operator {
            "=" => Test::Equal(value.into()),
            "!=" => Test::NotEqual(value.into()),
            "=~" => Test::Regex(value.into(), regex()),
            _ => Test::NotRegex(value.into(), regex()),
        };
        Matcher { label: label.into(), test }
    }

    /// Which of some names are selected.
    fn selected(conditions: &[(&str, &str)]) -> Vec<String> {
        let matchers: Vec<_> = conditions.iter().map(|(op, value)| matcher(METRIC_NAME, op, value)).collect();
        let gateway = GatewayId { site: Name::new("s").unwrap(), name: Name::new("g").unwrap() };
        let mut names = Vec::new();
        for view in views(&matchers).unwrap() {
            for metric in ["humidity", "on", "temperature", "temperatures"] {
                let key = SeriesKey {
                    device: Name::new("d").unwrap(),
                    metric: MetricName::new(metric).unwrap(),
                    labels: Labels::none(),
                };
                if view.selector.matches(&gateway, &key) && view.admits(metric) {
                    names.push(name_of(metric, view.is_windows));
                }
            }
        }
        names
    }

    #[test]
    fn windows_come_only_where_a_name_asks_for_them() {
        let all = ["humidity", "on", "temperature", "temperatures"];
        let windows = all.map(|name| format!("{name}:window"));
        assert_eq!(selected(&[("=", "temperature")]), ["temperature"]);
        assert_eq!(selected(&[("=", "temperature:window")]), ["temperature:window"]);
        assert_eq!(selected(&[]), all);
        assert_eq!(selected(&[("=~", ".+")]), all);
        assert_eq!(selected(&[("=~", "(?:.+)")]), all);
        assert_eq!(selected(&[("=~", "[[:alpha:]]+")]), all);
        assert_eq!(selected(&[("=~", "(?i:ON|HUMIDITY)")]), ["humidity", "on"]);
        assert_eq!(selected(&[("!=", "on"), ("!~", "temp.*")]), ["humidity"]);
        assert_eq!(selected(&[("!=", "on:window")]), all);
        assert_eq!(selected(&[("=~", ".+:window")]), windows);
        assert_eq!(selected(&[("=~", ".+:.+"), ("!=", "on:window"), ("!~", "t.*")]), ["humidity:window"]);
        assert_eq!(selected(&[("=~", "on|(?:temperature:window)")]), ["on", "temperature:window"]);
        assert_eq!(selected(&[("=~", "(on|temperature):window")]), ["on:window", "temperature:window"]);
        assert_eq!(selected(&[("=~", "on(:window)?")]), ["on", "on:window"]);
        assert_eq!(selected(&[("=", "on:other")]), [""; 0]);
        assert_eq!(selected(&[("=", "on:window"), ("=", "on")]), [""; 0]);
        assert_eq!(selected(&[("=", "on"), ("=~", ".+:window")]), [""; 0]);
    }

    #[test]
    fn a_suffix_is_taken_off_where_all_texts_have_it() {
        assert_eq!(without_suffix("(a|b):window").as_deref(), Some("([ab])"));
        assert_eq!(without_suffix("a:window").as_deref(), Some("(?:a)"));
        assert_eq!(without_suffix("a|b:window"), None);
        assert_eq!(without_suffix(".*:win.ow"), None);
    }
}
