//! The control connection: it is asked which nodes there are, and told when that changes. It goes
//! to any node that can be reached; when none can, to the contact points again, for ever.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladion_cql::event::KINDS;
use palladion_cql::response::{Message, Response};
use palladion_cql::{request, ServerEvent};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::backoff::{random_fraction, Backoff};
use crate::cluster::Shared;
use crate::config::ReconnectPolicy;
use crate::connection::{
    open, within, Connection, ConnectionInfo, ConnectionTask, Opened, Role, Stop, SETTLED_AFTER,
};
use crate::error::Step;
use crate::event::{ControlInfo, Event};
use crate::manager::{stopped, Countdown};
use crate::network::Network;
use crate::node::Endpoint;
use crate::{Answer, ConnectError, Failure, Reply, Request, RequestError, RequestState};

/// Nodes that are tried before the contact points; more would only cost time when all are gone.
const NODES_A_ROUND: usize = 8;

/// The pause after a panic.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// Keeps a control connection open until it is told to stop.
pub(crate) async fn run<N: Network>(
    shared: Arc<Shared>,
    network: Arc<N>,
    mut stop: watch::Receiver<Stop>,
) {
    loop {
        let mut keeping = JoinSet::new();
        keeping.spawn(Control::new(Arc::clone(&shared), Arc::clone(&network)).keep());
        tokio::select! {
            // It ends only by a panic, a bug, which must not be the end of learning.
            _ = keeping.join_next() => {}
            _ = stopped(&mut stop) => {
                keeping.shutdown().await;
                break;
            }
        }
        if shared.control.swap(None).is_some() {
            shared.events.event(Event::ControlClosed);
        }
        tokio::select! {
            () = tokio::time::sleep(BEGIN_AGAIN) => {}
            _ = stopped(&mut stop) => break,
        }
    }
    shared.control.store(None);
}

struct Control<N: Network> {
    shared: Arc<Shared>,
    network: Arc<N>,
    backoff: Backoff,
    rounds: usize,
    /// Told of other TLS configurations.
    generation: watch::Receiver<u64>,
    /// Told of other logins.
    new_login: watch::Receiver<u64>,
    /// Connections that serve until another takes their place, or still have to answer.
    before: JoinSet<()>,
}

/// Who waits for a control connection of another TLS configuration in the place of the present
/// one.
#[derive(Default)]
pub(crate) struct Renewal(Mutex<Vec<Renewed>>);

struct Renewed {
    generation: u64,
    countdown: Arc<Countdown>,
}

impl Renewal {
    pub(crate) fn ask(&self, generation: u64, countdown: Arc<Countdown>) {
        self.lock().push(Renewed {
            generation,
            countdown,
        });
    }

    /// One of this configuration serves: who waits for it is told as soon as all others have
    /// dropped the countdown, too.
    fn done(&self, generation: u64) {
        self.lock()
            .retain(|waiting| waiting.generation > generation);
    }

