//! A cluster: the table that requests are routed on, and what waits for a connection.

mod status;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use palladion_cql::Dialect;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch, Notify, Semaphore};
use tokio::task::JoinSet;

use crate::auth::{Auth, AuthConfig};
use crate::config::ClusterConfig;
use crate::connection::{Connection, ConnectionInfo, Stop};
use crate::control;
use crate::event::{Event, EventSink};
use crate::manager::{Countdown, Manager, Order};
use crate::network::Network;
use crate::node::{Distance, Endpoint, NodeId, NodeSpec, Route};
use crate::overflow;
use crate::protocol::{Agreement, Wish};
use crate::refusal::Refusal;
use crate::table::{Node, PoolId, Table};
use crate::tls::{EndpointTls, TlsConfig, TlsConfigError, TlsContext};
pub use status::{NodeStatus, Phase, Status};

use crate::{ConnectError, Failure, PreparedCache, Request, RequestError, Stats};

/// A running cluster. Dropping it cuts everything off; closing in good order is [`Cluster::close`].
pub struct Cluster {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    tasks: Mutex<Option<JoinSet<()>>>,
    stop: watch::Sender<Stop>,
    overflow: Option<mpsc::Sender<(Request, Route)>>,
}

/// What the tasks and the handle share.
pub(crate) struct Shared {
    pub(crate) config: ClusterConfig,
    /// What TLS connections trust and show; exchanged by a reload.
    pub(crate) tls: ArcSwapOption<TlsContext>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) events: Arc<dyn EventSink>,
    /// Handshakes and logins under way at once, but for the control connection's.
    pub(crate) handshakes: Semaphore,
    /// Of these, those to nodes that failed before.
    pub(crate) probes: Semaphore,
    /// How logins are done from now on.
    pub(crate) auth: ArcSwapOption<Auth>,
    /// How often it was replaced, for those who are to be told.
    pub(crate) new_login: watch::Sender<u64>,
    /// What a refused login means for all connections.
    pub(crate) refusal: Refusal,
    /// What is left to agree on with servers.
    pub(crate) agreement: Agreement,
    pub(crate) last_error: ArcSwapOption<ConnectError>,
    /// Told when there is room in a connection's queue again.
    pub(crate) room: Arc<Notify>,
    /// Requests in the overflow queue, and the one that is being handed on.
    pub(crate) overflowing: AtomicUsize,
    pub(crate) prepared: PreparedCache,
    pub(crate) control: ArcSwapOption<Connection>,
    /// Who waits for another control connection in the place of this one.
    pub(crate) renewal: control::Renewal,
    /// The number of the TLS configuration in force, for those who are to be told of another.
    pub(crate) in_force: watch::Sender<u64>,
    generations: AtomicU64,
    pub(crate) table: ArcSwap<Table>,
    publishing: Mutex<()>,
    next: AtomicUsize,
    waiters: Mutex<VecDeque<Box<dyn Waiter>>>,
    was_ready: AtomicBool,
    closed: AtomicBool,
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

/// A TLS configuration that could be read, for [`Cluster::reload_tls`].
#[derive(Debug)]
pub struct PreparedTls(TlsContext);

