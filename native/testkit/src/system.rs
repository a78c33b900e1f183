//! `system.local`, `system.peers` and `system.peers_v2` of a simulated cluster, with the columns
//! that Cassandra has.

use std::net::IpAddr;
use std::sync::Arc;

use palladion_cql::value::{encode, Value};
use palladion_cql::ColumnType;

use crate::node::Node;
use crate::nodes::{Member, Nodes};
use crate::rows::{Columns, MAX_DATA};
use crate::statement::after_keyword;
use crate::Error;

/// `SELECT columns FROM table rest`.
pub(crate) struct Select<'t> {
    /// Without spaces.
    pub(crate) columns: String,
    pub(crate) table: &'t str,
    pub(crate) rest: &'t str,
}

impl<'t> Select<'t> {
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let mut rest = after_keyword(text, "select")?.trim_end_matches([';', ' ']);
        let mut columns = String::new();
        loop {
            let (word, after) = rest.split_once(char::is_whitespace)?;
            rest = after.trim_start();
            if word.eq_ignore_ascii_case("from") {
                break;
            }
            columns.push_str(word);
        }
        let (table, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Some(Self {
            columns,
            table,
            rest: rest.trim(),
        })
    }
}

/// What is selected from one of the tables.
#[derive(Debug)]
pub(crate) struct Selection {
    table: Table,
    columns: Vec<&'static Column>,
    /// Only the peer with this address.
    peer: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Local,
    Peers,
    PeersV2,
}

impl Selection {
    /// What a text selects; `None` if that is none of these tables.
    pub(crate) fn parse(text: &str, nodes: &Nodes) -> Result<Option<Self>, Error> {
        let Some(select) = Select::parse(text) else {
            return Ok(None);
        };
        let table = match select.table {
            "system.local" => Table::Local,
            "system.peers" => Table::Peers,
            "system.peers_v2" if nodes.peers_v2 => Table::PeersV2,
            "system.peers_v2" => return Err(Error::usage("unconfigured table peers_v2")),
            _ => return Ok(None),
        };
        let known: Vec<_> = table.columns(nodes.peers_v2).collect();
        let mut columns = Vec::new();
        for name in select.columns.split(',') {
            match known.iter().find(|column| column.name == name) {
                Some(column) => columns.push(*column),
                None if name == "*" => columns.extend(&known),
                None => {
                    let table = select.table;
                    let message = format!("Undefined column name {name} in table {table}");
                    return Err(Error::usage(message));
                }
            }
        }
        let peer = match table {
            // There is one row, whatever its key is said to be.
            Table::Local => None,
            _ if select.rest.is_empty() => None,
            _ => Some(peer(select.rest)?),
        };
        Ok(Some(Self {
            table,
            columns,
            peer,
        }))
    }

    pub(crate) fn metadata(&self) -> Result<Columns, Error> {
        let columns = self.columns.iter();
        let columns: Vec<_> = columns.map(|c| (c.name.to_owned(), c.kind.ty())).collect();
        Columns::new(("system", self.table.name()), &columns)
    }

    /// Whose rows it gives where it is asked.
    pub(crate) fn members(&self, nodes: &Nodes, asked: &Arc<Member>) -> Vec<Arc<Member>> {
        if self.table == Table::Local {
            return vec![asked.clone()];
        }
        let mut others = nodes.all();
        others.retain(|member| !Arc::ptr_eq(member, asked));
        if let Some(peer) = self.peer {
            others.retain(|member| member.node().address == peer);
        }
        others
    }

    /// The cells of their rows.
    pub(crate) fn cells(&self, nodes: &Nodes, members: &[Arc<Member>]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for member in members {
            let node = &*member.node();
            let view = View { node, nodes };
            for column in &self.columns {
                let null = self.table != Table::Local && node.is_null(column.name);
                let value = match column.cell {
                    _ if null => Value::Null,
                    Some(cell) => cell(&view),
                    None => {
                        out.extend_from_slice(&member.tokens);
                        continue;
                    }
                };
                encode(&value, &column.kind.ty(), &mut out, MAX_DATA)
                    .map_err(|e| Error::usage(format!("column {}: {e:?}", column.name)))?;
            }
        }
        Ok(out)
    }
}

/// Out of `WHERE peer = '127.0.0.2' AND peer_port = 7000`.
fn peer(condition: &str) -> Result<IpAddr, Error> {
    let condition: String = condition.split_whitespace().collect();
    let condition = condition.to_ascii_lowercase();
    let quoted = condition.strip_prefix("wherepeer='");
    let address = quoted.and_then(|rest| rest.split_once('\''));
    let only_the_port = |more: &str| more.is_empty() || more == "andpeer_port=7000";
    let address = address.filter(|(_, more)| only_the_port(more));
    let address = address.and_then(|(address, _)| address.parse().ok());
    address.ok_or_else(|| Error::usage("of peers, only one's address can be asked for"))
}

