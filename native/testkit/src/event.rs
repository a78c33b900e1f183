//! Events that the server pushes.

use std::net::{IpAddr, SocketAddr};

use palladion_cql::response::SchemaChange;
use palladion_cql::Opcode;

use crate::response::{put_frame, put_schema_change, put_text};

/// An event, sent to the connections that registered for its kind.
#[derive(Debug, Clone)]
pub enum Event {
    /// `TOPOLOGY_CHANGE`: `NEW_NODE` or `REMOVED_NODE`, and which.
    Topology(String, SocketAddr),
    /// `STATUS_CHANGE`: `UP` or `DOWN`, and which.
    Status(String, SocketAddr),
    /// `SCHEMA_CHANGE`.
    Schema(SchemaChange),
}

impl Event {
    fn kind(&self) -> &'static str {
        match self {
            Self::Topology(..) => "TOPOLOGY_CHANGE",
            Self::Status(..) => "STATUS_CHANGE",
            Self::Schema(_) => "SCHEMA_CHANGE",
        }
    }

    pub(crate) fn put(&self, registered: &[String], out: &mut Vec<u8>) {
        if !registered.iter().any(|kind| kind == self.kind()) {
            return;
        }
        put_frame(out, -1, Opcode::Event, |out| {
            put_text(out, self.kind());
            match self {
                Self::Topology(change, node) | Self::Status(change, node) => {
                    put_text(out, change);
                    put_inet(out, *node);
                }
                Self::Schema(change) => put_schema_change(out, change),
            }
        });
    }
}

fn put_inet(out: &mut Vec<u8>, node: SocketAddr) {
    match node.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(16);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&i32::from(node.port()).to_be_bytes());
}
