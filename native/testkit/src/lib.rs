//! A scripted CQL server (protocol v4) with TLS, for tests and benchmarks: it answers what it is
//! told to, misbehaves where it is told to, and counts what it sees.
//!
//! Without a [`Rule`] it answers:
//!
//! | statement | answer |
//! |---|---|
//! | `SELECT echo(int, name text)` | one row of the very values that were bound; its bind markers and columns have these types, and the names given or `c0`, `c1`, …. `key` after a type makes it part of the partition key |
//! | `INSERT void(int, text)` | nothing; its bind markers have these types |
//! | `SELECT page(5000)` | so many rows of nine columns, built once |
//! | `SELECT numbers(100)` | rows of one int `n` from 0 on, in pages of the size asked for |
//! | `SELECT … FROM system.local`, `system.peers` | one row, none |
//! | `USE keyspace` | the keyspace |
//! | anything else | nothing, but PREPARE with `?` in it is an error, since nobody says what its bind markers are |
//!
//! With [`ClusterOptions`] it is many nodes at once, on one port of many loopback addresses; the
//! tables of the system keyspace then say what Cassandra's say, whatever happens to the nodes.
//!
//! Who may log in, by which method, and what goes wrong then, is in [`login`]; [`aws`] has stand-ins for the
//! services that give out what logins by signature need.
//!
//! The binary `palladion-testkit` does the same for what is not Rust; `palladion-testkit help` says how.

mod accept;
pub mod aws;
pub mod certs;
mod clock;
mod connection;
mod control;
mod counters;
mod error;
mod event;
mod hash;
mod literal;
pub mod login;
mod node;
mod nodes;
mod options;
mod request;
mod response;
mod script;
mod server;
mod session;
mod shared;
mod statement;
mod system;
mod tls;
mod types;

pub use counters::{ConnectionInfo, Counters, Handshake, LoginInfo, NodeCounters};
pub use error::Error;
pub use event::Event;
pub use literal::{parse_hex, parse_value};
pub use login::Login;
pub use node::{numbered_uuid, Node, NodeInfo};
pub use options::{ClusterOptions, Options};
pub use response::Rows;
pub use script::{Reaction, Rule, Text};
pub use server::Server;
pub use tls::{TlsOptions, Versions};
pub use types::{parse_columns, parse_type};