    pub(crate) fn fail(&self, error: &RequestError) {
        for waiting in self.lock().drain(..) {
            waiting.countdown.fail(error.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Renewed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a round ended.
enum Ended {
    /// The connection was lost after so long.
    Lost(Duration),
    /// There is another TLS configuration. A connection of the one before goes on until one of
    /// this one has taken its place.
    Outdated,
    /// No candidate would serve.
    Failed,
}

/// Where a control connection may go.
struct Candidate {
    endpoint: Endpoint,
    contact_point: bool,
}

impl<N: Network> Control<N> {
    fn new(shared: Arc<Shared>, network: Arc<N>) -> Self {
        // Nobody is asked about this one.
        let mut reconnect = shared.config.reconnect;
        if reconnect.policy == ReconnectPolicy::Custom {
            reconnect.policy = ReconnectPolicy::Exponential;
        }
        let backoff = Backoff::new(&reconnect);
        let generation = shared.in_force.subscribe();
        let new_login = shared.new_login.subscribe();
        Self {
            shared,
            network,
            backoff,
            rounds: 0,
            generation,
            new_login,
            before: JoinSet::new(),
        }
    }

    /// Keeps a control connection open; never ends.
    async fn keep(mut self) {
        loop {
            let pause = self.backoff.failed();
            match self.round(pause).await {
                Ended::Outdated => self.backoff.reset(),
                // One that ends soon counts as a failure, so that a server that takes connections
                // only to drop them is not stormed.
                Ended::Lost(lasted) if lasted >= SETTLED_AFTER => self.backoff.reset(),
                _ => tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // With another TLS configuration or login it may go better.
                    _ = self.generation.changed() => {}
                    _ = self.new_login.changed() => {}
                },
            }
            self.rounds += 1;
        }
    }

    /// One candidate after the other, until one serves; how that ended. `pause` is what follows if
    /// none does.
    async fn round(&mut self, pause: Duration) -> Ended {
        let generation = *self.generation.borrow_and_update();
        self.new_login.mark_unchanged();
        let mut names = self.names();
        let mut last = None;
        for candidate in self.candidates() {
            let served = match self.connect(&candidate.endpoint).await {
                Ok(opened) => {
                    self.serve(opened, candidate.contact_point, &mut names)
                        .await
                }
                Err(error) => Err(error),
            };
            // What happened under the configuration of before says nothing about this one.
            if served.is_err() && generation != *self.generation.borrow() {
                return Ended::Outdated;
            }
            match served {
                Ok(ended) => return ended,
                Err(error) => {
                    let refused = error.failure.is_refused_login();
                    last = Some(self.failed(error, pause));
                    if refused {
                        // The others would refuse it too, and lock the account.
                        break;
                    }
                }
            }
        }
        self.shared
            .renewal
            .fail(&RequestError::NoConnection { last });
        Ended::Failed
    }

    /// Nodes with connections, then by turns contact points and other nodes.
    fn candidates(&self) -> Vec<Candidate> {
        let table = self.shared.table.load();
        let mut nodes: Vec<_> = table.nodes.iter().collect();
        let first = (random_fraction() * nodes.len() as f64) as usize;
        let count = nodes.len();
        nodes.rotate_left(first.min(count));
        nodes.sort_by_key(|node| (node.connections().is_empty(), node.spec.distance));
        let (alive, others): (Vec<_>, Vec<_>) = nodes
            .into_iter()
            .take(NODES_A_ROUND)
            .partition(|node| !node.connections().is_empty());
        let node = |node: &Arc<crate::table::Node>| Candidate {
            endpoint: node.spec.endpoint.clone(),
            contact_point: false,
        };
        let mut candidates: Vec<_> = alive.into_iter().map(node).collect();
        let mut others = others.into_iter().map(node);
        let points = &self.shared.config.contact_points;
        // Another one first each time: one that refuses logins must not keep the others away.
        let (after, first) = points.split_at(self.rounds % points.len().max(1));
        for point in first.iter().chain(after) {
            candidates.push(Candidate {
                endpoint: Endpoint::from(point),
                contact_point: true,
            });
            candidates.extend(others.next());
        }
        candidates.extend(others);
        candidates
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Opened<N::Stream>, ConnectError> {
        open(&*self.network, endpoint, &self.shared, Role::Control).await
    }

    /// Registers for events, and stays until the connection ends or is to be replaced.
    async fn serve(
        &mut self,
        opened: Opened<N::Stream>,
        contact_point: bool,
        names: &mut Names,
    ) -> Result<Ended, ConnectError> {
        if !self.shared.is_current(&opened.info) {
            return Ok(Ended::Outdated);
        }
        let on_event = {
            let shared = Arc::clone(&self.shared);
            move |body: &[u8]| shared.server_event(body)
        };
        let (task, connection) =
            ConnectionTask::new(opened, &self.shared, Some(Box::new(on_event)));
        let connection = Arc::new(connection);
        let info = Arc::clone(&connection.info);
        let own = info.tls.as_ref().map_or(0, |tls| tls.generation);
        let mut running = JoinSet::new();
        running.spawn(task);
        self.register(&connection)
            .await
            .map_err(|failure| ConnectError {
                endpoint: Arc::clone(&info.endpoint),
                address: Some(info.address),
                failure,
            })?;
        let names = names.all().await;
        self.shared.stats.control_connections_opened.add();
        let opened = ControlInfo {
            number: self.shared.stats.control_connections_opened.get(),
            connection: Arc::clone(&info),
            contact_point,
            names,
        };
        let before = self.shared.control.swap(Some(Arc::clone(&connection)));
        self.shared.renewal.done(own);
        self.shared.events.event(Event::Opened {
            info: Arc::clone(&info),
            open: 1,
            wanted: 1,
        });
        self.shared
            .events
            .event(Event::ControlOpened(Arc::new(opened)));
        if let Some(before) = before {
            before.drain(self.shared.config.timeouts.login);
        }
        tokio::select! {
            ended = running.join_next() => {
                let failure = ended.and_then(Result::ok).unwrap_or(Failure::Panic);
                self.shared.control_ended(&connection, failure);
                Ok(Ended::Lost(connection.opened.elapsed()))
            }
            // Checked at once as well: it may have happened while this one was being opened.
            () = outdated(&mut self.generation, &self.shared, &info) => {
                let shared = Arc::clone(&self.shared);
                while self.before.try_join_next().is_some() {}
                self.before.spawn(async move {
                    let ended = running.join_next().await;
                    let failure = ended.and_then(Result::ok).unwrap_or(Failure::Panic);
                    shared.control_ended(&connection, failure);
                });
                Ok(Ended::Outdated)
            }
        }
    }

    async fn register(&self, connection: &Connection) -> Result<(), Failure> {
        let (answer, answered) = oneshot::channel();
        let dialect = *connection.dialect();
        let frame =
            request::register(&dialect, &KINDS).map_err(|_| Failure::Unexpected("REGISTER"))?;
        let reply = Box::new(Registered {
            state: RequestState::default(),
            answer,
        });
        // Refused, it is dropped, which ends the wait.
        let request = Request {
            frame,
            dialect,
            reply,
        };
        if connection.submit(request).is_ok() {
            self.shared.stats.requests.add();
        }
        let limit = self.shared.config.timeouts.login;
        let answer = within(Step::Login, limit, answered).await?;
        match answer.map_err(|_| Failure::ClosedByServer)? {
            Ok(answer) => match Response::parse(&answer.frame)?.message {
                Message::Ready => Ok(()),
                Message::Error(error) => Err(Failure::Server(error)),
                _ => Err(Failure::Unexpected("to REGISTER")),
            },
            Err(RequestError::ConnectionLost { failure, .. }) => Err((*failure).clone()),
            Err(_) => Err(Failure::ClosedByServer),
        }
    }

    /// Looks the contact points' names up, while a connection is being opened.
    fn names(&self) -> Names {
        let limit = self.shared.config.timeouts.connect;
        let mut lookups = JoinSet::new();
        for point in &self.shared.config.contact_points {
            if point.host.parse::<IpAddr>().is_ok() {
                continue;
            }
            let (network, point) = (Arc::clone(&self.network), point.clone());
            lookups.spawn(async move {
                let lookup = network.resolve(&point.host, point.port);
                let found = tokio::time::timeout(limit, lookup).await;
                let found = found.ok().and_then(Result::ok).unwrap_or_default();
                let name = |address: SocketAddr| (address.ip(), point.host.clone());
                found.into_iter().map(name).collect()
            });
        }
        Names {
            lookups,
            found: Vec::new(),
        }
    }

    fn failed(&self, error: ConnectError, retry_in: Duration) -> Arc<ConnectError> {
        let error = Arc::new(error);
        self.shared.stats.connect_failures.add();
        if self.shared.table.load().is_empty() {
            self.shared.last_error.store(Some(Arc::clone(&error)));
        }
        self.shared.events.event(Event::ConnectFailed {
            error: Arc::clone(&error),
            node: None,
            failures: self.backoff.failures(),
            retry_in,
        });
        error
    }
}

/// Waits until a connection is not as it would be made now.
async fn outdated(generation: &mut watch::Receiver<u64>, shared: &Shared, info: &ConnectionInfo) {
    // The sender is the cluster's, which outlives its connections.
    let is_outdated = |_: &u64| !shared.is_current(info);
    if generation.wait_for(is_outdated).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The contact points' names by address, as far as they can be looked up in time.
struct Names {
    lookups: JoinSet<Vec<(IpAddr, String)>>,
    found: Vec<(IpAddr, String)>,
}

impl Names {
    async fn all(&mut self) -> Vec<(IpAddr, String)> {
        while let Some(found) = self.lookups.join_next().await {
            self.found.extend(found.unwrap_or_default());
        }
        self.found.clone()
    }
}

impl Shared {
    /// A control connection has ended; nothing has failed if another had taken its place.
    fn control_ended(&self, connection: &Arc<Connection>, failure: Failure) {
        let own = Some(Arc::clone(connection));
        let present = self.control.compare_and_swap(&own, None);
        let was_present = present.as_ref().is_some_and(|c| Arc::ptr_eq(c, connection));
        if was_present {
            if self.table.load().is_empty() && !matches!(failure, Failure::Closed) {
                // Who waits for the first node is told why there is none.
                self.last_error.store(Some(Arc::new(ConnectError {
                    endpoint: Arc::clone(&connection.info.endpoint),
                    address: Some(connection.info.address),
                    failure: failure.clone(),
                })));
            }
            self.events.event(Event::ControlClosed);
        }
        self.events.event(Event::Closed {
            info: Arc::clone(&connection.info),
            failure: was_present.then_some(failure),
            lasted: connection.opened.elapsed(),
            failures: 0,
            open: 0,
            wanted: 1,
        });
    }

    fn server_event(&self, body: &[u8]) {
        // One that can't be read may be of a kind to come: it is worth a look, not the connection.
        let event = ServerEvent::read(body)
            .unwrap_or_else(|_| ServerEvent::Unknown("unreadable".to_owned()));
        if let ServerEvent::Schema(change) = &event {
            self.prepared.evict(change);
        }
        self.events.event(Event::Server(event));
    }
}

/// The reply to REGISTER.
struct Registered {
    state: RequestState,
    answer: oneshot::Sender<Result<Answer, RequestError>>,
}

impl Reply for Registered {
    fn state(&self) -> &RequestState {
        &self.state
    }

    fn complete(self: Box<Self>, outcome: Result<Answer, RequestError>) {
        let Self { state, answer } = *self;
        if state.claim() {
            let _ = answer.send(outcome);
        }
    }
}
