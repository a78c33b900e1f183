//! A cluster: its pools, the table that requests are routed on, and what waits for a connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch, Notify, Semaphore};
use tokio::task::JoinSet;

use crate::config::ClusterConfig;
use crate::connection::{Connection, ConnectionInfo, Stop};
use crate::event::EventSink;
use crate::network::Network;
use crate::pool::{Command, Countdown, Pool};
use crate::tls::{TlsConfigError, TlsContext};
use crate::{ConnectError, PreparedCache, Request, RequestError, Stats};

/// A running cluster. Dropping it cuts everything off; closing in good order is [`Cluster::close`].
pub struct Cluster {
    shared: Arc<Shared>,
    pools: Vec<mpsc::Sender<Command>>,
    tasks: Mutex<Option<JoinSet<()>>>,
    stop: watch::Sender<Stop>,
    overflow: Option<mpsc::Sender<Request>>,
}

/// What the pools and the handle share.
pub(crate) struct Shared {
    pub(crate) config: ClusterConfig,
    pub(crate) stats: Arc<Stats>,
    pub(crate) events: Arc<dyn EventSink>,
    /// Handshakes and logins under way at once.
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) last_error: ArcSwapOption<ConnectError>,
    /// Told when there is room in a connection's queue again.
    pub(crate) room: Arc<Notify>,
    /// Requests in the overflow queue, and the one that is being handed on.
    overflowing: AtomicUsize,
    prepared: PreparedCache,
    table: ArcSwap<Table>,
    publishing: Mutex<()>,
    next: AtomicUsize,
    waiters: Mutex<VecDeque<Box<dyn Waiter>>>,
    closed: AtomicBool,
}

/// The open connections by node; replaced as a whole when one comes or goes.
#[derive(Default)]
struct Table {
    nodes: Vec<Vec<Arc<Connection>>>,
}

/// Waits for the first connection, or for the end of a reconnection.
pub trait Waiter: Send {
    /// Whether nobody waits any more.
    fn is_cancelled(&self) -> bool;
    /// The wait is over. Called on a runtime thread; must not block or panic.
    fn ready(self: Box<Self>, outcome: Result<(), RequestError>);
}

/// A request that no connection took.
pub struct Refused {
    /// Why.
    pub error: RequestError,
    /// The request, whose reply its owner answers or cancels.
    pub request: Request,
}

impl Refused {
    fn boxed(error: RequestError, request: Request) -> Box<Self> {
        Box::new(Self { error, request })
    }
}

/// A cluster's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No connection has been opened yet.
    Connecting,
    /// At least one connection is open.
    Ready,
    /// There were connections, and now there is none; they are tried for again.
    Disconnected,
    /// Closed for good.
    Closed,
}

/// A cluster's state.
#[derive(Debug, Clone)]
pub struct Status {
    /// In one word.
    pub phase: Phase,
    /// Each contact point with its open connections.
    pub endpoints: Vec<EndpointStatus>,
    /// What went wrong last; none since everything is well.
    pub last_error: Option<Arc<ConnectError>>,
    /// Requests queued or not answered yet.
    pub in_flight: u64,
    /// Answers to come that nobody waits for any more.
    pub orphans: u64,
}

/// The state of the connections to one contact point.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// `host:port`
    pub endpoint: String,
    /// Open connections.
    pub connections: Vec<Arc<ConnectionInfo>>,
}

