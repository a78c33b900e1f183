//! The steps of mechanisms in which the server, too, has to prove that it knows the password. Its
//! proof comes with AUTH_SUCCESS or, from other servers, in one more challenge before.

use zeroize::Zeroizing;

use super::{Exchange, SaslError, Token};

/// What the server's proof must be.
pub(super) type Proof = Zeroizing<Vec<u8>>;

/// What differs from mechanism to mechanism.
pub(super) trait Mutual: Send {
    /// The first message, nothing if the server begins.
    fn first(&mut self) -> Result<Token, SaslError>;

    /// The answer to the challenge, and what the server then has to prove its knowledge with.
    fn answer(&mut self, challenge: &[u8]) -> Result<(Token, Proof), SaslError>;

    /// Whether the server's last message has the proof.
    fn verify(&self, proof: &Proof, last: &[u8]) -> Result<(), SaslError>;

    fn takes_long(&self, _challenge: &[u8]) -> bool {
        false
    }
}

pub(super) struct Mutually<M> {
    mechanism: M,
    state: State,
}

enum State {
    /// Not answered yet.
    Begun,
    /// Answered: now it is the server's turn to prove something.
    Answered(Proof),
    /// It has.
    Proven(Proof),
    /// Something was wrong.
    Failed,
}

impl<M> Mutually<M> {
    pub(super) fn new(mechanism: M) -> Self {
        let state = State::Begun;
        Self { mechanism, state }
    }
}

impl<M: Mutual> Exchange for Mutually<M> {
    fn initial(&mut self) -> Result<Token, SaslError> {
        self.mechanism.first()
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Token, SaslError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Begun => {
                let (token, proof) = self.mechanism.answer(challenge)?;
                self.state = State::Answered(proof);
                Ok(token)
            }
            State::Answered(proof) => {
                self.mechanism.verify(&proof, challenge)?;
                self.state = State::Proven(proof);
                Ok(Token::default())
            }
            State::Proven(_) | State::Failed => Err(SaslError::Rounds),
        }
    }

    fn finish(&mut self, last: Option<&[u8]>) -> Result<(), SaslError> {
        let last = last.unwrap_or_default();
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Proven(_) if last.is_empty() => Ok(()),
            State::Answered(_) if last.is_empty() => Err(SaslError::NotAuthentic(
                "success without the proof that the server knows the password",
            )),
            State::Answered(proof) | State::Proven(proof) => self.mechanism.verify(&proof, last),
            State::Begun | State::Failed => Err(SaslError::NotAuthentic(
                "success before the server has seen a proof, or given one",
            )),
        }
    }

    fn takes_long(&self, challenge: &[u8]) -> bool {
        matches!(self.state, State::Begun) && self.mechanism.takes_long(challenge)
    }
}
