//! Replies to callers: each exactly one message `{ref, reply}`, or none after it was cancelled.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use palladion_driver::{Answer, Cluster, Reply, RequestError, RequestState, Statement, Waiter};
use rustler::env::SavedTerm;
use rustler::thread::is_scheduler_thread;
use rustler::{Encoder, Env, LocalPid, OwnedEnv, Term};

use crate::atoms;
use crate::errors::NativeError;
use crate::results::{self, Notice, RowFormat};
use crate::runtime::Access;

/// Answers smaller than this are decoded where they were read.
const DECODE_IN_PLACE: usize = 16 * 1024;

/// Who waits for an answer. Dropped without one, it says so to the caller.
pub(crate) struct ReplyTo {
    caller: Option<Caller>,
    state: Arc<RequestState>,
}

/// The caller's reference lives in the environment that becomes the message.
struct Caller {
    pid: LocalPid,
    env: OwnedEnv,
    reference: SavedTerm,
}

impl ReplyTo {
    pub(crate) fn new(pid: LocalPid, reference: Term<'_>, state: Arc<RequestState>) -> Self {
        let env = OwnedEnv::new();
        let reference = env.save(reference);
        Self {
            caller: Some(Caller {
                pid,
                env,
                reference,
            }),
            state,
        }
    }

    /// Ends without a message: the caller learns of it as a function's result.
    pub(crate) fn forget(self) {
        self.state.cancel();
    }

    /// As [`ReplyTo::forget`], and hands on the reason.
    pub(crate) fn refuse(self, error: NativeError) -> NativeError {
        self.forget();
        error
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state.is_cancelled()
    }

    /// Sends `{ref, reply}`, unless the caller has given up.
    pub(crate) fn send(mut self, build: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
        if let Some(caller) = self.caller.take() {
            deliver(caller, &self.state, build);
        }
    }
}

/// Builds the terms first: between the claim, after which the message is certain, and the sending
/// nothing can fail.
fn deliver(
    mut caller: Caller,
    state: &RequestState,
    build: impl for<'a> FnOnce(Env<'a>) -> Term<'a>,
) {
    let message = caller.env.run(|env| {
        let reply = build(env);
        let message = (caller.reference.load(env), reply).encode(env);
        caller.env.save(message)
    });
    if state.claim() {
        let _ = caller
            .env
            .send_and_clear(&caller.pid, |env| message.load(env));
    }
}

pub(crate) fn failure<'a>(env: Env<'a>, error: &NativeError) -> Term<'a> {
    (atoms::error(), error).encode(env)
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        let Some(caller) = self.caller.take() else {
            return;
        };
        let state = Arc::clone(&self.state);
        if state.is_cancelled() {
            // The claim, which must fail, settles the count of late answers.
            state.claim();
            return;
        }
        off_scheduler(move || {
            deliver(caller, &state, |env| {
                failure(env, &NativeError::new(atoms::internal()))
            });
        });
    }
}

/// Schedulers can't send through an environment of ours, other threads can. Nothing on a request's
/// way comes here on a scheduler, so a thread for the rare rest is cheap enough.
fn off_scheduler(send: impl FnOnce() + Send + 'static) {
    if is_scheduler_thread() {
        // Without a thread there is no way to say it; the caller's own timeout is left.
        let _ = std::thread::Builder::new().spawn(send);
    } else {
        send();
    }
}

/// The prepared statements that a request was made of.
pub(crate) enum Statements {
    None,
    One(Arc<Statement>),
    /// A batch's: the id of each that is prepared.
    Many(Box<[Option<Bytes>]>),
}

/// The reply to a request.
pub(crate) struct QueryReply {
    pub(crate) to: ReplyTo,
    pub(crate) format: RowFormat,
    pub(crate) statements: Statements,
    pub(crate) access: Access,
    /// Whose statements a change of the schema makes stale.
    pub(crate) cluster: Weak<Cluster>,
}

impl Reply for QueryReply {
    fn state(&self) -> &RequestState {
        &self.to.state
    }

    fn complete(self: Box<Self>, outcome: Result<Answer, RequestError>) {
        match outcome {
            Ok(answer) if is_short(&answer) => self.decode(&answer),
            Ok(answer) => {
                let access = self.access.clone();
                access.decode(Box::new(move || self.decode(&answer)));
            }
            Err(error) => self.fail(&error),
        }
    }
}

/// Whether it is decoded where it was read.
pub(crate) fn is_short(answer: &Answer) -> bool {
    // What claims a length that it can't have is an error, which is short.
    answer.frame.content_len().unwrap_or_default() < DECODE_IN_PLACE
}

impl QueryReply {
    fn decode(self, answer: &Answer) {
        let Self {
            to,
            format,
            statements,
            cluster,
            ..
        } = self;
        // Before the caller knows of it, and could use what has become stale.
        let noticed = |notice: Notice<'_>| {
            let Some(cluster) = cluster.upgrade() else {
                return;
            };
            match (notice, &statements) {
                (Notice::Schema(change), _) => cluster.prepared().evict(change),
                (Notice::Columns { columns, id }, Statements::One(statement)) => {
                    cluster.prepared().renew(statement, columns, id);
                }
                (Notice::Columns { .. }, _) => {}
            }
        };
        to.send(|env| results::answer(env, answer, format, &statements, noticed));
    }

    fn fail(self, error: &RequestError) {
        self.to.send(|env| failure(env, &NativeError::from(error)));
    }
}

/// The reply to one who waits for a connection, or for a reconnection's end.
pub(crate) struct ReadyReply(pub(crate) ReplyTo);

impl Waiter for ReadyReply {
    fn is_cancelled(&self) -> bool {
        self.0.state.is_cancelled()
    }

    fn ready(self: Box<Self>, outcome: Result<(), RequestError>) {
        off_scheduler(move || {
            self.0.send(|env| match &outcome {
                Ok(()) => atoms::ok().to_term(env),
                Err(error) => failure(env, &NativeError::from(error)),
            });
        });
    }
}
