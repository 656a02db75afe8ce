//! Topics: what the payload of a PUBLISH means, and which labels its topic gives.
//!
//! The built-in topics are `telemetry` and `v1/devices/me/telemetry` (JSON), `telemetry/METRIC` (one value) and
//! `influx` (line protocol). `[mqtt.topics]` of the configuration adds patterns, which win over the built-in ones:
//!
//! * `+` stands for one level, `#` as the last one for any number of levels (none too), `{metric}` for one level that
//!   names the metric of a value, `{name}` for one level that becomes a label. As MQTT has it, none of them stands for
//!   a first level that begins with `$`.
//! * Of several patterns that match, the most specific holds: level by level from the left, literal text wins over a
//!   placeholder, that over `+`, that over `#`. The order in the file does not matter, and two patterns that match the
//!   same topics are refused.
//! * A label that a reading brings along (JSON's `labels`, tags of line protocol) wins over the topic's of that name.
//! * What stands for a placeholder is from outside: a level that names a metric is mapped as all names are, and a
//!   metric or label that breaks the rules refuses the message.
//!
//! A literal topic is found by one look-up without an allocation; for other topics a tree is searched, each node at
//! most once.

mod pattern;
mod settings;
mod tree;

use std::{collections::BTreeMap, sync::Arc};

use catchment_proto::Labels;
use hashbrown::HashMap;

use self::{pattern::Pattern, tree::Tree};
pub use self::{
    pattern::{PATTERN_BYTES_MAX, PATTERN_LEVELS_MAX},
    settings::{PayloadKind, TopicSetting},
};
use crate::{
    decode::{
        DecodeLimits,
        json::{self, JsonSettings, Options, OptionsError},
        line_protocol::{self, Precision},
        sink::Sink,
        value,
    },
    intake::{Intake, Reason, SeriesTable, TimeRules},
};

/// Most patterns of a configuration.
pub const PATTERNS_MAX: usize = 1_000;
/// The built-in prefix of topics that name their metric.
const TELEMETRY: &str = "telemetry/";

/// An invalid pattern of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The pattern, or what is said about it, breaks a rule.
    #[error("{pattern:?}: {cause}")]
    Pattern {
        /// The key.
        pattern: String,
        /// What is wrong, and what is possible.
        cause: String,
    },
    /// What is said about JSON for all topics breaks a rule.
    #[error("json.{0}")]
    Json(#[from] OptionsError),
    /// More than [`PATTERNS_MAX`].
    #[error("{0} patterns, at most {PATTERNS_MAX} are allowed")]
    TooMany(usize),
}

/// The outcome of a PUBLISH. Refusals are in the intake, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There are readings of it in the intake, or there was nothing in it to refuse.
    Taken,
    /// Nothing was kept: the reason of the first refusal.
    Refused(Reason),
}

/// How the payload of a route is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PayloadFormat {
    Json(Arc<Options>),
    LineProtocol(Precision),
    /// One value of this metric.
    Value(Box<str>),
    /// One value of the metric that this level of the topic names.
    ValueOfLevel(usize),
}

/// What a pattern leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    form: PayloadFormat,
    /// Labels of the configuration.
    labels: Labels,
    /// Labels that the topic gives: name, and index of the level that is the value.
    captures: Box<[(Box<str>, usize)]>,
}

impl Route {
    fn plain(form: PayloadFormat) -> Self {
        Self { form, labels: Labels::none(), captures: Box::new([]) }
    }
}

/// All topics that a gateway knows.
#[derive(Debug)]
pub struct Topics {
    /// Patterns without placeholders and wildcards: more specific than any other.
    literal: HashMap<Box<str>, Route>,
    tree: Tree<Route>,
    json: Route,
    influx: Route,
    value: Route,
}

impl Default for Topics {
    /// The built-in topics, line protocol with times in nanoseconds.
    fn default() -> Self {
        Self::built_in(Precision::default(), Options::default())
    }
}

impl Topics {
    fn built_in(precision: Precision, options: Options) -> Self {
        Self {
            literal: HashMap::new(),
            tree: Tree::default(),
            json: Route::plain(PayloadFormat::Json(Arc::new(options))),
            influx: Route::plain(PayloadFormat::LineProtocol(precision)),
            value: Route::plain(PayloadFormat::ValueOfLevel(1)),
        }
    }

