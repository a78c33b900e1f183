//! Sessions: what makes later connections cheaper, without making them laxer.
//!
//! Each connection has its own [`View`] of the cache: what it receives stays pending until its
//! login has succeeded, so that no session comes from a peer that was never accepted, and each
//! session is known to descend from the handshake that verified the server.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::NamedGroup;
use rustls_pki_types::ServerName;

use super::cache::{Cache, Clock, Limits, Lineage, Session as Either, SessionChange};
use super::config::SessionCacheConfig;
use super::{Identified, ServerChain};
use crate::{Event, EventSink, Failure, Stats};

/// TLS 1.3 tickets kept for an endpoint: as many as its pool has connections, within these.
const MIN_TICKETS: usize = 8;
const MAX_TICKETS: usize = 64;

/// An endpoint, at one of its addresses: two nodes behind one name don't share sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SessionKey {
    pub(super) identified: Identified,
    pub(super) address: SocketAddr,
}

type Sessions = Cache<SessionKey, Tls12ClientSessionValue, Tls13ClientSessionValue>;
type Session = Either<Tls12ClientSessionValue, Tls13ClientSessionValue>;

/// The sessions of one security configuration.
pub(super) struct SessionCache {
    cache: Sessions,
    max_lineage: Duration,
    /// The end of our own certificate, if we have one.
    own_not_after: u64,
}

impl SessionCache {
    pub(super) fn new(
        config: SessionCacheConfig,
        pool_size: usize,
        own_not_after: Option<u64>,
        clock: Clock,
        stats: Arc<Stats>,
        events: Arc<dyn EventSink>,
    ) -> Self {
        let limits = Limits {
            size: NonZeroUsize::new(config.size).unwrap_or(NonZeroUsize::MIN),
            tickets: pool_size.clamp(MIN_TICKETS, MAX_TICKETS),
            ttl: config.ttl,
        };
        let observer = move |key: &SessionKey, change, count| {
            counter(&stats, change).add_many(count);
            events.event(Event::Sessions {
                endpoint: Arc::clone(&key.identified.endpoint),
                verified_name: key.identified.verified_name.clone(),
                change,
                count,
            });
        };
        Self {
            cache: Cache::new(limits, clock, Box::new(observer)),
            max_lineage: config.max_lineage,
            own_not_after: own_not_after.unwrap_or(u64::MAX),
        }
    }

    /// How many connections could resume a session now.
    pub(super) fn resumable(&self, key: &SessionKey) -> usize {
        self.cache.resumable(key)
    }

    pub(super) fn purge(&self, key: &SessionKey) {
        self.cache.purge(key);
    }

    /// Drops all sessions, and takes no more; the next cache gets the group hints.
    pub(super) fn close(&self, next: Option<&Self>) {
        for (key, group) in self.cache.close() {
            if let Some(next) = next {
                next.cache.set_hint(&key, group);
            }
        }
    }

    /// Of a handshake that has just verified this chain. None if its dates can't be read: then
    /// nobody knows how long its sessions may live.
    fn lineage(&self, chain: &ServerChain, shown: bool) -> Option<Lineage> {
        let not_after = chain.earliest_not_after?.min(self.own_not_after);
        let ends = self.cache.now().instant.checked_add(self.max_lineage)?;
        Some(Lineage {
            not_after,
            ends,
            shown,
        })
    }
}

fn counter(stats: &Stats, change: SessionChange) -> &crate::Counter {
    match change {
        SessionChange::Stored => &stats.sessions_stored,
        SessionChange::Evicted => &stats.sessions_evicted,
        SessionChange::Expired => &stats.sessions_expired,
        SessionChange::LineageExpired => &stats.sessions_lineage_expired,
        SessionChange::Purged => &stats.sessions_purged,
        SessionChange::Refused => &stats.sessions_refused,
        SessionChange::Rejected => &stats.sessions_rejected,
    }
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCache")
            .field("keys", &self.cache.len())
            .finish_non_exhaustive()
    }
}

/// A connection's view of the cache.
pub(crate) struct View {
    sessions: Arc<SessionCache>,
    key: SessionKey,
    offer: Offer,
    stats: Arc<Stats>,
    state: Mutex<State>,
}

/// Whether a connection may offer a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// One that is there.
    Session,
    /// None: the handshake is to be a full one.
    Nothing,
}

struct State {
    /// The lineage of the session that was offered, if one was, and when.
    offered: Option<(Lineage, Instant)>,
    received: Received,
}

