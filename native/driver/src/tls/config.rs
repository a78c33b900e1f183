//! What the user says about TLS.

use std::path::PathBuf;
use std::time::Duration;

use crate::Secret;

/// What the user says about TLS.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// Whether the server's chain is verified.
    pub verify: bool,
    /// Trusted certificates, DER: roots of chains, or servers' own.
    pub roots: Vec<Vec<u8>>,
    /// SHA-256 of the certificates that a server may show. Beside roots, both must hold; without
    /// any, they are what is trusted.
    pub pins: Vec<[u8; 32]>,
    /// Certificate revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
    /// Of which certificates the lists must say that they are good; nothing is asked without lists.
    pub crl_check: CrlCheck,
    /// Which name the server's certificate must carry.
    pub verified_name: VerifiedName,
    /// Which name is sent as SNI.
    pub sni: Sni,
    /// Our certificate and its chain, DER, if the server wants one.
    pub identity: Option<Identity>,
    /// TLS versions; both if empty.
    pub versions: Vec<TlsVersion>,
    /// Cipher suites by IANA name, in order of preference; the provider's if empty.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups by name (`x25519`), in order of preference; the provider's if empty.
    pub groups: Vec<String>,
    /// Where the secrets of each connection are written for debugging (NSS key log format).
    pub key_log: Option<PathBuf>,
    /// The session cache, or none.
    pub session_cache: Option<SessionCacheConfig>,
}

/// Of which certificates the revocation lists must say that they are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlCheck {
    /// The whole chain but its root; lists past their next update count for nothing.
    Chain,
    /// The server's own; lists past their next update count for nothing.
    Peer,
    /// The whole chain, as far as there are lists, however old.
    BestEffort,
}

/// Which name the server's certificate must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifiedName {
    /// The endpoint's.
    Endpoint,
    /// This name, whatever the endpoint is called.
    Fixed(String),
    /// None: any certificate of a trusted root will do.
    Unchecked,
}

/// Which name is sent as SNI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sni {
    /// The verified name, or the endpoint's where none is.
    Verified,
    /// This name.
    Fixed(String),
    /// None.
    Disabled,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Our certificate first, then those that lead to a root.
    pub chain: Vec<Vec<u8>>,
    /// The key's form.
    pub key_form: KeyForm,
    /// The key, DER.
    pub key: Secret,
}

/// The forms in which a private key is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum KeyForm {
    Pkcs8,
    Pkcs1,
    Sec1,
}

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TlsVersion {
    V12,
    V13,
}

/// The bounds of the session cache.
#[derive(Debug, Clone, Copy)]
pub struct SessionCacheConfig {
    /// Endpoints, each with the name verified on it.
    pub size: usize,
    /// How long a session may be resumed.
    pub ttl: Duration,
    /// How long sessions may descend from one full handshake.
    pub max_lineage: Duration,
}

impl VerifiedName {
    pub(super) fn fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(name) => Some(name),
            _ => None,
        }
    }
}

impl Sni {
    pub(super) fn fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(name) => Some(name),
            _ => None,
        }
    }
}

/// A part of the configuration that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsConfigError {
    /// A root that is no certificate.
    #[error("trusted certificate {0} can't be read")]
    Root(usize),
    /// Nothing is trusted, so nothing could be verified.
    #[error("no trusted certificate")]
    NoRoots,
    /// A revocation list that is none, or of an unknown kind.
    #[error("revocation list {index} can't be read: {detail}")]
    Crl {
        /// Which.
        index: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// What would be verified is given, and verification is turned off.
    #[error("pins and revocation lists have no effect without verification")]
    Unverified,
    /// Our own certificate is none.
    #[error("our certificate can't be read")]
    Certificate,
    /// A private key that is none, or of an unknown kind.
    #[error("the private key can't be used: {0}")]
    Key(String),
    /// The private key is another certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A name that is neither a DNS name nor an address.
    #[error("{0:?} is no DNS name or IP address")]
    Name(String),
    /// A cipher suite that is not known.
    #[error("unknown cipher suite {0:?}")]
    CipherSuite(String),
    /// A key exchange group that is not known.
    #[error("unknown group {0:?}")]
    Group(String),
    /// A key log that can't be written.
    #[error("the key log can't be opened: {0}")]
    KeyLog(String),
    /// No version has both a cipher suite and a group.
    #[error("the cipher suites and groups fit none of the TLS versions")]
    Versions,
}
