//! What a cluster looks like from outside.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::Cluster;
use crate::connection::ConnectionInfo;
use crate::node::{Distance, NodeId};
use crate::table::{Node, Table};
use crate::ConnectError;

/// A cluster's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No connection has been opened yet.
    Connecting,
    /// At least one connection is open.
    Ready,
    /// There were connections, and now there is none; they are tried for again.
    Disconnected,
    /// Closed for good.
    Closed,
}

/// A cluster's state.
#[derive(Debug, Clone)]
pub struct Status {
    /// In one word.
    pub phase: Phase,
    /// The connection that the node list comes over.
    pub control: Option<Arc<ConnectionInfo>>,
    /// Each node that requests may go to.
    pub nodes: Vec<NodeStatus>,
    /// What went wrong last; none since an attempt succeeded.
    pub last_error: Option<Arc<ConnectError>>,
    /// Requests queued or not answered yet.
    pub in_flight: u64,
    /// Answers to come that nobody waits for any more.
    pub orphans: u64,
}

/// The state of the connections to one node.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// Which.
    pub id: NodeId,
    /// `host:port`
    pub endpoint: String,
    /// How near.
    pub distance: Distance,
    /// Open connections.
    pub connections: Vec<Arc<ConnectionInfo>>,
    /// Requests queued or not answered yet.
    pub in_flight: u64,
    /// What went wrong last; none since an attempt succeeded.
    pub last_error: Option<Arc<ConnectError>>,
}

impl Cluster {
    /// The state.
    pub fn status(&self) -> Status {
        let table = self.shared.table.load();
        let nodes: Vec<_> = table.nodes.iter().map(|node| status_of(node)).collect();
        Status {
            phase: self.phase(&table),
            control: self
                .shared
                .control
                .load()
                .as_ref()
                .map(|c| Arc::clone(&c.info)),
            in_flight: nodes.iter().map(|node| node.in_flight).sum(),
            nodes,
            last_error: self.shared.last_error.load_full(),
            orphans: table.connections().map(|c| c.orphans()).sum(),
        }
    }

    fn phase(&self, table: &Table) -> Phase {
        if self.is_closed() {
            Phase::Closed
        } else if !table.is_empty() {
            Phase::Ready
        } else if self.shared.was_ready.load(Ordering::Relaxed) {
            Phase::Disconnected
        } else {
            Phase::Connecting
        }
    }
}

fn status_of(node: &Node) -> NodeStatus {
    let connections = node.connections();
    NodeStatus {
        id: node.spec.id,
        endpoint: node.spec.endpoint.to_string(),
        distance: node.spec.distance,
        connections: connections.iter().map(|c| Arc::clone(&c.info)).collect(),
        in_flight: connections.iter().map(|c| u64::from(c.in_flight())).sum(),
        last_error: node.health.last_error.load_full(),
    }
}
