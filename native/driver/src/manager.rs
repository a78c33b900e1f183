//! The task that owns the pools: it starts one for each node, changes it with the node, and ends it
//! when the node is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use crate::cluster::{Shared, Waiter};
use crate::connection::Stop;
use crate::event::Event;
use crate::network::Network;
use crate::node::{Endpoint, NodeId, NodeSpec};
use crate::pool::{Command, Pool, Predecessor, Wish};
use crate::table::{Health, Node, PoolId};
use crate::{ConnectError, Failure, RequestError};

/// Commands that may wait for a pool.
const COMMANDS: usize = 4;

/// What the manager is asked to do.
pub(crate) enum Order {
    Nodes(Vec<NodeSpec>),
    Nudge(NodeId),
    NudgeAll,
    RetryIn(NodeId, Duration),
    Reconnect(Arc<Countdown>),
    /// As a reconnection, of the connections there are: a node without any keeps nobody waiting.
    Replace(Arc<Countdown>),
}

pub(crate) struct Manager<N: Network> {
    shared: Arc<Shared>,
    network: Arc<N>,
    orders: mpsc::Receiver<Order>,
    stop: watch::Receiver<Stop>,
    pools: HashMap<PoolId, Running>,
    /// To be run as soon as the table has their nodes, which is where they put connections.
    fresh: Vec<(PoolId, Pool<N>)>,
    tasks: JoinSet<()>,
    next: u64,
}

/// The way to a pool's task.
struct Running {
    spec: Arc<NodeSpec>,
    task: Option<Id>,
    /// Not of the node's present endpoint, or of a node that is gone.
    leaving: bool,
    wish: watch::Sender<Wish>,
    commands: mpsc::Sender<Command>,
    stop: Arc<watch::Sender<Stop>>,
}

