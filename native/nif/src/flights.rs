//! Statements that are being prepared: however many ask for one at once, it is asked for once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use palladion_cql::request;
use palladion_cql::response::{Message, Prepared, Response, ResultBody};
use palladion_driver::{Answer, Cluster, Reply, Request, RequestError, RequestState};
use rustler::thread::is_scheduler_thread;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::errors::NativeError;
use crate::reply::{failure, ReplyTo};
use crate::results;

/// The preparations under way in a cluster.
pub(crate) struct Flights {
    under_way: Mutex<HashMap<Key, Vec<ReplyTo>>>,
}

/// A statement, and the node it's prepared on if that matters.
type Key = (Arc<str>, Option<usize>);

/// All who may wait for preparations.
const MAX_WAITING: usize = 65_536;

impl Flights {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            under_way: Mutex::new(HashMap::new()),
        })
    }

    /// Prepares a statement, or joins those who wait for it already.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        statement: &str,
        node: Option<usize>,
        to: ReplyTo,
    ) -> Result<(), NativeError> {
        let key: Key = (statement.into(), node);
        let mut under_way = self.lock();
        if let Some(waiting) = under_way.get_mut(&key) {
            if waiting.len() >= MAX_WAITING {
                return Err(to.refuse(NativeError::from(&RequestError::Overloaded)));
            }
            waiting.push(to);
            return Ok(());
        }
        let frame = match request::prepare(statement) {
            Ok(frame) => frame,
            Err(error) => {
                let refused = NativeError::new(atoms::bad_statement());
                return Err(to.refuse(refused.with("detail", error.to_string())));
            }
        };
        let flight = Flight {
            flights: Arc::clone(self),
            key: key.clone(),
            cluster: Arc::downgrade(cluster),
            state: RequestState::default(),
            landed: false,
        };
        let request = Request {
            frame,
            reply: Box::new(flight),
        };
        // Entered before it's sent, for the answer may be quick; the lock keeps it waiting.
        under_way.insert(key.clone(), vec![to]);
        let Err(refused) = cluster.submit(request, node) else {
            return Ok(());
        };
        let waiting = under_way.remove(&key).unwrap_or_default();
        drop(under_way);
        for to in waiting {
            to.forget();
        }
        Err(NativeError::from(&refused.error))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<ReplyTo>>> {
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
    cluster: Weak<Cluster>,
    state: RequestState,
    landed: bool,
}

impl Flight {
    /// Tells all who wait, with a term made for each.
    fn land(&mut self, tell: impl for<'a> Fn(Env<'a>) -> Term<'a>) {
        self.landed = true;
        let waiting = self.flights.lock().remove(&self.key).unwrap_or_default();
        for to in waiting {
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
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                let error = NativeError::from(&error);
                return self.land(|env| failure(env, &error));
            }
        };
        match Response::parse(&answer.frame).map(|response| response.message) {
            Ok(Message::Result(ResultBody::Prepared(prepared))) => {
                if let Some(cluster) = self.cluster.upgrade() {
                    cluster.prepared().insert(&self.key.0, prepared.clone());
                }
                self.land(|env| success(env, &prepared));
            }
            Ok(Message::Error(error)) => {
                let error = crate::errors::server_error(&error);
                self.land(|env| failure(env, &error));
            }
            Ok(_) => {
                let error = NativeError::new(atoms::decode_failed());
                let error = error.with("detail", "neither PREPARED nor ERROR");
                self.land(|env| failure(env, &error));
            }
            Err(error) => {
                let error = results::undecodable(&error);
                self.land(|env| failure(env, &error));
            }
        }
    }
}

fn success<'a>(env: Env<'a>, prepared: &Prepared) -> Term<'a> {
    (atoms::ok(), results::prepared(env, prepared)).encode(env)
}

impl Drop for Flight {
    fn drop(&mut self) {
        // On a scheduler it was refused by every connection, and `prepare` has the lock and the
        // word. Elsewhere it was lost, in a panic: those who wait are told by their own drop.
        if !self.landed && !is_scheduler_thread() {
            let waiting = self.flights.lock().remove(&self.key);
            drop(waiting);
        }
    }
}
