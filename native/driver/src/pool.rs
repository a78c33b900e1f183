//! The connections to one endpoint: opened in waves, replaced when they end, tried for again with
//! growing delays when they can't be opened.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use crate::backoff::Backoff;
use crate::cluster::{Shared, Waiter};
use crate::config::ContactPoint;
use crate::connection::{open, Connection, ConnectionTask, Opened, Stop};
use crate::event::Event;
use crate::network::Network;
use crate::tls::EndpointTls;
use crate::{ConnectError, Failure, RequestError};

/// A connection that ends sooner counts as a failure: the next one waits, so that a server that
/// takes connections only to drop them is not stormed.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// A replaced connection has so long to answer what it has taken on.
const DRAINED_AFTER: Duration = Duration::from_secs(60);

pub(crate) enum Command {
    Reconnect(Arc<Countdown>),
}

pub(crate) struct Pool<N: Network> {
    shared: Arc<Shared>,
    network: Arc<N>,
    node: usize,
    endpoint: ContactPoint,
    tls: Option<Arc<EndpointTls>>,
    commands: mpsc::Receiver<Command>,
    stop: watch::Receiver<Stop>,
    members: Vec<Member>,
    attempts: JoinSet<Result<Opened<N::Stream>, ConnectError>>,
    running: JoinSet<Failure>,
    backoff: Backoff,
    /// The last attempt failed: one at a time until one succeeds.
    probing: bool,
    retry_at: Option<Instant>,
    reconnecting: Vec<Arc<Countdown>>,
}

struct Member {
    connection: Arc<Connection>,
    task: Id,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Serving,
    /// Serves until a new connection takes its place.
    Retiring,
    /// Gets no more requests; ends when it has answered those it has.
    Draining,
}

