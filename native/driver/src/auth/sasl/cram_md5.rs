//! CRAM-MD5 (RFC 2195): the server begins, and the answer proves that we know the password. The
//! server proves nothing.

use zeroize::Zeroizing;

use super::md5::{hex, hmac_md5};
use super::{Credentials, Exchange, SaslError, Token};

pub(super) struct CramMd5 {
    identity: Credentials,
    is_answered: bool,
}

impl CramMd5 {
    pub(super) fn new(identity: Credentials) -> Self {
        Self {
            identity,
            is_answered: false,
        }
    }
}

impl Exchange for CramMd5 {
    fn initial(&mut self) -> Result<Token, SaslError> {
        let (username, password) = (&self.identity.username, self.identity.password.expose());
        if self.identity.authorization_id().is_some() {
            return Err(SaslError::Unfit("CRAM-MD5 has no authorization id"));
        }
        if username.is_empty() || username.contains('\0') {
            return Err(SaslError::Unfit("the name is empty or has a zero byte"));
        }
        // HMAC fills keys up with zeros, so one at the end would be no difference.
        if password.contains(&0) {
            return Err(SaslError::Unfit("the password has a zero byte"));
        }
        Ok(Token::default())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Token, SaslError> {
        if self.is_answered {
            return Err(SaslError::Rounds);
        }
        self.is_answered = true;
        if challenge.is_empty() {
            return Err(SaslError::Malformed("the challenge is empty"));
        }
        let proof = hex(&hmac_md5(self.identity.password.expose(), challenge));
        let username = self.identity.username.as_bytes();
        let mut token = Zeroizing::new(Vec::with_capacity(username.len() + 1 + proof.len()));
        token.extend_from_slice(username);
        token.push(b' ');
        token.extend_from_slice(&*proof);
        Ok(token)
    }

    fn finish(&mut self, _last: Option<&[u8]>) -> Result<(), SaslError> {
        if self.is_answered {
            Ok(())
        } else {
            Err(SaslError::Malformed("success without a challenge"))
        }
    }
}
