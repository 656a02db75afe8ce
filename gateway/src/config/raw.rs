//! Raw readings that stay, and how fast they are sent.

use catchment_settings::{ByteSize, HumanDuration};

use super::{ConfigError, GIB, Settings, time, within};
use crate::kept::KeepLimits;

impl Settings {
    /// What stays, over all shards, and bytes a second.
    pub(super) fn raw(&self) -> Result<(KeepLimits, u64), ConfigError> {
        let size = |given: Option<ByteSize>, default: u64| given.map_or(default, |size| size.0);
        let (off, most) = (HumanDuration::secs(0), HumanDuration::secs(365 * 86_400));
        let time = time("raw_keep", self.raw_keep, off, 0, most)?;
        let bytes = within("raw_keep_bytes", size(self.raw_keep_bytes, GIB), 16 << 20, 1 << 44)?;
        // Batches of 10,000 series with windows of ten seconds take a tenth of that.
        let rate = within("raw_rate", size(self.raw_rate, 1 << 20), 1 << 10, 1 << 40)?;
        Ok((KeepLimits { time, bytes }, rate))
    }
}