enum Received {
    /// Before the login has succeeded; dropped if it fails.
    Held(Vec<Session>),
    /// The login has succeeded: what arrives is of this lineage, and stored at once.
    Stored(Lineage),
    /// Nobody knows how long such sessions might be used, so they are not.
    Dropped,
}

impl View {
    pub(super) fn new(
        sessions: Arc<SessionCache>,
        key: SessionKey,
        offer: Offer,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            sessions,
            key,
            offer,
            stats,
            state: Mutex::new(State {
                offered: None,
                received: Received::Held(Vec::new()),
            }),
        }
    }

    /// The handshake is over: the server has taken the session that was offered to it, or not.
    pub(crate) fn handshake_done(&self, resumed: bool) {
        let offered = self.lock().offered;
        if let (Some((_, at)), false) = (offered, resumed) {
            self.tell(SessionChange::Rejected);
            // Who forgot this one has most likely forgotten the others of before.
            self.sessions.cache.purge_before(&self.key, at);
        }
    }

    /// The handshake failed. Whether to try at once without a session, for it may be due to the one
    /// that was offered.
    pub(crate) fn failed(&self, failure: &Failure) -> bool {
        // A chain is shown, and refused, only in full handshakes; and what hangs would do so again.
        let is_final = matches!(failure, Failure::Certificate(_) | Failure::Timeout { .. });
        if is_final {
            self.to_blame();
        }
        !is_final && self.lock().offered.is_some()
    }

    /// The session that was offered, if one was, is no good, nor are those of before.
    pub(crate) fn to_blame(&self) {
        self.handshake_done(false);
    }

    /// The certificate of the resumed session no longer passed.
    pub(crate) fn refused(&self) {
        self.tell(SessionChange::Refused);
        self.sessions.purge(&self.key);
    }

    /// The login was refused: whoever is at the other end, its sessions are not used again.
    pub(crate) fn purge(&self) {
        self.sessions.purge(&self.key);
    }

    /// Whether our certificate was shown in the handshake that the session offered descends from.
    pub(crate) fn was_shown(&self) -> bool {
        let offered = self.lock().offered;
        offered.is_some_and(|(lineage, _)| lineage.shown)
    }

    /// The login has succeeded: stores what was held back, and from now on whatever arrives.
    /// `chain` is what the server showed, and `shown` says whether it has seen ours.
    pub(crate) fn commit(&self, resumed: bool, chain: &ServerChain, shown: bool) {
        let mut state = self.lock();
        // What a resumed connection is given descends from the same full handshake.
        let lineage = if resumed {
            state.offered.map(|(lineage, _)| lineage)
        } else {
            self.sessions.lineage(chain, shown)
        };
        let next = lineage.map_or(Received::Dropped, Received::Stored);
        let before = std::mem::replace(&mut state.received, next);
        drop(state);
        if let (Received::Held(held), Some(lineage)) = (before, lineage) {
            self.sessions.cache.store(&self.key, held, lineage);
        }
    }

    fn received(&self, session: Session) {
        let mut state = self.lock();
        let lineage = match &mut state.received {
            Received::Held(held) => {
                // A server that floods a client with tickets before the login gains nothing.
                if held.len() < MAX_TICKETS {
                    held.push(session);
                }
                return;
            }
            Received::Stored(lineage) => *lineage,
            Received::Dropped => return,
        };
        drop(state);
        let sessions = vec![session];
        self.sessions.cache.store(&self.key, sessions, lineage);
    }

    fn offered<T>(&self, find: impl FnOnce(&Sessions) -> Option<(T, Lineage)>) -> Option<T> {
        if self.offer == Offer::Nothing {
            return None;
        }
        let (session, lineage) = find(&self.sessions.cache)?;
        self.lock().offered = Some((lineage, self.sessions.cache.now().instant));
        self.stats.sessions_offered.add();
        Some(session)
    }

    fn tell(&self, change: SessionChange) {
        self.sessions.cache.tell(&self.key, change);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// rustls asks by server name; a view belongs to one connection, whose key is known better.
impl ClientSessionStore for View {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.sessions.cache.set_hint(&self.key, group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.cache.hint(&self.key)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.received(Session::Reusable(session));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.offered(|cache| cache.reusable(&self.key))
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.sessions.cache.remove_reusable(&self.key);
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.received(Session::Once(ticket));
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.offered(|cache| cache.take(&self.key))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}
