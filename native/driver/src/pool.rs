//! The connections to one node: opened in waves, replaced when they end, tried for again with
//! growing delays when they can't be opened.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use crate::backoff::{random_fraction, Backoff};
use crate::cluster::Shared;
use crate::connection::{
    open, Connection, ConnectionTask, Opened, Role as ConnectionRole, Stop, SETTLED_AFTER,
};
use crate::event::Event;
use crate::manager::{stopped, Countdown};
use crate::network::Network;
use crate::node::{Endpoint, NodeId};
use crate::table::{Health, PoolId};
use crate::{ConnectError, Failure, RequestError};

/// A replaced connection has so long to answer what it has taken on.
const DRAINED_AFTER: Duration = Duration::from_secs(60);

/// A node that is said to be up again is tried within so long: its clients don't come all at once.
const NUDGED_WITHIN: Duration = Duration::from_millis(200);

pub(crate) enum Command {
    Reconnect(Arc<Countdown>),
    /// As a reconnection, if there is a connection.
    Replace(Arc<Countdown>),
    /// The node may be there again.
    Nudge,
    /// What the user's own policy says of the next attempt.
    RetryIn(Duration),
}

/// What a pool should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) size: usize,
    /// Whether connections may be opened.
    pub(crate) open: bool,
}

/// A pool of the node's old endpoint: it serves until this one can.
pub(crate) struct Predecessor(pub(crate) Arc<watch::Sender<Stop>>);

/// Callers that may wait for a reconnection of the pool.
const MAX_RECONNECTING: usize = 256;

pub(crate) struct Pool<N: Network> {
    shared: Arc<Shared>,
    network: Arc<N>,
    id: PoolId,
    node: NodeId,
    endpoint: Endpoint,
    health: Arc<Health>,
    wish: watch::Receiver<Wish>,
    commands: mpsc::Receiver<Command>,
    stop: watch::Receiver<Stop>,
    /// Told of other TLS configurations.
    generation: watch::Receiver<u64>,
    /// The number of the one that is known.
    known: u64,
    predecessors: Vec<Predecessor>,
    /// Whether the node could be reached last; nothing while that is not known.
    up: Option<bool>,
    members: Vec<Member>,
    attempts: JoinSet<Attempt<N::Stream>>,
    running: JoinSet<Failure>,
    backoff: Backoff,
    /// The last attempt failed: one at a time until one succeeds.
    probing: bool,
    retry_at: Option<Instant>,
    reconnecting: Vec<Arc<Countdown>>,
}

