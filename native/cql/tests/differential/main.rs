//! Whether another implementation of the protocol, the crate `cassandra-protocol`, means the same by
//! the same bytes: requests, responses, frames, segments and values, in both directions.
//!
//! Left out is what that crate has not: named values, ScyllaDB's extensions, the errors 0x1600 and
//! 0x1700, the event MOVED_NODE, the metadata's id in results without metadata, vectors of other
//! things than floats, and texts of more than 32,767 bytes where a length is a `[short]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod asked;
mod convert;
mod errors;
mod other;
mod requests;
mod responses;
#[path = "../support/mod.rs"]
mod support;
mod values;
