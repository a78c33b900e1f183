//! Events that the server pushes.

use std::net::SocketAddr;

use palladion_cql::response::SchemaChange;
use palladion_cql::Opcode;

use crate::head::{put_frame, Head};
use crate::response::{put_address, put_int, put_schema_change, put_text};

/// An event, sent to the connections that registered for its kind.
#[derive(Debug, Clone)]
pub enum Event {
    /// `TOPOLOGY_CHANGE`: `NEW_NODE`, `REMOVED_NODE` or `MOVED_NODE`, and which.
    Topology(String, SocketAddr),
    /// `STATUS_CHANGE`: `UP` or `DOWN`, and which.
    Status(String, SocketAddr),
    /// `SCHEMA_CHANGE`.
    Schema(SchemaChange),
    /// The body of an EVENT frame, whatever it is; sent to all that registered for anything.
    Raw(Vec<u8>),
}

impl Event {
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Topology(..) => Some("TOPOLOGY_CHANGE"),
            Self::Status(..) => Some("STATUS_CHANGE"),
            Self::Schema(_) => Some("SCHEMA_CHANGE"),
            Self::Raw(_) => None,
        }
    }

    pub(crate) fn put(&self, registered: &[String], head: &Head, out: &mut Vec<u8>) {
        let kind = self.kind();
        let wanted = |registered: &String| kind.is_none_or(|kind| registered == kind);
        if !registered.iter().any(wanted) {
            return;
        }
        put_frame(out, &head.on(-1), Opcode::Event, |out| {
            if let Some(kind) = kind {
                put_text(out, kind);
            }
            match self {
                Self::Topology(change, node) | Self::Status(change, node) => {
                    put_text(out, change);
                    put_inet(out, *node);
                }
                Self::Schema(change) => put_schema_change(out, change),
                Self::Raw(body) => out.extend_from_slice(body),
            }
        });
    }
}

fn put_inet(out: &mut Vec<u8>, node: SocketAddr) {
    put_address(out, node.ip());
    put_int(out, i32::from(node.port()));
}
