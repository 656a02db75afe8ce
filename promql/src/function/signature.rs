//! What functions take and give.

use super::Function;
use crate::plan::Kind;

/// What a function wants at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// A value of this kind.
    Value(Kind),
    /// A range of time.
    Range,
}

/// What a function takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    /// What it takes, in order.
    pub(crate) arguments: &'static [Argument],
    /// How many of these must be given.
    pub(crate) least: usize,
    /// The last may be given any number of times.
    pub(crate) repeats: bool,
    /// What it gives.
    pub(crate) gives: Kind,
}

const SCALAR: Argument = Argument::Value(Kind::Scalar);
const VALUE: Argument = Argument::Value(Kind::Vector);
const TEXT: Argument = Argument::Value(Kind::Text);

const fn exactly(arguments: &'static [Argument]) -> Signature {
    Signature { arguments, least: arguments.len(), repeats: false, gives: Kind::Vector }
}

pub(super) const NOTHING: Signature = Signature { gives: Kind::Scalar, ..exactly(&[]) };
const RANGE: Signature = exactly(&[Argument::Range]);
const SCALAR_RANGE: Signature = exactly(&[SCALAR, Argument::Range]);
const VECTOR: Signature = exactly(&[VALUE]);
const VECTOR_SCALAR: Signature = exactly(&[VALUE, SCALAR]);
const VECTOR_TWO_SCALARS: Signature = exactly(&[VALUE, SCALAR, SCALAR]);
const SCALAR_VECTOR: Signature = exactly(&[SCALAR, VALUE]);
const FRACTION: Signature = exactly(&[SCALAR, SCALAR, VALUE]);
const ROUND: Signature = Signature { least: 1, ..VECTOR_SCALAR };
const TIMES: Signature = Signature { least: 0, ..VECTOR };
const FROM_SCALAR: Signature = exactly(&[SCALAR]);
const TO_SCALAR: Signature = Signature { gives: Kind::Scalar, ..VECTOR };
const LABEL_REPLACE: Signature = exactly(&[VALUE, TEXT, TEXT, TEXT, TEXT]);
const LABEL_JOIN: Signature = Signature { least: 3, repeats: true, ..exactly(&[VALUE, TEXT, TEXT, TEXT]) };
const SORT_BY_LABEL: Signature = Signature { least: 1, repeats: true, ..exactly(&[VALUE, TEXT]) };

/// All functions with their names.
pub(super) const TABLE: [(&str, Function, Signature); 75] = [
    ("absent_over_time", Function::AbsentOverTime, RANGE),
    ("avg_over_time", Function::AvgOverTime, RANGE),
    ("changes", Function::Changes, RANGE),
    ("count_over_time", Function::CountOverTime, RANGE),
    ("delta", Function::Delta, RANGE),
    ("first_over_time", Function::FirstOverTime, RANGE),
    ("increase", Function::Increase, RANGE),
    ("last_over_time", Function::LastOverTime, RANGE),
    ("max_over_time", Function::MaxOverTime, RANGE),
    ("min_over_time", Function::MinOverTime, RANGE),
    ("present_over_time", Function::PresentOverTime, RANGE),
    ("quantile_over_time", Function::QuantileOverTime, SCALAR_RANGE),
    ("rate", Function::Rate, RANGE),
    ("resets", Function::Resets, RANGE),
    ("stddev_over_time", Function::StddevOverTime, RANGE),
    ("stdvar_over_time", Function::StdvarOverTime, RANGE),
    ("sum_over_time", Function::SumOverTime, RANGE),
    ("ts_of_first_over_time", Function::TsOfFirstOverTime, RANGE),
    ("ts_of_last_over_time", Function::TsOfLastOverTime, RANGE),
    ("ts_of_max_over_time", Function::TsOfMaxOverTime, RANGE),
    ("ts_of_min_over_time", Function::TsOfMinOverTime, RANGE),
    ("abs", Function::Abs, VECTOR),
    ("acos", Function::Acos, VECTOR),
    ("acosh", Function::Acosh, VECTOR),
    ("asin", Function::Asin, VECTOR),
    ("asinh", Function::Asinh, VECTOR),
    ("atan", Function::Atan, VECTOR),
    ("atanh", Function::Atanh, VECTOR),
    ("ceil", Function::Ceil, VECTOR),
    ("clamp", Function::Clamp, VECTOR_TWO_SCALARS),
    ("clamp_max", Function::ClampMax, VECTOR_SCALAR),
    ("clamp_min", Function::ClampMin, VECTOR_SCALAR),
    ("cos", Function::Cos, VECTOR),
    ("cosh", Function::Cosh, VECTOR),
    ("deg", Function::Deg, VECTOR),
    ("exp", Function::Exp, VECTOR),
    ("floor", Function::Floor, VECTOR),
    ("ln", Function::Ln, VECTOR),
    ("log10", Function::Log10, VECTOR),
    ("log2", Function::Log2, VECTOR),
    ("rad", Function::Rad, VECTOR),
    ("round", Function::Round, ROUND),
    ("sgn", Function::Sgn, VECTOR),
    ("sin", Function::Sin, VECTOR),
    ("sinh", Function::Sinh, VECTOR),
    ("sqrt", Function::Sqrt, VECTOR),
    ("tan", Function::Tan, VECTOR),
    ("tanh", Function::Tanh, VECTOR),
    ("timestamp", Function::Timestamp, VECTOR),
    ("day_of_month", Function::DayOfMonth, TIMES),
    ("day_of_week", Function::DayOfWeek, TIMES),
    ("day_of_year", Function::DayOfYear, TIMES),
    ("days_in_month", Function::DaysInMonth, TIMES),
    ("hour", Function::Hour, TIMES),
    ("minute", Function::Minute, TIMES),
    ("month", Function::Month, TIMES),
    ("year", Function::Year, TIMES),
    ("absent", Function::Absent, VECTOR),
    ("label_join", Function::LabelJoin, LABEL_JOIN),
    ("label_replace", Function::LabelReplace, LABEL_REPLACE),
    ("scalar", Function::Scalar, TO_SCALAR),
    ("sort", Function::Sort, VECTOR),
    ("sort_by_label", Function::SortByLabel, SORT_BY_LABEL),
    ("sort_by_label_desc", Function::SortByLabelDesc, SORT_BY_LABEL),
    ("sort_desc", Function::SortDesc, VECTOR),
    ("vector", Function::Vector, FROM_SCALAR),
    ("pi", Function::Pi, NOTHING),
    ("time", Function::Time, NOTHING),
    ("histogram_avg", Function::HistogramAvg, VECTOR),
    ("histogram_count", Function::HistogramCount, VECTOR),
    ("histogram_fraction", Function::HistogramFraction, FRACTION),
    ("histogram_quantile", Function::HistogramQuantile, SCALAR_VECTOR),
    ("histogram_stddev", Function::HistogramStddev, VECTOR),
    ("histogram_stdvar", Function::HistogramStdvar, VECTOR),
    ("histogram_sum", Function::HistogramSum, VECTOR),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_functions_are_one_to_one() {
        for (name, function, signature) in TABLE {
            assert_eq!(Function::from_name(name), Some(function));
            assert_eq!(function.name(), name);
            assert_eq!(function.signature(), signature);
            let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
            assert_eq!(format!("{function:?}"), words.collect::<String>());
        }
    }
}
