//! After a refused login: one attempt at a time over the whole cluster, with growing pauses, so that
//! a password that was changed does not lock its account.

use std::sync::{Mutex as SyncMutex, MutexGuard as SyncGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::backoff::Backoff;
use crate::config::Reconnect;

pub(crate) struct Refusal {
    line: Mutex<()>,
    state: SyncMutex<State>,
    /// Told when there is nothing to wait for any more.
    over: Notify,
}

struct State {
    backoff: Backoff,
    /// When the next attempt may be made; nothing while logins are accepted.
    until: Option<Instant>,
}

impl Refusal {
    pub(crate) fn new(reconnect: &Reconnect) -> Self {
        let state = State {
            backoff: Backoff::new(reconnect),
            until: None,
        };
        Self {
            line: Mutex::new(()),
            state: SyncMutex::new(state),
            over: Notify::new(),
        }
    }

    /// Waits until an attempt may be made, and keeps the others waiting while it is.
    pub(crate) async fn pass(&self) -> Option<MutexGuard<'_, ()>> {
        self.lock().until?;
        let turn = self.line.lock().await;
        // Again, for the one before may have been accepted, or refused once more.
        let over = self.over.notified();
        let until = self.lock().until?;
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => Some(turn),
            () = over => None,
        }
    }

    pub(crate) fn refused(&self) {
        let mut state = self.lock();
        state.until = Some(Instant::now() + state.backoff.failed());
    }

    pub(crate) fn accepted(&self) {
        let mut state = self.lock();
        state.backoff.reset();
        state.until = None;
        self.over.notify_waiters();
    }

    fn lock(&self) -> SyncGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