/// Orders that may wait for the manager.
const ORDERS: usize = 256;

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
            .map(|tls| TlsContext::new(tls, 0, config.pool_size, &stats, &events))
            .transpose()?;
        if let Some(tls) = &tls {
            for point in &config.contact_points {
                tls.endpoint(&Endpoint::from(point))?;
            }
        }
        let auth = config.auth.clone();
        let auth = auth.map(|auth| Arc::new(Auth::new(auth, &config.callbacks, &events)));
        let shared = Arc::new(Shared {
            tls: ArcSwapOption::new(tls.map(Arc::new)),
            stats,
            events,
            // One is the control connection's, which must not wait behind nodes that hang.
            handshakes: Semaphore::new(config.max_handshakes.saturating_sub(1).max(1)),
            probes: Semaphore::new((config.max_handshakes / 2).max(1)),
            auth: ArcSwapOption::new(auth),
            new_login: watch::Sender::new(0),
            refusal: Refusal::new(&config.reconnect),
            agreement: Agreement::new(config.protocol),
            last_error: ArcSwapOption::empty(),
            room: Arc::new(Notify::new()),
            overflowing: AtomicUsize::new(0),
            prepared: PreparedCache::new(config.prepared_cache_size),
            control: ArcSwapOption::empty(),
            renewal: control::Renewal::default(),
            in_force: watch::Sender::new(0),
            generations: AtomicU64::new(0),
            table: ArcSwap::from_pointee(Table::default()),
            publishing: Mutex::new(()),
            next: AtomicUsize::new(0),
            waiters: Mutex::new(VecDeque::new()),
            was_ready: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            config,
        });
        let network = Arc::new(network);
        let (stop, stopped) = watch::channel(Stop::No);
        let (orders, receiver) = mpsc::channel(ORDERS);
        let mut tasks = JoinSet::new();
        let mut manager = Manager::new(
            Arc::clone(&shared),
            Arc::clone(&network),
            receiver,
            stopped.clone(),
        );
        if shared.config.discover {
            let control = control::run(Arc::clone(&shared), network, stopped.clone());
            tasks.spawn_on(control, runtime);
        } else {
            let _in_runtime = runtime.enter();
            manager.set_nodes(contact_points(&shared.config));
        }
        tasks.spawn_on(manager.run(), runtime);
        let overflow = (shared.config.max_overflow > 0).then(|| {
            let (sender, receiver) = mpsc::channel(shared.config.max_overflow);
            let hand_on = overflow::hand_on(Arc::clone(&shared), receiver, stopped);
            tasks.spawn_on(hand_on, runtime);
            sender
        });
        Ok(Self {
            shared,
            orders,
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

    /// Replaces the nodes that requests may go to. New ones are connected to, those that are gone
    /// answer what they have taken on and are closed.
    pub fn set_nodes(&self, nodes: Vec<NodeSpec>) -> Result<(), RequestError> {
        let sent = self.orders.try_send(Order::Nodes(nodes));
        sent.map_err(|refused| match refused {
            TrySendError::Full(_) => RequestError::Overloaded,
            TrySendError::Closed(_) => RequestError::Closed,
        })
    }

    /// Tries to connect to a node at once, if connections to it are missing.
    pub fn nudge(&self, node: NodeId) {
        // One that is lost costs nothing but the rest of a pause.
        let _ = self.orders.try_send(Order::Nudge(node));
    }

    /// Replaces the pause before the next attempt to connect to a node.
    pub fn retry_in(&self, node: NodeId, pause: Duration) {
        let _ = self.orders.try_send(Order::RetryIn(node, pause));
    }

    /// Puts a request onto a connection's queue, or hands it back with the reason. While all are
    /// full it waits for room, if so many may.
    pub fn submit(&self, request: Request, route: Route) -> Result<(), Box<Refused>> {
        // Those that wait already come first.
        let request = if self.shared.overflowing.load(Ordering::Acquire) == 0 {
            match self.shared.submit(request, route) {
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
        match overflow.try_send((request, route)) {
            Ok(()) => {
                self.shared.stats.overflowed.add();
                Ok(())
            }
            Err(TrySendError::Closed((request, _))) => {
                self.shared.overflowing.fetch_sub(1, Ordering::AcqRel);
                Err(Refused::boxed(RequestError::Closed, request))
            }
            Err(full) => {
                self.shared.overflowing.fetch_sub(1, Ordering::AcqRel);
                self.shared.stats.overloaded.add();
                Err(Refused::boxed(
                    RequestError::Overloaded,
                    full.into_inner().0,
                ))
            }
        }
    }

    /// What requests are to be written in: what most connections speak that they may go to first.
    pub fn dialect(&self) -> Dialect {
        let spoken = self.shared.table.load().dialect();
        spoken.unwrap_or_else(|| Dialect::plain(self.shared.agreement.wish().version))
    }

    /// What requests to the control connection are to be written in.
    pub fn control_dialect(&self) -> Dialect {
        let control = self.shared.control.load();
        let spoken = control.as_ref().map(|connection| *connection.dialect());
        spoken.unwrap_or_else(|| self.dialect())
    }

    /// Puts a request onto the control connection's queue.
    pub fn submit_control(&self, request: Request) -> Result<(), Box<Refused>> {
        let control = self.shared.control.load();
        let Some(connection) = control.as_ref() else {
            return Err(Refused::boxed(self.shared.no_connection(), request));
        };
        if !request.dialect.is_understood_as(connection.dialect()) {
            return Err(Refused::boxed(RequestError::ProtocolChanged, request));
        }
        let submitted = connection.submit(request);
        if submitted.is_ok() {
            self.shared.stats.requests.add();
        }
        submitted.map_err(|refused| {
            let error = match refused {
                TrySendError::Full(_) => RequestError::Overloaded,
                TrySendError::Closed(_) => self.shared.no_connection(),
            };
            Refused::boxed(error, refused.into_inner())
        })
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
        self.order(Order::Reconnect(Arc::clone(&countdown)), &countdown);
    }

    fn order(&self, order: Order, countdown: &Countdown) {
        match self.orders.try_send(order) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => countdown.fail(RequestError::Overloaded),
            Err(TrySendError::Closed(_)) => countdown.fail(RequestError::Closed),
        }
    }

    /// Reads a TLS configuration that is to take the place of the one in force, without touching
    /// that. Takes some time: keys and certificates are parsed.
    pub fn prepare_tls(&self, config: TlsConfig) -> Result<PreparedTls, TlsConfigError> {
        let generation = self.shared.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let (stats, events) = (&self.shared.stats, &self.shared.events);
        let pool_size = self.shared.config.pool_size;
        let tls = TlsContext::new(config, generation, pool_size, stats, events)?;
        Ok(PreparedTls(tls))
    }

    /// Replaces the TLS configuration: no session of before is used any more, and every connection
    /// is replaced by a new one, in waves, while the old ones go on serving. `done` is told when
    /// all are replaced, or with the first failure; then the attempts go on. A cluster without TLS
    /// stays as it is. Called on a runtime thread.
    pub fn reload_tls(&self, prepared: PreparedTls, done: Box<dyn Waiter>) {
        if self.shared.tls.load().is_none() {
            return done.ready(Ok(()));
        }
        let countdown = Arc::new(Countdown::new(done));
        let next = Arc::new(prepared.0);
        let generation = next.generation;
        if self.shared.control.load().is_some() {
            self.shared.renewal.ask(generation, Arc::clone(&countdown));
        }
        let mut before = None;
        // In one step: whoever has connections sees by the number which are outdated.
        self.shared.in_force.send_modify(|in_force| {
            before = self.shared.tls.swap(Some(Arc::clone(&next)));
            *in_force = generation;
        });
        if let Some(before) = before {
            before.close(Some(&next));
        }
        self.shared.stats.tls_reloads.add();
        self.order(Order::Replace(Arc::clone(&countdown)), &countdown);
    }

    /// Replaces the login. Connections there are stay as they are; what could not be opened with the
    /// one before is tried again at once.
    pub fn update_auth(&self, auth: Option<AuthConfig>) {
        let (callbacks, events) = (&self.shared.config.callbacks, &self.shared.events);
        let auth = auth.map(|auth| Arc::new(Auth::new(auth, callbacks, events)));
        self.shared.auth.store(auth);
        self.shared.refusal.accepted();
        self.shared.new_login.send_modify(|number| *number += 1);
        // One that is lost costs nothing but the rest of a pause.
        let _ = self.orders.try_send(Order::NudgeAll);
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

    fn shut(&self, how: Stop) {
        self.shared.closed.store(true, Ordering::Release);
        how.tell(&self.stop);
        self.shared.wake(&Err(RequestError::Closed));
        self.shared.renewal.fail(&RequestError::Closed);
    }
}

/// The contact points as the only nodes, for a cluster that is not asked for others.
fn contact_points(config: &ClusterConfig) -> Vec<NodeSpec> {
    let points = config.contact_points.iter().zip(1..);
    points
        .map(|(point, number)| NodeSpec {
            id: NodeId(number),
            endpoint: Endpoint::from(point),
            distance: Distance::Local,
            preference: 0,
            size: config.pool_size,
        })
        .collect()
}

impl Shared {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// What connections to an endpoint share, where there is TLS.
    pub(crate) fn endpoint_tls(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<Arc<EndpointTls>>, Failure> {
        let tls = self.tls.load();
        let found = tls.as_ref().map(|tls| tls.endpoint(endpoint)).transpose();
        found.map_err(|error| Failure::Tls(error.to_string()))
    }

    /// Whether a connection was made under the TLS configuration that is in force, and speaks what
    /// the others do.
    pub(crate) fn is_current(&self, info: &ConnectionInfo) -> bool {
        info.tls.as_ref().map(|tls| tls.generation) == self.generation()
            && self.agreement.is_current(&info.dialect)
    }

    /// A connection has agreed on this. If that is less than others speak, they are replaced.
    pub(crate) fn agreed(&self, info: &ConnectionInfo) {
        if let Some(from) = self.agreement.agreed(&info.dialect) {
            self.tell_outdated();
            let to = info.dialect.version;
            // Else it is only an extension that not all nodes have, or nobody has spoken more.
            if to < from && !self.is_silent() {
                self.events.event(Event::ProtocolLowered {
                    endpoint: Arc::clone(&info.endpoint),
                    from,
                    to,
                });
            }
        }
    }

    /// What to ask the next server for. What was agreed on before counts as long as anybody speaks it.
    pub(crate) fn wish(&self) -> Wish {
        if self.is_silent() && self.agreement.begin_anew() {
            self.tell_outdated();
        }
        self.agreement.wish()
    }

    /// Whether there is no connection that counts.
    fn is_silent(&self) -> bool {
        self.table.load().is_empty() && self.control.load().is_none()
    }

    /// Who has connections looks for those that are not as they would be made now. After every change of
    /// what is agreed on, also where there seemed to be none: one may just have been counted.
    fn tell_outdated(&self) {
        self.in_force.send_modify(|_the_same| {});
    }

    /// Of the TLS configuration that is in force.
    pub(crate) fn generation(&self) -> Option<u64> {
        self.tls.load().as_ref().map(|tls| tls.generation)
    }

    /// The server has refused this login: another attempt has to wait for its turn, unless there is
    /// another login by now.
    pub(crate) fn login_refused(&self, auth: Option<&Arc<Auth>>) {
        if let Some(auth) = auth {
            auth.refused();
        }
        let present = self.auth.load();
        if present.as_ref().map(Arc::as_ptr) == auth.map(Arc::as_ptr) {
            self.refusal.refused();
        }
    }

    pub(crate) fn submit(&self, mut request: Request, route: Route) -> Result<(), Box<Refused>> {
        if self.is_closed() {
            return Err(Refused::boxed(RequestError::Closed, request));
        }
        let table = self.table.load();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (mut full, mut changed) = (false, false);
        for (distance, connection) in table.in_order(route, turn) {
            // Load is no reason to leave the datacenter, nor is a change of the protocol.
            if (full || changed) && distance == Distance::Remote {
                break;
            }
            if !request.dialect.is_understood_as(connection.dialect()) {
                changed |= connection.is_open();
                continue;
            }
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
        } else if changed {
            RequestError::ProtocolChanged
        } else {
            self.no_connection()
        };
        Err(Refused::boxed(error, request))
    }

    /// Replaces the connections of a pool in the table.
    pub(crate) fn publish(&self, pool: PoolId, connections: &[Arc<Connection>]) {
        self.change_table(|nodes| {
            for node in nodes {
                if let Some(changed) = node.with(pool, connections) {
                    *node = Arc::new(changed);
                }
            }
        });
        self.room.notify_one();
        if !connections.is_empty() {
            self.was_ready.store(true, Ordering::Relaxed);
            self.wake(&Ok(()));
        }
    }

    pub(crate) fn change_table(&self, change: impl FnOnce(&mut Vec<Arc<Node>>)) {
        let _one_at_a_time = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut nodes = self.table.load().nodes.clone();
        change(&mut nodes);
        self.table.store(Arc::new(Table::new(nodes)));
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
