//! Events on their way to Elixir: a bounded ring here, and at most one message there that says that
//! it isn't empty.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palladion_driver::{Event, EventSink};
use rustler::{LocalPid, OwnedEnv, Term};

use crate::atoms;
use crate::errors::{put, NativeError};
use crate::status::connection;

/// Events kept while nobody takes them; then the oldest go first.
const KEPT: usize = 1024;

#[derive(Default)]
pub(crate) struct Events {
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Event>,
    dropped: u64,
    owner: Option<LocalPid>,
    /// The owner has been told and has not taken them yet.
    told: bool,
}

impl Events {
    /// Makes a process the one that takes the events. It asks for them at once.
    pub(crate) fn adopt(&self, owner: LocalPid) {
        let mut ring = self.lock();
        ring.owner = Some(owner);
        ring.told = true;
    }

    /// Everything kept, and how many were dropped before it.
    pub(crate) fn take(&self) -> (Vec<Event>, u64) {
        let mut ring = self.lock();
        ring.told = false;
        let dropped = std::mem::take(&mut ring.dropped);
        (ring.events.drain(..).collect(), dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called on runtime threads only.
pub(crate) struct Sink(pub(crate) Arc<Events>);

impl EventSink for Sink {
    fn event(&self, event: Event) {
        let mut ring = self.0.lock();
        if ring.events.len() == KEPT {
            ring.events.pop_front();
            ring.dropped += 1;
        }
        ring.events.push_back(event);
        let tell = match ring.owner {
            Some(owner) if !ring.told => owner,
            _ => return,
        };
        ring.told = true;
        drop(ring);
        // An owner that has just died is followed by another, which asks by itself.
        let _ = OwnedEnv::new().send_and_clear(&tell, |_| atoms::palladion_events());
    }
}

/// `{kind, map}`
pub(crate) fn term<'a>(env: rustler::Env<'a>, event: &Event) -> Term<'a> {
    use rustler::Encoder;
    match event {
        Event::Opened(info) => (atoms::connection_opened(), connection(env, info)).encode(env),
        Event::ConnectFailed { error, retry_in } => {
            let map = put(
                rustler::types::map::map_new(env),
                "error",
                NativeError::from(error.as_ref()),
            );
            let map = put(map, "retry_in", retry_in.as_millis() as u64);
            (atoms::connect_failed(), map).encode(env)
        }
        Event::Closed {
            endpoint,
            failure,
            left,
        } => {
            let error = NativeError::from(failure).with("endpoint", &**endpoint);
            let map = put(rustler::types::map::map_new(env), "error", error);
            let map = put(map, "endpoint", &**endpoint);
            let map = put(map, "left", *left);
            (atoms::connection_closed(), map).encode(env)
        }
    }
}
