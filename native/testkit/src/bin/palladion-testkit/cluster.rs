//! Simulated clusters: what they are started with, and what is done to their nodes.

use std::net::Ipv4Addr;

use palladion_cql::value::uuid;
use palladion_testkit::{numbered_uuid, ClusterOptions, Node, NodeInfo, Server};

use crate::desk::{millis, told};
use crate::line::{Command, Pairs};
use crate::rule::list;

/// Nodes of a cluster at its start, at most.
const MAX_NODES: u32 = 10_000;
/// Tokens of a node, at most.
const MAX_TOKENS: usize = 4096;

/// `nodes=3 datacenter=a,b rack=r1,r2 tokens=16 node.2=address%3D127.0.0.9`; nothing without
/// `nodes=`.
pub(crate) fn cluster(command: &mut Command) -> Result<Option<ClusterOptions>, String> {
    let Some(count) = command.parsed("nodes")? else {
        return Ok(None);
    };
    if count > MAX_NODES {
        return Err(format!("nodes={count} are more than {MAX_NODES}"));
    }
    let mut options = ClusterOptions::of(count);
    if let Some(name) = command.take("cluster_name") {
        options.name = name;
    }
    if let Some(peers_v2) = command.parsed("peers_v2")? {
        options.peers_v2 = peers_v2;
    }
    let (datacenters, racks) = (list(command.take("datacenter")), list(command.take("rack")));
    let common = Common::take(command)?;
    for (at, node) in options.nodes.iter_mut().enumerate() {
        // Every data center has nodes in every rack, as far as they go.
        if let Some(datacenter) = datacenters.get(at % datacenters.len().max(1)) {
            node.datacenter.clone_from(datacenter);
        }
        let row = at / datacenters.len().max(1);
        if let Some(rack) = racks.get(row % racks.len().max(1)) {
            node.rack.clone_from(rack);
        }
        common.apply(node);
    }
    for (key, own) in command.take_all("node.") {
        let mut own = own_command(&key, &own)?;
        let number: Option<usize> = key.trim_start_matches("node.").parse().ok();
        let node = number.and_then(|n| options.nodes.get_mut(n.checked_sub(1)?));
        let node = node.ok_or_else(|| format!("there is no {key}"))?;
        change(node, &mut own)?;
        own.finish()?;
    }
    Ok(Some(options))
}

/// Pairs in a value, as a command of their own.
fn own_command(key: &str, pairs: &str) -> Result<Command, String> {
    let command = Command::parse(&format!("{key} {key} {pairs}"));
    command.ok_or_else(|| format!("{key}= makes no sense"))
}

/// What can be said of all nodes at once.
struct Common {
    release_version: Option<String>,
    schema_version: Option<[u8; 16]>,
    null_columns: Option<Vec<String>>,
    tokens: Option<usize>,
}

impl Common {
    fn take(command: &mut Command) -> Result<Self, String> {
        let tokens = command.parsed("tokens")?;
        if let Some(n) = tokens.filter(|n| *n > MAX_TOKENS) {
            return Err(format!("tokens={n} are more than {MAX_TOKENS}"));
        }
        Ok(Self {
            release_version: command.take("release_version"),
            schema_version: take_uuid(command, "schema_version")?,
            null_columns: command.take("null").map(|names| list(Some(names))),
            tokens,
        })
    }

    fn apply(&self, node: &mut Node) {
        if let Some(version) = &self.release_version {
            node.release_version.clone_from(version);
        }
        if let Some(version) = self.schema_version {
            node.schema_version = version;
        }
        if let Some(names) = &self.null_columns {
            node.null_columns.clone_from(names);
        }
        if let Some(n) = self.tokens {
            *node = node.clone().token_count(n);
        }
    }
}

/// Makes a node what its arguments say.
fn change(node: &mut Node, command: &mut Command) -> Result<(), String> {
    if let Some(address) = command.parsed("address")? {
        node.address = address;
    }
    if let Some(host_id) = take_uuid(command, "host_id")? {
        let tokens = node.tokens.len();
        node.host_id = host_id;
        *node = node.clone().token_count(tokens);
    }
    if let Some(datacenter) = command.take("datacenter") {
        node.datacenter = datacenter;
    }
    if let Some(rack) = command.take("rack") {
        node.rack = rack;
    }
    node.rpc_address = command.parsed("rpc_address")?.or(node.rpc_address);
    Common::take(command)?.apply(node);
    if let Some(tokens) = command.take("token_list") {
        let parsed: Result<_, _> = list(Some(tokens)).iter().map(|t| t.parse()).collect();
        node.tokens = parsed.map_err(|_| "token_list= are no tokens".to_owned())?;
    }
    Ok(())
}

