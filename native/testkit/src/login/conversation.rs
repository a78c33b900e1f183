//! One login from the first AUTH_RESPONSE on, whatever its method.

use std::time::Duration;

use super::digest_md5::{CramMd5, DigestMd5};
pub(crate) use super::plain::NO_CERTIFICATE;
use super::plain::{Anonymous, Certificate, External, Plain};
use super::scram::Scram;
use super::sigv4::SigV4Exchange;
use super::{LastMessage, LastMessageIn, Login, Mechanism, Method};
use crate::hash::Hash;

/// What a mechanism says to one token of the client.
pub(crate) enum Step {
    Challenge(Vec<u8>),
    /// Who has logged in, and the mechanism's last message.
    Done(String, Option<Vec<u8>>),
    Refused(String),
}

/// What the client has told about itself, whether it is let in or not.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) authorization_id: Option<String>,
    pub(crate) access_key_id: Option<String>,
    pub(crate) session_token: Option<String>,
}

/// A mechanism in the middle of a login. Null and an empty token are the same to it.
pub(crate) trait Exchange: std::fmt::Debug + Send {
    fn answer(&mut self, token: &[u8], told: &mut Told) -> Step;
}

/// What to answer an AUTH_RESPONSE with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Challenge(Option<Vec<u8>>),
    Success(String, Option<Vec<u8>>),
    /// The client may try once more, from the beginning.
    Refused(String),
    /// The client may name another mechanism.
    NoSuchMechanism(String),
    Hang,
    Close,
}

/// A login under way.
#[derive(Debug)]
pub(crate) struct Conversation {
    login: Login,
    /// Whether the client has shown a certificate.
    shown: bool,
    stage: Stage,
    answered: u32,
    challenges: u32,
    last_challenge: Vec<u8>,
    /// The mechanism's name, once there is one.
    pub(crate) mechanism: Option<&'static str>,
    pub(crate) told: Told,
}

#[derive(Debug)]
enum Stage {
    /// The client is to name a mechanism.
    Choosing,
    Talking(Box<dyn Exchange>),
    /// The last message was a challenge; an empty token confirms it.
    Confirming(String),
    Endless,
}

impl Conversation {
    pub(crate) fn new(login: Login, shown: bool) -> Self {
        let mut conversation = Self {
            login,
            shown,
            stage: Stage::Choosing,
            answered: 0,
            challenges: 0,
            last_challenge: Vec::new(),
            mechanism: None,
            told: Told::default(),
        };
        conversation.begin();
        conversation
    }

    /// How long an answer waits.
    pub(crate) fn delay(&self) -> Duration {
        self.login.faults.delay
    }

    /// What is answered, and who has logged in.
    pub(crate) fn answer(&mut self, token: Option<&[u8]>) -> Answer {
        let faults = &self.login.faults;
        if faults.hang_after.is_some_and(|n| self.answered >= n) {
            return Answer::Hang;
        }
        if faults.close_after.is_some_and(|n| self.answered >= n) {
            return Answer::Close;
        }
        self.answered += 1;
        let token = token.unwrap_or_default();
        let step = match &mut self.stage {
            Stage::Choosing => return self.choose(token),
            Stage::Endless => return Answer::Challenge(Some(self.last_challenge.clone())),
            Stage::Confirming(_) if !token.is_empty() => {
                let message = "the last message is to be answered with an empty token";
                Step::Refused(message.to_owned())
            }
            Stage::Confirming(user) => return Answer::Success(std::mem::take(user), None),
            Stage::Talking(exchange) => exchange.answer(token, &mut self.told),
        };
        match step {
            Step::Challenge(challenge) => self.challenge(challenge),
            Step::Done(..) if self.login.faults.endless => {
                self.stage = Stage::Endless;
                Answer::Challenge(Some(self.last_challenge.clone()))
            }
            Step::Done(user, last) => self.end(user, last),
            Step::Refused(message) => {
                self.begin();
                Answer::Refused(message)
            }
        }
    }