/// An attempt to connect.
struct Attempt<S> {
    /// Of the TLS configuration that was in force when it began.
    generation: Option<u64>,
    /// The number of the login that was.
    login: u64,
    result: Result<Opened<S>, ConnectError>,
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
        (id, node, endpoint): (PoolId, NodeId, Endpoint),
        health: Arc<Health>,
        (wish, commands, stop): (
            watch::Receiver<Wish>,
            mpsc::Receiver<Command>,
            watch::Receiver<Stop>,
        ),
        predecessors: Vec<Predecessor>,
    ) -> Self {
        let backoff = Backoff::new(&shared.config.reconnect);
        let generation = shared.in_force.subscribe();
        let known = *generation.borrow();
        Self {
            shared,
            network,
            id,
            node,
            endpoint,
            health,
            wish,
            commands,
            stop,
            generation,
            known,
            predecessors,
            up: None,
            members: Vec::new(),
            attempts: JoinSet::new(),
            running: JoinSet::new(),
            backoff,
            probing: false,
            retry_at: None,
            reconnecting: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            if !self.is_wanted() {
                // The node has moved: what serves yet is all that is left to do.
                self.attempts.abort_all();
                self.reconnecting.clear();
                if self.members.is_empty() {
                    return;
                }
            }
            self.start_attempts();
            let retry_at = self.retry_at;
            tokio::select! {
                Some(attempt) = self.attempts.join_next() => self.attempted(attempt),
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                Some(command) = self.commands.recv() => self.obey(command),
                () = until(retry_at), if retry_at.is_some() => self.retry_at = None,
                Ok(()) = self.wish.changed() => self.trim(),
                Ok(()) = self.generation.changed() => self.retire_outdated(),
                how = stopped(&mut self.stop) => return self.close(how).await,
            }
        }
    }

    /// Connections wanted.
    fn size(&self) -> usize {
        self.wish.borrow().size.max(1)
    }

    /// Whether connections may be opened.
    fn is_wanted(&self) -> bool {
        self.wish.borrow().open
    }

    /// Ends connections that are more than wanted, those first that others replace; and tells who
    /// waits for the replacing.
    fn trim(&mut self) {
        let surplus = self.open().saturating_sub(self.size());
        for role in [Role::Retiring, Role::Serving] {
            let left = self.open().saturating_sub(self.size());
            let members = self.members.iter_mut().filter(|m| m.role == role);
            members.take(left).for_each(Member::drain);
        }
        if surplus > 0 {
            self.publish();
        }
        if self.is_whole() {
            self.reconnecting.clear();
        }
    }

    fn count(&self, role: Role) -> usize {
        self.members.iter().filter(|m| m.role == role).count()
    }

    fn start_attempts(&mut self) {
        if self.retry_at.is_some() || !self.is_wanted() {
            return;
        }
        let wanted = self.size();
        let under_way = self.attempts.len();
        let missing = wanted.saturating_sub(self.count(Role::Serving) + under_way);
        if missing == 0 {
            return;
        }
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
        // One node is not to take all handshakes for itself: it may hang.
        let fair = (self.shared.config.max_handshakes / 2).max(1);
        match self.shared.endpoint_tls(&self.endpoint) {
            Ok(Some(tls)) => tls.resumable().clamp(1, fair),
            _ => fair,
        }
    }

    fn attempt(&mut self) {
        let shared = Arc::clone(&self.shared);
        let network = Arc::clone(&self.network);
        let endpoint = self.endpoint.clone();
        let role = ConnectionRole::Pool(self.node);
        let probing = self.probing;
        let generation = shared.generation();
        let login = *shared.new_login.borrow();
        self.attempts.spawn(async move {
            // Nodes that failed may hang: they leave room for others.
            let _probe = match probing {
                true => shared.probes.acquire().await.ok(),
                false => None,
            };
            let result = open(&*network, &endpoint, &shared, role).await;
            Attempt {
                generation,
                login,
                result,
            }
        });
    }

    fn attempted(&mut self, attempt: Result<Attempt<N::Stream>, JoinError>) {
        match attempt {
            Ok(attempt) => match attempt.result {
                // What another TLS configuration let in, or speaks more than others, does not get into
                // the table.
                Ok(opened) if !self.shared.is_current(&opened.info) => {}
                Ok(opened) => self.opened(opened),
                // It says nothing about the configuration, or the login, that is in force now.
                Err(_) if attempt.generation != self.shared.generation() => {}
                Err(_) if attempt.login != *self.shared.new_login.borrow() => {}
                Err(error) => self.failed(error),
            },
            Err(error) if error.is_cancelled() => {}
            Err(_) => self.failed(ConnectError {
                endpoint: self.endpoint.to_string().into(),
                address: None,
                failure: Failure::Panic,
            }),
        }
    }

    fn opened(&mut self, opened: Opened<N::Stream>) {
        if !self.is_wanted() {
            return;
        }
        let (task, connection) = ConnectionTask::new(opened, &self.shared, None);
        let connection = Arc::new(connection);
        self.probing = false;
        self.shared.last_error.store(None);
        self.health.last_error.store(None);
        self.shared.stats.connections_opened.add();
        let info = Arc::clone(&connection.info);
        let task = self.running.spawn(task).id();
        self.members.push(Member {
            connection,
            task,
            role: Role::Serving,
        });
        self.publish();
        for Predecessor(stop) in self.predecessors.drain(..) {
            Stop::Drain.tell(&stop);
        }
        self.shared.events.event(Event::Opened {
            info,
            open: self.open(),
            wanted: self.size(),
        });
        self.is_up(true);
        self.trim();
    }

    fn failed(&mut self, error: ConnectError) {
        if !self.is_wanted() {
            return;
        }
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
        self.health.last_error.store(Some(Arc::clone(&error)));
        for reconnecting in self.reconnecting.drain(..) {
            let last = Some(Arc::clone(&error));
            reconnecting.fail(RequestError::NoConnection { last });
        }
        self.shared.events.event(Event::ConnectFailed {
            error,
            node: Some(self.node),
            failures: self.backoff.failures(),
            retry_in,
        });
        if self.open() == 0 {
            self.is_up(false);
        }
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
        let lasted = member.connection.opened.elapsed();
        let ours = member.role == Role::Draining;
        let mut failures = 0;
        if !ours {
            self.publish();
        }
        if ours {
            // Nothing has failed.
        } else if lasted >= SETTLED_AFTER {
            self.backoff.reset();
        } else if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + self.backoff.failed());
            failures = self.backoff.failures();
        }
        let open = self.open();
        self.shared.events.event(Event::Closed {
            info: Arc::clone(&member.connection.info),
            failure: (!ours).then_some(failure),
            lasted,
            failures,
            open,
            wanted: self.size(),
        });
        if open == 0 && !ours {
            self.is_up(false);
        }
    }

    /// Connections in the table.
    fn open(&self) -> usize {
        self.members.len() - self.count(Role::Draining)
    }

    fn is_up(&mut self, up: bool) {
        // What the pool of a new or an old endpoint lacks, the other may have.
        if !self.is_wanted() || (!up && self.shared.table.load().serves(self.node)) {
            return;
        }
        if self.up.replace(up) != Some(up) {
            self.shared.events.event(Event::Node {
                id: self.node,
                endpoint: self.endpoint.to_string().into(),
                up,
            });
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Reconnect(countdown) => {
                if self.await_whole(countdown) {
                    self.retire(|_| true);
                }
            }

            Command::Replace(countdown) => {
                self.retire_outdated();
                // A node without any connection keeps nobody waiting.
                if self.open() > 0 || !self.predecessors.is_empty() {
                    self.await_whole(countdown);
                }
            }
            Command::Nudge => {
                let soon = now + NUDGED_WITHIN.mul_f64(random_fraction());
                self.retry_at = self.retry_at.map(|at| at.min(soon));
            }
            Command::RetryIn(pause) => {
                let pause = pause.min(self.shared.config.reconnect.max);
                self.retry_at = self.retry_at.map(|_| now + pause);
            }
        }
    }

    /// Lets a caller wait for the replacing of connections, if not too many do.
    fn await_whole(&mut self, countdown: Arc<Countdown>) -> bool {
        let has_room = self.reconnecting.len() < MAX_RECONNECTING;
        if has_room {
            self.reconnecting.push(countdown);
        } else {
            countdown.fail(RequestError::Overloaded);
        }
        has_room
    }

    /// Opens every connection anew that was made under another TLS configuration, or speaks more than
    /// others can.
    fn retire_outdated(&mut self) {
        let shared = Arc::clone(&self.shared);
        let retry_at = self.retry_at;
        let any = self.retire(|connection| !shared.is_current(&connection.info));
        let number = *self.generation.borrow_and_update();
        // With another TLS configuration it may go better; with another protocol it need not.
        if std::mem::replace(&mut self.known, number) == number && !any {
            self.retry_at = retry_at;
        }
    }

    /// Opens these connections anew, at once; whether there is any.
    fn retire(&mut self, which: impl Fn(&Connection) -> bool) -> bool {
        let mut any = false;
        for member in &mut self.members {
            if member.role == Role::Serving && which(&member.connection) {
                member.role = Role::Retiring;
                any = true;
            }
        }
        self.retry_at = None;
        any
    }

    fn is_whole(&self) -> bool {
        self.count(Role::Serving) >= self.size() && self.count(Role::Retiring) == 0
    }

    fn publish(&self) {
        let serving: Vec<_> = self
            .members
            .iter()
            .filter(|m| m.role != Role::Draining)
            .map(|m| Arc::clone(&m.connection))
            .collect();
        self.shared.publish(self.id, &serving);
    }

    async fn close(mut self, how: Stop) {
        self.attempts.abort_all();
        self.shared.publish(self.id, &[]);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Reconnect(countdown) | Command::Replace(countdown) = command {
                self.reconnecting.push(countdown);
            }
        }
        // A node that is gone needs no new connections; a cluster that is gone, has none.
        for reconnecting in self.reconnecting.drain(..) {
            if self.shared.is_closed() {
                reconnecting.fail(RequestError::Closed);
            }
        }
        for member in &mut self.members {
            member.role = Role::Draining;
            member.connection.stop(how);
        }
        let limit = tokio::time::sleep(DRAINED_AFTER);
        tokio::pin!(limit);
        let mut told = how;
        loop {
            let how = tokio::select! {
                ended = self.running.join_next_with_id() => match ended {
                    Some(ended) => {
                        self.ended(ended);
                        continue;
                    }
                    None => return,
                },
                how = stopped(&mut self.stop), if told != Stop::Now => how,
                // The whole cluster's end has a limit of its own.
                () = &mut limit, if told != Stop::Now && !self.shared.is_closed() => Stop::Now,
            };
            told = how;
            self.members.iter().for_each(|m| m.connection.stop(how));
        }
    }
}

impl Member {
    fn drain(&mut self) {
        self.role = Role::Draining;
        self.connection.drain(DRAINED_AFTER);
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
