use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::config::{Reconnect, ReconnectPolicy};

/// Pauses between attempts to connect: by default doubling, never above a cap.
///
/// Jitter spreads the clients of a server that comes back; it takes up to half off a pause that
/// doubles, so that the cap holds.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    reconnect: Reconnect,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(reconnect: &Reconnect) -> Self {
        Self {
            reconnect: *reconnect,
            failures: 0,
        }
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and says how long to wait after it.
    pub(crate) fn failed(&mut self) -> Duration {
        let full = self.full_delay();
        self.failures = self.failures.saturating_add(1);
        match self.reconnect.policy {
            ReconnectPolicy::Exponential => full.mul_f64(1.0 - 0.5 * random_fraction()),
            ReconnectPolicy::Constant | ReconnectPolicy::Custom => self.reconnect.max,
        }
    }

    fn full_delay(&self) -> Duration {
        let factor = 1u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX);
        let Reconnect { min, max, .. } = self.reconnect;
        min.saturating_mul(factor).min(max)
    }
}

/// In 0..1; a new `RandomState` has fresh keys, which is all the randomness that jitter needs.
pub(crate) fn random_fraction() -> f64 {
    let bits = RandomState::new().hash_one(0u8) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reconnect(policy: ReconnectPolicy) -> Reconnect {
        Reconnect {
            policy,
            min: Duration::from_millis(100),
            max: Duration::from_secs(1),
        }
    }

    #[test]
    fn constant_pauses_stay_as_they_are() {
        let mut backoff = Backoff::new(&reconnect(ReconnectPolicy::Constant));
        assert!((0..3).all(|_| backoff.failed() == Duration::from_secs(1)));
        assert_eq!(backoff.failures(), 3);
    }

    #[test]
    fn delays_double_up_to_the_cap_and_stay_there() {
        let mut backoff = Backoff::new(&reconnect(ReconnectPolicy::Exponential));
        for full in [100, 200, 400, 800, 1_000, 1_000].map(Duration::from_millis) {
            let delay = backoff.failed();
            assert!(delay <= full && delay >= full / 2, "{delay:?} of {full:?}");
        }
        backoff.failures = u32::MAX;
        assert!(backoff.failed() <= Duration::from_secs(1));
        backoff.reset();
        assert!(backoff.failed() <= Duration::from_millis(100));
    }

    #[test]
    fn jitter_differs_from_time_to_time() {
        let fractions: Vec<_> = (0..8).map(|_| random_fraction()).collect();
        assert!(fractions.iter().any(|f| *f != fractions[0]));
        assert!(fractions.iter().all(|f| (0.0..1.0).contains(f)));
    }
}
