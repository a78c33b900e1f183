//! The nodes that one server simulates, and which connection is whose.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palladion_cql::value::{encode, Value};
use palladion_cql::ColumnType;
use tokio::sync::watch;

use crate::control::{Control, Watched};
use crate::counters::{add, NodeCells};
use crate::event::Event;
use crate::node::{Node, NodeInfo};
use crate::options::ClusterOptions;
use crate::statement::PreparedStatements;
use crate::Error;

/// A cluster.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) port: u16,
    pub(crate) name: String,
    pub(crate) peers_v2: bool,
    /// Everything about membership happens under this lock, so that no connection is made to a
    /// node that was just taken down.
    members: Mutex<Members>,
    /// The number of the last node that was given or numbered here.
    last: AtomicU32,
}

type Members = BTreeMap<Ipv4Addr, Arc<Member>>;

/// One of its nodes, from when it is added until it is removed.
#[derive(Debug)]
pub(crate) struct Member {
    node: Mutex<Arc<Node>>,
    /// The cell of its tokens: there may be many, and they never change.
    pub(crate) tokens: Vec<u8>,
    pub(crate) cells: NodeCells,
    pub(crate) prepared: Arc<PreparedStatements>,
    control: watch::Sender<Control>,
}

impl Member {
    fn new(node: Node) -> Result<Self, Error> {
        node.check()?;
        let mut texts: Vec<_> = node.tokens.iter().map(i64::to_string).collect();
        // A set of texts is sent in their order.
        texts.sort_unstable();
        let set = Value::Set(texts.into_iter().map(Value::Text).collect());
        let ty = ColumnType::Set(Box::new(ColumnType::Text));
        let mut tokens = Vec::new();
        encode(&set, &ty, &mut tokens, MAX_TOKENS)
            .map_err(|_| Error::usage("more tokens than fit"))?;
        Ok(Self {
            node: Mutex::new(Arc::new(node)),
            tokens,
            cells: NodeCells::default(),
            prepared: Arc::default(),
            control: watch::channel(Control::default()).0,
        })
    }

    pub(crate) fn node(&self) -> Arc<Node> {
        lock(&self.node).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Node)) {
        change(Arc::make_mut(&mut lock(&self.node)));
    }

    fn info(&self) -> NodeInfo {
        let control = *self.control.borrow();
        NodeInfo {
            node: (*self.node()).clone(),
            down: control.stop,
            hangs: control.paused,
            counters: self.cells.snapshot(),
        }
    }

    /// Closes its connections.
    fn close(&self, down: bool) {
        self.control.send_modify(|control| {
            control.generation += 1;
            control.stop = down;
        });
    }
}

/// Bytes of a node's tokens, at most.
const MAX_TOKENS: usize = 1 << 20;

impl Nodes {
    pub(crate) fn new(options: ClusterOptions, port: u16) -> Result<Self, Error> {
        let nodes = Self {
            port,
            name: options.name,
            peers_v2: options.peers_v2,
            members: Mutex::default(),
            last: AtomicU32::new(options.nodes.len() as u32),
        };
        for node in options.nodes {
            nodes.add(node)?;
        }
        Ok(nodes)
    }

    /// The node that somebody connected to at this address, and its orders; nothing if there is
    /// none, or if it is down.
    pub(crate) fn reached_at(&self, address: SocketAddr) -> Option<(Arc<Member>, Watched)> {
        let IpAddr::V4(address) = address.ip() else {
            return None;
        };
        let members = self.lock();
        let member = members.get(&address)?;
        if member.control.borrow().stop {
            add(&member.cells.refused, 1);
            return None;
        }
        let orders = Watched::new(member.control.subscribe());
        Some((member.clone(), orders))
    }

    /// All of them, in the order of their addresses.
    pub(crate) fn all(&self) -> Vec<Arc<Member>> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn get(&self, address: Ipv4Addr) -> Result<Arc<Member>, Error> {
        find(&self.lock(), address).cloned()
    }

    /// A numbered node that there has not been yet.
    pub(crate) fn fresh(&self) -> Node {
        loop {
            let n = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let node = Node::numbered(n);
            if self.get(node.address).is_err() {
                return node;
            }
        }
    }

    pub(crate) fn infos(&self) -> Vec<NodeInfo> {
        self.lock().values().map(|member| member.info()).collect()
    }

    // What changes them gives the events that Cassandra pushes.

    pub(crate) fn add(&self, node: Node) -> Result<Vec<Event>, Error> {
        let (address, announced) = (node.address, node.announced(self.port));
        let member = Arc::new(Member::new(node)?);
        let mut members = self.lock();
        vacant(&members, address)?;
        members.insert(address, member);
        Ok(vec![
            topology("NEW_NODE", announced),
            status("UP", announced),
        ])
    }

    pub(crate) fn remove(&self, address: Ipv4Addr) -> Result<Vec<Event>, Error> {
        let mut members = self.lock();
        let member = find(&members, address)?.clone();
        members.remove(&address);
        member.close(true);
        let announced = member.node().announced(self.port);
        Ok(vec![topology("REMOVED_NODE", announced)])
    }

    pub(crate) fn set_down(&self, address: Ipv4Addr, down: bool) -> Result<Vec<Event>, Error> {
        let members = self.lock();
        let member = find(&members, address)?;
        member.close(down);
        let announced = member.node().announced(self.port);
        Ok(vec![status(if down { "DOWN" } else { "UP" }, announced)])
    }

    /// Its connections are closed, as when it is started again with another address.
    pub(crate) fn relocate(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<Vec<Event>, Error> {
        let mut members = self.lock();
        let member = find(&members, from)?.clone();
        vacant(&members, to)?;
        let before = member.node();
        let moved = Node {
            address: to,
            ..(*before).clone()
        };
        moved.check()?;
        let (left, joined) = (before.announced(self.port), moved.announced(self.port));
        member.change(|node| *node = moved);
        members.remove(&from);
        let down = member.control.borrow().stop;
        member.close(down);
        members.insert(to, member);
        let mut events = vec![status("DOWN", left), topology("NEW_NODE", joined)];
        if !down {
            events.push(status("UP", joined));
        }
        Ok(events)
    }

    pub(crate) fn set_hanging(&self, address: Ipv4Addr, hangs: bool) -> Result<(), Error> {
        let members = self.lock();
        let member = find(&members, address)?;
        member.control.send_modify(|control| control.paused = hangs);
        Ok(())
    }

    /// Of one node, or of all.
    pub(crate) fn set_schema_version(
        &self,
        address: Option<Ipv4Addr>,
        version: [u8; 16],
    ) -> Result<(), Error> {
        let members = match address {
            Some(address) => vec![self.get(address)?],
            None => self.all(),
        };
        for member in members {
            member.change(|node| node.schema_version = version);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        lock(&self.members)
    }
}

fn find(members: &Members, address: Ipv4Addr) -> Result<&Arc<Member>, Error> {
    let member = members.get(&address);
    member.ok_or_else(|| Error::usage(format!("there is no node {address}")))
}

fn vacant(members: &Members, address: Ipv4Addr) -> Result<(), Error> {
    if members.contains_key(&address) {
        return Err(Error::usage(format!("there is a node {address} already")));
    }
    Ok(())
}

fn topology(change: &str, node: SocketAddr) -> Event {
    Event::Topology(change.to_owned(), node)
}

fn status(change: &str, node: SocketAddr) -> Event {
    Event::Status(change.to_owned(), node)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
