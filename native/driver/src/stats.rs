use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What a cluster has counted since it started.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub $name: Counter,)+ }

        impl Stats {
            /// Every counter by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)+]
            }
        }
    };
}

counters! {
    /// Requests put onto a connection's queue.
    requests,
    /// Answers that arrived for a request.
    responses,
    /// Answers that nobody waited for any more.
    late_responses,
    /// Requests that waited for room because every queue was full.
    overflowed,
    /// Requests refused because every queue was full.
    overloaded,
    /// Connections to nodes opened and logged in.
    connections_opened,
    /// Connections to nodes ended, for any reason.
    connections_closed,
    /// Control connections opened and logged in.
    control_connections_opened,
    /// Attempts to connect that failed.
    connect_failures,
    /// TLS handshakes that verified the whole chain.
    handshakes_full,
    /// TLS handshakes that resumed a session.
    handshakes_resumed,
    /// Of the full ones, those that took a round more because the server wanted another key
    /// exchange group (HelloRetryRequest).
    handshakes_hello_retry,
    /// TLS handshakes that failed.
    handshakes_failed,
    /// Sessions taken from the cache for a handshake.
    sessions_offered,
    /// Sessions put into the cache.
    sessions_stored,
    /// Sessions dropped because the cache was full.
    sessions_evicted,
    /// Sessions dropped because of their age.
    sessions_expired,
    /// Sessions dropped because a certificate of the full handshake they descend from has expired,
    /// or that handshake is too long ago.
    sessions_lineage_expired,
    /// Sessions dropped because of a refused login, a refused certificate or a reload.
    sessions_purged,
    /// Of these, those that were not resumed: the server did not take them, or they were past the
    /// lifetime that it had given them.
    sessions_rejected,
    /// Resumed handshakes refused because the certificate no longer passed.
    sessions_refused,
    /// Replacements of the TLS configuration.
    tls_reloads,
    /// Logins accepted.
    logins,
    /// Logins refused.
    logins_refused,
    /// Heartbeats sent.
    heartbeats,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_many(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
