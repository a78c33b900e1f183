//! The client's side of SASL (RFC 4422), a mechanism a file: what the server gets for what it sends.
//! Nothing here reads, writes or waits.

mod base64;
mod cram_md5;
mod digest_md5;
mod md5;
mod mutual;
mod scram;
mod single;
#[cfg(test)]
mod tests;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::Credentials;

/// What is sent, wiped afterwards.
pub(crate) type Token = Zeroizing<Vec<u8>>;

/// How a login is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616: the password as it is.
    Plain,
    /// RFC 4422, appendix A: what the certificate says.
    External,
    /// RFC 4505.
    Anonymous,
    /// RFC 2195.
    CramMd5,
    /// RFC 2831, without security layers.
    DigestMd5,
    /// RFC 5802, without channel binding.
    ScramSha1,
    /// RFC 7677, without channel binding.
    ScramSha256,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::External,
        Self::Anonymous,
        Self::CramMd5,
        Self::DigestMd5,
        Self::ScramSha1,
        Self::ScramSha256,
    ];

    /// The name that is registered with IANA.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
            Self::CramMd5 => "CRAM-MD5",
            Self::DigestMd5 => "DIGEST-MD5",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha256 => "SCRAM-SHA-256",
        }
    }

    /// The mechanism of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Whether it takes a name and a password.
    pub fn has_password(self) -> bool {
        !matches!(self, Self::External | Self::Anonymous)
    }

    /// Whether it may be used without TLS. MD5 is too quick: who listens to one login can try
    /// passwords by the billion.
    pub fn is_fit_without_tls(self) -> bool {
        matches!(self, Self::Anonymous | Self::ScramSha1 | Self::ScramSha256)
    }

    /// Whether the server must prove that it knows the password.
    pub fn authenticates_server(self) -> bool {
        matches!(self, Self::DigestMd5 | Self::ScramSha1 | Self::ScramSha256)
    }
}

/// Why a login ended. The texts are ours: nothing that the server sent, and no secret, is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaslError {
    /// What the server sent is not what the mechanism prescribes, or more than we allow.
    #[error("{0}")]
    Malformed(&'static str),
    /// The server doesn't prove that it knows the password.
    #[error("{0}")]
    NotAuthentic(&'static str),
    /// A name or password that the mechanism can't carry.
    #[error("{0}")]
    Unfit(&'static str),
    /// The server says, in the mechanism's own words, that name or password are wrong.
    #[error("{0}")]
    BadCredentials(&'static str),
    /// The server refuses, in the mechanism's own words, for another reason.
    #[error("{0}")]
    Refused(&'static str),
    /// The server goes on asking after the mechanism's last step.
    #[error("the server asks for more than the mechanism has steps")]
    Rounds,
    /// Out of random numbers or memory.
    #[error("the cryptographic library failed")]
    Cryptography,
}

impl Credentials {
    /// An empty one says the same as none, and must not be sent.
    fn authorization_id(&self) -> Option<&str> {
        self.authorization_id.as_deref().filter(|id| !id.is_empty())
    }

    fn password_text(&self) -> Result<&str, SaslError> {
        std::str::from_utf8(self.password.expose())
            .map_err(|_| SaslError::Unfit("the password is not UTF-8"))
    }
}

/// One login. After an error it is over.
pub(crate) trait Exchange: Send {
    /// What the first AUTH_RESPONSE carries: nothing, if it is the server that begins.
    fn initial(&mut self) -> Result<Token, SaslError>;

    /// What AUTH_RESPONSE carries after this AUTH_CHALLENGE.
    fn respond(&mut self, challenge: &[u8]) -> Result<Token, SaslError>;

    /// Whether the login that AUTH_SUCCESS ends, with this token, is one.
    fn finish(&mut self, last: Option<&[u8]>) -> Result<(), SaslError>;

    /// Whether the answer to this challenge takes so long to compute that other connections would
    /// have to wait for it: many milliseconds, up to a second.
    fn takes_long(&self, _challenge: &[u8]) -> bool {
        false
    }
}

/// Makes the client's part of a challenge; [`random_nonce`] outside of tests.
pub(crate) type NonceSource = fn() -> Result<String, SaslError>;

/// `host` is the server's name as it was dialled.
pub(crate) fn exchange(
    mechanism: Mechanism,
    identity: Credentials,
    host: &str,
    nonce: NonceSource,
) -> Box<dyn Exchange> {
    match mechanism {
        Mechanism::Plain => Box::new(single::plain(identity)),
        Mechanism::External => Box::new(single::external(identity)),
        Mechanism::Anonymous => Box::new(single::anonymous(identity)),
        Mechanism::CramMd5 => Box::new(cram_md5::CramMd5::new(identity)),
        Mechanism::DigestMd5 => {
            let uri = format!("cassandra/{host}");
            Box::new(digest_md5::exchange(identity, uri, nonce))
        }
        Mechanism::ScramSha1 => Box::new(scram::exchange(scram::Hash::Sha1, identity, nonce)),
        Mechanism::ScramSha256 => Box::new(scram::exchange(scram::Hash::Sha256, identity, nonce)),
    }
}

/// 144 random bits, in letters that need no escaping anywhere.
pub(crate) fn random_nonce() -> Result<String, SaslError> {
    let mut bytes = [0; 18];
    rand::fill(&mut bytes).map_err(|_| SaslError::Cryptography)?;
    Ok(base64::encode(&bytes))
}