/// What a row is about.
struct View<'a> {
    node: &'a Node,
    nodes: &'a Nodes,
}

fn address(view: &View<'_>) -> Value {
    Value::Inet(view.node.address.into())
}

fn announced(view: &View<'_>) -> Value {
    Value::Inet(view.node.announced(view.nodes.port).ip())
}

fn port(view: &View<'_>) -> Value {
    Value::Int(view.nodes.port.into())
}

/// Where nodes talk to each other.
const STORAGE_PORT: Value = Value::Int(7000);

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Inet,
    Int,
    Text,
    TextSet,
    Uuid,
}

impl Kind {
    fn ty(self) -> ColumnType {
        match self {
            Self::Inet => ColumnType::Inet,
            Self::Int => ColumnType::Int,
            Self::Text => ColumnType::Text,
            Self::TextSet => ColumnType::Set(Box::new(ColumnType::Text)),
            Self::Uuid => ColumnType::Uuid,
        }
    }
}

#[derive(Debug)]
struct Column {
    name: &'static str,
    kind: Kind,
    /// None: the tokens, which are kept ready.
    cell: Option<fn(&View<'_>) -> Value>,
}

const fn column(name: &'static str, kind: Kind, cell: fn(&View<'_>) -> Value) -> Column {
    Column {
        name,
        kind,
        cell: Some(cell),
    }
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peers => "peers",
            Self::PeersV2 => "peers_v2",
        }
    }

    /// In the order of `SELECT *`: the key, then by name.
    fn columns(self, ports: bool) -> impl Iterator<Item = &'static Column> {
        let columns: &[Column] = match self {
            Self::Local => &LOCAL,
            Self::Peers => &PEERS,
            Self::PeersV2 => &PEERS_V2,
        };
        let is_port = |name: &str| name.ends_with("_port");
        columns.iter().filter(move |c| ports || !is_port(c.name))
    }
}

const DATA_CENTER: Column = column("data_center", Kind::Text, |v| text(&v.node.datacenter));
const HOST_ID: Column = column("host_id", Kind::Uuid, |v| Value::Uuid(v.node.host_id));
const PEER: Column = column("peer", Kind::Inet, address);
const PREFERRED_IP: Column = column("preferred_ip", Kind::Inet, |_| Value::Null);
const RACK: Column = column("rack", Kind::Text, |v| text(&v.node.rack));
const RELEASE_VERSION: Column = column("release_version", Kind::Text, |v| {
    text(&v.node.release_version)
});
const RPC_ADDRESS: Column = column("rpc_address", Kind::Inet, announced);
const SCHEMA_VERSION: Column = column("schema_version", Kind::Uuid, |v| {
    Value::Uuid(v.node.schema_version)
});
const TOKENS: Column = Column {
    name: "tokens",
    kind: Kind::TextSet,
    cell: None,
};

static LOCAL: [Column; 19] = [
    column("key", Kind::Text, |_| text("local")),
    column("bootstrapped", Kind::Text, |_| text("COMPLETED")),
    column("broadcast_address", Kind::Inet, address),
    column("broadcast_port", Kind::Int, |_| STORAGE_PORT),
    column("cluster_name", Kind::Text, |v| text(&v.nodes.name)),
    column("cql_version", Kind::Text, |_| text("3.4.7")),
    DATA_CENTER,
    column("gossip_generation", Kind::Int, |_| {
        Value::Int(1_700_000_000)
    }),
    HOST_ID,
    column("listen_address", Kind::Inet, address),
    column("listen_port", Kind::Int, |_| STORAGE_PORT),
    column("native_protocol_version", Kind::Text, |_| text("4")),
    column("partitioner", Kind::Text, |_| {
        text("org.apache.cassandra.dht.Murmur3Partitioner")
    }),
    RACK,
    RELEASE_VERSION,
    RPC_ADDRESS,
    column("rpc_port", Kind::Int, port),
    SCHEMA_VERSION,
    TOKENS,
];

static PEERS: [Column; 9] = [
    PEER,
    DATA_CENTER,
    HOST_ID,
    PREFERRED_IP,
    RACK,
    RELEASE_VERSION,
    RPC_ADDRESS,
    SCHEMA_VERSION,
    TOKENS,
];

static PEERS_V2: [Column; 12] = [
    PEER,
    column("peer_port", Kind::Int, |_| STORAGE_PORT),
    DATA_CENTER,
    HOST_ID,
    column("native_address", Kind::Inet, announced),
    column("native_port", Kind::Int, port),
    PREFERRED_IP,
    column("preferred_port", Kind::Int, |_| Value::Null),
    RACK,
    RELEASE_VERSION,
    SCHEMA_VERSION,
    TOKENS,
];

/// Whether a column of one of the tables of peers can be null: all but the keys.
pub(crate) fn can_be_null(name: &str) -> bool {
    let known = PEERS.iter().chain(&PEERS_V2).any(|c| c.name == name);
    known && !matches!(name, "peer" | "peer_port")
}
