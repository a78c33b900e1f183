//! A cluster's nodes, as the routing knows them.

use std::fmt;

use crate::config::ContactPoint;

/// A node's identity: its host id. Addresses may change, this doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub u128);

/// How near a node is. What is to be ignored is not told to the cluster at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distance {
    /// Takes requests.
    Local,
    /// Takes requests while no local node has a connection.
    Remote,
}

/// Where and as whom a node is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address (without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name its certificate must carry, where that is not the host.
    pub verified_name: Option<String>,
    /// The name sent as SNI, where that is not the verified one.
    pub sni: Option<String>,
}

impl From<&ContactPoint> for Endpoint {
    fn from(point: &ContactPoint) -> Self {
        Self {
            host: point.host.clone(),
            port: point.port,
            verified_name: point.verified_name.clone(),
            sni: None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A node that requests may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// Which.
    pub id: NodeId,
    /// Where.
    pub endpoint: Endpoint,
    /// How near.
    pub distance: Distance,
    /// Among nodes of a distance, those with the lowest number come first.
    pub preference: u32,
    /// Connections wanted.
    pub size: usize,
}

/// Where a request should go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Route {
    /// Nodes take turns.
    #[default]
    Any,
    /// To this node if it can be, else to any.
    First(NodeId),
    /// To another than this node if it can be.
    Avoid(NodeId),
}
