//! Goals of figures.

use crate::report::{Better, Goal, Measure};

/// Our figure must reach these.
pub(super) fn at_least(floor: f64, aim: f64) -> Goal {
    Goal { measure: Measure::Ours, better: Better::Higher, floor, aim }
}

/// Our figure must stay below these.
pub(super) fn at_most(floor: f64, aim: f64) -> Goal {
    Goal { measure: Measure::Ours, better: Better::Lower, floor, aim }
}

/// The ratio of our figure to the reference's must reach these.
pub(super) fn times(floor: f64, aim: f64) -> Goal {
    Goal { measure: Measure::Ratio, better: Better::Higher, floor, aim }
}

/// The ratio of our figure to the reference's must stay below these.
pub(super) fn at_most_times(floor: f64, aim: f64) -> Goal {
    Goal { measure: Measure::Ratio, better: Better::Lower, floor, aim }
}
