//! Events on their way to Elixir: a bounded ring here, and at most one message there that says that
//! it isn't empty.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use palladion_cql::ServerEvent;
use palladion_driver::tls::SessionChange;
use palladion_driver::{ControlInfo, Event, EventSink, NodeId};
use rustler::types::map::map_new;
use rustler::{Atom, Encoder, Env, LocalPid, OwnedEnv, Term};

use crate::atoms;
use crate::errors::{node_term, put, NativeError};
use crate::status::{connection, put_role, tls};

/// Events kept while nobody takes them; then the oldest go first.
const KEPT: usize = 4096;
/// What is only told waits so long for more: waking a process costs more than an event does.
const GATHERED_FOR: Duration = Duration::from_millis(5);
/// Events that become terms at a time: well below a millisecond's work.
const TAKEN: usize = 64;

/// A cluster's events, each kept for the process whose work it is.
#[derive(Default)]
pub(crate) struct Events {
    /// What the server process tells the user.
    cluster: Mailbox,
    /// What the topology process acts on.
    topology: Mailbox,
    /// The control connection, while it is open.
    control: Mutex<Option<Arc<ControlInfo>>>,
}

impl Events {
    /// For the process that looks after the topology, or else for the one that tells.
    pub(crate) fn mailbox(&self, of_topology: bool) -> &Mailbox {
        if of_topology {
            &self.topology
        } else {
            &self.cluster
        }
    }

    pub(crate) fn control(&self) -> Option<Arc<ControlInfo>> {
        lock(&self.control).clone()
    }
}

#[derive(Default)]
pub(crate) struct Mailbox {
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

impl Mailbox {
    /// Makes a process the one that takes the events. It asks for them at once.
    pub(crate) fn adopt(&self, owner: LocalPid) {
        let mut ring = lock(&self.ring);
        ring.owner = Some(owner);
        ring.told = true;
    }

    /// As many of those kept as are taken at a time, and how many were dropped before them. For
    /// the rest the owner is told again.
    pub(crate) fn take(&self) -> (Vec<Event>, u64, bool) {
        let mut ring = lock(&self.ring);
        let dropped = std::mem::take(&mut ring.dropped);
        let taken = ring.events.len().min(TAKEN);
        let events = ring.events.drain(..taken).collect();
        ring.told = !ring.events.is_empty();
        (events, dropped, ring.told)
    }

    /// Keeps an event; whom to tell that there is one, if that was not done yet.
    fn put(&self, event: Event) -> Option<LocalPid> {
        let mut ring = lock(&self.ring);
        if ring.events.len() == KEPT {
            ring.events.pop_front();
            ring.dropped += 1;
        }
        ring.events.push_back(event);
        let owner = ring.owner.filter(|_| !ring.told);
        ring.told |= owner.is_some();
        owner
    }
}

/// An owner that has just died is followed by another, which asks by itself.
fn tell(owner: LocalPid) {
    let _ = OwnedEnv::new().send_and_clear(&owner, |_| atoms::palladion_events());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called on runtime threads only.
pub(crate) struct Sink(pub(crate) Arc<Events>);

impl EventSink for Sink {
    fn event(&self, event: Event) {
        match &event {
            Event::ControlOpened(info) => *lock(&self.0.control) = Some(Arc::clone(info)),
            Event::ControlClosed => *lock(&self.0.control) = None,
            _ => {}
        }
        let of_topology = matches!(
            event,
            Event::ControlOpened(_) | Event::ControlClosed | Event::Server(_)
        );
        let Some(owner) = self.0.mailbox(of_topology).put(event) else {
            return;
        };
        if of_topology {
            tell(owner);
        } else {
            tokio::spawn(async move {
                tokio::time::sleep(GATHERED_FOR).await;
                tell(owner);
            });
        }
    }
}

/// `{kind, map}`
pub(crate) fn term<'a>(env: Env<'a>, event: &Event) -> Term<'a> {
    match event {
        Event::Opened { info, open, wanted } => {
            let map = pool(connection(env, info), *open, *wanted);
            (atoms::connection_opened(), map).encode(env)
        }
        Event::ConnectFailed {
            error,
            node,
            failures,
            retry_in,
        } => {
            let map = put(map_new(env), "error", NativeError::from(error.as_ref()));
            let map = put(map, "node", node.map(NodeTerm));
            let map = put(map, "failures", *failures);
            let map = put(map, "retry_in", retry_in.as_millis() as u64);
            (atoms::connect_failed(), map).encode(env)
        }
        Event::Handshake {
            role,
            endpoint,
            address,
            duration,
            outcome,
        } => {
            let map = put_role(map_new(env), *role);
            let map = put(map, "endpoint", &**endpoint);
            let map = put(map, "address", address.to_string());
            let map = put(map, "duration_us", duration.as_micros() as u64);
            let done = outcome.as_ref().ok();
            let map = put(map, "tls", done.map(|info| tls(env, info)));
            let error = outcome.as_ref().err().map(NativeError::from);
            let error = error.map(|error| error.with("endpoint", &**endpoint));
            (atoms::handshake(), put(map, "error", error)).encode(env)
        }
        Event::Sessions {
            endpoint,
            verified_name,
            change,
            count,
        } => {
            let map = put(map_new(env), "endpoint", &**endpoint);
            let map = put(map, "verified_name", verified_name.as_deref());
            let map = put(map, "change", session_change(*change));
            (atoms::sessions(), put(map, "count", *count)).encode(env)
        }
        Event::Credentials(outcome) => {
            let expires_at = outcome.as_ref().ok().copied().flatten();
            let map = put(
                map_new(env),
                "expires_at",
                expires_at.and_then(unix_seconds),
            );
            let error = outcome.as_ref().err().map(NativeError::from);
            (atoms::credentials(), put(map, "error", error)).encode(env)
        }
        Event::Closed {
            info,
            failure,
            lasted,
            failures,
            open,
            wanted,
        } => {
            let error = failure.as_ref().map(NativeError::from);
            let error = error.map(|error| error.with("endpoint", &*info.endpoint));
            let map = put(connection(env, info), "error", error);
            let map = put(map, "lasted_us", lasted.as_micros() as u64);
            let map = put(map, "failures", *failures);
            let map = pool(map, *open, *wanted);
            (atoms::connection_closed(), map).encode(env)
        }
        Event::Node { id, endpoint, up } => {
            let map = put(map_new(env), "node", NodeTerm(*id));
            let map = put(map, "endpoint", &**endpoint);
            let kind = if *up {
                atoms::node_up()
            } else {
                atoms::node_down()
            };
            (kind, map).encode(env)
        }
        Event::ProtocolLowered { endpoint, from, to } => {
            let map = put(map_new(env), "endpoint", &**endpoint);
            let map = put(map, "from", from.number());
            (atoms::protocol_lowered(), put(map, "to", to.number())).encode(env)
        }
        Event::ControlOpened(info) => (atoms::control_opened(), control(env, info)).encode(env),
        Event::ControlClosed => (atoms::control_closed(), map_new(env)).encode(env),
        Event::Server(event) => server(env, event),
    }
}

