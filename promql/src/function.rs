//! All functions, by what they need.

mod advice;
mod signature;

pub use advice::Advice;
pub(crate) use signature::{Argument, Signature};

/// A function of PromQL that has an answer here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in PromQL")]
pub enum Function {
    // Of a range of time.
    AbsentOverTime,
    AvgOverTime,
    Changes,
    CountOverTime,
    Delta,
    FirstOverTime,
    Increase,
    LastOverTime,
    MaxOverTime,
    MinOverTime,
    PresentOverTime,
    QuantileOverTime,
    Rate,
    Resets,
    StddevOverTime,
    StdvarOverTime,
    SumOverTime,
    TsOfFirstOverTime,
    TsOfLastOverTime,
    TsOfMaxOverTime,
    TsOfMinOverTime,
    // Of each value.
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Clamp,
    ClampMax,
    ClampMin,
    Cos,
    Cosh,
    Deg,
    Exp,
    Floor,
    Ln,
    Log10,
    Log2,
    Rad,
    Round,
    Sgn,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
    Timestamp,
    // Of times; without an argument, of the time of evaluation.
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
    Month,
    Year,
    // Of labels and whole vectors.
    Absent,
    LabelJoin,
    LabelReplace,
    Scalar,
    Sort,
    SortByLabel,
    SortByLabelDesc,
    SortDesc,
    Vector,
    // Without an argument.
    Pi,
    Time,
    // Of windows; quantile and fraction also of classic buckets.
    HistogramAvg,
    HistogramCount,
    HistogramFraction,
    HistogramQuantile,
    HistogramStddev,
    HistogramStdvar,
    HistogramSum,
}

impl Function {
    /// The function of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        signature::TABLE.iter().find(|(known, ..)| *known == name).map(|(_, function, _)| *function)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        signature::TABLE.iter().find(|(_, function, _)| *function == self).map_or("", |(name, ..)| name)
    }

    /// What it takes and gives.
    pub(crate) fn signature(self) -> Signature {
        signature::TABLE
            .iter()
            .find(|(_, function, _)| *function == self)
            .map_or(signature::NOTHING, |(_, _, of)| *of)
    }
}
