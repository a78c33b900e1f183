//! The Cassandra native protocol (versions 3 to 5), as bytes and plain values.
//!
//! Nothing here does I/O: a driver hands in bytes as they arrive ([`frame::FrameReader`]) and
//! sends what the functions of [`request`] return. Values pass through two traits so that one
//! codec serves every representation: [`value::Builder`] is handed each decoded value and makes
//! what its user holds (BEAM terms, [`value::Value`], only counts), and [`value::Source`] is asked
//! for what an encoder needs.
//!
//! What differs between versions, and what a connection has agreed on beside, is in its [`Dialect`].
//! The bytes follow `native_protocol_v3.spec` to `v5.spec` of Apache Cassandra.

mod compress;
pub mod consistency;
mod dialect;
mod error;
pub mod event;
pub mod frame;
pub mod request;
pub mod response;
pub mod segment;
pub mod types;
pub mod value;
pub mod wire;

pub use consistency::Consistency;
pub use dialect::{Compression, Dialect, Version};
pub use error::DecodeError;
pub use event::ServerEvent;
pub use frame::{Frame, FrameReader, Header, Incoming, Opcode};
pub use types::{ColumnSpec, ColumnType};
