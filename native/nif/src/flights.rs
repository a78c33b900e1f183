//! Statements that are being prepared: however many ask for one at once, it is asked for once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use palladion_cql::request;
use palladion_cql::response::{Message, Prepared, Response, ResultBody};
use palladion_driver::{
    Answer, Cluster, NodeId, Reply, Request, RequestError, RequestState, Route,
};
use rustler::thread::is_scheduler_thread;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::errors::NativeError;
use crate::reply::{failure, is_short, ReplyTo};
use crate::results;
use crate::runtime::Access;

/// The preparations under way in a cluster.
pub(crate) struct Flights {
    under_way: Mutex<HashMap<Key, UnderWay>>,
    ids: AtomicU64,
}

struct UnderWay {
    /// Tells this flight from one before it for the same statement.
    id: u64,
    since: Instant,
    /// Of the request that was sent.
    state: Arc<RequestState>,
    waiting: Vec<ReplyTo>,
}

/// A statement, its keyspace if it's not the connections', and the node it's prepared on, or not, if
/// that matters.
type Key = (Arc<str>, Option<Arc<str>>, Route);

/// All who may wait for one preparation.
const MAX_WAITING: usize = 65_536;
/// A server that has not answered for so long is asked again.
const STALE_AFTER: Duration = Duration::from_secs(5);

impl Flights {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            under_way: Mutex::new(HashMap::new()),
            ids: AtomicU64::new(0),
        })
    }

    /// Prepares a statement, or joins those who wait for it already.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        (cluster, access): (&Arc<Cluster>, &Access),
        statement: &str,
        keyspace: Option<&str>,
        route: Route,
        to: ReplyTo,
    ) -> Result<Arc<RequestState>, NativeError> {
        let key: Key = (statement.into(), keyspace.map(Arc::from), route);
        let mut under_way = self.lock();
        if let Some(flight) = under_way.get_mut(&key) {
            if flight.waiting.len() >= MAX_WAITING {
                flight.waiting.retain(|to| !to.is_cancelled());
            }
            if flight.waiting.len() >= MAX_WAITING {
                return Err(to.refuse(NativeError::from(&RequestError::Overloaded)));
            }
            if flight.since.elapsed() < STALE_AFTER {
                flight.waiting.push(to);
                return Ok(Arc::clone(&flight.state));
            }
        }
        let dialect = cluster.dialect();
        let frame = match request::prepare(&dialect, statement, keyspace) {
            Ok(frame) => frame,
            Err(error) => return Err(to.refuse(NativeError::from(&error))),
        };
        let stale = under_way.remove(&key);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(RequestState::default());
        let flight = Flight {
            flights: Arc::clone(self),
            key: key.clone(),
            id,
            cluster: Arc::downgrade(cluster),
            access: access.clone(),
            state: Arc::clone(&state),
            landed: false,
        };
        let request = Request {
            frame,
            dialect,
            reply: Box::new(flight),
        };
        // Entered before it's sent, for the answer may be quick; the lock keeps it waiting.
        let flight = UnderWay {
            id,
            since: Instant::now(),
            state: Arc::clone(&state),
            waiting: vec![to],
        };
        under_way.insert(key.clone(), flight);
        let sent = cluster.submit(request, route);
        let entered = match (stale, &sent) {
            // As it was: an answer may come yet.
            (Some(stale), Err(_)) => under_way.insert(key, stale),
            (None, Err(_)) => under_way.remove(&key),
            // Those who wait for the stale one go over to this one.
            (Some(stale), Ok(())) => {
                if let Some(flight) = under_way.get_mut(&key) {
                    let waiting = stale.waiting.into_iter();
                    flight
                        .waiting
                        .extend(waiting.filter(|to| !to.is_cancelled()));
                }
                None
            }
            (None, Ok(())) => None,
        };
        drop(under_way);
        for to in entered.map_or_else(Vec::new, |flight| flight.waiting) {
            to.forget();
        }
        match sent {
            Ok(()) => Ok(state),
            Err(refused) => Err(NativeError::from(&refused.error)),
        }
    }

    /// Those who wait for this flight, if it's still the one they wait for.
    fn landed(&self, key: &Key, id: u64) -> Vec<ReplyTo> {
        let mut under_way = self.lock();
        match under_way.get(key) {
            Some(flight) if flight.id == id => {
                under_way.remove(key).map_or_else(Vec::new, |f| f.waiting)
            }
            _ => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, UnderWay>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A PREPARE on its way. It belongs to nobody who waits for it: one who gives up, even the first,
/// leaves it to the others.
struct Flight {
    flights: Arc<Flights>,
    key: Key,
    id: u64,
    cluster: Weak<Cluster>,
    access: Access,
    state: Arc<RequestState>,
    landed: bool,
}

impl Flight {
    fn decode(mut self, answer: &Answer) {
        let response = match Response::parse(&answer.frame) {
            Ok(response) => response,
            Err(error) => {
                answer.malformed(&error);
                let error = results::undecodable(&error);
                return self.land(|env| failure(env, &error));
            }
        };
        match response.message {
            Message::Result(ResultBody::Prepared(prepared)) => {
                if let Some(cluster) = self.cluster.upgrade() {
                    let (text, keyspace, _) = &self.key;
                    let statements = cluster.prepared();
                    statements.insert(text, keyspace.as_deref(), prepared.clone());
                }
                self.land(|env| success(env, &prepared, &response.warnings, answer.node));
            }
            Message::Error(error) => {
                let error = crate::errors::server_error(&error).of_node(answer.node);
                let error = results::beside(error, response.tracing_id, response.warnings);
                self.land(|env| failure(env, &error));
            }
            _ => {
                let error = NativeError::new(atoms::decode_failed());
                let error = error.with("detail", "neither PREPARED nor ERROR");
                self.land(|env| failure(env, &error));
            }
        }
    }

    /// Tells all who wait, with a term made for each.
    fn land(&mut self, tell: impl for<'a> Fn(Env<'a>) -> Term<'a>) {
        self.landed = true;
        for to in self.flights.landed(&self.key, self.id) {
            to.send(&tell);
        }
    }
}

impl Reply for Flight {
    fn state(&self) -> &RequestState {
        &self.state
    }

    fn complete(mut self: Box<Self>, outcome: Result<Answer, RequestError>) {
        self.state.claim();
        match outcome {
            Ok(answer) if is_short(&answer) => self.decode(&answer),
            Ok(answer) => {
                let access = self.access.clone();
                access.decode(Box::new(move || self.decode(&answer)));
            }
            Err(error) => {
                let error = NativeError::from(&error);
                self.land(|env| failure(env, &error));
            }
        }
    }
}

fn success<'a>(
    env: Env<'a>,
    prepared: &Prepared,
    warnings: &[String],
    node: Option<NodeId>,
) -> Term<'a> {
    (
        atoms::ok(),
        results::prepared(env, prepared, warnings, node),
    )
        .encode(env)
}

impl Drop for Flight {
    fn drop(&mut self) {
        // On a scheduler it was refused by every connection, and `prepare` has the lock and the
        // word. Elsewhere it was lost, in a panic: those who wait are told by their own drop.
        if !self.landed && !is_scheduler_thread() {
            drop(self.flights.landed(&self.key, self.id));
        }
    }
}
