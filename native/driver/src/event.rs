use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use palladion_cql::{ServerEvent, Version};

use crate::connection::{ConnectionInfo, Role, TlsInfo};
use crate::node::NodeId;
use crate::tls::SessionChange;
use crate::{ConnectError, Failure};

/// Something that happened to a cluster.
#[derive(Debug, Clone)]
pub enum Event {
    /// A connection is open and logged in.
    Opened {
        /// Which.
        info: Arc<ConnectionInfo>,
        /// Connections that its pool has now.
        open: usize,
        /// Connections that its pool should have.
        wanted: usize,
    },
    /// An attempt failed; the next one follows after the pause.
    ConnectFailed {
        /// What went wrong.
        error: Arc<ConnectError>,
        /// The node; nothing for the control connection.
        node: Option<NodeId>,
        /// Failures in a row.
        failures: u32,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// A TLS handshake is over.
    Handshake {
        /// What the connection is for.
        role: Role,
        /// Its endpoint.
        endpoint: Arc<str>,
        /// The address behind it.
        address: SocketAddr,
        /// From its first byte to its end.
        duration: Duration,
        /// What came of it.
        outcome: Result<Arc<TlsInfo>, Failure>,
    },
    /// Something happened to sessions.
    Sessions {
        /// The endpoint they are for.
        endpoint: Arc<str>,
        /// The name that was verified on it.
        verified_name: Option<Arc<str>>,
        /// What.
        change: SessionChange,
        /// To how many.
        count: u64,
    },
    /// Credentials of Amazon Web Services were fetched for logins, or could not be renewed. What
    /// goes wrong while a login waits is told of its connection.
    ///
    /// When they expire, if that is known.
    Credentials(Result<Option<SystemTime>, Failure>),
    /// A connection ended.
    Closed {
        /// Which.
        info: Arc<ConnectionInfo>,
        /// Why; nothing if we ended it, in good order.
        failure: Option<Failure>,
        /// How long it was open.
        lasted: Duration,
        /// Failures in a row, if it ended so soon that it counts as one.
        failures: u32,
        /// Connections that its pool has left.
        open: usize,
        /// Connections that its pool should have.
        wanted: usize,
    },
    /// A node has its first connection, or has none any more.
    Node {
        /// Which.
        id: NodeId,
        /// Its endpoint.
        endpoint: Arc<str>,
        /// Whether it has.
        up: bool,
    },
    /// A node speaks only an older version of the protocol than the others: the cluster goes on with
    /// that one.
    ProtocolLowered {
        /// The node's endpoint.
        endpoint: Arc<str>,
        /// What was spoken.
        from: Version,
        /// What is spoken from now on.
        to: Version,
    },
    /// There is a control connection, and it is registered for events.
    ControlOpened(Arc<ControlInfo>),
    /// The control connection has ended; another is looked for.
    ControlClosed,
    /// The server tells something.
    Server(ServerEvent),
}

/// What is known of the control connection.
#[derive(Debug, Clone)]
pub struct ControlInfo {
    /// The how many-th it is of this cluster.
    pub number: u64,
    /// The connection.
    pub connection: Arc<ConnectionInfo>,
    /// Whether it was opened to a contact point, and not to a node known before.
    pub contact_point: bool,
    /// Which addresses the contact points' names have.
    pub names: Vec<(IpAddr, String)>,
}

/// Where a cluster's events go. Called on runtime threads; must not block.
pub trait EventSink: Send + Sync + 'static {
    /// Takes an event.
    fn event(&self, event: Event);
}

/// Forgets all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn event(&self, _event: Event) {}
}
