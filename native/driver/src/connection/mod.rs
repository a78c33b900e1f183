//! A connection: how it is opened, and the task that then owns it.

mod open;
mod stream;
mod streams;
mod task;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use palladion_cql::{DecodeError, Dialect};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

pub(crate) use open::{connect_failure, handshake_failure, open, tls_info, within, Opened};
pub(crate) use stream::MaybeTls;
pub(crate) use streams::unasked;
pub(crate) use task::ConnectionTask;

use crate::node::NodeId;
use crate::tls::ServerChain;
use crate::Request;

/// A connection that ends sooner counts as a failure: the next one waits, so that a server that
/// takes connections only to drop them is not stormed.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// What is known of an open connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// What it is for.
    pub role: Role,
    /// The endpoint as configured, `host:port`.
    pub endpoint: Arc<str>,
    /// The address behind it.
    pub address: SocketAddr,
    /// Its TLS session, if it has one.
    pub tls: Option<Arc<TlsInfo>>,
    /// What is spoken on it.
    pub dialect: Dialect,
    /// The authenticator's class, if the server asked for a login.
    pub authenticator: Option<String>,
    /// How the login was done, if there was one: a mechanism of SASL, `SigV4` or `custom`.
    pub mechanism: Option<&'static str>,
    /// CQL versions that the server supports.
    pub cql_versions: Vec<String>,
    /// From the first packet to the login's end.
    pub duration: Duration,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Requests to this node.
    Pool(NodeId),
    /// Learning which nodes there are.
    Control,
}

impl Role {
    /// The node, if that is what it's for.
    pub fn node(self) -> Option<NodeId> {
        match self {
            Self::Pool(node) => Some(node),
            Self::Control => None,
        }
    }
}

/// What is known of a TLS session.
#[derive(Debug, Clone)]
pub struct TlsInfo {
    /// `TLSv1_2` or `TLSv1_3`, as rustls names it.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher: String,
    /// The key exchange group; none where keys were not exchanged anew.
    pub group: Option<String>,
    /// What kind of handshake it was.
    pub handshake: HandshakeKind,
    /// The name that was verified, if one was.
    pub verified_name: Option<Arc<str>>,
    /// The server's certificates.
    pub chain: Arc<ServerChain>,
    /// The handshake's duration.
    pub duration: Duration,
    /// How often the TLS configuration had been replaced.
    pub generation: u64,
}

/// Kinds of handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeKind {
    /// All of it.
    Full,
    /// All of it, with one round more, for the server wanted another key exchange group.
    HelloRetry,
    /// An earlier session was resumed.
    Resumed,
}

/// The way to a connection's task. The task ends when it is told to, or by itself.
#[derive(Debug)]
pub struct Connection {
    pub(crate) info: Arc<ConnectionInfo>,
    pub(crate) opened: Instant,
    queue: mpsc::Sender<Request>,
    load: Arc<Load>,
}

/// How a connection is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Stop {
    /// Not at all.
    No,
    /// When everything taken on has been answered.
    Drain,
    /// At once.
    Now,
}

impl Stop {
    /// Tells this word, unless a stricter one was told.
    pub(crate) fn tell(self, stop: &watch::Sender<Self>) {
        stop.send_if_modified(|now| {
            let further = self > *now;
            if further {
                *now = self;
            }
            further
        });
    }
}

/// What a connection has to do; shared with its task and with those who read its answers.
#[derive(Debug)]
pub(crate) struct Load {
    /// Requests queued or not answered yet.
    pub(crate) in_flight: AtomicU32,
    /// Answers to come that nobody waits for any more.
    pub(crate) orphans: Arc<AtomicI64>,
    stop: watch::Sender<Stop>,
    /// Why an answer could not be read.
    malformed: OnceLock<DecodeError>,
}

impl Load {
    fn new() -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            orphans: Arc::default(),
            stop: watch::Sender::new(Stop::No),
            malformed: OnceLock::new(),
        }
    }

    /// Ends the connection, for what it says can't be read.
    pub(crate) fn give_up(&self, error: DecodeError) {
        if self.malformed.set(error).is_ok() {
            Stop::Now.tell(&self.stop);
        }
    }
}

impl Connection {
    /// Puts a request onto the queue, or hands it back.
    pub(crate) fn submit(&self, request: Request) -> Result<(), TrySendError<Request>> {
        self.load.in_flight.fetch_add(1, Ordering::Relaxed);
        let sent = self.queue.try_send(request);
        if sent.is_err() {
            self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }

    /// What is spoken on it.
    pub(crate) fn dialect(&self) -> &Dialect {
        &self.info.dialect
    }

    /// Whether it takes requests.
    pub(crate) fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Requests queued or not answered yet.
    pub fn in_flight(&self) -> u32 {
        self.load.in_flight.load(Ordering::Relaxed)
    }

    /// Answers to come that nobody waits for any more.
    pub fn orphans(&self) -> u64 {
        self.load.orphans.load(Ordering::Relaxed).max(0) as u64
    }

    /// Lets it answer what it has taken on, for so long.
    pub(crate) fn drain(&self, limit: Duration) {
        self.stop(Stop::Drain);
        let load = Arc::clone(&self.load);
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(limit) => Stop::Now.tell(&load.stop),
                () = load.stop.closed() => {}
            }
        });
    }

    pub(crate) fn stop(&self, how: Stop) {
        how.tell(&self.load.stop);
    }
}