impl Cluster {
    /// Starts to connect, in the background. What can't work is an error at once.
    pub fn start<N: Network>(
        config: ClusterConfig,
        network: N,
        events: Arc<dyn EventSink>,
        runtime: &Handle,
    ) -> Result<Self, TlsConfigError> {
        let stats = Arc::new(Stats::default());
        let tls = config
            .tls
            .clone()
            .map(|tls| TlsContext::new(tls, config.pool_size, &stats))
            .transpose()?;
        let tls_of_endpoints = config
            .contact_points
            .iter()
            .map(|endpoint| tls.as_ref().map(|tls| tls.endpoint(endpoint)).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let endpoints = config.contact_points.clone();
        let shared = Arc::new(Shared {
            stats,
            events,
            handshakes: Arc::new(Semaphore::new(config.max_handshakes.max(1))),
            last_error: ArcSwapOption::empty(),
            room: Arc::new(Notify::new()),
            overflowing: AtomicUsize::new(0),
            prepared: PreparedCache::new(config.prepared_cache_size),
            table: ArcSwap::from_pointee(Table {
                nodes: vec![Vec::new(); endpoints.len()],
            }),
            publishing: Mutex::new(()),
            next: AtomicUsize::new(0),
            waiters: Mutex::new(VecDeque::new()),
            closed: AtomicBool::new(false),
            config,
        });
        let network = Arc::new(network);
        let (stop, _) = watch::channel(Stop::No);
        let mut tasks = JoinSet::new();
        let mut pools = Vec::with_capacity(endpoints.len());
        for (node, (endpoint, tls)) in endpoints.into_iter().zip(tls_of_endpoints).enumerate() {
            let (commands, receiver) = mpsc::channel(COMMANDS);
            let pool = Pool::new(
                Arc::clone(&shared),
                Arc::clone(&network),
                node,
                endpoint,
                tls,
                receiver,
                stop.subscribe(),
            );
            tasks.spawn_on(pool.run(), runtime);
            pools.push(commands);
        }
        let overflow = (shared.config.max_overflow > 0).then(|| {
            let (sender, receiver) = mpsc::channel(shared.config.max_overflow);
            let hand_on = Arc::clone(&shared).hand_on(receiver, stop.subscribe());
            tasks.spawn_on(hand_on, runtime);
            sender
        });
        Ok(Self {
            shared,
            pools,
            tasks: Mutex::new(Some(tasks)),
            stop,
            overflow,
        })
    }

    /// Whether the cluster takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// The configuration.
    pub fn config(&self) -> &ClusterConfig {
        &self.shared.config
    }

    /// The statements prepared so far.
    pub fn prepared(&self) -> &PreparedCache {
        &self.shared.prepared
    }

    /// What has been counted.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Puts a request onto a connection's queue, or hands it back with the reason.
    ///
    /// Nodes take turns, beginning with `node` if one is named; of a node's connections the less
    /// busy of two is asked first, then all. While all are full it waits for room, if so many may.
    pub fn submit(&self, request: Request, node: Option<usize>) -> Result<(), Box<Refused>> {
        // Those that wait already come first.
        let request = if self.shared.overflowing.load(Ordering::Acquire) == 0 {
            match self.shared.submit(request, node) {
                Err(refused) if matches!(refused.error, RequestError::Overloaded) => {
                    refused.request
                }
                done => return done,
            }
        } else {
            request
        };
        let Some(overflow) = &self.overflow else {
            self.shared.stats.overloaded.add();
            return Err(Refused::boxed(RequestError::Overloaded, request));
        };
        self.shared.overflowing.fetch_add(1, Ordering::AcqRel);
        match overflow.try_send(request) {
            Ok(()) => {
                self.shared.stats.overflowed.add();
                Ok(())
            }
            Err(TrySendError::Closed(request)) => {
                self.shared.overflowing.fetch_sub(1, Ordering::AcqRel);
                Err(Refused::boxed(RequestError::Closed, request))
            }
            Err(full) => {
                self.shared.overflowing.fetch_sub(1, Ordering::AcqRel);
                self.shared.stats.overloaded.add();
                Err(Refused::boxed(RequestError::Overloaded, full.into_inner()))
            }
        }
    }

    /// Waits for a connection: the waiter is told at once if there is one, else with the first.
    /// Hands it back if too many wait already.
    pub fn wait(&self, waiter: Box<dyn Waiter>) -> Result<(), Box<dyn Waiter>> {
        let mut waiters = self.shared.lock_waiters();
        if waiters.len() >= self.shared.config.max_waiters {
            waiters.retain(|waiter| !waiter.is_cancelled());
        }
        if waiters.len() >= self.shared.config.max_waiters {
            return Err(waiter);
        }
        waiters.push_back(waiter);
        drop(waiters);
        // After the waiter is in the list, so that it can't miss what happened in between.
        if self.is_closed() {
            self.shared.wake(&Err(RequestError::Closed));
        } else if self.shared.table.load().has_open() {
            self.shared.wake(&Ok(()));
        }
        Ok(())
    }

    /// Opens every pool anew, in waves, with the sessions kept: each new connection replaces an
    /// old one, which first answers what it has taken on. `done` is told when all are replaced, or
    /// with the first failure.
    pub fn reconnect(&self, done: Box<dyn Waiter>) {
        let countdown = Arc::new(Countdown::new(done));
        for pool in &self.pools {
            match pool.try_send(Command::Reconnect(Arc::clone(&countdown))) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => countdown.fail(RequestError::Overloaded),
                Err(TrySendError::Closed(_)) => countdown.fail(RequestError::Closed),
            }
        }
    }

