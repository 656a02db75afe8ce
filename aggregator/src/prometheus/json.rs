//! JSON exactly as Prometheus prints it, in chunks.

mod answer;
mod histogram;
mod list;
mod number;

use bytes::Bytes;
use catchment_promql::{Annotations, Labels};

pub(super) use self::{
    answer::{Shape, answer},
    list::{label_sets, metadata, texts},
};

/// A chunk is full from here on, bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// Warning of an answer that was cut at `limit`.
const TRUNCATED: &str = "results truncated due to limit";

/// What precedes the data of every answer.
const HEAD: &str = r#"{"status":"success","data":"#;

/// A text as a JSON string.
fn put_text(json: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail, nor does a text.
    let _ = serde_json::to_writer(json, text);
}

/// Labels as an object.
fn put_labels(json: &mut Vec<u8>, labels: &Labels) {
    json.push(b'{');
    for (number, (name, value)) in labels.iter().enumerate() {
        if number > 0 {
            json.push(b',');
        }
        put_text(json, name);
        json.push(b':');
        put_text(json, value);
    }
    json.push(b'}');
}

/// What follows the data: warnings and notes, and the end.
fn put_tail(json: &mut Vec<u8>, annotations: &Annotations) {
    for (key, texts) in [("warnings", annotations.warnings()), ("infos", annotations.infos())] {
        if texts.is_empty() {
            continue;
        }
        json.extend_from_slice(format!(",\"{key}\":[").as_bytes());
        for (number, text) in texts.iter().enumerate() {
            if number > 0 {
                json.push(b',');
            }
            put_text(json, text);
        }
        json.push(b']');
    }
    json.push(b'}');
}

/// A whole answer whose data is JSON already.
pub(super) fn success(data: &str) -> Bytes {
    format!("{HEAD}{data}}}").into()
}

/// A text as a JSON string of its own.
pub(super) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
