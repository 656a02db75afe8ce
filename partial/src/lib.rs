//! Windows of time and the mergeable summaries of the readings in them.
//!
//! Pure: no input or output, no clock, no randomness, and floating point only in operations that IEEE 754
//! specifies to the last bit. So a gateway, its replay after a crash and an aggregator on another machine all
//! come to the same bits.
//!
//! * [`Timestamp`], [`Width`], [`Window`]: which window a reading belongs to.
//! * [`Partial`]: what is kept of the readings of one series in one window. Merging is commutative and
//!   associative, and equal, bit for bit, to a single pass over all readings in any order.

mod partial;
mod time;
mod window;
mod zigzag;

pub use partial::{DecodeError, ENCODING_VERSION, EXACT_MAX, MAX_BINS, Partial, Point, RELATIVE_ACCURACY};
pub use time::Timestamp;
pub use window::{Width, WidthError, Window};
pub use zigzag::{unzigzag, zigzag};