    /// Takes no more requests and closes: what was taken on has `grace` to be answered. Returns
    /// when every connection has ended.
    pub async fn close(&self, grace: Duration) {
        self.shut(Stop::Drain);
        let tasks = self
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut tasks) = tasks else {
            return;
        };
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, drained).await.is_err() {
            self.shut(Stop::Now);
            while tasks.join_next().await.is_some() {}
        }
    }

    /// Takes no more requests and closes at once, without waiting for it.
    pub fn close_now(&self) {
        self.shut(Stop::Now);
    }

    /// The state.
    pub fn status(&self) -> Status {
        let table = self.shared.table.load();
        let all = || table.nodes.iter().flatten();
        let endpoints = self.shared.config.contact_points.iter().zip(&table.nodes);
        Status {
            phase: self.phase(&table),
            endpoints: endpoints
                .map(|(endpoint, connections)| EndpointStatus {
                    endpoint: endpoint.to_string(),
                    connections: connections.iter().map(|c| Arc::clone(&c.info)).collect(),
                })
                .collect(),
            last_error: self.shared.last_error.load_full(),
            in_flight: all().map(|c| u64::from(c.in_flight())).sum(),
            orphans: all().map(|c| c.orphans()).sum(),
        }
    }

    fn phase(&self, table: &Table) -> Phase {
        if self.is_closed() {
            Phase::Closed
        } else if !table.is_empty() {
            Phase::Ready
        } else if self.shared.stats.connections_opened.get() == 0 {
            Phase::Connecting
        } else {
            Phase::Disconnected
        }
    }

    fn shut(&self, how: Stop) {
        self.shared.closed.store(true, Ordering::Release);
        self.stop.send_if_modified(|now| {
            let further = how > *now;
            if further {
                *now = how;
            }
            further
        });
        self.shared.wake(&Err(RequestError::Closed));
    }
}

/// Commands that may wait for a pool.
const COMMANDS: usize = 4;

impl Table {
    fn is_empty(&self) -> bool {
        self.nodes.iter().all(Vec::is_empty)
    }

    /// Whether a connection takes requests; one that is just ending is in the table for a moment
    /// yet, and to wait for it would be to wait for nothing.
    fn has_open(&self) -> bool {
        self.nodes.iter().flatten().any(|c| c.is_open())
    }

    /// Every connection once: the nodes from `first` on, each from the connection whose turn it is.
    fn in_order(&self, first: usize, turn: usize) -> impl Iterator<Item = &Arc<Connection>> {
        let nodes = self.nodes.len().max(1);
        (0..nodes)
            .filter_map(move |i| self.nodes.get((first + i) % nodes))
            .flat_map(move |connections| {
                let n = connections.len().max(1);
                let first = less_busy_of_two(connections, turn / nodes);
                (0..connections.len()).filter_map(move |i| connections.get((first + i) % n))
            })
    }
}

