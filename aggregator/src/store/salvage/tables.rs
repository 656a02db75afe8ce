//! Verifying and mending tables, on the real disk.
//!
//! In the order of use: `known` (what the catalog says of rows), `loss` (spans of rows that cannot be read), `extents`
//! (the times of series), `survey` (reads every table), `rows` (the rows of several tables, each once), `intervals` (rows merged by interval), `compare` (merged
//! rows against finer ones); and for a repair: `places` (which file is which table), `mend` (the steps), `adopt`
//! (files without a record), `windows`, `recompute` (minutes, hours and days again), `aside` (what counts no more).

mod adopt;
pub(in crate::store) mod aside;
pub(in crate::store) mod compare;
pub(in crate::store) mod extents;
pub(in crate::store) mod intervals;
pub(in crate::store) mod known;
pub(in crate::store) mod loss;
pub(in crate::store) mod mend;
pub(in crate::store) mod places;
pub(in crate::store) mod recompute;
pub(in crate::store) mod rows;
pub(in crate::store) mod survey;
pub(in crate::store) mod windows;
