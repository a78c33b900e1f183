//! What a simulated node says about itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::counters::NodeCounters;
use crate::system::can_be_null;
use crate::Error;

/// A node that a server simulates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where clients reach it, one of 127.0.0.0/8. No two nodes of a cluster have the same.
    pub address: Ipv4Addr,
    /// Its UUID, which it keeps when it moves.
    pub host_id: [u8; 16],
    /// Its data center.
    pub datacenter: String,
    /// Its rack.
    pub rack: String,
    /// The version of Cassandra that it says it is.
    pub release_version: String,
    /// The version of its schema.
    pub schema_version: [u8; 16],
    /// What it announces as the address for clients, in tables and events, if not its own.
    pub rpc_address: Option<IpAddr>,
    /// Columns that are null in its rows of `system.peers` and `system.peers_v2`.
    pub null_columns: Vec<String>,
    /// Its tokens.
    pub tokens: Vec<i64>,
}

/// Tokens of a node that was not told otherwise.
const TOKENS: usize = 4;

impl Node {
    /// The `n`th node, counted from 1: on 127.0.0.1, 127.0.0.2 and so on, leaving out addresses
    /// that end in 0 or 255; with a host id and tokens that depend on `n` only.
    pub fn numbered(n: u32) -> Self {
        let at = n.saturating_sub(1);
        let [_, second, third, _] = (at / 250).wrapping_shl(8).to_be_bytes();
        Self {
            address: Ipv4Addr::new(127, second, third, (at % 250) as u8 + 1),
            host_id: numbered_uuid(u64::from(n)),
            datacenter: "datacenter1".to_owned(),
            rack: "rack1".to_owned(),
            release_version: "4.1.0".to_owned(),
            schema_version: numbered_uuid(0),
            rpc_address: None,
            null_columns: Vec::new(),
            tokens: Vec::new(),
        }
        .token_count(TOKENS)
    }

    /// The same in this data center and rack.
    pub fn location(mut self, datacenter: &str, rack: &str) -> Self {
        self.datacenter = datacenter.to_owned();
        self.rack = rack.to_owned();
        self
    }

    /// The same with so many tokens, which depend on the host id only.
    pub fn token_count(mut self, n: usize) -> Self {
        let (high, low) = self.host_id.split_at(8);
        let part = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let start = mix(part(high)) ^ part(low);
        let token = |at: u64| mix(mix(start).wrapping_add(at)) as i64;
        self.tokens = (0..n as u64).map(token).collect();
        self
    }

    /// What others tell clients to connect to.
    pub(crate) fn announced(&self, port: u16) -> SocketAddr {
        let own = IpAddr::V4(self.address);
        SocketAddr::new(self.rpc_address.unwrap_or(own), port)
    }

    pub(crate) fn is_null(&self, column: &str) -> bool {
        self.null_columns.iter().any(|name| name == column)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.address.is_loopback() {
            let address = self.address;
            return Err(Error::usage(format!("{address} is not in 127.0.0.0/8")));
        }
        let unknown = self.null_columns.iter().find(|name| !can_be_null(name));
        match unknown {
            Some(name) => Err(Error::usage(format!(
                "{name} is no column of system.peers or system.peers_v2 that can be null"
            ))),
            None => Ok(()),
        }
    }
}

/// A UUID that ends in a number: the host id of [`Node::numbered`], or a schema version.
pub fn numbered_uuid(n: u64) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid[6] = 0x40;
    uuid[8..].copy_from_slice(&n.to_be_bytes());
    uuid[8] = 0x80 | uuid[8] & 0x3F;
    uuid
}

/// Spreads numbers that are close to each other (the finalizer of SplitMix64).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}

/// A node as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// What it says about itself.
    pub node: Node,
    /// Whether it closes connections at once.
    pub down: bool,
    /// Whether it accepts connections but answers nothing.
    pub hangs: bool,
    /// What it has seen.
    pub counters: NodeCounters,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbered_nodes_differ() {
        let nodes: Vec<_> = (1..=1_000).map(Node::numbered).collect();
        assert_eq!(nodes[0].address, Ipv4Addr::LOCALHOST);
        assert_eq!(nodes[250].address, Ipv4Addr::new(127, 0, 1, 1));
        assert_eq!(Node::numbered(64_001).address, Ipv4Addr::new(127, 1, 0, 1));
        let addresses: HashSet<_> = nodes.iter().map(|node| node.address).collect();
        let ids: HashSet<_> = nodes.iter().map(|node| node.host_id).collect();
        let tokens: HashSet<_> = nodes.iter().flat_map(|node| &node.tokens).collect();
        assert_eq!((addresses.len(), ids.len()), (1_000, 1_000));
        assert_eq!(tokens.len(), 1_000 * TOKENS);
        assert!(tokens.iter().any(|token| **token < 0));
    }

    #[test]
    fn what_cannot_be_simulated_is_refused() {
        let mut node = Node::numbered(1);
        assert!(node.check().is_ok());
        node.null_columns = vec!["tokens".to_owned(), "native_address".to_owned()];
        assert!(node.check().is_ok());
        node.null_columns = vec!["peer".to_owned()];
        assert!(node.check().is_err());
        let elsewhere = Node {
            address: Ipv4Addr::new(10, 0, 0, 1),
            ..Node::numbered(1)
        };
        assert!(elsewhere.check().is_err());
    }
}