impl<N: Network> Manager<N> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        network: Arc<N>,
        orders: mpsc::Receiver<Order>,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        Self {
            shared,
            network,
            orders,
            stop,
            pools: HashMap::new(),
            fresh: Vec::new(),
            tasks: JoinSet::new(),
            next: 0,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                Some(order) = self.orders.recv() => self.obey(order),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                how = stopped(&mut self.stop) => return self.close(how).await,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Nodes(nodes) => self.set_nodes(nodes),
            Order::Nudge(node) => self.command(node, Command::Nudge),
            Order::NudgeAll => {
                for pool in self.pools.values().filter(|pool| !pool.leaving) {
                    let _ = pool.commands.try_send(Command::Nudge);
                }
            }
            Order::RetryIn(node, pause) => self.command(node, Command::RetryIn(pause)),
            Order::Reconnect(countdown) => self.command_all(&countdown, Command::Reconnect),
            Order::Replace(countdown) => self.command_all(&countdown, Command::Replace),
        }
    }

    fn command_all(&self, countdown: &Arc<Countdown>, command: fn(Arc<Countdown>) -> Command) {
        for pool in self.pools.values().filter(|pool| !pool.leaving) {
            match pool.commands.try_send(command(Arc::clone(countdown))) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => countdown.fail(RequestError::Overloaded),
                Err(TrySendError::Closed(_)) => countdown.fail(RequestError::Closed),
            }
        }
    }

    fn command(&self, node: NodeId, command: Command) {
        if let Some(pool) = self.current(node).and_then(|id| self.pools.get(&id)) {
            // One that is lost costs nothing but the rest of a pause.
            let _ = pool.commands.try_send(command);
        }
    }

    /// The pool of a node's present endpoint.
    fn current(&self, node: NodeId) -> Option<PoolId> {
        let of_node = |pool: &&Running| pool.spec.id == node && !pool.leaving;
        let found = self.pools.iter().find(|(_, pool)| of_node(pool));
        found.map(|(id, _)| *id)
    }

    /// Starts, changes and ends pools so that there is one for each of these nodes.
    pub(crate) fn set_nodes(&mut self, nodes: Vec<NodeSpec>) {
        let mut current: HashMap<NodeId, PoolId> = self
            .pools
            .iter()
            .filter(|(_, pool)| !pool.leaving)
            .map(|(id, pool)| (pool.spec.id, *id))
            .collect();
        let mut new = HashMap::new();
        for spec in nodes {
            if new.contains_key(&spec.id) {
                continue;
            }
            let spec = Arc::new(spec);
            let old = current.remove(&spec.id);
            let same = old.filter(|id| self.endpoint(*id) == Some(&spec.endpoint));
            match same {
                Some(id) => {
                    self.adjust(id, &spec);
                    new.insert(spec.id, (id, spec, None));
                }
                None => match (self.start(&spec, old), old) {
                    (Some((id, health)), _) => {
                        new.insert(spec.id, (id, spec, Some(health)));
                    }
                    (None, Some(id)) => {
                        if let Some(pool) = self.pools.get(&id) {
                            new.insert(spec.id, (id, Arc::clone(&pool.spec), None));
                        }
                    }
                    (None, None) => {}
                },
            }
        }
        self.shared.change_table(|nodes| {
            let mut before: HashMap<_, _> = nodes.drain(..).map(|n| (n.spec.id, n)).collect();
            nodes.extend(new.into_values().map(|(pool, spec, health)| {
                let old = before.remove(&spec.id);
                Arc::new(match (old, health) {
                    (Some(old), None) => old.as_of(spec),
                    (Some(old), Some(health)) => Node::new(spec, pool, health).instead_of(&old),
                    (None, health) => Node::new(spec, pool, health.unwrap_or_default()),
                })
            }));
        });
        self.run_fresh();
        // Those of nodes that are gone, which no request finds any more.
        for pool in self.pools.values_mut() {
            if current.contains_key(&pool.spec.id) {
                pool.leaving = true;
                Stop::Drain.tell(&pool.stop);
            }
        }
    }

    fn endpoint(&self, pool: PoolId) -> Option<&Endpoint> {
        self.pools.get(&pool).map(|pool| &pool.spec.endpoint)
    }

    fn adjust(&mut self, id: PoolId, spec: &Arc<NodeSpec>) {
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.spec = Arc::clone(spec);
            pool.wish.send_if_modified(|wish| {
                let changed = wish.size != spec.size;
                wish.size = spec.size;
                changed
            });
        }
    }

    /// Starts a pool, whose first connection ends those of the node's old endpoints.
    fn start(
        &mut self,
        spec: &Arc<NodeSpec>,
        before: Option<PoolId>,
    ) -> Option<(PoolId, Arc<Health>)> {
        if let Err(failure) = self.shared.endpoint_tls(&spec.endpoint) {
            // The one before stays, if there is one: better than none.
            self.unusable(spec, failure);
            return None;
        }
        if let Some(pool) = before.and_then(|id| self.pools.get_mut(&id)) {
            pool.leaving = true;
            pool.wish.send_modify(|wish| wish.open = false);
        }
        let of_node = |pool: &&Running| pool.leaving && pool.spec.id == spec.id;
        let predecessors = self.pools.values().filter(of_node);
        let predecessors = predecessors.map(|pool| Predecessor(Arc::clone(&pool.stop)));
        let predecessors = predecessors.collect();
        let id = PoolId(self.next);
        self.next += 1;
        let health = Arc::new(Health::default());
        let (wish, wished) = watch::channel(Wish {
            size: spec.size,
            open: true,
        });
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (stop, stopped) = watch::channel(Stop::No);
        let pool = Pool::new(
            Arc::clone(&self.shared),
            Arc::clone(&self.network),
            (id, spec.id, spec.endpoint.clone()),
            Arc::clone(&health),
            (wished, receiver, stopped),
            predecessors,
        );
        self.fresh.push((id, pool));
        let running = Running {
            spec: Arc::clone(spec),
            task: None,
            leaving: false,
            wish,
            commands,
            stop: Arc::new(stop),
        };
        self.pools.insert(id, running);
        Some((id, health))
    }

    fn run_fresh(&mut self) {
        for (id, pool) in self.fresh.drain(..) {
            let task = self.tasks.spawn(pool.run()).id();
            if let Some(running) = self.pools.get_mut(&id) {
                running.task = Some(task);
            }
        }
    }

    fn unusable(&self, spec: &NodeSpec, failure: Failure) {
        let error = Arc::new(ConnectError {
            endpoint: spec.endpoint.to_string().into(),
            address: None,
            failure,
        });
        self.shared.stats.connect_failures.add();
        self.shared.last_error.store(Some(Arc::clone(&error)));
        self.shared.events.event(Event::ConnectFailed {
            error,
            node: Some(spec.id),
            failures: 1,
            retry_in: Duration::ZERO,
        });
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (task, panicked) = match ended {
            Ok((task, ())) => (task, false),
            Err(error) => (error.id(), true),
        };
        let found = self.pools.iter().find(|(_, pool)| pool.task == Some(task));
        let Some(pool) = found
            .map(|(id, _)| *id)
            .and_then(|id| self.pools.remove(&id))
        else {
            return;
        };
        // A bug took it; its connections have ended with it. The node still needs a pool.
        if panicked && !pool.leaving {
            if let Some((id, health)) = self.start(&pool.spec, None) {
                self.shared.change_table(|nodes| {
                    for node in nodes.iter_mut().filter(|n| n.spec.id == pool.spec.id) {
                        let health = Arc::clone(&health);
                        *node = Arc::new(Node::new(Arc::clone(&pool.spec), id, health));
                    }
                });
                self.run_fresh();
            }
        }
    }

    async fn close(mut self, how: Stop) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Reconnect(countdown) | Order::Replace(countdown) = order {
                countdown.fail(RequestError::Closed);
            }
        }
        self.shared.change_table(Vec::clear);
        self.tell_all(how);
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => if ended.is_none() { return },
                how = stopped(&mut self.stop) => {
                    self.tell_all(how);
                    if how == Stop::Now {
                        break;
                    }
                }
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn tell_all(&self, how: Stop) {
        self.pools.values().for_each(|pool| how.tell(&pool.stop));
    }
}

/// The next word on stopping. The sender's end without one means the strictest.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Stop>) -> Stop {
    match stop.changed().await {
        Ok(()) => *stop.borrow_and_update(),
        Err(_) => Stop::Now,
    }
}

/// Tells a waiter when all pools have done their part, that is, dropped it.
pub(crate) struct Countdown {
    waiter: Mutex<Option<Box<dyn Waiter>>>,
}

impl Countdown {
    pub(crate) fn new(waiter: Box<dyn Waiter>) -> Self {
        Self {
            waiter: Mutex::new(Some(waiter)),
        }
    }

    /// Tells the waiter at once; the first word counts.
    pub(crate) fn fail(&self, error: RequestError) {
        self.tell(Err(error));
    }

    fn tell(&self, outcome: Result<(), RequestError>) {
        let waiter = self
            .waiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waiter) = waiter {
            waiter.ready(outcome);
        }
    }
}

impl Drop for Countdown {
    fn drop(&mut self) {
        self.tell(Ok(()));
    }
}
