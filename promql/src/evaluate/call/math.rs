//! Functions of one number.

use std::f64::consts::PI;

use crate::function::Function;

/// The function of each number, if it is that simple.
pub(super) fn simple(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Abs => f64::abs,
        Function::Acos => f64::acos,
        Function::Acosh => f64::acosh,
        Function::Asin => f64::asin,
        Function::Asinh => f64::asinh,
        Function::Atan => f64::atan,
        Function::Atanh => f64::atanh,
        Function::Ceil => f64::ceil,
        Function::Cos => f64::cos,
        Function::Cosh => f64::cosh,
        Function::Deg => |value| value * 180.0 / PI,
        Function::Exp => f64::exp,
        Function::Floor => f64::floor,
        Function::Ln => f64::ln,
        Function::Log10 => f64::log10,
        Function::Log2 => f64::log2,
        Function::Rad => |value| value * PI / 180.0,
        Function::Sgn => sign,
        Function::Sin => f64::sin,
        Function::Sinh => f64::sinh,
        Function::Sqrt => f64::sqrt,
        Function::Tan => f64::tan,
        Function::Tanh => f64::tanh,
        _ => return None,
    })
}

/// 1 or −1; zeros and NaN stay.
fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_a_number_are_those_of_prometheus() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let cases = [
            (Function::Sgn, 0.0, 0.0),
            (Function::Sgn, -3.0, -1.0),
            (Function::Sgn, nan, nan),
            (Function::Ln, 0.0, -inf),
            (Function::Ln, -1.0, nan),
            (Function::Log2, 8.0, 3.0),
            (Function::Log10, 1000.0, 3.0),
            (Function::Sqrt, -1.0, nan),
            (Function::Ceil, 1.2, 2.0),
            (Function::Floor, -1.2, -2.0),
            (Function::Deg, PI, 180.0),
            (Function::Rad, 180.0, PI),
            (Function::Acosh, 0.5, nan),
            (Function::Atanh, 1.0, inf),
            (Function::Abs, -2.0, 2.0),
        ];
        for (function, value, expected) in cases {
            let result = simple(function).unwrap()(value);
            assert!(
                result == expected || (result.is_nan() && expected.is_nan()),
                "{function:?} {value}: {result}"
            );
        }
        assert!(simple(Function::Clamp).is_none());
    }
}
