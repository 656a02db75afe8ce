//! `[mqtt.topics]` as it stands in the file: `"pattern" = "json"`, or a table that says more.

use std::{collections::BTreeMap, fmt, sync::Arc};

use catchment_proto::{Labels, MetricName};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{PayloadFormat, Route, pattern::Pattern};
use crate::decode::{
    json::{JsonSettings, Strings, TimeFormat},
    line_protocol::Precision,
};

/// The placeholder that names the metric.
const METRIC: &str = "metric";

/// What the payload of a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadKind {
    /// One number, true or false.
    Value,
    /// An object of readings, or an array of such.
    Json,
    /// InfluxDB line protocol.
    Influx,
}

/// What the configuration says about a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicSetting {
    /// What the payload is.
    pub payload: PayloadKind,
    /// Metric of a value, in place of `{metric}` in the pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Unit of the times of line protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Labels of all readings.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How JSON is read, where that is not as for all.
    #[serde(flatten)]
    pub json: JsonSettings,
}

impl From<PayloadKind> for TopicSetting {
    fn from(payload: PayloadKind) -> Self {
        Self {
            payload,
            metric: None,
            precision: None,
            labels: BTreeMap::new(),
            json: JsonSettings::default(),
        }
    }
}

impl<'de> Deserialize<'de> for TopicSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            payload: PayloadKind,
            metric: Option<String>,
            precision: Option<Precision>,
            #[serde(default)]
            labels: BTreeMap<String, String>,
            numeric_strings: Option<bool>,
            strings: Option<Strings>,
            time_key: Option<String>,
            time_format: Option<TimeFormat>,
            ignore: Option<Vec<String>>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = TopicSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"value\", \"json\" or \"influx\", or a table with such a `payload`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TopicSetting, E> {
                let kind = serde::de::value::StrDeserializer::<E>::new(text);
                PayloadKind::deserialize(kind).map(TopicSetting::from)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TopicSetting, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let Table { payload, metric, precision, labels, .. } = table;
                let Table { numeric_strings, strings, time_key, time_format, ignore, .. } = table;
                let json = JsonSettings { numeric_strings, strings, time_key, time_format, ignore };
                Ok(TopicSetting { payload, metric, precision, labels, json })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What a pattern leads to; the error says what does not go together.
pub(super) fn route(
    pattern: &Pattern<'_>,
    setting: &TopicSetting,
    precision: Precision,
    json: &JsonSettings,
) -> Result<Route, String> {
    let level = pattern.placeholders().find(|(_, name)| *name == METRIC).map(|(level, _)| level);
    let is_value = setting.payload == PayloadKind::Value;
    if setting.metric.is_some() && !is_value {
        return Err("metric is for payload \"value\": the others name their metrics themselves".to_owned());
    }
    if setting.precision.is_some() && setting.payload != PayloadKind::Influx {
        return Err("precision is for payload \"influx\"".to_owned());
    }
    if !setting.json.is_empty() && setting.payload != PayloadKind::Json {
        let keys = "numeric_strings, strings, time_key, time_format and ignore";
        return Err(format!("{keys} are for payload \"json\""));
    }
    let options = || setting.json.or(json).check().map(Arc::new).map_err(|error| error.to_string());
    let form = match (setting.payload, level, &setting.metric) {
        (PayloadKind::Json, None, _) => PayloadFormat::Json(options()?),
        (PayloadKind::Influx, None, _) => PayloadFormat::LineProtocol(setting.precision.unwrap_or(precision)),
        (PayloadKind::Json | PayloadKind::Influx, Some(_), _) => {
            return Err(
                "{metric} is for payload \"value\": the others name their metrics themselves".to_owned()
            );
        }
        (PayloadKind::Value, Some(level), None) => PayloadFormat::ValueOfLevel(level),
        (PayloadKind::Value, None, Some(metric)) => {
            PayloadFormat::Value(MetricName::new(metric).map_err(|error| error.to_string())?.as_str().into())
        }
        (PayloadKind::Value, Some(_), Some(_)) => {
            return Err("the metric is named twice, by {metric} and by metric = …".to_owned());
        }
        (PayloadKind::Value, None, None) => {
            return Err("a value needs its metric: a level {metric}, or metric = \"…\"".to_owned());
        }
    };
    let captures: Box<[_]> = pattern
        .placeholders()
        .filter(|(_, name)| *name != METRIC)
        .map(|(level, name)| (Box::from(name), level))
        .collect();
    let given = setting.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    if let Some((name, _)) = given.clone().find(|(_, value)| value.is_empty()) {
        return Err(format!("label {name:?} is empty, which means no label"));
    }
    let labels = Labels::new(given.clone()).map_err(|error| error.to_string())?;
    // With any text in place of the placeholders, which shows what is wrong with their names and their number.
    let captured = captures.iter().map(|(name, _)| (&**name, "x"));
    Labels::new(given.chain(captured)).map_err(|error| error.to_string())?;
    Ok(Route { form, labels, captures })
}