    /// The built-in topics and those of a configuration. `precision`, `json`: unit of the times of line protocol, and
    /// how JSON is read, where a topic says nothing of its own.
    ///
    /// # Errors
    /// The first pattern that breaks a rule, with the cause.
    pub fn new(
        given: &BTreeMap<String, TopicSetting>,
        precision: Precision,
        json: &JsonSettings,
    ) -> Result<Self, TopicError> {
        if given.len() > PATTERNS_MAX {
            return Err(TopicError::TooMany(given.len()));
        }
        let mut topics = Self::built_in(precision, json.check()?);
        let mut shapes: HashMap<String, &str> = HashMap::new();
        for (text, setting) in given {
            let error = |cause| TopicError::Pattern { pattern: text.clone(), cause };
            let pattern = Pattern::parse(text).map_err(error)?;
            let route = settings::route(&pattern, setting, precision, json).map_err(error)?;
            if let Some(other) = shapes.insert(pattern.shape(), text) {
                return Err(error(format!("matches the same topics as {other:?}: one of them is to go")));
            }
            if pattern.is_literal() {
                topics.literal.insert(text.as_str().into(), route);
            } else {
                topics.tree.insert(&pattern, route);
            }
        }
        Ok(topics)
    }

    /// Puts the readings of a PUBLISH into the intake, without ending its message: `intake.messages` stays as it is.
    ///
    /// `ordinal` is that of the message on its connection, for refusals. Empty JSON and an empty value are malformed,
    /// an empty payload of line protocol is taken. A payload beyond `message_bytes_max` is refused.
    #[expect(clippy::too_many_arguments, reason = "those of every decoder, and the topic")]
    pub fn decode(
        &self,
        topic: &str,
        payload: &[u8],
        ordinal: u64,
        table: &mut SeriesTable,
        rules: &TimeRules,
        limits: &DecodeLimits,
        intake: &mut Intake,
    ) -> Verdict {
        let (readings, refusals) = (intake.readings.len(), intake.refusals.len());
        match self.find(topic) {
            Some(route) => {
                let (labels, bad) = match route.labels(topic) {
                    Ok(labels) => (labels, None),
                    Err(message) => (Labels::none(), Some(message)),
                };
                let mut sink = Sink::payload(intake, table, rules, limits, ordinal, labels);
                match bad {
                    None => route.take(topic, payload, &mut sink),
                    Some(message) => sink.refuse(Reason::BadLabel, 1, || message),
                }
            }
            None => Sink::payload(intake, table, rules, limits, ordinal, Labels::none()).refuse(
                Reason::BadTopic,
                1,
                || unknown(topic),
            ),
        }
        match intake.refusals.get(refusals) {
            Some(refusal) if intake.readings.len() == readings => Verdict::Refused(refusal.reason),
            _ => Verdict::Taken,
        }
    }

    fn find(&self, topic: &str) -> Option<&Route> {
        // The maps of a gateway without patterns are empty, which costs nothing.
        if let Some(route) = self.literal.get(topic) {
            return Some(route);
        }
        if let Some(route) = self.tree.find(topic) {
            return Some(route);
        }
        match topic {
            "telemetry" | "v1/devices/me/telemetry" => Some(&self.json),
            "influx" => Some(&self.influx),
            _ => topic.strip_prefix(TELEMETRY).filter(|metric| !metric.contains('/')).map(|_| &self.value),
        }
    }
}

impl Route {
    /// The labels of a topic that leads here; a message for the device when a captured one breaks a rule.
    fn labels(&self, topic: &str) -> Result<Labels, String> {
        if self.captures.is_empty() {
            return Ok(self.labels.clone());
        }
        let mut pairs: Vec<(&str, &str)> = self.labels.iter().collect();
        for (name, level) in &self.captures {
            let value = level_of(topic, *level);
            if value.is_empty() {
                return Err(format!(
                    "the topic's level {} is empty: it is the value of label {name:?}",
                    level + 1
                ));
            }
            pairs.push((name, value));
        }
        Labels::new(pairs).map_err(|error| error.to_string())
    }

    fn take(&self, topic: &str, payload: &[u8], sink: &mut Sink<'_>) {
        match &self.form {
            // Readings and refusals are in the intake.
            PayloadFormat::Json(options) => drop(json::decode(payload, options, sink)),
            PayloadFormat::LineProtocol(precision) => drop(line_protocol::decode(payload, *precision, sink)),
            PayloadFormat::Value(metric) => value::decode(payload, metric, sink),
            PayloadFormat::ValueOfLevel(level) => value::decode(payload, level_of(topic, *level), sink),
        }
    }
}

/// A level of a topic, from 0; empty beyond its last.
fn level_of(topic: &str, level: usize) -> &str {
    topic.split('/').nth(level).unwrap_or_default()
}

fn unknown(topic: &str) -> String {
    let shown: String = topic.chars().take(80).collect();
    format!(
        "topic {shown:?} is not known here: telemetry, v1/devices/me/telemetry, telemetry/METRIC, influx and those of \
         [mqtt.topics] in the gateway's configuration are"
    )
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod devices;
