use proptest::prelude::*;

use super::*;

const MILLI: Duration = Duration::from_millis(1);

fn rate(per_second: u32, burst: Duration) -> Rate {
    Rate::new(NonZeroU32::new(per_second).unwrap(), burst)
}

/// The bucket as one would draw it: each millisecond drops thousandths of tokens into it, until it is full.
struct Naive {
    thousandths: i64,
    per_second: i64,
    burst: i64,
    debt_max: i64,
}

impl Naive {
    fn tick(&mut self) {
        self.thousandths = (self.thousandths + self.per_second).min(self.burst * 1_000);
    }

    fn take(&mut self, tokens: i64) {
        let least = (-self.debt_max * 1_000).min(self.thousandths);
        self.thousandths = (self.thousandths - tokens * 1_000).max(least);
    }
}

proptest! {
    #[test]
    fn a_bucket_is_what_the_naive_one_is(
        per_second in 1_u32..5_000,
        burst in 1_u64..4_000,
        debt in prop_oneof![Just(None), (0_u64..20_000).prop_map(Some)],
        steps in prop::collection::vec((0_u64..700, 0_u64..6_000), 1..40),
    ) {
        let mut rate = rate(per_second, Duration::from_millis(burst));
        let mut naive = Naive {
            thousandths: i64::try_from(rate.burst()).unwrap() * 1_000,
            per_second: per_second.into(),
            burst: i64::try_from(rate.burst()).unwrap(),
            debt_max: i64::MAX / 4_000,
        };
        if let Some(debt) = debt {
            rate = rate.with_debt_max(Duration::from_millis(debt));
            naive.debt_max = i64::try_from(u64::from(per_second) * debt / 1_000).unwrap();
        }
        let (mut bucket, mut now) = (TokenBucket::default(), 3 * MILLI);
        for (pause, tokens) in steps {
            (0..pause).for_each(|_| naive.tick());
            now += MILLI * u32::try_from(pause).unwrap();
            prop_assert_eq!(bucket.wait(&rate, now).is_zero(), naive.thousandths >= 1_000);
            bucket.take(&rate, tokens, now);
            naive.take(i64::try_from(tokens).unwrap());
            let full = naive.burst * 1_000;
            // To the nanosecond: neither early nor late.
            let wait = bucket.wait(&rate, now).as_nanos() * u128::from(per_second);
            let lacking = u128::try_from((1_000 - naive.thousandths).max(0)).unwrap() * 1_000_000;
            prop_assert!(wait >= lacking && wait < lacking + u128::from(per_second), "{} {}", wait, lacking);
            let missing = u128::try_from(full - naive.thousandths).unwrap() * 1_000_000;
            let until_full = bucket.full_at(&rate).saturating_sub(now).as_nanos() * u128::from(per_second);
            prop_assert!(until_full >= missing && until_full < missing + u128::from(per_second));
        }
    }
}

#[test]
fn no_argument_overflows() {
    let rate = rate(u32::MAX, Duration::MAX);
    assert_eq!(rate.burst(), u64::from(u32::MAX));
    let mut bucket = TokenBucket::default();
    for now in [Duration::MAX, Duration::ZERO, Duration::MAX] {
        bucket.take(&rate.with_debt_max(Duration::MAX), u64::MAX, now);
        bucket.take(&rate, u64::MAX, now);
        assert!(bucket.wait(&rate, now) > Duration::ZERO);
    }
    assert_eq!(bucket.full_at(&rate), Duration::MAX);
}

#[test]
fn a_clock_that_goes_back_gives_nothing() {
    let rate = rate(10, Duration::from_secs(1));
    let mut bucket = TokenBucket::default();
    bucket.take(&rate, 10, Duration::from_secs(100));
    assert_eq!(bucket.wait(&rate, Duration::from_secs(50)), Duration::from_millis(100));
    bucket.take(&rate, 1, Duration::from_secs(50));
    assert_eq!(bucket.wait(&rate, Duration::from_secs(100)), Duration::from_millis(200));
    assert!(bucket.wait(&rate, Duration::from_millis(100_200)).is_zero());
}
