//! What a cluster needs to know, validated by whoever made it.

use std::sync::Arc;
use std::time::Duration;

use palladion_cql::{Compression, Version};

use crate::auth::{AuthConfig, Callbacks};
use crate::tls::TlsConfig;

/// A cluster's configuration.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The cluster's name, for messages.
    pub name: String,
    /// Where to connect first, and again when no node can be reached.
    pub contact_points: Vec<ContactPoint>,
    /// The keyspace put in use on every connection.
    pub keyspace: Option<String>,
    /// What STARTUP says about the client.
    pub client: ClientIdentity,
    /// What is spoken.
    pub protocol: ProtocolConfig,
    /// The size of each pool.
    pub pool_size: usize,
    /// The bounds of each connection.
    pub connection: ConnectionLimits,
    /// Requests that may wait for room while every connection's queue is full.
    pub max_overflow: usize,
    /// Queries that may wait for the first connection.
    pub max_waiters: usize,
    /// Prepared statements remembered.
    pub prepared_cache_size: usize,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// The pauses between attempts to connect.
    pub reconnect: Reconnect,
    /// Whether a control connection finds out which nodes there are; else the contact points are
    /// all.
    pub discover: bool,
    /// TLS, or plain TCP.
    pub tls: Option<TlsConfig>,
    /// The login.
    pub auth: Option<AuthConfig>,
    /// Who is asked where only the user's own code can answer.
    pub callbacks: Arc<dyn Callbacks>,
    /// TLS handshakes and logins under way at once, over all nodes.
    pub max_handshakes: usize,
}

/// What is spoken on connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProtocolConfig {
    /// The version, or the newest that servers take.
    pub version: Option<Version>,
    /// How what is sent is compressed.
    pub compression: Option<Compression>,
}

/// The pauses between attempts to connect.
#[derive(Debug, Clone, Copy)]
pub struct Reconnect {
    /// How they grow.
    pub policy: ReconnectPolicy,
    /// The first one.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// How the pauses between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconnectPolicy {
    /// Each is twice the one before, less up to half of it.
    Exponential,
    /// Each is the longest.
    Constant,
    /// Each is the longest, unless [`crate::Cluster::retry_in`] says otherwise in the meantime.
    Custom,
}

/// A host as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContactPoint {
    /// A name or an address (without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name its certificate must carry, where that is not the host.
    pub verified_name: Option<String>,
}

/// What STARTUP says about the client; servers show it in `system_views.clients`.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // named like the options of STARTUP
pub struct ClientIdentity {
    pub driver_name: String,
    pub driver_version: String,
    pub application_name: Option<String>,
    pub application_version: Option<String>,
    pub client_id: String,
}

/// The bounds of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Requests that wait to be written.
    pub max_queue: usize,
    /// Requests written and not answered yet, at most 32,768: the stream ids.
    pub max_in_flight: usize,
    /// Answers that nobody waits for any more, before the connection is given up.
    pub max_orphans: usize,
    /// A frame's longest body in bytes; a longer one ends the connection.
    pub max_frame_size: u32,
    /// The longest answer in bytes that is kept; a longer one costs its request alone.
    pub max_response_size: u32,
}

/// How long each step may take.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Name lookup, and TCP to one address.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// From OPTIONS to the last step before requests.
    pub login: Duration,
    /// How long nothing may arrive before a heartbeat is sent.
    pub heartbeat_interval: Duration,
    /// How long its answer may take.
    pub heartbeat: Duration,
}
