//! No bytes do harm: whatever a peer sends ends in a message, an error or patience, and takes no
//! more memory than a small multiple of what has arrived, whatever it claims to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../differential/answers.rs"]
mod answers;
#[path = "../differential/convert.rs"]
mod convert;
#[path = "../differential/errors.rs"]
mod errors;
mod frames;
mod messages;
#[allow(dead_code)]
#[path = "../differential/other.rs"]
mod other;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// For one test at a time: what is counted is the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// A test holds it from its first line on.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much memory was taken at most, beyond what was there before.
fn memory_of<R>(work: impl FnOnce() -> R) -> (R, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}