    fn begin(&mut self) {
        let login = &self.login;
        self.stage = match &login.method {
            Method::Negotiated(_) => Stage::Choosing,
            Method::Mechanism(mechanism) => self.talk(*mechanism),
            Method::SigV4(options) => {
                self.mechanism = Some("SigV4");
                Stage::Talking(Box::new(SigV4Exchange::new(options.clone())))
            }
            Method::Certificate(options) => {
                let certificate = Certificate::new(options.clone(), Plain::new(login), self.shown);
                Stage::Talking(Box::new(certificate))
            }
            Method::Script(challenges, last) => Stage::Talking(Box::new(Script {
                user: login.user.clone(),
                challenges: challenges.clone().into_iter(),
                last: last.clone(),
            })),
        };
    }

    fn choose(&mut self, name: &[u8]) -> Answer {
        let known: &[Mechanism] = match &self.login.method {
            Method::Negotiated(known) => known,
            _ => &[],
        };
        let mut known = known.iter().copied();
        match known.find(|known| known.name().as_bytes() == name) {
            Some(mechanism) => {
                self.stage = self.talk(mechanism);
                Answer::Challenge(Some(format!("{}-START", mechanism.name()).into_bytes()))
            }
            None => {
                let name = name.escape_ascii();
                Answer::NoSuchMechanism(format!("Unsupported SASL mechanism: {name}"))
            }
        }
    }

    fn talk(&mut self, mechanism: Mechanism) -> Stage {
        let login = &self.login;
        self.mechanism = Some(mechanism.name());
        Stage::Talking(match mechanism {
            Mechanism::Plain => Box::new(Plain::new(login)),
            Mechanism::External => Box::new(External::new(login, self.shown)),
            Mechanism::Anonymous => Box::new(Anonymous),
            Mechanism::CramMd5 => Box::new(CramMd5::new(login)),
            Mechanism::DigestMd5 => Box::new(DigestMd5::new(login)),
            Mechanism::ScramSha1 => Box::new(Scram::new(Hash::Sha1, login)),
            Mechanism::ScramSha256 => Box::new(Scram::new(Hash::Sha256, login)),
        })
    }

    fn challenge(&mut self, challenge: Vec<u8>) -> Answer {
        self.challenges += 1;
        let challenge = match &self.login.faults.challenge {
            Some((n, bytes)) if *n == self.challenges => bytes.clone(),
            _ => Some(challenge),
        };
        self.last_challenge = challenge.clone().unwrap_or_default();
        Answer::Challenge(challenge)
    }

    fn end(&mut self, user: String, last: Option<Vec<u8>>) -> Answer {
        let last = match &self.login.faults.last_message {
            LastMessage::Right => last,
            LastMessage::Wrong => last.map(falsified),
            LastMessage::Missing => None,
            LastMessage::Bytes(bytes) => Some(bytes.clone()),
        };
        match last {
            Some(last) if self.login.last_message_in == LastMessageIn::Challenge => {
                self.stage = Stage::Confirming(user);
                self.challenge(last)
            }
            last => Answer::Success(user, last),
        }
    }
}

/// `v=…` and `rspauth=…` with another first digit, which both hexadecimal numbers and base64 may have.
fn falsified(mut message: Vec<u8>) -> Vec<u8> {
    let at = message.iter().position(|byte| *byte == b'=');
    if let Some(digit) = at.and_then(|at| message.get_mut(at + 1)) {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    message
}

/// Challenges that don't depend on what the client says.
#[derive(Debug)]
struct Script {
    user: String,
    challenges: std::vec::IntoIter<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Exchange for Script {
    fn answer(&mut self, _token: &[u8], _told: &mut Told) -> Step {
        match self.challenges.next() {
            Some(challenge) => Step::Challenge(challenge),
            None => Step::Done(self.user.clone(), self.last.take()),
        }
    }
}

/// Whether a role may act as another one: `None` where it doesn't want to.
pub(crate) fn may_act(login: &Login, authorization_id: Option<&str>) -> Result<(), String> {
    match authorization_id {
        None => Ok(()),
        Some(id) if id == login.user || login.may_act_as.iter().any(|known| known == id) => Ok(()),
        Some(id) => Err(format!("{} is not permitted to act as {id}", login.user)),
    }
}

/// What a real server says to a name or a password that is wrong.
pub(crate) fn incorrect(user: &str) -> Step {
    Step::Refused(format!(
        "Provided username {user} and/or password are incorrect"
    ))
}
