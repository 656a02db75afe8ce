//! The readings of an object, in order, nested objects flattened with `_`.
//!
//! The object's syntax is checked already, but for names with half a surrogate pair: such an error may leave
//! readings in the sink, which the caller takes back. Recursion is bounded by `DecodeLimits::depth_max`.

use std::{borrow::Cow, fmt};

use catchment_partial::Timestamp;
use catchment_proto::Labels;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Options,
    options::inner,
    outline::{Text, has_meaning, is_meta},
    scalar,
};
use crate::{
    decode::{
        DecodeLimits, excerpt,
        names::{WRITTEN_BYTES_MAX, identifier},
        sink::{Sink, bad_state},
    },
    intake::{Reason, Value},
};

/// Puts the readings of an object into the sink. `short`: leaves out its time, `labels` and `seq`.
pub(super) fn readings(
    text: &str,
    short: bool,
    options: &Options,
    time: Timestamp,
    labels: &Labels,
    sink: &mut Sink<'_>,
) -> Result<(), serde_json::Error> {
    let depth_max = sink.limits.depth_max;
    let mut take = Take { options, time, labels, sink };
    walk(text, Level { options, prefix: None, depth: 1, depth_max, short }, &mut take)
}

/// The number of readings in an object.
pub(super) fn count(
    text: &str,
    short: bool,
    options: &Options,
    limits: &DecodeLimits,
) -> Result<usize, serde_json::Error> {
    let mut count = Count(0);
    let depth_max = limits.depth_max;
    walk(text, Level { options, prefix: None, depth: 1, depth_max, short }, &mut count)?;
    Ok(count.0)
}

/// What is done with each member that is no object.
trait Leaves {
    fn leaf(&mut self, name: &str, raw: &str);
    /// An object nested too deeply.
    fn too_deep(&mut self, name: &str);
}

struct Count(usize);

impl Leaves for Count {
    fn leaf(&mut self, _: &str, _: &str) {
        self.0 += 1;
    }

    fn too_deep(&mut self, _: &str) {
        self.0 += 1;
    }
}

struct Take<'t, 'a> {
    options: &'t Options,
    time: Timestamp,
    labels: &'t Labels,
    sink: &'t mut Sink<'a>,
}

impl Take<'_, '_> {
    fn take(&mut self, name: &str, value: Result<Value<'_>, Cow<'static, str>>) {
        match value {
            Ok(value) => {
                let series = self.sink.take_mapped(name, &identifier(name), self.labels, self.time, value);
                if let Some(series) = series.filter(|_| !has_meaning(name)) {
                    self.sink.learn(name, series);
                }
            }
            Err(kind) => self.sink.refuse(Reason::NotANumber, 1, || {
                format!("{:?} is {kind}; a reading is a finite number, true, false or a text", excerpt(name))
            }),
        }
    }
}

impl Leaves for Take<'_, '_> {
    fn leaf(&mut self, name: &str, raw: &str) {
        if self.sink.admit(1) == 0 {
            return;
        }
        if !raw.starts_with('"') {
            return self.take(name, scalar::value(raw));
        }
        match inner(raw) {
            Some(text) => self.take(name, self.options.of_text(&text).ok_or("a string".into())),
            None => self.sink.refuse(Reason::BadState, 1, || {
                bad_state(&format!("{:?}", excerpt(name)), "a string with half a surrogate pair")
            }),
        }
    }

    fn too_deep(&mut self, name: &str) {
        if self.sink.admit(1) == 1 {
            let depth = self.sink.limits.depth_max;
            self.sink.refuse(Reason::Malformed, 1, || {
                format!("{:?} is nested deeper than {depth} objects", excerpt(name))
            });
        }
    }
}

/// Where in the nesting an object stands.
#[derive(Clone, Copy)]
struct Level<'p> {
    options: &'p Options,
    /// Name of the object, flattened; `None` for the outermost.
    prefix: Option<&'p str>,
    depth: usize,
    depth_max: usize,
    short: bool,
}

fn walk(text: &str, level: Level<'_>, leaves: &mut impl Leaves) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_str(text).deserialize_map(Members { level, leaves })
}

struct Members<'l, L> {
    level: Level<'l>,
    leaves: &'l mut L,
}

impl<'de, L: Leaves> Visitor<'de> for Members<'_, L> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { level, leaves } = self;
        let mut flat = String::new();
        while let Some(Text(key)) = members.next_key()? {
            let raw = members.next_value::<&RawValue>()?.get();
            if level.short && (is_meta(&key) || level.options.is_time(&key)) {
                continue;
            }
            let name = match level.prefix {
                None => &*key,
                Some(prefix) => join(&mut flat, prefix, &key),
            };
            if level.options.ignores(name, raw) {
                continue;
            }
            if !raw.starts_with('{') {
                leaves.leaf(name, raw);
            } else if level.depth >= level.depth_max {
                leaves.too_deep(name);
            } else {
                let inner = Level { prefix: Some(name), depth: level.depth + 1, short: false, ..level };
                walk(raw, inner, leaves).map_err(A::Error::custom)?;
            }
        }
        Ok(())
    }
}

/// Writes `prefix_key` into the buffer. A prefix that is too long for a name already stays as it is: the name is
/// refused anyway, and long names nested in long names cost no more than their own length.
fn join<'f>(flat: &'f mut String, prefix: &'f str, key: &'f str) -> &'f str {
    if prefix.len() > WRITTEN_BYTES_MAX {
        return prefix;
    }
    if key.len() > WRITTEN_BYTES_MAX {
        return key;
    }
    flat.clear();
    flat.push_str(prefix);
    flat.push('_');
    flat.push_str(key);
    flat
}
