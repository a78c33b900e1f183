use std::sync::Arc;
use std::time::Duration;

use crate::connection::ConnectionInfo;
use crate::{ConnectError, Failure};

/// Something that happened to a cluster.
#[derive(Debug, Clone)]
pub enum Event {
    /// A connection is open and logged in.
    Opened(Arc<ConnectionInfo>),
    /// An attempt failed; the next one follows after the delay.
    ConnectFailed {
        /// What went wrong.
        error: Arc<ConnectError>,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// A connection ended.
    Closed {
        /// Its endpoint.
        endpoint: Arc<str>,
        /// Why.
        failure: Failure,
        /// Connections left to this endpoint.
        left: usize,
    },
}

/// Where a cluster's events go. Called on runtime threads; must not block.
pub trait EventSink: Send + Sync + 'static {
    /// Takes an event.
    fn event(&self, event: Event);
}

/// Forgets all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn event(&self, _event: Event) {}
}
