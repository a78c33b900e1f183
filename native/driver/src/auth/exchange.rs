//! The tokens of one login, whoever makes them.

use std::sync::Arc;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::callbacks::{Answered, Conversation, Peer, Question};
use super::sasl::{self, Mechanism, SaslError};
use super::{sigv4, Auth, Credentials};
use crate::error::LoginProblem;
use crate::{Failure, RefusedLogin};

/// One at a time: the threads for it are those that names are looked up on.
static COMPUTING: Semaphore = Semaphore::const_new(1);

/// What goes into an AUTH_RESPONSE; nothing is a null.
pub(crate) type Token = Option<Zeroizing<Vec<u8>>>;

/// One login's exchange of tokens.
pub(crate) struct Exchange(Kind);

enum Kind {
    /// By what the TLS handshake has shown.
    Certificate,
    Sasl(Sasl),
    SigV4 {
        auth: Arc<Auth>,
        signed: bool,
    },
    Custom {
        conversation: Conversation,
        peer: Option<Peer>,
    },
}

/// A mechanism, or those that are still to be offered.
struct Sasl {
    /// The next one to offer comes last.
    mechanisms: Vec<Mechanism>,
    /// Whether the server is to be told the name first.
    negotiate: bool,
    credentials: Credentials,
    host: Arc<str>,
    offered: Option<Mechanism>,
    running: Option<Box<dyn sasl::Exchange>>,
}

impl Exchange {
    pub(super) fn certificate() -> Self {
        Self(Kind::Certificate)
    }

    pub(super) fn custom(conversation: Conversation, peer: Peer) -> Self {
        Self(Kind::Custom {
            conversation,
            peer: Some(peer),
        })
    }

    pub(super) fn sigv4(auth: &Arc<Auth>) -> Self {
        Self(Kind::SigV4 {
            auth: Arc::clone(auth),
            signed: false,
        })
    }

    pub(super) fn sasl(
        mut mechanisms: Vec<Mechanism>,
        negotiate: bool,
        credentials: Credentials,
        host: &Arc<str>,
    ) -> Self {
        mechanisms.reverse();
        Self(Kind::Sasl(Sasl {
            negotiate,
            mechanisms,
            credentials,
            host: Arc::clone(host),
            offered: None,
            running: None,
        }))
    }

    /// How the login is done, for those who look at it.
    pub(crate) fn mechanism(&self) -> &'static str {
        match &self.0 {
            Kind::Certificate => Mechanism::External.name(),
            Kind::Sasl(sasl) => sasl.name(),
            Kind::SigV4 { .. } => "SigV4",
            Kind::Custom { .. } => "custom",
        }
    }

    /// The first token.
    pub(crate) async fn initial(&mut self) -> Result<Token, Failure> {
        match &mut self.0 {
            Kind::Certificate => Ok(Some(Zeroizing::default())),
            Kind::Sasl(sasl) => sasl.next().map(Some),
            Kind::SigV4 { .. } => Ok(Some(Zeroizing::new(sigv4::FIRST.to_vec()))),
            Kind::Custom { conversation, peer } => {
                let peer = peer
                    .take()
                    .ok_or(Failure::Unexpected("a login that has begun before"))?;
                token(conversation, Question::Begin(peer)).await
            }
        }
    }

    /// The answer to a challenge.
    pub(crate) async fn respond(&mut self, challenge: &[u8]) -> Result<Token, Failure> {
        match &mut self.0 {
            Kind::Certificate => Err(LoginProblem::Challenge {
                mechanism: Mechanism::External.name(),
                detail: "none is expected".to_owned(),
            }
            .into()),
            Kind::Sasl(sasl) => sasl.respond(challenge).await.map(Some),
            Kind::SigV4 { auth, signed } => {
                // A second one would only be there to collect signatures.
                if std::mem::replace(signed, true) {
                    return Err(sigv4::malformed("a second one").into());
                }
                let sigv4 = auth
                    .sigv4
                    .as_ref()
                    .ok_or(Failure::Unexpected("a login without a signature"))?;
                sigv4.respond(challenge).await.map(Some)
            }
            Kind::Custom { conversation, .. } => {
                token(conversation, Question::Challenge(challenge.to_vec())).await
            }
        }
    }

    /// The server has accepted the login, with its last token.
    pub(crate) async fn finish(&mut self, last: Option<&[u8]>) -> Result<(), Failure> {
        match &mut self.0 {
            // What a server says that needs no more is its own business.
            Kind::Certificate => Ok(()),
            Kind::SigV4 { signed: true, .. } => Ok(()),
            // Nothing of ours was in what it has accepted: it is one that checks nothing.
            Kind::SigV4 { signed: false, .. } => Err(LoginProblem::NotAuthentic {
                mechanism: "SigV4",
                detail: "it accepted a login without a signature".to_owned(),
            }
            .into()),
            Kind::Sasl(sasl) => sasl.finish(last),
            Kind::Custom { conversation, .. } => {
                let question = Question::Success(last.map(<[u8]>::to_vec));
                match conversation.ask(question).await {
                    Ok(Answered::Content) => Ok(()),
                    Ok(_) => Err(Failure::Unexpected("of an authenticator")),
                    Err(unanswered) => Err(unanswered.of_authenticator().into()),
                }
            }
        }
    }

    /// Another token to try on the same connection, if what the server has refused was no more than
    /// a mechanism's name.
    pub(crate) fn next_name(&mut self) -> Option<Result<Token, Failure>> {
        match &mut self.0 {
            Kind::Sasl(sasl) => sasl.next_name().map(|next| next.map(Some)),
            _ => None,
        }
    }

    /// The server has refused the login.
    pub(crate) fn refused(&self, message: String, class: Option<&str>) -> Failure {
        let refused = RefusedLogin {
            message,
            class: class.map(str::to_owned),
            mechanism: Some(self.mechanism()),
        };
        match &self.0 {
            // For other reasons than a password.
            Kind::SigV4 { .. } => Failure::SignatureRefused(refused),
            _ => Failure::BadCredentials(refused),
        }
    }
}

