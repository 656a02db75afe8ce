//! Numbers and labels in messages, as Prometheus prints them.

use crate::labels::Labels;

/// Labels as `{__name__="x", a="1"}`.
pub(super) fn labels(labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", "))
}

/// A number as the value of a label: never with an exponent.
pub(super) fn value(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    number.to_string()
}

/// A number in a message: `%g` of Go.
pub(super) fn short(number: f64) -> String {
    let exponent = format!("{number:e}");
    let Some((digits, power)) = exponent.split_once('e') else { return value(number) };
    match power.parse::<i32>() {
        Ok(power) if !(-4..6).contains(&power) => format!("{digits}e{power:+03}"),
        _ => value(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_in_prometheus() {
        let cases = [
            (1e21, "1000000000000000000000", "1e+21"),
            (1e-7, "0.0000001", "1e-07"),
            (2.0, "2", "2"),
            (-0.0, "-0", "-0"),
            (f64::NAN, "NaN", "NaN"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (1_234_567.0, "1234567", "1.234567e+06"),
            (1.5e300, &format!("15{}", "0".repeat(299)), "1.5e+300"),
        ];
        for (number, long, brief) in cases {
            assert_eq!(value(number), long);
            assert_eq!(short(number), brief);
        }
    }

    #[test]
    fn labels_are_printed_in_braces() {
        let of = Labels::new(vec![("b".into(), "x\"y".into()), ("__name__".into(), "v".into())]);
        assert_eq!(labels(&of), r#"{__name__="v", b="x\"y"}"#);
        assert_eq!(labels(&Labels::default()), "{}");
    }
}
