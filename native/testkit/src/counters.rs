//! What the server has seen.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use palladion_cql::Opcode;

use crate::login::conversation::Told;

macro_rules! counters {
    (
        $(#[$about:meta])*
        $counters:ident, $cells:ident {
            $($(#[$doc:meta])* $name:ident),+ $(,)?
        }
        $($(#[$more_doc:meta])* $more:ident: $type:ty)?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $counters {
            $($(#[$doc])* pub $name: u64,)+
            $($(#[$more_doc])* pub $more: $type,)?
        }

        impl $counters {
            /// Every count with its name.
            pub fn pairs(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct $cells {
            $(pub(crate) $name: AtomicU64,)+
        }

        impl $cells {
            pub(crate) fn snapshot(&self $(, $more: $type)?) -> $counters {
                $counters {
                    $($name: self.$name.load(Ordering::SeqCst),)+
                    $($more,)?
                }
            }

            /// Counts from 0 again, but what is there now stays counted.
            fn forget(&self, now: &[&AtomicU64]) {
                let all = [$(&self.$name),+];
                let past = all.iter().filter(|cell| !now.iter().any(|n| std::ptr::eq(**cell, *n)));
                past.for_each(|cell| cell.store(0, Ordering::SeqCst));
            }
        }
    };
}

counters! {
/// Counts since the server started, or since they were reset.
Counters, Cells {
    /// TCP connections accepted.
    connections,
    /// Of these, still open.
    open,
    /// Between being accepted and READY or AUTH_SUCCESS: handshakes under way.
    handshaking,
    /// These, the most at once.
    handshaking_peak,
    /// Closed at once, because there were too many.
    turned_away,
    /// Closed at once, because the simulated node is down or there is none.
    refused,
    /// Full handshakes.
    full,
    /// Full handshakes that took a HelloRetryRequest (counted in `full`, too).
    hello_retry,
    /// Resumed handshakes.
    resumed,
    /// Handshakes that failed.
    failed_handshakes,
    /// Handshakes, full or resumed, of TLS 1.2.
    tls12,
    /// Handshakes, full or resumed, of TLS 1.3.
    tls13,
    /// Handshakes in which the client showed a certificate, now or in the session resumed.
    client_certs,
    /// Logins that went well.
    logins,
    /// Logins that did not.
    failed_logins,
    /// Logins, of those that went well, that named an authorization id.
    authorization_ids,
    /// AUTH_CHALLENGE frames written.
    challenges,
    /// Mechanisms that clients named and that weren't among those negotiated.
    refused_mechanisms,
    /// OPTIONS frames.
    options,
    /// STARTUP frames.
    startup,
    /// AUTH_RESPONSE frames.
    auth_response,
    /// REGISTER frames.
    register,
    /// QUERY frames.
    query,
    /// PREPARE frames.
    prepare,
    /// EXECUTE frames.
    execute,
    /// BATCH frames.
    batch,
    /// Frames that could not be read, or with another protocol version.
    bad_frames,
    /// Responses written.
    responses,
    /// EXECUTE and BATCH frames answered with UNPREPARED.
    unprepared,
    /// Requests to which a rule applied.
    matched,
    /// Responses that wait for their time.
    delayed,
    /// Requests that are never answered: by a rule, or since their connection closed first.
    unanswered,
}
/// What the last failed handshake failed of.
last_failure: Option<String>
}

counters! {
/// Counts of one simulated node, since it was added or since they were reset.
NodeCounters, NodeCells {
    /// TCP connections accepted.
    connections,
    /// Of these, still open.
    open,
    /// Between being accepted and READY or AUTH_SUCCESS: handshakes under way.
    handshaking,
    /// These, the most at once.
    handshaking_peak,
    /// Closed at once, because the node is down.
    refused,
    /// Responses written.
    responses,
}
}

impl NodeCells {
    pub(crate) fn reset(&self) {
        self.forget(&[&self.open, &self.handshaking]);
        raise(&self.handshaking_peak, &self.handshaking);
    }
}

impl Cells {
    fn reset(&self) {
        self.forget(&[&self.open, &self.handshaking, &self.delayed]);
        raise(&self.handshaking_peak, &self.handshaking);
    }

    pub(crate) fn of(&self, opcode: Opcode) -> Option<&AtomicU64> {
        Some(match opcode {
            Opcode::Options => &self.options,
            Opcode::Startup => &self.startup,
            Opcode::AuthResponse => &self.auth_response,
            Opcode::Register => &self.register,
            Opcode::Query => &self.query,
            Opcode::Prepare => &self.prepare,
            Opcode::Execute => &self.execute,
            Opcode::Batch => &self.batch,
            _ => return None,
        })
    }
}

pub(crate) fn add(cell: &AtomicU64, n: u64) {
    cell.fetch_add(n, Ordering::SeqCst);
}

/// Counts one more, and how many that makes at most.
pub(crate) fn add_to_peak(cell: &AtomicU64, peak: &AtomicU64) {
    add(cell, 1);
    raise(peak, cell);
}

fn raise(peak: &AtomicU64, cell: &AtomicU64) {
    peak.fetch_max(cell.load(Ordering::SeqCst), Ordering::SeqCst);
}

pub(crate) fn subtract(cell: &AtomicU64, n: u64) {
    cell.fetch_sub(n, Ordering::SeqCst);
}

/// How a connection's TLS handshake went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// There was none.
    Plain,
    /// In full.
    Full,
    /// In full, after a HelloRetryRequest.
    HelloRetry,
    /// Resumed.
    Resumed,
}

/// What is known about one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Counts from 1 in the order of arrival.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// Whether it is open.
    pub open: bool,
    /// How the handshake went, once it is over.
    pub handshake: Option<Handshake>,
    /// `1.2` or `1.3`.
    pub tls_version: Option<&'static str>,
    /// The name that the client sent (SNI).
    pub server_name: Option<String>,
    /// Whether the client showed a certificate.
    pub client_cert: bool,
    /// Its SHA-256, in hexadecimal digits.
    pub client_fingerprint: Option<String>,
    /// The protocol's version that STARTUP settled.
    pub version: Option<u8>,
    /// What is compressed with.
    pub compression: Option<&'static str>,
    /// The options of STARTUP.
    pub startup: Vec<(String, String)>,
    /// Who logged in.
    pub user: Option<String>,
    /// What the client sent to log in.
    pub login: LoginInfo,
    /// The event kinds registered for.
    pub registered: Vec<String>,
    /// The keyspace in use.
    pub keyspace: Option<String>,
}

impl ConnectionInfo {
    pub(crate) fn new(id: u64, peer: SocketAddr) -> Self {
        Self {
            id,
            peer,
            open: true,
            handshake: None,
            tls_version: None,
            server_name: None,
            client_cert: false,
            client_fingerprint: None,
            version: None,
            compression: None,
            startup: Vec::new(),
            user: None,
            login: LoginInfo::default(),
            registered: Vec::new(),
            keyspace: None,
        }
    }
}

/// What a client sent to log in, whether it was let in or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoginInfo {
    /// The name of the mechanism that it used: `SCRAM-SHA-256`, `SigV4`.
    pub mechanism: Option<&'static str>,
    /// How many responses it sent, with those that named a mechanism.
    pub rounds: u32,
    /// What these were, the first ones; null is another than the empty one.
    pub tokens: Vec<Option<Vec<u8>>>,
    /// The authorization id; of ANONYMOUS the trace.
    pub authorization_id: Option<String>,
    /// The access key's id (SigV4).
    pub access_key_id: Option<String>,
    /// The session token (SigV4).
    pub session_token: Option<String>,
    /// What the last refusal said.
    pub refused: Option<String>,
}

/// Tokens remembered of a connection, at most, and bytes of each.
const TOKENS: usize = 16;
const TOKEN_LEN: usize = 1024;

impl LoginInfo {
    pub(crate) fn saw(&mut self, token: Option<&[u8]>) {
        self.rounds += 1;
        if self.tokens.len() < TOKENS {
            let token = token.map(|token| token[..token.len().min(TOKEN_LEN)].to_vec());
            self.tokens.push(token);
        }
    }

    /// The login itself still needs what it was told.
    pub(crate) fn learn(&mut self, told: &Told) {
        for (known, told) in [
            (&mut self.authorization_id, &told.authorization_id),
            (&mut self.access_key_id, &told.access_key_id),
            (&mut self.session_token, &told.session_token),
        ] {
            if told.is_some() {
                known.clone_from(told);
            }
        }
    }
}

/// Connections remembered, the last ones.
const REMEMBERED: usize = 4096;

/// Counters and connections, with a way to wait for them.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) cells: Cells,
    connections: Mutex<VecDeque<ConnectionInfo>>,
    last_failure: Mutex<Option<String>>,
    waiters: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Observed {
    pub(crate) fn counters(&self) -> Counters {
        self.cells.snapshot(lock(&self.last_failure).clone())
    }

    /// Connections and their number are remembered.
    pub(crate) fn reset(&self) {
        self.cells.reset();
        *lock(&self.last_failure) = None;
    }

    pub(crate) fn failed(&self, failure: String) {
        *lock(&self.last_failure) = Some(failure);
        add(&self.cells.failed_handshakes, 1);
    }

    pub(crate) fn remember(&self, connection: ConnectionInfo) {
        let mut connections = lock(&self.connections);
        if connections.len() == REMEMBERED {
            connections.pop_front();
        }
        connections.push_back(connection);
    }

    pub(crate) fn update(&self, id: u64, change: impl FnOnce(&mut ConnectionInfo)) {
        let mut connections = lock(&self.connections);
        if let Some(connection) = connections.iter_mut().rev().find(|c| c.id == id) {
            change(connection);
        }
    }

    pub(crate) fn connections(&self) -> Vec<ConnectionInfo> {
        lock(&self.connections).iter().cloned().collect()
    }

    /// To be called after changes; costs one load while nobody waits.
    pub(crate) fn notify(&self) {
        if self.waiters.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.lock));
            self.changed.notify_all();
        }
    }

    /// Looks again and again until the condition holds, or gives what was seen last as an error.
    pub(crate) fn wait<T>(
        &self,
        timeout: Duration,
        look: impl Fn() -> T,
        condition: impl Fn(&T) -> bool,
    ) -> Result<T, T> {
        let deadline = Instant::now() + timeout;
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut guard = lock(&self.lock);
        let result = loop {
            let seen = look();
            if condition(&seen) {
                break Ok(seen);
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break Err(seen);
            };
            guard = self
                .changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        drop(guard);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
