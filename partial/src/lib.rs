//! Windows of time, and mergeable summaries of the readings in them.
//!
//! Pure: no input or output, no clock, no randomness, and only floating-point operations that IEEE 754
//! specifies to the last bit. So a gateway, its replay after a crash and an aggregator on another machine all
//! compute the same bits.
//!
//! * [`Timestamp`], [`Width`], [`Window`]: assign a reading to a window.
//! * [`Partial`]: the summary of one series' readings in one window. Merging is commutative and associative, and equal,
//!   bit for bit, to a single pass over all readings in any order.

mod partial;
mod time;
mod window;
mod zigzag;

pub use partial::{
    Bucket, Collector, CounterFigures, DecodeError, ENCODING_VERSION, EXACT_MAX, MAX_BINS, OTHER_STATE,
    OrderFigures, Partial, Parts, PartsError, Point, RELATIVE_ACCURACY, STATE_BYTES_MAX, STATES_MAX,
    SeriesOrder, Spares,
};
pub use time::Timestamp;
pub use window::{Width, WidthError, Window};
pub use zigzag::{unzigzag, zigzag};