fn unix_seconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

fn session_change(change: SessionChange) -> Atom {
    match change {
        SessionChange::Stored => atoms::stored(),
        SessionChange::Evicted => atoms::evicted(),
        SessionChange::Expired => atoms::expired(),
        SessionChange::LineageExpired => atoms::lineage_expired(),
        SessionChange::Purged => atoms::purged(),
        SessionChange::Refused => atoms::refused(),
        SessionChange::Rejected => atoms::rejected(),
    }
}

fn pool(map: Term<'_>, open: usize, wanted: usize) -> Term<'_> {
    put(put(map, "open", open), "wanted", wanted)
}

/// What is known of the control connection.
pub(crate) fn control<'a>(env: Env<'a>, info: &ControlInfo) -> Term<'a> {
    let address = info.connection.address;
    let names = info.names.iter();
    let names: Vec<_> = names.map(|(ip, name)| (ip.to_string(), name)).collect();
    let map = put(map_new(env), "number", info.number);
    let map = put(map, "endpoint", &*info.connection.endpoint);
    let map = put(map, "address", address.ip().to_string());
    let map = put(map, "port", address.port());
    let map = put(map, "contact_point", info.contact_point);
    put(map, "names", names)
}

fn server<'a>(env: Env<'a>, event: &ServerEvent) -> Term<'a> {
    let node = |kind: Atom, change: &str, node: &SocketAddr| {
        let map = put(map_new(env), "change", change);
        let map = put(map, "address", node.ip().to_string());
        (kind, put(map, "port", node.port())).encode(env)
    };
    match event {
        ServerEvent::Topology { change, node: n } => node(atoms::topology_change(), change, n),
        ServerEvent::Status { change, node: n } => node(atoms::status_change(), change, n),
        ServerEvent::Schema(change) => {
            let map = put(map_new(env), "change", change.change.as_str());
            let map = put(map, "target", change.target.as_str());
            let map = put(map, "keyspace", change.keyspace.as_str());
            (
                atoms::schema_change(),
                put(map, "name", change.name.as_deref()),
            )
                .encode(env)
        }
        ServerEvent::Unknown(kind) => {
            let map = put(map_new(env), "type", kind.as_str());
            (atoms::unknown_event(), map).encode(env)
        }
    }
}

struct NodeTerm(NodeId);

impl Encoder for NodeTerm {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        node_term(env, self.0)
    }
}
