//! The session cache: what makes later connections cheaper, without making them laxer.
//!
//! Sessions are kept per endpoint and verified name, in memory only, in a bounded LRU with a TTL.
//! Each connection has its own [`View`]: what it receives stays pending until its login has
//! succeeded, so that no session comes from a peer that was never accepted.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::NamedGroup;
use rustls_pki_types::ServerName;

use crate::Stats;

/// TLS 1.3 tickets kept for an endpoint: as many as its pool has connections, within these.
pub(super) const MIN_TICKETS: usize = 8;
pub(super) const MAX_TICKETS: usize = 64;

/// What time it is; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// An endpoint as dialled, and the name verified on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    endpoint: Arc<str>,
    name: Arc<str>,
}

impl SessionKey {
    /// `endpoint` is `host:port`; `name` is empty where none is verified.
    pub fn new(endpoint: &str, name: &str) -> Self {
        Self {
            endpoint: endpoint.into(),
            name: name.into(),
        }
    }
}

/// The sessions of one security configuration.
pub struct SessionCache {
    entries: Mutex<LruCache<SessionKey, Entry>>,
    tickets: usize,
    ttl: Duration,
    clock: Clock,
    stats: Arc<Stats>,
}

#[derive(Default)]
struct Entry {
    tls12: Option<Stored<Tls12ClientSessionValue>>,
    tls13: VecDeque<Stored<Tls13ClientSessionValue>>,
    group: Option<NamedGroup>,
}

struct Stored<T> {
    session: T,
    at: Instant,
}

enum Session {
    Tls12(Tls12ClientSessionValue),
    Tls13(Tls13ClientSessionValue),
}

impl SessionCache {
    /// Room for `size` keys with `tickets` TLS 1.3 tickets each, which live for `ttl`.
    pub fn new(
        size: usize,
        tickets: usize,
        ttl: Duration,
        clock: Clock,
        stats: Arc<Stats>,
    ) -> Self {
        let size = NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN);
        Self {
            entries: Mutex::new(LruCache::new(size)),
            tickets: tickets.max(1),
            ttl,
            clock,
            stats,
        }
    }

    /// How many connections could resume a session now: a TLS 1.3 ticket serves once, a TLS 1.2
    /// session any number of times.
    pub(super) fn resumable(&self, key: &SessionKey) -> usize {
        self.with_entry(key, |entry| match entry.tls12 {
            Some(_) => usize::MAX,
            None => entry.tls13.len(),
        })
        .unwrap_or(0)
    }

    /// Drops the sessions of a key. The group hint stays: it is no secret and saves a round trip.
    pub(super) fn purge(&self, key: &SessionKey) {
        if let Some(entry) = self.lock().peek_mut(key) {
            entry.tls12 = None;
            entry.tls13.clear();
        }
    }

    fn store(&self, key: &SessionKey, session: Session) {
        let at = (self.clock)();
        self.stats.sessions_stored.add();
        let tickets = self.tickets;
        self.with_new_entry(key, |entry| match session {
            Session::Tls12(session) => entry.tls12 = Some(Stored { session, at }),
            Session::Tls13(session) => {
                if entry.tls13.len() == tickets {
                    entry.tls13.pop_front();
                    self.stats.sessions_evicted.add();
                }
                entry.tls13.push_back(Stored { session, at });
            }
        });
    }

    /// The entry of a key with its overdue sessions dropped, if there is one.
    fn with_entry<T>(&self, key: &SessionKey, f: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entries = self.lock();
        let entry = entries.get_mut(key)?;
        self.expire(entry);
        Some(f(entry))
    }

    fn with_new_entry(&self, key: &SessionKey, f: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key) {
            return f(entry);
        }
        let mut entry = Entry::default();
        f(&mut entry);
        if let Some((_, evicted)) = entries.push(key.clone(), entry) {
            for _ in 0..evicted.tls13.len() + usize::from(evicted.tls12.is_some()) {
                self.stats.sessions_evicted.add();
            }
        }
    }

    fn expire(&self, entry: &mut Entry) {
        let now = (self.clock)();
        let overdue = |at: Instant| now.saturating_duration_since(at) >= self.ttl;
        let before = entry.tls13.len() + usize::from(entry.tls12.is_some());
        entry.tls13.retain(|stored| !overdue(stored.at));
        entry.tls12 = entry.tls12.take().filter(|stored| !overdue(stored.at));
        let after = entry.tls13.len() + usize::from(entry.tls12.is_some());
        for _ in after..before {
            self.stats.sessions_expired.add();
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<SessionKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCache")
            .field("keys", &self.lock().len())
            .finish_non_exhaustive()
    }
}

/// A connection's view of the cache.
pub(crate) struct View {
    cache: Arc<SessionCache>,
    key: SessionKey,
    pending: Mutex<Pending>,
}

enum Pending {
    /// Received before the login; dropped if it fails.
    Held(Vec<Session>),
    /// The login has succeeded: what arrives is stored at once.
    Committed,
}

impl View {
    pub(super) fn new(cache: Arc<SessionCache>, key: SessionKey) -> Self {
        Self {
            cache,
            key,
            pending: Mutex::new(Pending::Held(Vec::new())),
        }
    }

    /// Stores what was held back, and from now on whatever arrives.
    pub(crate) fn commit(&self) {
        let held = std::mem::replace(&mut *self.lock(), Pending::Committed);
        if let Pending::Held(sessions) = held {
            for session in sessions {
                self.cache.store(&self.key, session);
            }
        }
    }

    fn received(&self, session: Session) {
        match &mut *self.lock() {
            // A server that floods a client with tickets before the login gains nothing.
            Pending::Held(sessions) if sessions.len() < MAX_TICKETS => sessions.push(session),
            Pending::Held(_) => {}
            Pending::Committed => self.cache.store(&self.key, session),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// rustls asks by server name; a view belongs to one connection, whose key is known better.
impl ClientSessionStore for View {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.cache
            .with_new_entry(&self.key, |entry| entry.group = Some(group));
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.cache.with_entry(&self.key, |entry| entry.group)?
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.received(Session::Tls12(session));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let found = self.cache.with_entry(&self.key, |entry| {
            entry.tls12.as_ref().map(|stored| stored.session.clone())
        })?;
        found.inspect(|_| self.cache.stats.sessions_offered.add())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.cache.with_entry(&self.key, |entry| entry.tls12 = None);
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.received(Session::Tls13(ticket));
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        // The newest lives longest.
        let found = self
            .cache
            .with_entry(&self.key, |entry| entry.tls13.pop_back())?;
        found.map(|stored| {
            self.cache.stats.sessions_offered.add();
            stored.session
        })
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}
