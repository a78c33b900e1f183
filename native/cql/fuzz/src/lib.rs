//! What must hold of any bytes that the protocol's readers are given: a module for each fuzz target,
//! with a `check` of one input, and `seeds` to start from.
//!
//! `native/cql/tests/fuzz.rs` has these files too, so that seeds and findings are checked by every
//! `cargo test`. Nothing here uses the fuzzer, and no more of `palladion_cql` than any user can.

mod body;
pub mod frames;
mod input;
mod messages;
mod responses;
pub mod results;
mod samples;
pub mod segments;
pub mod supported;
pub mod types;

/// A fuzz target.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Asserts what must hold of an input.
    pub check: fn(&[u8]),
    /// Inputs that get far.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All there are.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "frames",
        check: frames::check,
        seeds: frames::seeds,
    },
    Target {
        name: "segments",
        check: segments::check,
        seeds: segments::seeds,
    },
    Target {
        name: "results",
        check: results::check,
        seeds: results::seeds,
    },
    Target {
        name: "types",
        check: types::check,
        seeds: types::seeds,
    },
    Target {
        name: "supported",
        check: supported::check,
        seeds: supported::seeds,
    },
];
