//! What logins ask of the user's code: questions on their way to a process, and its answers.
//!
//! Answers come as arguments of a function, from whichever process has them, so that no secret is
//! ever in a message.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palladion_driver::auth::callbacks::time_of_millis;
use palladion_driver::auth::sigv4::AwsCredentials;
use palladion_driver::auth::{Answered, CallbackAnswer, Callbacks, Credentials, Peer, Question};
use palladion_driver::Secret;
use rustler::types::map::map_new;
use rustler::{
    Atom, Binary, Encoder, Env, LocalPid, NewBinary, OwnedEnv, Resource, ResourceArc, Term,
};
use tokio::sync::oneshot;

use crate::atoms;
use crate::errors::{put, reply, NativeError};

/// Questions that may wait for a process to take them; a cluster has fewer logins under way.
const WAITING: usize = 1_024;
const CRASHED: &str = "the process that answers has crashed";

/// The questions of one cluster.
#[derive(Default)]
pub(crate) struct CallbackResource(pub(crate) Arc<Questions>);

#[rustler::resource_impl]
impl Resource for CallbackResource {}

#[derive(Default)]
pub(crate) struct Questions {
    state: Mutex<State>,
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Questions")
    }
}

#[derive(Default)]
struct State {
    /// The process that is asked.
    owner: Option<LocalPid>,
    /// Conversations that it knows of.
    open: HashMap<u64, Option<oneshot::Sender<CallbackAnswer>>>,
    /// Questions that nobody has been told yet: each the first of its conversation.
    waiting: VecDeque<(u64, Question, oneshot::Sender<CallbackAnswer>)>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a process the owner, and sends it the questions that wait for one, in the way that this
    /// thread can send.
    fn adopt(&self, owner: LocalPid, send: impl Fn(u64, &Question)) {
        let mut state = self.lock();
        let state = &mut *state;
        state.owner = Some(owner);
        // The process before has taken what it knew with it.
        for (_, answer) in state.open.drain() {
            fail(answer, CRASHED);
        }
        // Before anybody else can send what follows them.
        for (id, question, answer) in state.waiting.drain(..) {
            state.open.insert(id, Some(answer));
            send(id, &question);
        }
    }

    fn answer(&self, id: u64, answer: CallbackAnswer) {
        let sender = self.lock().open.get_mut(&id).and_then(Option::take);
        if let Some(sender) = sender {
            // Nobody waits any more, else.
            let _ = sender.send(answer);
        }
    }
}

impl State {
    fn deliver(&mut self, id: u64, question: Question, answer: oneshot::Sender<CallbackAnswer>) {
        if !question.begins() && !self.open.contains_key(&id) {
            return fail(Some(answer), CRASHED);
        }
        let sent = self.owner.is_some_and(|owner| {
            let message = |env| message(env, id, &question);
            OwnedEnv::new().send_and_clear(&owner, message).is_ok()
        });
        if sent {
            self.open.insert(id, Some(answer));
        } else if !question.begins() {
            self.open.remove(&id);
            fail(Some(answer), CRASHED);
        } else if self.waiting.len() < WAITING {
            // Until there is a process, or the next one.
            self.owner = None;
            self.waiting.push_back((id, question, answer));
        }
    }
}

fn fail(answer: Option<oneshot::Sender<CallbackAnswer>>, text: &str) {
    if let Some(answer) = answer {
        let _ = answer.send(Err(text.to_owned()));
    }
}

/// Called on runtime threads only.
impl Callbacks for Questions {
    fn ask(&self, id: u64, question: Question, answer: oneshot::Sender<CallbackAnswer>) {
        self.lock().deliver(id, question, answer);
    }

    fn end(&self, id: u64) {
        let mut state = self.lock();
        state.waiting.retain(|(waiting, _, _)| *waiting != id);
        let owner = state.owner.filter(|_| state.open.remove(&id).is_some());
        drop(state);
        if let Some(owner) = owner {
            let message = |_| (atoms::palladion_auth(), id, atoms::end());
            let _ = OwnedEnv::new().send_and_clear(&owner, message);
        }
    }
}

fn message<'a>(env: Env<'a>, id: u64, question: &Question) -> Term<'a> {
    (atoms::palladion_auth(), id, term(env, question)).encode(env)
}

