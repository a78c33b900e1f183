//! The table that requests are routed on; replaced as a whole when a connection or a node comes or
//! goes.

use std::cmp::Reverse;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use palladion_cql::Dialect;

use crate::connection::Connection;
use crate::node::{Distance, NodeId, NodeSpec, Route};
use crate::ConnectError;

/// A pool's number: a node that moves gets another pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PoolId(pub(crate) u64);

/// The nodes, with those that can take requests in the order in which they do.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) nodes: Vec<Arc<Node>>,
    tiers: Vec<Tier>,
    /// What most connections of the first tier speak.
    dialect: Option<Dialect>,
}

/// Nodes with connections that are as good as each other.
struct Tier {
    distance: Distance,
    nodes: Vec<Arc<Node>>,
}

/// A node and its connections.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) spec: Arc<NodeSpec>,
    pub(crate) pool: PoolId,
    pub(crate) health: Arc<Health>,
    connections: Vec<Arc<Connection>>,
    /// Those of the pool before a move; they serve until the new pool has one.
    inherited: Option<(PoolId, Vec<Arc<Connection>>)>,
}

/// What a pool says of its node.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// What went wrong last; none since an attempt succeeded.
    pub(crate) last_error: ArcSwapOption<ConnectError>,
}

impl Node {
    pub(crate) fn new(spec: Arc<NodeSpec>, pool: PoolId, health: Arc<Health>) -> Self {
        Self {
            spec,
            pool,
            health,
            connections: Vec::new(),
            inherited: None,
        }
    }

    /// The same with another distance, preference or size.
    pub(crate) fn as_of(&self, spec: Arc<NodeSpec>) -> Self {
        Self {
            spec,
            ..self.clone()
        }
    }

    /// Takes the place of the node at its old endpoint, whose connections serve a little longer.
    pub(crate) fn instead_of(mut self, old: &Self) -> Self {
        self.inherited = match &old.inherited {
            // Moved once more, before it could be reached.
            Some(inherited) if old.connections.is_empty() => Some(inherited.clone()),
            _ => Some((old.pool, old.connections.clone())),
        };
        self
    }

    pub(crate) fn connections(&self) -> &[Arc<Connection>] {
        match &self.inherited {
            Some((_, inherited)) if self.connections.is_empty() => inherited,
            _ => &self.connections,
        }
    }

    /// The same with these connections of a pool; nothing if the pool is not the node's.
    pub(crate) fn with(&self, pool: PoolId, connections: &[Arc<Connection>]) -> Option<Self> {
        let mut node = self.clone();
        if pool == self.pool {
            node.connections = connections.to_vec();
            if !connections.is_empty() {
                node.inherited = None;
            }
        } else if self.inherited.as_ref().is_some_and(|(old, _)| *old == pool) {
            node.inherited = Some((pool, connections.to_vec()));
        } else {
            return None;
        }
        Some(node)
    }
}

