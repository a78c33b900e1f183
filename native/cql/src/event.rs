//! What a server tells unasked (section 4.2.6, EVENT).

use std::net::SocketAddr;

use crate::response::SchemaChange;
use crate::wire::Reader;
use crate::DecodeError;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A node came, went or moved.
    Topology {
        /// `NEW_NODE`, `REMOVED_NODE` or `MOVED_NODE`.
        change: String,
        /// Which.
        node: SocketAddr,
    },
    /// A node is up or down, as the others see it.
    Status {
        /// `UP` or `DOWN`.
        change: String,
        /// Which.
        node: SocketAddr,
    },
    /// The schema has changed.
    Schema(SchemaChange),
    /// Something else, of this kind.
    Unknown(String),
}

/// The kinds of event that there are.
pub const KINDS: [&str; 3] = ["TOPOLOGY_CHANGE", "STATUS_CHANGE", "SCHEMA_CHANGE"];

impl ServerEvent {
    /// Reads an EVENT's body.
    pub fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let kind = reader.string("event type")?;
        Ok(match kind {
            "TOPOLOGY_CHANGE" => {
                let (change, node) = change(&mut reader)?;
                Self::Topology { change, node }
            }
            "STATUS_CHANGE" => {
                let (change, node) = change(&mut reader)?;
                Self::Status { change, node }
            }
            "SCHEMA_CHANGE" => Self::Schema(SchemaChange::read(&mut reader)?),
            other => Self::Unknown(other.to_owned()),
        })
    }
}

fn change(reader: &mut Reader<'_>) -> Result<(String, SocketAddr), DecodeError> {
    let change = reader.string("change")?.to_owned();
    let (ip, port) = reader.inet("node")?;
    let port = u16::try_from(port).map_err(|_| DecodeError::Unknown {
        what: "port",
        value: i64::from(port),
    })?;
    Ok((change, SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u16).to_be_bytes());
        out.extend(text.as_bytes());
    }

    fn body(texts: &[&str], rest: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        texts.iter().for_each(|t| text(&mut out, t));
        out.extend(rest);
        out
    }

    #[test]
    fn each_kind_is_read() {
        let node = [4, 10, 0, 0, 1, 0, 0, 0x23, 0x52];
        let address: SocketAddr = "10.0.0.1:9042".parse().unwrap();
        assert_eq!(
            ServerEvent::read(&body(&["TOPOLOGY_CHANGE", "NEW_NODE"], &node)),
            Ok(ServerEvent::Topology {
                change: "NEW_NODE".to_owned(),
                node: address
            })
        );
        assert_eq!(
            ServerEvent::read(&body(&["STATUS_CHANGE", "UP"], &node)),
            Ok(ServerEvent::Status {
                change: "UP".to_owned(),
                node: address
            })
        );
        let schema = body(&["SCHEMA_CHANGE", "UPDATED", "TABLE", "shop", "users"], &[]);
        let Ok(ServerEvent::Schema(change)) = ServerEvent::read(&schema) else {
            panic!("no schema change");
        };
        assert_eq!(change.name.as_deref(), Some("users"));
        assert_eq!(
            ServerEvent::read(&body(&["CLIENT_ROUTES_CHANGE"], &[1, 2, 3])),
            Ok(ServerEvent::Unknown("CLIENT_ROUTES_CHANGE".to_owned()))
        );
    }

    #[test]
    fn a_cut_event_is_an_error_at_every_length() {
        let node = [4, 10, 0, 0, 1, 0, 0, 0x23, 0x52];
        let whole = body(&["STATUS_CHANGE", "UP"], &node);
        for len in 0..whole.len() {
            assert!(ServerEvent::read(&whole[..len]).is_err(), "{len}");
        }
        let port = [4, 10, 0, 0, 1, 0, 1, 0, 0];
        assert!(ServerEvent::read(&body(&["STATUS_CHANGE", "UP"], &port)).is_err());
    }
}
