//! The session cache: sessions by endpoint and verified name, in memory only, in a bounded LRU,
//! each until its time is over. It knows nothing of rustls, so its bounds can be tested.

use std::collections::VecDeque;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lru::LruCache;
use rustls::NamedGroup;

/// What time it is.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For durations: nobody can set it back.
    pub instant: Instant,
    /// For the dates of certificates, in seconds since 1970.
    pub unix: u64,
}

/// What time it is; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

impl Now {
    /// The system's clocks.
    pub fn system() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            instant: Instant::now(),
            unix: since_1970.map_or(0, |since| since.as_secs()),
        }
    }
}

/// When the sessions that descend from one full handshake end, however often they are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lineage {
    /// The earliest end of the certificates that were verified in that handshake, and of our own,
    /// in seconds since 1970.
    pub(super) not_after: u64,
    /// The end that the configuration sets.
    pub(super) ends: Instant,
    /// Whether the server had seen our certificate, which may be the login.
    pub(super) shown: bool,
}

impl Lineage {
    fn is_over(&self, now: &Now) -> bool {
        now.unix > self.not_after || now.instant >= self.ends
    }
}

/// What happened to sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionChange {
    /// Put into the cache.
    Stored,
    /// Dropped because the cache was full.
    Evicted,
    /// Dropped because of their age.
    Expired,
    /// Dropped because a certificate of the full handshake they descend from has expired, or that
    /// handshake is too long ago.
    LineageExpired,
    /// Dropped because they are not to be trusted any more: after a refused login, or a reload.
    Purged,
    /// Resumed, and closed because the certificate no longer passed.
    Refused,
    /// Offered, and not taken by the server.
    Rejected,
}

/// The cache's bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Keys.
    pub(super) size: NonZeroUsize,
    /// Sessions of a key that serve once.
    pub(super) tickets: usize,
    /// How long a session is kept.
    pub(super) ttl: Duration,
}

/// `R` are sessions that can be resumed again and again (TLS 1.2), `O` those that serve once.
pub(super) struct Cache<K, R, O> {
    entries: Mutex<Entries<K, R, O>>,
    limits: Limits,
    clock: Clock,
    /// Told what happened, after it has.
    observer: Observer<K>,
}

pub(super) type Observer<K> = Box<dyn Fn(&K, SessionChange, u64) + Send + Sync>;

struct Entries<K, R, O> {
    by_key: LruCache<K, Entry<R, O>>,
    /// The configuration they belong to is no longer in force.
    closed: bool,
}

struct Entry<R, O> {
    reusable: Option<Stored<R>>,
    once: VecDeque<Stored<O>>,
    group: Option<NamedGroup>,
}

struct Stored<T> {
    session: T,
    at: Instant,
    lineage: Lineage,
}

/// A session, of either kind.
pub(super) enum Session<R, O> {
    Reusable(R),
    Once(O),
}

/// What happened, to be told when the lock is free.
type Changes<K> = Vec<(K, SessionChange, u64)>;

impl<K: Clone + Eq + Hash, R: Clone, O> Cache<K, R, O> {
    pub(super) fn new(limits: Limits, clock: Clock, observer: Observer<K>) -> Self {
        let entries = Entries {
            by_key: LruCache::new(limits.size),
            closed: false,
        };
        Self {
            entries: Mutex::new(entries),
            limits,
            clock,
            observer,
        }
    }

    pub(super) fn now(&self) -> Now {
        (self.clock)()
    }

    /// Stores sessions of one lineage.
    pub(super) fn store(&self, key: &K, sessions: Vec<Session<R, O>>, lineage: Lineage) {
        let now = self.now();
        if sessions.is_empty() || lineage.is_over(&now) {
            return;
        }
        self.with(|entries, changes| {
            changes.push((key.clone(), SessionChange::Stored, sessions.len() as u64));
            let mut surplus = 0;
            let entry = entry(entries, key, changes);
            for session in sessions {
                surplus += entry.put(session, now.instant, lineage, self.limits.tickets);
            }
            if surplus > 0 {
                changes.push((key.clone(), SessionChange::Evicted, surplus));
            }
        });
    }

    /// The session that can be resumed again and again, with its lineage.
    pub(super) fn reusable(&self, key: &K) -> Option<(R, Lineage)> {
        self.with_current(key, |entry| {
            let stored = entry.reusable.as_ref()?;
            Some((stored.session.clone(), stored.lineage))
        })
    }

    /// Takes a session that serves once: nobody else gets it.
    pub(super) fn take(&self, key: &K) -> Option<(O, Lineage)> {
        // The newest lives longest.
        self.with_current(key, |entry| entry.once.pop_back())
            .map(|stored| (stored.session, stored.lineage))
    }

    pub(super) fn remove_reusable(&self, key: &K) {
        self.with(|entries, _| {
            if let Some(entry) = entries.by_key.peek_mut(key) {
                entry.reusable = None;
            }
        });
    }

    /// How many connections could resume a session now.
    pub(super) fn resumable(&self, key: &K) -> usize {
        let now = self.now();
        let serves = |at, lineage: &Lineage| {
            !lineage.is_over(&now) && now.instant.saturating_duration_since(at) < self.limits.ttl
        };
        // Only a look, which makes a key no more recently used.
        let entries = self.lock();
        let Some(entry) = entries.by_key.peek(key) else {
            return 0;
        };
        match &entry.reusable {
            Some(stored) if serves(stored.at, &stored.lineage) => usize::MAX,
            _ => {
                let once = entry.once.iter();
                once.filter(|stored| serves(stored.at, &stored.lineage))
                    .count()
            }
        }
    }

