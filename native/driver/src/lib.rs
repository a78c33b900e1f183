//! Pooled TLS connections to CQL servers, with their session cache and logins, on tokio.
//!
//! A [`Cluster`] finds its nodes over a control connection and keeps a pool for each. A request goes straight onto the bounded
//! queue of one connection ([`Cluster::submit`]) and its answer comes back through the [`Reply`] it
//! brought along; nothing stands between. What users of the BEAM see is the business of the crate
//! `palladion-nif`.

pub mod auth;
mod backoff;
pub mod cluster;
pub mod config;
pub mod connection;
mod control;
mod error;
mod event;
mod login;
mod manager;
pub mod network;
mod node;
mod overflow;
mod pool;
mod prepared;
pub mod probe;
mod protocol;
mod refusal;
mod request;
mod secret;
mod stats;
mod table;
pub mod tls;

pub use cluster::{Cluster, NodeStatus, Phase, PreparedTls, Refused, Status, Waiter};
pub use config::ClusterConfig;
pub use error::{
    CertificateProblem, ConnectError, Failure, LoginProblem, RefusedLogin, RequestError, Step,
};
pub use event::{ControlInfo, Event, EventSink, NoEvents};
pub use node::{Distance, Endpoint, NodeId, NodeSpec, Route};
pub use prepared::{PreparedCache, Statement};
pub use request::{Answer, Cancelled, Reply, Request, RequestState};
pub use secret::Secret;
pub use stats::{Counter, Stats};