fn less_busy_of_two(connections: &[Arc<Connection>], turn: usize) -> usize {
    let n = connections.len().max(1);
    let (one, two) = (turn % n, (turn + 1) % n);
    match (connections.get(one), connections.get(two)) {
        (Some(a), Some(b)) if b.in_flight() < a.in_flight() => two,
        _ => one,
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn submit(&self, mut request: Request, node: Option<usize>) -> Result<(), Box<Refused>> {
        if self.is_closed() {
            return Err(Refused::boxed(RequestError::Closed, request));
        }
        let table = self.table.load();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut full = false;
        for connection in table.in_order(node.unwrap_or(turn), turn) {
            match connection.submit(request) {
                Ok(()) => {
                    self.stats.requests.add();
                    return Ok(());
                }
                Err(refused) => {
                    full |= matches!(refused, TrySendError::Full(_));
                    request = refused.into_inner();
                }
            }
        }
        // A connection that has just ended is in the table for a moment yet: that is none.
        let error = if full {
            RequestError::Overloaded
        } else {
            self.no_connection()
        };
        Err(Refused::boxed(error, request))
    }

    /// Hands requests on as soon as there is room, in the order in which they came.
    async fn hand_on(
        self: Arc<Self>,
        mut overflow: mpsc::Receiver<Request>,
        mut stop: watch::Receiver<Stop>,
    ) {
        let mut held = None;
        loop {
            // Before the look, so that room that comes up in between is not missed.
            let room = self.room.notified();
            held = match held {
                Some(request) => self.try_to_hand_on(request),
                None => None,
            };
            tokio::select! {
                Some(request) = overflow.recv(), if held.is_none() => held = Some(request),
                () = room, if held.is_some() => {}
                // Whatever the word is, it means the end of this.
                _ = stop.changed() => break,
            }
        }
        overflow.close();
        let closed = |request: Request| request.reply.complete(Err(RequestError::Closed));
        held.into_iter().for_each(closed);
        while let Some(request) = overflow.recv().await {
            closed(request);
        }
    }

    /// Hands the request back if there still is no room.
    fn try_to_hand_on(&self, request: Request) -> Option<Request> {
        let back = if request.reply.state().is_cancelled() {
            None
        } else {
            match self.submit(request, None) {
                Ok(()) => None,
                Err(refused) if matches!(refused.error, RequestError::Overloaded) => {
                    Some(refused.request)
                }
                Err(refused) => {
                    refused.request.reply.complete(Err(refused.error));
                    None
                }
            }
        };
        if back.is_none() {
            self.overflowing.fetch_sub(1, Ordering::AcqRel);
        }
        back
    }

    /// Replaces the connections of a node in the table.
    pub(crate) fn publish(&self, node: usize, connections: Vec<Arc<Connection>>) {
        let first = !connections.is_empty();
        {
            let _one_at_a_time = self
                .publishing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let mut nodes = self.table.load().nodes.clone();
            if let Some(slot) = nodes.get_mut(node) {
                *slot = connections;
            }
            self.table.store(Arc::new(Table { nodes }));
        }
        self.room.notify_one();
        if first {
            self.wake(&Ok(()));
        }
    }

    pub(crate) fn no_connection(&self) -> RequestError {
        RequestError::NoConnection {
            last: self.last_error.load_full(),
        }
    }

    fn wake(&self, outcome: &Result<(), RequestError>) {
        let waiters = std::mem::take(&mut *self.lock_waiters());
        for waiter in waiters {
            waiter.ready(outcome.clone());
        }
    }

    fn lock_waiters(&self) -> MutexGuard<'_, VecDeque<Box<dyn Waiter>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