    /// Drops the sessions of a key. The group hint stays: it is no secret and saves a round trip.
    pub(super) fn purge(&self, key: &K) {
        self.with(|entries, changes| {
            let dropped = entries.by_key.peek_mut(key).map_or(0, Entry::clear);
            if dropped > 0 {
                changes.push((key.clone(), SessionChange::Purged, dropped));
            }
        });
    }

    /// Drops the sessions of a key that were stored before.
    pub(super) fn purge_before(&self, key: &K, before: Instant) {
        self.with(|entries, changes| {
            if let Some(entry) = entries.by_key.peek_mut(key) {
                let count = entry.count();
                entry.keep(|at, _| at >= before);
                let dropped = count - entry.count();
                if dropped > 0 {
                    changes.push((key.clone(), SessionChange::Purged, dropped));
                }
            }
        });
    }

    /// Drops all sessions, and takes no more. What is left are the group hints.
    pub(super) fn close(&self) -> Vec<(K, NamedGroup)> {
        let mut hints = Vec::new();
        self.with(|entries, changes| {
            entries.closed = true;
            // The least recently used first: in this order they are put into the next cache.
            while let Some((key, mut entry)) = entries.by_key.pop_lru() {
                let dropped = entry.clear();
                if dropped > 0 {
                    changes.push((key.clone(), SessionChange::Purged, dropped));
                }
                if let Some(group) = entry.group {
                    hints.push((key, group));
                }
            }
        });
        hints
    }

    pub(super) fn hint(&self, key: &K) -> Option<NamedGroup> {
        self.with_current(key, |entry| entry.group)
    }

    pub(super) fn set_hint(&self, key: &K, group: NamedGroup) {
        self.with(|entries, changes| entry(entries, key, changes).group = Some(group));
    }

    /// Tells of something that others found out about a key's sessions.
    pub(super) fn tell(&self, key: &K, change: SessionChange) {
        (self.observer)(key, change, 1);
    }

    /// The entry of a key, with its overdue sessions dropped.
    fn with_current<T>(&self, key: &K, f: impl FnOnce(&mut Entry<R, O>) -> Option<T>) -> Option<T> {
        let now = self.now();
        self.with(|entries, changes| {
            let entry = entries.by_key.get_mut(key)?;
            let (aged, ended) = entry.expire(&now, self.limits.ttl);
            if aged > 0 {
                changes.push((key.clone(), SessionChange::Expired, aged));
            }
            if ended > 0 {
                changes.push((key.clone(), SessionChange::LineageExpired, ended));
            }
            f(entry)
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Entries<K, R, O>, &mut Changes<K>) -> T) -> T {
        let mut changes = Vec::new();
        let mut entries = self.lock();
        let result = f(&mut entries, &mut changes);
        if entries.closed {
            entries.by_key.clear();
            changes.retain(|(_, change, _)| *change == SessionChange::Purged);
        }
        drop(entries);
        for (key, change, count) in changes {
            (self.observer)(&key, change, count);
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, R, O>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_key.len()
    }
}

/// The entry of a key, if need be a new one, which may cost another key its own.
fn entry<'a, K: Clone + Eq + Hash, R, O>(
    entries: &'a mut Entries<K, R, O>,
    key: &K,
    changes: &mut Changes<K>,
) -> &'a mut Entry<R, O> {
    if !entries.by_key.contains(key) {
        if let Some((other, mut evicted)) = entries.by_key.push(key.clone(), Entry::default()) {
            let dropped = evicted.clear();
            if dropped > 0 {
                changes.push((other, SessionChange::Evicted, dropped));
            }
        }
    }
    entries
        .by_key
        .get_or_insert_mut(key.clone(), Entry::default)
}

impl<R, O> Default for Entry<R, O> {
    fn default() -> Self {
        Self {
            reusable: None,
            once: VecDeque::new(),
            group: None,
        }
    }
}

impl<R, O> Entry<R, O> {
    fn count(&self) -> u64 {
        self.once.len() as u64 + u64::from(self.reusable.is_some())
    }

    /// Drops the sessions; how many there were.
    fn clear(&mut self) -> u64 {
        let before = self.count();
        self.reusable = None;
        self.once.clear();
        before
    }

    /// How many others had to go.
    fn put(&mut self, session: Session<R, O>, at: Instant, lineage: Lineage, most: usize) -> u64 {
        match session {
            Session::Reusable(session) => {
                self.reusable = Some(Stored {
                    session,
                    at,
                    lineage,
                });
                0
            }
            Session::Once(session) => {
                let full = self.once.len() >= most;
                if full {
                    self.once.pop_front();
                }
                self.once.push_back(Stored {
                    session,
                    at,
                    lineage,
                });
                u64::from(full)
            }
        }
    }

    /// How many were dropped: because of their age, and of their lineage's end.
    fn expire(&mut self, now: &Now, ttl: Duration) -> (u64, u64) {
        let before = self.count();
        self.keep(|_, lineage| !lineage.is_over(now));
        let ended = before - self.count();
        self.keep(|at, _| now.instant.saturating_duration_since(at) < ttl);
        (before - ended - self.count(), ended)
    }

    fn keep(&mut self, keep: impl Fn(Instant, &Lineage) -> bool) {
        self.once.retain(|stored| keep(stored.at, &stored.lineage));
        let reusable = self.reusable.take();
        self.reusable = reusable.filter(|stored| keep(stored.at, &stored.lineage));
    }
}

#[cfg(test)]
mod tests;
