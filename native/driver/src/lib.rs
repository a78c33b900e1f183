//! Pooled TLS connections to CQL servers, with their session cache and logins, on tokio.
//!
//! A [`Cluster`] keeps a [`pool`] for each contact point. A request goes straight onto the bounded
//! queue of one connection ([`Cluster::submit`]) and its answer comes back through the [`Reply`] it
//! brought along; nothing stands between. What users of the BEAM see is the business of the crate
//! `palladion-nif`.

mod backoff;
pub mod cluster;
pub mod config;
pub mod connection;
mod error;
mod event;
mod login;
pub mod network;
mod pool;
mod prepared;
mod request;
mod secret;
mod stats;
pub mod tls;

pub use cluster::{Cluster, EndpointStatus, Phase, Refused, Status, Waiter};
pub use config::ClusterConfig;
pub use error::{CertificateProblem, ConnectError, Failure, RequestError, Step};
pub use event::{Event, EventSink, NoEvents};
pub use prepared::{PreparedCache, Statement};
pub use request::{Answer, Cancelled, Reply, Request, RequestState};
pub use secret::Secret;
pub use stats::{Counter, Stats};
