//! Lists of texts and of labels.

use std::{sync::Arc, vec};

use bytes::Bytes;
use catchment_promql::{Annotations, Labels};

use super::{CHUNK_BYTES, HEAD, TRUNCATED, put_labels, put_tail, put_text};
use crate::query::promql::Written;

const ARRAY: [char; 2] = ['[', ']'];
const OBJECT: [char; 2] = ['{', '}'];

/// A list, chunk by chunk.
struct List<T> {
    /// Before the first entry.
    head: Vec<u8>,
    entries: vec::IntoIter<T>,
    put: fn(&mut Vec<u8>, &T),
    is_first: bool,
    tail: Vec<u8>,
}

impl<T: Send + 'static> List<T> {
    /// Between `ends`, those of an array or of an object.
    fn written(entries: Vec<T>, truncated: bool, ends: [char; 2], put: fn(&mut Vec<u8>, &T)) -> Written {
        let mut annotations = Annotations::default();
        if truncated {
            annotations.warn(TRUNCATED);
        }
        let [begin, end] = ends;
        let mut tail = end.to_string().into_bytes();
        put_tail(&mut tail, &annotations);
        let head = format!("{HEAD}{begin}").into_bytes();
        Box::new(Self { head, entries: entries.into_iter(), put, is_first: true, tail })
    }
}

impl<T> Iterator for List<T> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut json = std::mem::take(&mut self.head);
        while json.len() < CHUNK_BYTES {
            let Some(entry) = self.entries.next() else {
                json.append(&mut self.tail);
                break;
            };
            if !std::mem::take(&mut self.is_first) {
                json.push(b',');
            }
            (self.put)(&mut json, &entry);
        }
        (!json.is_empty()).then(|| json.into())
    }
}

/// A list of texts; `truncated` adds the warning that it was cut.
pub(in crate::prometheus) fn texts<T: AsRef<str> + Send + 'static>(
    texts: Vec<T>,
    truncated: bool,
) -> Written {
    List::written(texts, truncated, ARRAY, |json, text| put_text(json, text.as_ref()))
}

/// A list of labels, those of one series each.
pub(in crate::prometheus) fn label_sets(series: Vec<Labels>, truncated: bool) -> Written {
    List::written(series, truncated, ARRAY, put_labels)
}

/// What is known of metrics, which is not more than their names.
pub(in crate::prometheus) fn metadata(names: Vec<Arc<str>>) -> Written {
    List::written(names, false, OBJECT, |json, name| {
        put_text(json, name);
        json.extend_from_slice(br#":[{"type":"unknown","help":"","unit":""}]"#);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(chunks: Written) -> String {
        String::from_utf8(chunks.flatten().collect()).unwrap()
    }

    #[test]
    fn lists_are_never_null() {
        assert_eq!(whole(texts(Vec::<String>::new(), false)), r#"{"status":"success","data":[]}"#);
        assert_eq!(
            whole(texts(vec!["a\"b", "c"], true)),
            r#"{"status":"success","data":["a\"b","c"],"warnings":["results truncated due to limit"]}"#
        );
        let labels = Labels::new(vec![("device".into(), "d1".into()), ("__name__".into(), "m".into())]);
        assert_eq!(
            whole(label_sets(vec![labels, Labels::default()], false)),
            r#"{"status":"success","data":[{"__name__":"m","device":"d1"},{}]}"#
        );
    }

    #[test]
    fn metadata_is_an_object() {
        assert_eq!(whole(metadata(Vec::new())), r#"{"status":"success","data":{}}"#);
        assert_eq!(
            whole(metadata(vec!["a".into()])),
            r#"{"status":"success","data":{"a":[{"type":"unknown","help":"","unit":""}]}}"#
        );
    }

    #[test]
    fn long_lists_come_in_chunks() {
        let long: Vec<_> = (0..100_000).map(|number| number.to_string()).collect();
        let chunks: Vec<_> = texts(long.clone(), false).collect();
        assert!(chunks.len() > 5 && chunks.iter().all(|chunk| chunk.len() < CHUNK_BYTES + 100));
        let json: serde_json::Value = serde_json::from_slice(&chunks.concat()).unwrap();
        assert_eq!(json["data"], serde_json::Value::from(long));
    }
}