async fn token(conversation: &Conversation, question: Question) -> Result<Token, Failure> {
    match conversation.ask(question).await {
        Ok(Answered::Token(token)) => {
            Ok(token.map(|token| Zeroizing::new(token.expose().to_vec())))
        }
        Ok(_) => Err(Failure::Unexpected("of an authenticator")),
        Err(unanswered) => Err(unanswered.of_authenticator().into()),
    }
}

impl Sasl {
    fn name(&self) -> &'static str {
        self.offered.map_or("SASL", Mechanism::name)
    }

    /// The next mechanism's name, or what it begins with.
    fn next(&mut self) -> Result<sasl::Token, Failure> {
        let mechanism = self
            .mechanisms
            .pop()
            .ok_or_else(|| LoginProblem::Mechanism("none is left".to_owned()))?;
        self.offered = Some(mechanism);
        if self.negotiate {
            Ok(Zeroizing::new(mechanism.name().as_bytes().to_vec()))
        } else {
            self.start(mechanism)
        }
    }

    fn start(&mut self, mechanism: Mechanism) -> Result<sasl::Token, Failure> {
        let credentials = self.credentials.clone();
        let mut exchange = sasl::exchange(mechanism, credentials, &self.host, sasl::random_nonce);
        let first = exchange.initial();
        self.running = Some(exchange);
        first.map_err(|error| failure(mechanism, error))
    }

    async fn respond(&mut self, challenge: &[u8]) -> Result<sasl::Token, Failure> {
        let Some(mechanism) = self.offered else {
            return Err(Failure::Unexpected("a challenge before the first answer"));
        };
        let Some(mut exchange) = self.running.take() else {
            return self.agreed(mechanism, challenge);
        };
        let answer = if exchange.takes_long(challenge) {
            let challenge = challenge.to_vec();
            // Never closed.
            let turn = COMPUTING.acquire().await.ok();
            let computed = tokio::task::spawn_blocking(move || {
                let answer = exchange.respond(&challenge);
                // Not before, though nobody may wait any more.
                drop(turn);
                (exchange, answer)
            });
            let (back, answer) = computed.await.map_err(|_| Failure::Panic)?;
            self.running = Some(back);
            answer
        } else {
            let answer = exchange.respond(challenge);
            self.running = Some(exchange);
            answer
        };
        answer.map_err(|error| failure(mechanism, error))
    }

    /// The answer to a mechanism's name.
    fn agreed(&mut self, mechanism: Mechanism, challenge: &[u8]) -> Result<sasl::Token, Failure> {
        if challenge.strip_suffix(b"-START") == Some(mechanism.name().as_bytes()) {
            return self.start(mechanism);
        }
        Err(LoginProblem::Challenge {
            mechanism: mechanism.name(),
            detail: "the server didn't agree to the mechanism in the form NAME-START".to_owned(),
        }
        .into())
    }

    fn finish(&mut self, last: Option<&[u8]>) -> Result<(), Failure> {
        match (&mut self.running, self.offered) {
            (Some(exchange), Some(mechanism)) => exchange
                .finish(last)
                .map_err(|error| failure(mechanism, error)),
            _ => Err(LoginProblem::NotAuthentic {
                mechanism: self.name(),
                detail: "it accepted a mechanism's name as a login".to_owned(),
            }
            .into()),
        }
    }

    fn next_name(&mut self) -> Option<Result<sasl::Token, Failure>> {
        if self.running.is_some() || self.offered.is_none() {
            return None;
        }
        if self.mechanisms.is_empty() {
            let detail = "the server has refused the name of each".to_owned();
            return Some(Err(LoginProblem::Mechanism(detail).into()));
        }
        Some(self.next())
    }
}

fn failure(mechanism: Mechanism, error: SaslError) -> Failure {
    let name = mechanism.name();
    let detail = error.to_string();
    match error {
        SaslError::Malformed(_) | SaslError::Rounds => LoginProblem::Challenge {
            mechanism: name,
            detail,
        },
        SaslError::NotAuthentic(_) => LoginProblem::NotAuthentic {
            mechanism: name,
            detail,
        },
        SaslError::Unfit(_) => LoginProblem::Unfit {
            mechanism: name,
            detail,
        },
        SaslError::BadCredentials(_) => {
            return Failure::BadCredentials(RefusedLogin {
                message: detail,
                class: None,
                mechanism: Some(name),
            })
        }
        SaslError::Refused(_) => LoginProblem::Mechanism(detail),
        SaslError::Cryptography => return Failure::Unexpected("of the cryptographic library"),
    }
    .into()
}
