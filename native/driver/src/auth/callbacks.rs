//! What only the user's own code can answer during a login, and the way to ask it.
//!
//! A conversation belongs to one login, or to one fetch of credentials. It ends when it is dropped,
//! whatever has become of it, so that nobody goes on working for a connection that is gone.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::sigv4::AwsCredentials;
use super::Credentials;
use crate::Secret;

/// Whoever answers. Called on runtime threads; must not block.
pub trait Callbacks: fmt::Debug + Send + Sync + 'static {
    /// Takes a question of a conversation. Dropping the sender is an answer, too: that there is
    /// none.
    fn ask(&self, conversation: u64, question: Question, answer: oneshot::Sender<CallbackAnswer>);

    /// A conversation is over.
    fn end(&self, conversation: u64);
}

/// What came back, or why there is nothing: a text without secrets.
pub type CallbackAnswer = Result<Answered, String>;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Begins a conversation: a name and a password for this peer.
    Credentials(Peer),
    /// Begins a conversation: credentials of Amazon Web Services.
    AwsCredentials,
    /// Begins a conversation with an authenticator: its first token.
    Begin(Peer),
    /// The authenticator's answer to this.
    Challenge(Vec<u8>),
    /// The login is done, with this last token: whether the authenticator is content.
    Success(Option<Vec<u8>>),
}

impl Question {
    /// Whether a conversation begins with it.
    pub fn begins(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::AwsCredentials | Self::Begin(_) => true,
            Self::Challenge(_) | Self::Success(_) => false,
        }
    }
}

/// Who is to be logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// As it is dialled.
    pub host: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// The authenticator's class.
    pub class: String,
}

/// An answer, each to one kind of question.
#[derive(Debug)]
pub enum Answered {
    /// A name and a password.
    Credentials(Credentials),
    /// Credentials of Amazon Web Services.
    AwsCredentials(AwsCredentials),
    /// What to send, which may be nothing.
    Token(Option<Secret>),
    /// The authenticator is content.
    Content,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// What was answered in its place, or that nobody did.
    Failed(String),
    TimedOut(Duration),
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// One conversation; its first question begins it.
pub(crate) struct Conversation {
    callbacks: Arc<dyn Callbacks>,
    id: u64,
    limit: Duration,
}

impl Conversation {
    /// Each answer may take as long as `limit`.
    pub(crate) fn new(callbacks: &Arc<dyn Callbacks>, limit: Duration) -> Self {
        Self {
            callbacks: Arc::clone(callbacks),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            limit,
        }
    }

    pub(crate) async fn ask(&self, question: Question) -> Result<Answered, Unanswered> {
        let (sender, answer) = oneshot::channel();
        self.callbacks.ask(self.id, question, sender);
        match timeout(self.limit, answer).await {
            Ok(Ok(answer)) => answer.map_err(Unanswered::Failed),
            Ok(Err(_dropped)) => Err(Unanswered::Failed("nobody answered".to_owned())),
            Err(_) => Err(Unanswered::TimedOut(self.limit)),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.callbacks.end(self.id);
    }
}

/// Answers nothing: for a login that needs no code of the user's.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCallbacks;

impl Callbacks for NoCallbacks {
    fn ask(&self, _: u64, _: Question, _: oneshot::Sender<CallbackAnswer>) {}

    fn end(&self, _: u64) {}
}

/// Milliseconds since 1970 as a time; nothing for what no clock will show.
pub fn time_of_millis(millis: i64) -> Option<SystemTime> {
    let since = Duration::from_millis(millis.unsigned_abs());
    match millis {
        0.. => SystemTime::UNIX_EPOCH.checked_add(since),
        _ => SystemTime::UNIX_EPOCH.checked_sub(since),
    }
}
