//! How long the functions on a request's way keep a scheduler, in CPU time of the thread, for the
//! feature `nif-timing`; without it nothing is measured.

use rustler::{Encoder, Env, Term};

use crate::atoms;

#[cfg(feature = "nif-timing")]
mod histogram {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts by the power of two of the nanoseconds.
    pub(super) static COUNTS: [AtomicU64; 40] = [const { AtomicU64::new(0) }; 40];

    pub(super) fn count(nanos: u64) {
        let bucket = (64 - nanos.leading_zeros()).min(39) as usize;
        COUNTS[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// CPU time of this thread.
    #[allow(unsafe_code)]
    pub(super) fn thread_nanos() -> u64 {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the clock exists on every system this is built for, and `time` is ours to fill.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

#[cfg(feature = "nif-timing")]
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> T {
    let start = histogram::thread_nanos();
    let done = work();
    histogram::count(histogram::thread_nanos().saturating_sub(start));
    done
}

#[cfg(not(feature = "nif-timing"))]
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// `{:ok, counts}`: how many calls took less than 1, 2, 4, … nanoseconds and not less than half of
/// that; `{:error, {:disabled, map}}` without the feature `nif-timing`.
#[rustler::nif]
fn nif_timing<'a>(env: Env<'a>) -> Term<'a> {
    #[cfg(feature = "nif-timing")]
    {
        let load =
            |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
        let counts: Vec<u64> = histogram::COUNTS.iter().map(load).collect();
        (atoms::ok(), counts).encode(env)
    }
    #[cfg(not(feature = "nif-timing"))]
    {
        let error = crate::errors::NativeError::new(atoms::disabled());
        (atoms::error(), error).encode(env)
    }
}
