//! Metric names, labels, and series: a device, a metric and labels.
//!
//! Labels are canonical (sorted by name, no empty values), so equal series are equal byte for byte.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::{
    id::{Name, NameError},
    wire,
};

/// Maximum length of a metric or label name in bytes.
pub const NAME_BYTES_MAX: usize = 200;
/// Maximum number of labels of a series.
pub const LABELS_MAX: usize = 16;
/// Maximum length of a label value in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;
/// Label names that the system assigns; names that begin with `__` are reserved too.
pub const RESERVED_LABELS: [&str; 3] = ["site", "gateway", "device"];

/// Whether a text matches `[A-Za-z_][A-Za-z0-9_]*`.
fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The beginning of a text from outside, fit for a message.
pub fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Name of a metric: `[A-Za-z_][A-Za-z0-9_]*`, at most 200 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricName(Arc<str>);

/// Why a text is not a valid [`MetricName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// Longer than 200 bytes.
    #[error("a metric name has at most {NAME_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// Does not match the pattern; holds the beginning of the text.
    #[error("a metric name matches [A-Za-z_][A-Za-z0-9_]*, {0:?} does not")]
    Pattern(String),
}

impl MetricName {
    /// Checks a text and makes it a metric name.
    ///
    /// # Errors
    /// The rule that the text violates.
    pub fn new(text: &str) -> Result<Self, MetricError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    /// Checks a text only.
    ///
    /// # Errors
    /// As [`MetricName::new`].
    pub fn check(text: &str) -> Result<(), MetricError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(MetricError::TooLong(text.len()));
        }
        if !is_identifier(text) {
            return Err(MetricError::Pattern(excerpt(text)));
        }
        Ok(())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for MetricName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Labels of a series: sorted by name, each name once, no empty values (an empty value means no label, as in
/// PromQL).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Option<Arc<[Pair]>>);

/// Name and value of a label.
type Pair = (Arc<str>, Arc<str>);

/// Why pairs are not valid [`Labels`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// More than 16.
    #[error("a series has at most {LABELS_MAX} labels, this one has {0}")]
    TooMany(usize),
    /// A name that does not match the pattern or is too long.
    #[error(
        "a label name matches [A-Za-z_][A-Za-z0-9_]* and has at most {NAME_BYTES_MAX} bytes, {0:?} does not"
    )]
    Name(String),
    /// A name that only the system may assign.
    #[error("label {0:?} is reserved")]
    Reserved(String),
    /// A name that occurs twice.
    #[error("label {0:?} is given twice")]
    Twice(String),
    /// A value of more than 256 bytes.
    #[error("the value of label {0:?} has {1} bytes, at most {LABEL_VALUE_BYTES_MAX} are allowed")]
    Value(String, usize),
}

impl Labels {
    /// No labels.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Checks pairs and sorts them into canonical order.
    ///
    /// # Errors
    /// The first rule that a pair violates.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, LabelsError> {
        let mut sorted: Vec<(&str, &str)> = Vec::new();
        for (name, value) in pairs {
            if sorted.len() > LABELS_MAX {
                return Err(LabelsError::TooMany(sorted.len()));
            }
            if name.len() > NAME_BYTES_MAX || !is_identifier(name) {
                return Err(LabelsError::Name(excerpt(name)));
            }
            if RESERVED_LABELS.contains(&name) || name.starts_with("__") {
                return Err(LabelsError::Reserved(excerpt(name)));
            }
            if value.len() > LABEL_VALUE_BYTES_MAX {
                return Err(LabelsError::Value(excerpt(name), value.len()));
            }
            if !value.is_empty() {
                sorted.push((name, value));
            }
        }
        if sorted.len() > LABELS_MAX {
            return Err(LabelsError::TooMany(sorted.len()));
        }
        sorted.sort_unstable();
        let twice = sorted.iter().zip(sorted.iter().skip(1)).find(|(a, b)| a.0 == b.0);
        if let Some(((name, _), _)) = twice {
            return Err(LabelsError::Twice(excerpt(name)));
        }
        if sorted.is_empty() {
            return Ok(Self::none());
        }
        Ok(Self(Some(sorted.into_iter().map(|(n, v)| (n.into(), v.into())).collect())))
    }

    /// The pairs in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|pairs| pairs.iter().map(|(n, v)| (&**n, &**v)))
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |pairs| pairs.len())
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// A series within its gateway: device, metric and labels. Site and gateway come from the delivering gateway's
/// certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// The device that measures.
    pub device: Name,
    /// What it measures.
    pub metric: MetricName,
    /// The series' own labels.
    pub labels: Labels,
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{device={:?}", self.metric, self.device)?;
        for (name, value) in self.labels.iter() {
            write!(f, ",{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// Why a series in a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// The device's name is invalid.
    #[error("device: {0}")]
    Device(#[from] NameError),
    /// The metric's name is invalid.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The labels are invalid.
    #[error(transparent)]
    Labels(#[from] LabelsError),
}

impl TryFrom<&wire::SeriesRef> for SeriesKey {
    type Error = SeriesError;

    fn try_from(wire: &wire::SeriesRef) -> Result<Self, SeriesError> {
        Ok(Self {
            device: Name::new(&wire.device)?,
            metric: MetricName::new(&wire.metric)?,
            labels: Labels::new(wire.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())))?,
        })
    }
}

impl From<(&str, &str)> for wire::Label {
    fn from((name, value): (&str, &str)) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }
}

impl From<&SeriesKey> for wire::SeriesRef {
    fn from(key: &SeriesKey) -> Self {
        Self {
            device: key.device.as_str().to_owned(),
            metric: key.metric.as_str().to_owned(),
            labels: key.labels.iter().map(wire::Label::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
