//! How a server is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use palladion_cql::{Compression, Version};

use crate::login::Login;
use crate::node::Node;
use crate::segments::Cut;
use crate::tls::TlsOptions;

/// Options of [`crate::Server::start`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 lets the system choose one. Of a cluster only the port counts.
    pub address: SocketAddr,
    /// TLS, unless it speaks plain text.
    pub tls: Option<TlsOptions>,
    /// Who may log in; nobody has to if there is none.
    pub login: Option<Login>,
    /// Options of SUPPORTED beside the usual ones, which they replace if named alike.
    pub supported: Vec<(String, Vec<String>)>,
    /// The versions of the protocol that it speaks.
    pub versions: Vec<Version>,
    /// What those hear who speak another one.
    pub refusal: Refusal,
    /// What it can compress with.
    pub compression: Vec<Compression>,
    /// How answers are put into segments in protocol 5.
    pub segments: Cut,
    /// Whether these are compressed, where the client asks for compression.
    pub segment_compression: bool,
    /// Whether it offers ScyllaDB's ids of metadata for protocol 4.
    pub metadata_ids: bool,
    /// The error code of ScyllaDB's limits, if it offers one.
    pub rate_limit_error: Option<i32>,
    /// Bytes in a request, at most.
    pub max_frame: u32,
    /// Connections open at a time, at most.
    pub max_connections: usize,
    /// Threads that serve connections.
    pub threads: usize,
    /// How long each connection waits before its handshake, so that handshakes overlap.
    pub handshake_delay: Duration,
    /// The nodes that it simulates, if it is to be more than one.
    pub cluster: Option<ClusterOptions>,
    /// What chance starts from, where a rule leaves something to it.
    pub seed: u64,
}

impl Default for Options {
    /// Plain text, no login, on a port of 127.0.0.1 that the system chooses.
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
            login: None,
            supported: Vec::new(),
            versions: Version::ALL.to_vec(),
            refusal: Refusal::Error,
            compression: vec![Compression::Snappy, Compression::Lz4],
            segments: Cut::Whole,
            segment_compression: true,
            metadata_ids: false,
            rate_limit_error: None,
            max_frame: 64 << 20,
            max_connections: 4096,
            threads: 1,
            handshake_delay: Duration::ZERO,
            cluster: None,
            seed: 0x5EED,
        }
    }
}

impl Options {
    /// The same with TLS.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The same as a cluster.
    pub fn cluster(mut self, cluster: ClusterOptions) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// The same with a login by user and password.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some(Login::new(user, password));
        self
    }
}

/// What clients hear whose version of the protocol is not spoken, before their connection is closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refusal {
    /// An error in the newest version that is spoken, as from Cassandra since 2.1.
    #[default]
    Error,
    /// One of the server's own, as from some versions of Cassandra 2.1 and 2.2: only its text tells.
    ServerError,
    /// One in a frame of version 2, as from Cassandra 2.0.
    V2,
    /// Nothing.
    Close,
}

/// A cluster that one server simulates. It listens on one port of every loopback address, and knows
/// by the address that a client connected to which node it is to be.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Its members.
    pub nodes: Vec<Node>,
    /// What `system.local` says it is called.
    pub name: String,
    /// Whether there is `system.peers_v2`, and the ports in `system.local`, as since Cassandra 4.0.
    pub peers_v2: bool,
}

impl ClusterOptions {
    /// A cluster of these nodes.
    pub fn new(nodes: Vec<Node>) -> Self {
        Self {
            nodes,
            name: "testkit".to_owned(),
            peers_v2: true,
        }
    }

    /// A cluster of so many nodes on 127.0.0.1, 127.0.0.2 and so on.
    pub fn of(nodes: u32) -> Self {
        Self::new((1..=nodes).map(Node::numbered).collect())
    }
}
