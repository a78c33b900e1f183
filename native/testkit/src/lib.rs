//! A scripted CQL server (protocol v3 to v5) with TLS, for tests and benchmarks: it answers what it is
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
mod head;
mod hostile;
mod literal;
pub mod login;
mod node;
mod nodes;
mod options;
mod random;
mod request;
mod requests;
mod response;
mod rows;
mod script;
mod segments;
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
pub use head::Extras;
pub use hostile::{Hostile, Kind as HostileKind};
pub use literal::{parse_hex, parse_value};
pub use login::Login;
pub use node::{numbered_uuid, Node, NodeInfo};
pub use options::{ClusterOptions, Options, Refusal};
pub use requests::{RequestInfo, StatementInfo};
pub use rows::Rows;
pub use script::{Reaction, Rule, Text};
pub use segments::Cut;
pub use server::Server;
pub use tls::{TlsOptions, Versions};
pub use types::{parse_columns, parse_type};
