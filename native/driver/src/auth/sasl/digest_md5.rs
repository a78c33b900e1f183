//! DIGEST-MD5 (RFC 2831) for the first login with a server, without integrity or confidentiality
//! layers: that is TLS's business.

mod directives;
#[cfg(test)]
mod tests;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::md5::{hex, md5};
use super::mutual::{Mutual, Mutually, Proof};
use super::{Credentials, NonceSource, SaslError, Token};
use directives::Directives;

/// RFC 2831 allows no answer of this length.
const MAX_ANSWER: usize = 4_096;

/// Ours is always the first answer to a challenge.
const NONCE_COUNT: &str = "00000001";

/// These must not be repeated, whether we need them or not.
const ONLY_ONCE: [&str; 7] = [
    "nonce",
    "qop",
    "stale",
    "maxbuf",
    "charset",
    "algorithm",
    "cipher",
];

pub(super) struct DigestMd5 {
    identity: Credentials,
    /// The service that we log in to.
    uri: String,
    nonce: NonceSource,
}

pub(super) fn exchange(
    identity: Credentials,
    uri: String,
    nonce: NonceSource,
) -> Mutually<DigestMd5> {
    Mutually::new(DigestMd5 {
        identity,
        uri,
        nonce,
    })
}

impl Mutual for DigestMd5 {
    fn first(&mut self) -> Result<Token, SaslError> {
        let username = &self.identity.username;
        if username.is_empty() {
            return Err(SaslError::Unfit("the name is empty"));
        }
        let authorization_id = self.identity.authorization_id().unwrap_or_default();
        if [username, authorization_id, &self.uri]
            .iter()
            .any(|name| name.contains(|c: char| c.is_ascii_control()))
        {
            return Err(SaslError::Unfit("a name has a control character"));
        }
        self.identity.password_text()?;
        Ok(Token::default())
    }

    fn answer(&mut self, challenge: &[u8]) -> Result<(Token, Proof), SaslError> {
        let challenge = Challenge::parse(challenge)?;
        let client_nonce = (self.nonce)()?;
        let secret = self.secret(&challenge, &client_nonce)?;
        let respond = |method| {
            let action = hex(&md5(&[method, b":", self.uri.as_bytes()]));
            let rest = [NONCE_COUNT, &client_nonce, "auth"]
                .map(str::as_bytes)
                .join(&b':');
            let parts: [&[u8]; 7] = [
                &*secret,
                b":",
                &challenge.nonce,
                b":",
                &rest,
                b":",
                &*action,
            ];
            hex(&md5(&parts))
        };
        let token = self.token(&challenge, &client_nonce, &*respond(b"AUTHENTICATE"))?;
        Ok((token, Zeroizing::new(respond(b"").to_vec())))
    }

    fn verify(&self, proof: &Proof, last: &[u8]) -> Result<(), SaslError> {
        let directives = Directives::parse(last)?;
        let shown = directives
            .only("rspauth")?
            .ok_or(SaslError::Malformed("the last message has no \"rspauth\""))?;
        verify_slices_are_equal(shown, proof).map_err(|_| {
            SaslError::NotAuthentic("the server's proof is not made with this password")
        })
    }
}

impl DigestMd5 {
    /// What only those have who know the password, in the variant `md5-sess`: good for this login.
    fn secret(
        &self,
        challenge: &Challenge,
        client_nonce: &str,
    ) -> Result<Zeroizing<[u8; 32]>, SaslError> {
        let username = challenge.hashed(&self.identity.username)?;
        let password = challenge.hashed(self.identity.password_text()?)?;
        let realm = challenge.hashed_realm();
        let long_term = md5(&[&*username, b":", &*realm, b":", &*password]);
        let mut parts: Vec<&[u8]> = vec![
            &*long_term,
            b":",
            &challenge.nonce,
            b":",
            client_nonce.as_bytes(),
        ];
        if let Some(id) = self.identity.authorization_id() {
            parts.extend([b":", id.as_bytes()]);
        }
        Ok(hex(&md5(&parts)))
    }

