//! The members of an object that say something about its readings, found in one pass over all of it.
//!
//! The pass checks the syntax of the whole object; what it keeps are slices of the line.

use std::{borrow::Cow, fmt};

use catchment_proto::{Labels, series::LABELS_MAX};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Options,
    scalar::{count_integer, shown},
    tokens,
};
use crate::{
    decode::{excerpt, names::identifier, sink::Sink},
    intake::Reason,
};

/// A text that is borrowed from the line unless it holds escapes.
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl<'de> Visitor<'de> for AnyText {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        json.deserialize_str(AnyText)
    }
}

/// Whether a top-level member's name has a meaning of its own, in the short form.
pub(super) fn is_meta(name: &str) -> bool {
    matches!(name, "ts" | "labels" | "seq")
}

/// Whether a top-level member's name has a meaning of its own in either form.
pub(super) fn has_meaning(name: &str) -> bool {
    is_meta(name) || matches!(name, "values" | "hello")
}

/// What one pass over an object finds.
pub(super) struct Outline<'de, 'o> {
    pub(super) options: &'o Options,
    pub(super) ts: Option<&'de RawValue>,
    /// The member that is the time by configuration.
    pub(super) time: Option<&'de RawValue>,
    pub(super) labels: Option<&'de RawValue>,
    /// One of the named members that occurs twice.
    pub(super) twice: Option<&'o str>,
    seq: Option<&'de RawValue>,
    seq_twice: bool,
    values: Option<&'de RawValue>,
    hello: Option<&'de RawValue>,
    /// Members that are none of `ts`, `labels`, `seq` and `values`, and the first one's name.
    others: usize,
    first_other: Option<Cow<'de, str>>,
    members: usize,
}

impl<'de, 'o> Outline<'de, 'o> {
    /// Goes over an object.
    ///
    /// # Errors
    /// It is no JSON, or no object.
    pub(super) fn of(text: &'de str, options: &'o Options) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let outline = Members(options).deserialize(&mut json)?;
        json.end()?;
        Ok(outline)
    }

    const fn new(options: &'o Options) -> Self {
        Self {
            options,
            ts: None,
            time: None,
            labels: None,
            twice: None,
            seq: None,
            seq_twice: false,
            values: None,
            hello: None,
            others: 0,
            first_other: None,
            members: 0,
        }
    }

    /// The text of the object's time, if it has one, and whether that is `ts`.
    pub(super) fn moment(&self) -> Option<(&'de str, bool)> {
        let time = self.time.map(|raw| (raw.get(), false));
        time.or_else(|| self.ts.map(|raw| (raw.get(), true)))
    }

    /// The value of `hello`, when that is an object and the only member.
    pub(super) fn hello(&self) -> Option<&'de RawValue> {
        self.hello.filter(|hello| self.members == 1 && hello.get().starts_with('{'))
    }

    /// The object of readings, in the long form.
    pub(super) fn values(&self) -> Option<&'de str> {
        self.values.map(RawValue::get).filter(|values| values.starts_with('{'))
    }

    /// The sequence number, if there is one; a message for the device when it is none.
    pub(super) fn seq(&self) -> Result<Option<u64>, String> {
        if self.seq_twice {
            return Err("\"seq\" is given twice".to_owned());
        }
        self.seq.map_or(Ok(None), |raw| {
            count_integer(raw.get())
                .map(Some)
                .ok_or_else(|| format!("seq is a whole number from 1, {} is not", shown(raw.get())))
        })
    }

    /// Refuses what stands beside `values` without a meaning.
    pub(super) fn refuse_others(&self, sink: &mut Sink<'_>) {
        if let Some(first) = &self.first_other {
            sink.refuse(Reason::Malformed, self.others, || {
                format!(
                    "next to values only ts, labels and seq are allowed; move {:?} into values",
                    excerpt(first)
                )
            });
        }
    }

    fn put(&mut self, name: Cow<'de, str>, raw: &'de RawValue) {
        self.members += 1;
        let (slot, name) = match &*name {
            name if self.options.is_time(name) => (&mut self.time, self.options.time_name(false)),
            "ts" => (&mut self.ts, "ts"),
            "labels" => (&mut self.labels, "labels"),
            "values" => (&mut self.values, "values"),
            "seq" => {
                self.seq_twice |= self.seq.replace(raw).is_some();
                return;
            }
            _ => {
                if name == "hello" {
                    self.hello = Some(raw);
                }
                if self.options.ignores(&name, raw.get()) {
                    return;
                }
                self.others += 1;
                self.first_other.get_or_insert(name);
                return;
            }
        };
        if slot.replace(raw).is_some() {
            self.twice = Some(name);
        }
    }
}

/// Goes over the members of an object.
struct Members<'o>(&'o Options);

impl<'de, 'o> DeserializeSeed<'de> for Members<'o> {
    type Value = Outline<'de, 'o>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, 'o> Visitor<'de> for Members<'o> {
    type Value = Outline<'de, 'o>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut outline = Outline::new(self.0);
        while let Some(Text(name)) = members.next_key()? {
            outline.put(name, members.next_value()?);
        }
        Ok(outline)
    }
}

/// An object of strings as checked labels; a message for the device when it breaks a rule. `note` hears of each name,
/// as it is written and as it is mapped.
pub(super) fn labels(raw: &RawValue, mut note: impl FnMut(&str, &str)) -> Result<Labels, String> {
    let pairs = pairs(raw).map_err(|error| match tokens::first(raw.get()) {
        Some(word) => format!("labels must be an object of strings, not {word}"),
        None => format!("labels must be an object of strings: {error}"),
    })?;
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| (&*name.0, identifier(&name.0), &*value.0)).collect();
    pairs.iter().for_each(|(written, name, _)| note(written, name));
    let labels = Labels::new(pairs.iter().map(|(_, name, value)| (&**name, *value)));
    labels.map_err(|error| error.to_string())
}

/// The members of an object of strings; beyond the most that labels can have one more at most.
fn pairs(raw: &RawValue) -> Result<Vec<(Text<'_>, Text<'_>)>, serde_json::Error> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(Text<'de>, Text<'de>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = members.next_entry::<Text<'de>, Text<'de>>()? {
                // An empty value means no label.
                if pairs.len() <= LABELS_MAX && !pair.1.0.is_empty() {
                    pairs.push(pair);
                }
            }
            Ok(pairs)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(Pairs)
}

/// The epoch of a hello; members that we do not know are left to later versions.
pub(super) fn epoch(raw: &RawValue) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Hello {
        epoch: String,
    }
    match serde_json::from_str::<Hello>(raw.get()) {
        Ok(hello) => Ok(hello.epoch),
        Err(error) => {
            let why = tokens::first(raw.get()).map_or(error.to_string(), |word| format!("{word} is no text"));
            Err(format!("a hello is {{\"hello\":{{\"epoch\":\"…\"}}}}: {why}"))
        }
    }
}