fn term<'a>(env: Env<'a>, question: &Question) -> Term<'a> {
    let begin = |kind: Atom, peer: Option<&Peer>| {
        let peer = peer.map(|peer| {
            let map = put(map_new(env), "host", &*peer.host);
            let map = put(map, "port", peer.address.port());
            let map = put(map, "address", peer.address.ip().to_string());
            put(map, "class", peer.class.as_str())
        });
        (atoms::begin(), kind, peer).encode(env)
    };
    match question {
        Question::Credentials(peer) => begin(atoms::credentials(), Some(peer)),
        Question::AwsCredentials => begin(atoms::aws_credentials(), None),
        Question::Begin(peer) => begin(atoms::authenticator(), Some(peer)),
        Question::Challenge(token) => (atoms::challenge(), binary(env, token)).encode(env),
        Question::Success(token) => {
            let token = token.as_deref().map(|token| binary(env, token));
            (atoms::success(), token).encode(env)
        }
    }
}

fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}

/// A place for the questions of a cluster.
#[rustler::nif]
fn callbacks_new<'a>(env: Env<'a>) -> Term<'a> {
    reply(env, Ok(ResourceArc::new(CallbackResource::default())))
}

/// Makes the calling process the one that is asked.
#[rustler::nif]
fn callbacks_adopt<'a>(env: Env<'a>, callbacks: Term<'a>) -> Term<'a> {
    let adopted = of(callbacks).map(|callbacks| {
        let owner = env.pid();
        callbacks.0.adopt(owner, |id, question| {
            // It is alive: it is the one that calls.
            let _ = env.send(&owner, message(env, id, question));
        });
        atoms::ok()
    });
    reply(env, adopted)
}

/// The answer to a conversation's last question; without effect where nobody waits any more.
#[rustler::nif]
fn callbacks_answer<'a>(
    env: Env<'a>,
    callbacks: Term<'a>,
    id: Term<'a>,
    answer: Term<'a>,
) -> Term<'a> {
    let answered = of(callbacks).and_then(|callbacks| {
        let id = id.decode().map_err(|_| NativeError::bad_argument("id"))?;
        let read = read(answer);
        let is_read = read.is_some();
        let unread = || Err("it is of none of the kinds that there are".to_owned());
        callbacks.0.answer(id, read.unwrap_or_else(unread));
        match is_read {
            true => Ok(atoms::ok()),
            false => Err(NativeError::bad_argument("answer")),
        }
    });
    reply(env, answered)
}

fn of(term: Term<'_>) -> Result<ResourceArc<CallbackResource>, NativeError> {
    term.decode()
        .map_err(|_| NativeError::bad_argument("callbacks"))
}

fn read(answer: Term<'_>) -> Option<CallbackAnswer> {
    if let Ok(atom) = answer.decode::<Atom>() {
        return (atom == atoms::ok()).then_some(Ok(Answered::Content));
    }
    let (kind, value): (Atom, Term<'_>) = answer.decode().ok()?;
    if kind == atoms::error() {
        Some(Err(value.decode().ok()?))
    } else if kind == atoms::token() {
        let token: Option<Binary<'_>> = value.decode().ok()?;
        let token = token.map(|token| Secret::new(&token));
        Some(Ok(Answered::Token(token)))
    } else if kind == atoms::credentials() {
        Some(Ok(Answered::Credentials(Credentials {
            username: field(value, atoms::username())?,
            password: secret(value, atoms::password())?,
            authorization_id: field(value, atoms::authorization_id())?,
        })))
    } else if kind == atoms::aws_credentials() {
        let token: Option<Binary<'_>> = field(value, atoms::session_token())?;
        let expires_at: Option<i64> = field(value, atoms::expires_at())?;
        Some(Ok(Answered::AwsCredentials(AwsCredentials {
            access_key_id: field(value, atoms::access_key_id())?,
            secret_access_key: secret(value, atoms::secret_access_key())?,
            session_token: token.map(|token| Secret::new(&token)),
            expires_at: expires_at.and_then(time_of_millis),
        })))
    } else {
        None
    }
}

fn field<'a, T: rustler::Decoder<'a>>(map: Term<'a>, name: Atom) -> Option<T> {
    map.map_get(name).ok()?.decode().ok()
}

fn secret(map: Term<'_>, name: Atom) -> Option<Secret> {
    let bytes: Binary<'_> = field(map, name)?;
    Some(Secret::new(&bytes))
}
