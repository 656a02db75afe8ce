//! Lets others work now and then.

use super::Context;
use crate::error::PromqlError;

/// Values after which others may work.
const VALUES_MAX: usize = 16_384;

/// Labels of a series cost as much as so many values.
pub(super) const SERIES_VALUES: usize = 64;

/// Counts values since others could work.
pub(super) struct Pace<'c, 'a> {
    context: &'c Context<'a>,
    values: usize,
}

impl<'c, 'a> Pace<'c, 'a> {
    pub(super) fn new(context: &'c Context<'a>) -> Self {
        Self { context, values: 0 }
    }

    /// So many values were computed.
    ///
    /// # Errors
    /// The time is over, or the caller is gone.
    pub(super) async fn did(&mut self, values: usize) -> Result<(), PromqlError> {
        self.values = self.values.saturating_add(values);
        if self.values >= VALUES_MAX {
            self.values = 0;
            self.context.source.yield_point().await?;
        }
        Ok(())
    }
}