impl Table {
    pub(crate) fn new(mut nodes: Vec<Arc<Node>>) -> Self {
        let rank = |node: &Arc<Node>| (node.spec.distance, node.spec.preference);
        nodes.sort_by_key(rank);
        let mut tiers: Vec<Tier> = Vec::new();
        let mut last = None;
        for node in nodes.iter().filter(|node| !node.connections().is_empty()) {
            if last != Some(rank(node)) {
                last = Some(rank(node));
                tiers.push(Tier {
                    distance: node.spec.distance,
                    nodes: Vec::new(),
                });
            }
            if let Some(tier) = tiers.last_mut() {
                tier.nodes.push(Arc::clone(node));
            }
        }
        let dialect = tiers.first().and_then(Tier::dialect);
        Self {
            nodes,
            tiers,
            dialect,
        }
    }

    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.nodes.iter().flat_map(|node| node.connections())
    }

    /// Whether a connection takes requests; one that is just ending is in the table for a moment
    /// yet, and to wait for it would be to wait for nothing.
    pub(crate) fn has_open(&self) -> bool {
        self.connections().any(|c| c.is_open())
    }

    pub(crate) fn find(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.spec.id == id)
    }

    /// Whether a node has connections.
    pub(crate) fn serves(&self, id: NodeId) -> bool {
        self.find(id)
            .is_some_and(|node| !node.connections().is_empty())
    }

    /// Every connection that may take a request, the best first: the nodes of each tier take
    /// turns, though the less busy of two comes first, and so do a node's connections. A node to
    /// avoid is the last of its tier.
    pub(crate) fn in_order(
        &self,
        route: Route,
        turn: usize,
    ) -> impl Iterator<Item = (Distance, &Arc<Connection>)> {
        let (first, avoid) = match route {
            Route::Any => (None, None),
            Route::First(id) => (self.find(id), None),
            Route::Avoid(id) => (None, Some(id)),
        };
        let named = first
            .into_iter()
            .flat_map(move |node| node.in_order(turn).map(|c| (Distance::Local, c)));
        let others = self.tiers.iter().flat_map(move |tier| {
            tier.in_order(turn, avoid)
                .flat_map(move |node| node.in_order(turn / tier.nodes.len().max(1)))
                .map(|connection| (tier.distance, connection))
        });
        named.chain(others)
    }
}

impl Tier {
    /// What most connections speak; of two, the lesser. While connections are replaced by others
    /// that speak less, the first of them is not to take all requests.
    fn dialect(&self) -> Option<Dialect> {
        let mut spoken: Vec<(Dialect, usize)> = Vec::new();
        for connection in self.nodes.iter().flat_map(|node| node.connections()) {
            let dialect = connection.dialect();
            match spoken.iter_mut().find(|(d, _)| d.is_understood_as(dialect)) {
                Some((_, count)) => *count += 1,
                None => spoken.push((*dialect, 1)),
            }
        }
        let rank = |(d, count): &(Dialect, usize)| (*count, Reverse((d.version, d.metadata_ids)));
        spoken.into_iter().max_by_key(rank).map(|(d, _)| d)
    }

    fn in_order(&self, turn: usize, avoid: Option<NodeId>) -> impl Iterator<Item = &Arc<Node>> {
        // A node that hangs would else collect all callers, each waiting for its timeout.
        let first = less_busy_of_two(&self.nodes, turn);
        let (before, after) = self.nodes.split_at_checked(first).unwrap_or_default();
        let avoided = move |node: &&Arc<Node>| avoid == Some(node.spec.id);
        let last = avoid
            .and_then(|_| self.nodes.iter().find(avoided))
            .into_iter();
        let others = after.iter().chain(before).filter(move |n| !avoided(n));
        others.chain(last)
    }
}

impl Node {
    fn in_order(&self, turn: usize) -> impl Iterator<Item = &Arc<Connection>> {
        let connections = self.connections();
        let first = less_busy_of_two(connections, turn);
        let (before, after) = connections.split_at_checked(first).unwrap_or_default();
        after.iter().chain(before)
    }
}

/// What has something to do.
trait Busy {
    /// Requests queued or not answered yet.
    fn in_flight(&self) -> u32;
}

impl Busy for Connection {
    fn in_flight(&self) -> u32 {
        Self::in_flight(self)
    }
}

impl Busy for Node {
    fn in_flight(&self) -> u32 {
        let each = self.connections().iter().map(|c| c.in_flight());
        each.fold(0, u32::saturating_add)
    }
}

fn less_busy_of_two<T: Busy>(all: &[Arc<T>], turn: usize) -> usize {
    let n = all.len().max(1);
    let (one, two) = (turn % n, (turn + 1) % n);
    match (all.get(one), all.get(two)) {
        (Some(a), Some(b)) if one != two && b.in_flight() < a.in_flight() => two,
        _ => one,
    }
}
