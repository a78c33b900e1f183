//! SCRAM-SHA-1 (RFC 5802) and SCRAM-SHA-256 (RFC 7677). The password never leaves us, and the
//! server proves that it knows what was made of it.

mod message;
#[cfg(test)]
mod tests;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use stringprep::saslprep;
use zeroize::Zeroizing;

use super::mutual::{Mutual, Mutually, Proof};
use super::{base64, Credentials, NonceSource, SaslError, Token};
use message::{ServerFinal, ServerFirst};

/// Up to here the key is derived within a few milliseconds.
const QUICK_ITERATIONS: u32 = 10_000;

#[derive(Debug, Clone, Copy)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

pub(super) struct Scram {
    hash: Hash,
    identity: Credentials,
    nonce: NonceSource,
    /// The first message, which all proofs are over.
    first: Option<ClientFirst>,
}

struct ClientFirst {
    /// Says that there is no channel binding, and as whom we act.
    header: String,
    bare: String,
    nonce: String,
}

pub(super) fn exchange(hash: Hash, identity: Credentials, nonce: NonceSource) -> Mutually<Scram> {
    Mutually::new(Scram {
        hash,
        identity,
        nonce,
        first: None,
    })
}

impl Mutual for Scram {
    fn first(&mut self) -> Result<Token, SaslError> {
        // What can't be prepared is found before anything is sent.
        password(&self.identity)?;
        let nonce = (self.nonce)()?;
        let header = match self.identity.authorization_id() {
            None => "n,,".to_owned(),
            Some(id) if id.contains('\0') => {
                return Err(SaslError::Unfit("the authorization id has a zero byte"))
            }
            Some(id) => format!("n,a={},", escape(id)),
        };
        let bare = format!("n={},r={nonce}", escape(&username(&self.identity)?));
        let token = Zeroizing::new([header.as_bytes(), bare.as_bytes()].concat());
        self.first = Some(ClientFirst {
            header,
            bare,
            nonce,
        });
        Ok(token)
    }

    fn answer(&mut self, challenge: &[u8]) -> Result<(Token, Proof), SaslError> {
        let Some(ClientFirst {
            header,
            bare,
            nonce,
        }) = &self.first
        else {
            return Err(SaslError::Malformed("a challenge before our first message"));
        };
        let challenge = message::text(challenge)?;
        let server = ServerFirst::parse(challenge)?;
        if server.nonce.len() <= nonce.len() || !server.nonce.starts_with(nonce.as_str()) {
            return Err(SaslError::Malformed(
                "the server's nonce is no continuation of ours",
            ));
        }
        let binding = base64::encode(header.as_bytes());
        let unproven = format!("c={binding},r={}", server.nonce);
        let signed = format!("{bare},{challenge},{unproven}");
        let keys = Keys::derive(self.hash, &password(&self.identity)?, &server)?;
        let proof = base64::encode(&keys.client_proof(signed.as_bytes())?);
        let token = Zeroizing::new(format!("{unproven},p={proof}").into_bytes());
        Ok((token, keys.server_signature(signed.as_bytes())?))
    }

    fn verify(&self, proof: &Proof, last: &[u8]) -> Result<(), SaslError> {
        let ServerFinal { signature } = ServerFinal::parse(message::text(last)?)?;
        verify_slices_are_equal(&signature, proof).map_err(|_| {
            SaslError::NotAuthentic("the server's signature is not made with this password")
        })
    }

    fn takes_long(&self, challenge: &[u8]) -> bool {
        let iterations = message::text(challenge)
            .and_then(ServerFirst::parse)
            .map(|server| server.iterations.get());
        iterations.is_ok_and(|iterations| iterations > QUICK_ITERATIONS)
    }
}

/// What the password and the server's salt give.
struct Keys {
    hash: Hash,
    client: Zeroizing<Vec<u8>>,
    server: Zeroizing<Vec<u8>>,
}

impl Keys {
    fn derive(hash: Hash, password: &str, server: &ServerFirst<'_>) -> Result<Self, SaslError> {
        let mut salted = Zeroizing::new(vec![0; hash.length()]);
        pbkdf2::derive(
            hash.pbkdf2(),
            server.iterations,
            &server.salt,
            password.as_bytes(),
            &mut salted,
        );
        Ok(Self {
            hash,
            client: hash.hmac(&salted, b"Client Key")?,
            server: hash.hmac(&salted, b"Server Key")?,
        })
    }

    /// From this, a server that has stored the hash of our key finds the key itself.
    fn client_proof(&self, signed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        let stored = digest::digest(self.hash.digest(), &self.client);
        let mut proof = self.hash.hmac(stored.as_ref(), signed)?;
        for (proof, key) in proof.iter_mut().zip(self.client.iter()) {
            *proof ^= key;
        }
        Ok(proof)
    }

    fn server_signature(&self, signed: &[u8]) -> Result<Proof, SaslError> {
        self.hash.hmac(&self.server, signed)
    }
}

impl Hash {
    fn hmac(self, key: &[u8], message: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        let mut tag = Zeroizing::new(vec![0; self.length()]);
        hmac::sign_to_buffer(&hmac::Key::new(algorithm, key), message, &mut tag)
            .map_err(|_| SaslError::Cryptography)?;
        Ok(tag)
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }

    fn length(self) -> usize {
        self.digest().output_len()
    }
}

/// The name in the one form that both sides use (SASLprep, RFC 4013).
fn username(identity: &Credentials) -> Result<String, SaslError> {
    let prepared = saslprep(&identity.username).map_err(|_| {
        SaslError::Unfit("the name has a character that SASLprep (RFC 4013) prohibits")
    })?;
    if prepared.is_empty() {
        return Err(SaslError::Unfit("the name is empty"));
    }
    Ok(prepared.into_owned())
}

fn password(identity: &Credentials) -> Result<Zeroizing<String>, SaslError> {
    let prepared = saslprep(identity.password_text()?).map_err(|_| {
        SaslError::Unfit("the password has a character that SASLprep (RFC 4013) prohibits")
    })?;
    Ok(Zeroizing::new(prepared.into_owned()))
}

/// Commas and equals signs separate the attributes.
fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}