impl<N: Network> Pool<N> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        network: Arc<N>,
        node: usize,
        endpoint: ContactPoint,
        tls: Option<EndpointTls>,
        commands: mpsc::Receiver<Command>,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        let (min, max) = shared.config.reconnect;
        Self {
            shared,
            network,
            node,
            endpoint,
            tls: tls.map(Arc::new),
            commands,
            stop,
            members: Vec::new(),
            attempts: JoinSet::new(),
            running: JoinSet::new(),
            backoff: Backoff::new(min, max),
            probing: false,
            retry_at: None,
            reconnecting: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            self.start_attempts();
            let retry_at = self.retry_at;
            tokio::select! {
                Some(attempt) = self.attempts.join_next() => self.attempted(attempt),
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                Some(command) = self.commands.recv() => self.obey(command),
                () = until(retry_at), if retry_at.is_some() => self.retry_at = None,
                changed = self.stop.changed() => {
                    // The sender's end without a word means the same as the strictest word.
                    let how = match changed {
                        Ok(()) => *self.stop.borrow_and_update(),
                        Err(_) => Stop::Now,
                    };
                    if how != Stop::No {
                        return self.close(how).await;
                    }
                }
            }
        }
    }

    fn count(&self, role: Role) -> usize {
        self.members.iter().filter(|m| m.role == role).count()
    }

    fn start_attempts(&mut self) {
        if self.retry_at.is_some() {
            return;
        }
        let wanted = self.shared.config.pool_size.max(1);
        let under_way = self.attempts.len();
        let missing = wanted.saturating_sub(self.count(Role::Serving) + under_way);
        for _ in 0..missing.min(self.wave().saturating_sub(under_way)) {
            self.attempt();
        }
    }

    /// How many attempts may be under way: one while nothing is known of the server, then as many
    /// as there are sessions to resume, so that few handshakes are full ones.
    fn wave(&self) -> usize {
        if self.probing || self.members.is_empty() {
            return 1;
        }
        match &self.tls {
            Some(tls) => tls.resumable().max(1),
            None => usize::MAX,
        }
    }

    fn attempt(&mut self) {
        let shared = Arc::clone(&self.shared);
        let network = Arc::clone(&self.network);
        let endpoint = self.endpoint.clone();
        let tls = self.tls.clone();
        self.attempts
            .spawn(async move { open(&*network, &endpoint, &shared, tls.as_deref()).await });
    }

    fn attempted(&mut self, attempt: Result<Result<Opened<N::Stream>, ConnectError>, JoinError>) {
        match attempt {
            Ok(Ok(opened)) => self.opened(opened),
            Ok(Err(error)) => self.failed(error),
            Err(_) => self.failed(ConnectError {
                endpoint: self.endpoint.to_string().into(),
                address: None,
                failure: Failure::Panic,
            }),
        }
    }

    fn opened(&mut self, opened: Opened<N::Stream>) {
        let config = &self.shared.config;
        let timeouts = &config.timeouts;
        let (task, connection) = ConnectionTask::new(
            opened,
            self.node,
            &config.connection,
            (timeouts.heartbeat_interval, timeouts.heartbeat),
            Arc::clone(&self.shared.room),
            Arc::clone(&self.shared.stats),
        );
        let connection = Arc::new(connection);
        self.probing = false;
        self.shared.last_error.store(None);
        self.shared.stats.connections_opened.add();
        let event = Event::Opened(Arc::clone(&connection.info));
        let task = self.running.spawn(task).id();
        self.members.push(Member {
            connection,
            task,
            role: Role::Serving,
        });
        if let Some(old) = self.members.iter_mut().find(|m| m.role == Role::Retiring) {
            old.role = Role::Draining;
            old.connection.stop(Stop::Drain);
            let old = Arc::downgrade(&old.connection);
            tokio::spawn(async move {
                tokio::time::sleep(DRAINED_AFTER).await;
                if let Some(old) = old.upgrade() {
                    old.stop(Stop::Now);
                }
            });
        }
        self.publish();
        self.shared.events.event(event);
        if self.is_whole() {
            self.reconnecting.clear();
        }
    }

    fn failed(&mut self, error: ConnectError) {
        let error = Arc::new(error);
        self.probing = true;
        // Attempts that fail together are one failure.
        let now = Instant::now();
        let retry_at = match self.retry_at {
            Some(retry_at) => retry_at,
            None => now + self.backoff.failed(),
        };
        self.retry_at = Some(retry_at);
        let retry_in = retry_at.saturating_duration_since(now);
        self.shared.stats.connect_failures.add();
        self.shared.last_error.store(Some(Arc::clone(&error)));
        for reconnecting in self.reconnecting.drain(..) {
            reconnecting.fail(self.shared.no_connection());
        }
        self.shared
            .events
            .event(Event::ConnectFailed { error, retry_in });
    }

    fn ended(&mut self, ended: Result<(Id, Failure), JoinError>) {
        let (task, failure) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Failure::Panic),
        };
        let Some(at) = self.members.iter().position(|m| m.task == task) else {
            return;
        };
        let member = self.members.swap_remove(at);
        self.shared.stats.connections_closed.add();
        if member.role == Role::Draining {
            return;
        }
        self.publish();
        if member.connection.opened.elapsed() >= SETTLED_AFTER {
            self.backoff.reset();
        } else if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + self.backoff.failed());
        }
        self.shared.events.event(Event::Closed {
            endpoint: Arc::clone(&member.connection.info.endpoint),
            failure,
            left: self.members.len() - self.count(Role::Draining),
        });
    }

    fn obey(&mut self, command: Command) {
        let Command::Reconnect(countdown) = command;
        for member in &mut self.members {
            if member.role == Role::Serving {
                member.role = Role::Retiring;
            }
        }
        self.retry_at = None;
        self.reconnecting.push(countdown);
    }

    fn is_whole(&self) -> bool {
        self.count(Role::Serving) >= self.shared.config.pool_size.max(1)
            && self.count(Role::Retiring) == 0
    }

    fn publish(&self) {
        let serving = self
            .members
            .iter()
            .filter(|m| m.role != Role::Draining)
            .map(|m| Arc::clone(&m.connection))
            .collect();
        self.shared.publish(self.node, serving);
    }

    async fn close(mut self, how: Stop) {
        self.attempts.abort_all();
        self.shared.publish(self.node, Vec::new());
        self.commands.close();
        while let Ok(Command::Reconnect(countdown)) = self.commands.try_recv() {
            countdown.fail(RequestError::Closed);
        }
        for reconnecting in self.reconnecting.drain(..) {
            reconnecting.fail(RequestError::Closed);
        }
        let stop_all = |members: &[Member], how| {
            members.iter().for_each(|m| m.connection.stop(how));
        };
        stop_all(&self.members, how);
        loop {
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    Some(_) => self.shared.stats.connections_closed.add(),
                    None => return,
                },
                changed = self.stop.changed() => {
                    let how = changed.map_or(Stop::Now, |()| *self.stop.borrow_and_update());
                    stop_all(&self.members, how);
                    if how == Stop::Now {
                        break;
                    }
                }
            }
        }
        while self.running.join_next().await.is_some() {
            self.shared.stats.connections_closed.add();
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
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
