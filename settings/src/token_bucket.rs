//! A token bucket: how often something may happen, with a burst, and with debt for what turns out to cost more.
//!
//! Pure: the time is an argument, and the arithmetic is exact. A full bucket holds no information, so an owner of many
//! buckets may forget it ([`TokenBucket::full_at`]).

use std::{num::NonZeroU32, time::Duration};

/// Parts of a token: one token a second refills one part a nanosecond.
const PARTS: u128 = 1_000_000_000;

/// The rate of a bucket, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: u64,
    debt_max: u64,
}

impl Rate {
    /// `per_second` tokens a second, at most those of `burst` seconds at once (at least one token).
    pub const fn new(per_second: NonZeroU32, burst: Duration) -> Self {
        let tokens = per_second.get() as u128 * burst.as_millis() / 1_000;
        let burst = match tokens {
            0 => 1,
            tokens if tokens > u32::MAX as u128 => u32::MAX as u64,
            tokens => tokens as u64,
        };
        Self { per_second, burst, debt_max: u64::MAX }
    }

    /// A bucket is never more than this behind: what is taken beyond is free.
    #[must_use]
    pub const fn with_debt_max(mut self, debt: Duration) -> Self {
        let tokens = self.per_second.get() as u128 * debt.as_millis() / 1_000;
        self.debt_max = if tokens > u64::MAX as u128 { u64::MAX } else { tokens as u64 };
        self
    }

    /// Tokens that a full bucket holds.
    pub const fn burst(&self) -> u64 {
        self.burst
    }
}

/// A bucket, full at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBucket {
    /// Parts of tokens that were missing at `at`; more than the burst is debt.
    missing: u128,
    at: Duration,
}

impl TokenBucket {
    /// Takes tokens, into debt if there are too few. `now`: since any fixed point in time; a clock that went back
    /// refills nothing.
    pub fn take(&mut self, rate: &Rate, tokens: u64, now: Duration) {
        let most = u128::from(rate.burst).saturating_add(u128::from(rate.debt_max)).saturating_mul(PARTS);
        let before = self.missing_at(rate, now);
        let after = before.saturating_add(u128::from(tokens) * PARTS).min(most.max(before));
        (self.missing, self.at) = (after, now.max(self.at));
    }

    /// How long until there is a whole token; zero if there is one.
    pub fn wait(&self, rate: &Rate, now: Duration) -> Duration {
        let allowed = u128::from(rate.burst.saturating_sub(1)) * PARTS;
        Self::time_to_refill(self.missing_at(rate, now).saturating_sub(allowed), rate)
    }

    /// When the bucket is full.
    pub fn full_at(&self, rate: &Rate) -> Duration {
        self.at.saturating_add(Self::time_to_refill(self.missing, rate))
    }

    fn missing_at(&self, rate: &Rate, now: Duration) -> u128 {
        let refilled = now.saturating_sub(self.at).as_nanos() * u128::from(rate.per_second.get());
        self.missing.saturating_sub(refilled)
    }

    /// Rounded up.
    fn time_to_refill(parts: u128, rate: &Rate) -> Duration {
        let nanos = parts.div_ceil(u128::from(rate.per_second.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
