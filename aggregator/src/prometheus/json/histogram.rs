//! A window as a native histogram.

use catchment_partial::Partial;

use super::number::put_value;

/// `{"count":…,"sum":…,"buckets":[[code, low, high, count],…]}` with the partial's buckets that hold readings, in rising
/// order; without `buckets` if there are none.
///
/// The code says which end belongs to a bucket: 0 the high one (negative values), 1 the low one (positive values), 3
/// both (zeros).
pub(super) fn put_histogram(json: &mut Vec<u8>, window: &Partial) {
    json.extend_from_slice(b"{\"count\":");
    put_value(json, window.count() as f64);
    json.extend_from_slice(b",\"sum\":");
    put_value(json, window.sum());
    let buckets = window.buckets();
    for (number, bucket) in buckets.iter().enumerate() {
        json.extend_from_slice(if number == 0 { b",\"buckets\":[[" } else { b",[" });
        json.push(match () {
            () if bucket.high > 0.0 => b'1',
            () if bucket.low < 0.0 => b'0',
            () => b'3',
        });
        for value in [bucket.low, bucket.high, bucket.count as f64] {
            json.push(b',');
            put_value(json, value);
        }
        json.push(b']');
    }
    if !buckets.is_empty() {
        json.push(b']');
    }
    json.push(b'}');
}

#[cfg(test)]
mod tests {
    use catchment_partial::Timestamp;

    use super::*;

    #[test]
    fn buckets_say_which_end_belongs_to_them() {
        let mut window = Partial::empty();
        for value in [-1.0, 0.0, 1.0, 1.0] {
            window.push(Timestamp::from_millis(1).unwrap(), value);
        }
        let mut json = Vec::new();
        put_histogram(&mut json, &window);
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["count"], "4");
        assert_eq!(json["sum"], "1");
        let buckets = json["buckets"].as_array().unwrap();
        let codes: Vec<_> = buckets.iter().map(|bucket| bucket[0].as_u64().unwrap()).collect();
        assert_eq!(codes, [0, 3, 1]);
        assert_eq!(buckets[1].as_array().unwrap()[1..], ["0", "0", "1"]);
        assert_eq!(
            (&buckets[0][2], &buckets[2][1], &buckets[2][3]),
            (&"-1".into(), &"1".into(), &"2".into())
        );
    }

    #[test]
    fn a_window_without_numbers_has_no_buckets() {
        let mut json = Vec::new();
        put_histogram(&mut json, &Partial::empty());
        assert_eq!(json, br#"{"count":"0","sum":"0"}"#);
    }
}