    fn token(
        &self,
        challenge: &Challenge,
        client_nonce: &str,
        response: &[u8],
    ) -> Result<Token, SaslError> {
        let mut token = Token::default();
        if challenge.is_utf8 {
            token.extend_from_slice(b"charset=utf-8,");
        }
        quote(
            &mut token,
            "username",
            &challenge.sent(&self.identity.username)?,
        );
        if let Some(realm) = &challenge.realm {
            quote(&mut token, ",realm", realm);
        }
        quote(&mut token, ",nonce", &challenge.nonce);
        token.extend_from_slice(b",nc=");
        token.extend_from_slice(NONCE_COUNT.as_bytes());
        quote(&mut token, ",cnonce", client_nonce.as_bytes());
        quote(&mut token, ",digest-uri", self.uri.as_bytes());
        token.extend_from_slice(b",response=");
        token.extend_from_slice(response);
        token.extend_from_slice(b",qop=auth");
        if let Some(id) = self.identity.authorization_id() {
            quote(&mut token, ",authzid", id.as_bytes());
        }
        if token.len() < MAX_ANSWER {
            Ok(token)
        } else {
            Err(SaslError::Unfit("the names are too long for DIGEST-MD5"))
        }
    }
}

fn quote(token: &mut Token, name: &str, value: &[u8]) {
    token.extend_from_slice(name.as_bytes());
    token.extend_from_slice(b"=\"");
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            token.push(b'\\');
        }
        token.push(byte);
    }
    token.push(b'"');
}

/// What the server sends first.
struct Challenge {
    /// The first of those that it offers: a user with one password in several is rare, and there is
    /// nobody to ask.
    realm: Option<Vec<u8>>,
    nonce: Vec<u8>,
    /// Else everything is Latin-1.
    is_utf8: bool,
}

impl Challenge {
    fn parse(message: &[u8]) -> Result<Self, SaslError> {
        let directives = Directives::parse(message)?;
        for name in ONLY_ONCE {
            directives.only(name)?;
        }
        let is = |name, wanted: &str| {
            let value = directives.first(name);
            value.map(|value| value.eq_ignore_ascii_case(wanted.as_bytes()))
        };
        if is("algorithm", "md5-sess") != Some(true) {
            return Err(SaslError::Malformed("the algorithm is not \"md5-sess\""));
        }
        if is("charset", "utf-8") == Some(false) {
            return Err(SaslError::Malformed("the charset is not \"utf-8\""));
        }
        if !directives.first("qop").is_none_or(offers_auth) {
            return Err(SaslError::Malformed(
                "the server wants a protection of its own for messages (qop); only TLS gives one here",
            ));
        }
        let nonce = directives.first("nonce").filter(|nonce| !nonce.is_empty());
        Ok(Self {
            realm: directives.first("realm").map(<[u8]>::to_vec),
            nonce: nonce
                .ok_or(SaslError::Malformed("the challenge has no nonce"))?
                .to_vec(),
            is_utf8: is("charset", "utf-8").is_some(),
        })
    }

    /// The name as it goes to the server.
    fn sent(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        if self.is_utf8 {
            Ok(Zeroizing::new(name.as_bytes().to_vec()))
        } else {
            self.hashed(name)
        }
    }

    /// The text as it is hashed: in Latin-1 wherever that is possible, so that servers can have the
    /// same hashes for this and for HTTP.
    fn hashed(&self, text: &str) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        match latin1(text) {
            Some(bytes) => Ok(bytes),
            None if self.is_utf8 => Ok(Zeroizing::new(text.as_bytes().to_vec())),
            None => Err(SaslError::Unfit(
                "name or password are not Latin-1, and the server takes no UTF-8",
            )),
        }
    }

    fn hashed_realm(&self) -> Zeroizing<Vec<u8>> {
        let realm = self.realm.as_deref().unwrap_or_default();
        let text = std::str::from_utf8(realm).ok().filter(|_| self.is_utf8);
        text.and_then(latin1)
            .unwrap_or_else(|| Zeroizing::new(realm.to_vec()))
    }
}

fn offers_auth(qop: &[u8]) -> bool {
    let mut offers = qop.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    offers.any(|offer| offer.eq_ignore_ascii_case(b"auth"))
}

fn latin1(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // As long as it can get, so that nothing is left behind where it stood before it grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    for character in text.chars() {
        bytes.push(u8::try_from(u32::from(character)).ok()?);
    }
    Some(bytes)
}