/// A UUID, or the number that it ends in.
pub(crate) fn take_uuid(command: &mut Command, key: &str) -> Result<Option<[u8; 16]>, String> {
    let parse = |text: String| match text.parse() {
        Ok(n) => Ok(numbered_uuid(n)),
        Err(_) => uuid::parse(text.as_bytes()).ok_or(format!("{key}={text} is no UUID")),
    };
    command.take(key).map(parse).transpose()
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    String::from_utf8_lossy(&uuid::format(bytes)).into_owned()
}

/// Carries out what is about a cluster's nodes; nothing if the command is none of these.
pub(crate) fn carry_out(server: &Server, command: &mut Command) -> Option<Result<Pairs, String>> {
    Some(match command.name.as_str() {
        "nodes" => nodes(server, command),
        "add_node" => add(server, command),
        "remove_node" => with_node(server, command, Server::remove_node),
        "node_down" => with_node(server, command, Server::node_down),
        "node_up" => with_node(server, command, Server::node_up),
        "move_node" => relocate(server, command),
        "hang_node" => hang(server, command, Server::hang_node),
        "resume_node" => hang(server, command, Server::resume_node),
        "schema_version" => schema_version(server, command),
        "handshake_delay" => handshake_delay(server, command),
        _ => return None,
    })
}

type Done = Result<(), palladion_testkit::Error>;

fn nodes(server: &Server, command: &Command) -> Result<Pairs, String> {
    command.finish()?;
    let nodes = told(server.nodes())?.into_iter();
    Ok(nodes.fold(Pairs::default(), |pairs, info| {
        let address = info.node.address.to_string();
        pairs.with(&address, own_pairs(&info).into_text())
    }))
}

fn own_pairs(info: &NodeInfo) -> Pairs {
    let node = &info.node;
    let pairs = Pairs::default()
        .with("address", node.address)
        .with("host_id", uuid_text(&node.host_id))
        .with("datacenter", &node.datacenter)
        .with("rack", &node.rack)
        .with("release_version", &node.release_version)
        .with("schema_version", uuid_text(&node.schema_version))
        .with_some("rpc_address", node.rpc_address)
        .with("down", info.down)
        .with("hangs", info.hangs);
    let counts = info.counters.pairs().into_iter();
    counts.fold(pairs, |pairs, (name, n)| pairs.with(name, n))
}

fn add(server: &Server, command: &mut Command) -> Result<Pairs, String> {
    let tell = tell(command)?;
    let mut node = told(server.fresh_node())?;
    change(&mut node, command)?;
    command.finish()?;
    let answer = Pairs::default()
        .with("address", node.address)
        .with("host_id", uuid_text(&node.host_id));
    told(server.add_node(node, tell))?;
    Ok(answer)
}

fn with_node(
    server: &Server,
    command: &mut Command,
    order: fn(&Server, Ipv4Addr, bool) -> Done,
) -> Result<Pairs, String> {
    let (node, tell) = (address(command, "node")?, tell(command)?);
    command.finish()?;
    told(order(server, node, tell)).map(|()| Pairs::default())
}

fn relocate(server: &Server, command: &mut Command) -> Result<Pairs, String> {
    let (from, to) = (address(command, "node")?, address(command, "to")?);
    let tell = tell(command)?;
    command.finish()?;
    told(server.move_node(from, to, tell)).map(|()| Pairs::default())
}

fn hang(
    server: &Server,
    command: &mut Command,
    order: fn(&Server, Ipv4Addr) -> Done,
) -> Result<Pairs, String> {
    let node = address(command, "node")?;
    command.finish()?;
    told(order(server, node)).map(|()| Pairs::default())
}

fn schema_version(server: &Server, command: &mut Command) -> Result<Pairs, String> {
    let node = command.parsed("node")?;
    let version = take_uuid(command, "version")?.ok_or("version= is missing")?;
    command.finish()?;
    told(server.set_schema_version(node, version)).map(|()| Pairs::default())
}

fn handshake_delay(server: &Server, command: &mut Command) -> Result<Pairs, String> {
    let delay = millis(command, "ms")?.ok_or("ms= is missing")?;
    command.finish()?;
    server.set_handshake_delay(delay);
    Ok(Pairs::default())
}

fn address(command: &mut Command, key: &str) -> Result<Ipv4Addr, String> {
    let address = command.parsed(key)?;
    address.ok_or_else(|| format!("{key}= is missing"))
}

/// Whether events are to be pushed.
fn tell(command: &mut Command) -> Result<bool, String> {
    Ok(command.parsed("event")?.unwrap_or(true))
}
