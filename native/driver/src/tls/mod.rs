//! TLS towards a server: what is trusted, which name is verified, which sessions are resumed.

mod error;
mod session;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{aws_lc_rs, CryptoProvider};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    ServerName,
};
use zeroize::Zeroize;

pub(crate) use error::{failure_of, rustls_error};
pub(crate) use session::View;
pub use session::{Clock, SessionCache, SessionKey};
pub(crate) use verify::EndpointVerifier;

use crate::node::Endpoint;
use crate::{Failure, Secret, Stats};

/// What the user says about TLS.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// Whether the server's chain is verified.
    pub verify: bool,
    /// Trusted roots, DER.
    pub roots: Vec<Vec<u8>>,
    /// Which name the server's certificate must carry.
    pub verified_name: VerifiedName,
    /// Which name is sent as SNI.
    pub sni: Sni,
    /// Our certificate and its chain, DER, if the server wants one.
    pub identity: Option<Identity>,
    /// TLS versions; both if empty.
    pub versions: Vec<TlsVersion>,
    /// The session cache, or none.
    pub session_cache: Option<SessionCacheConfig>,
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
    /// A private key that is none, or of an unknown kind.
    #[error("the private key can't be used: {0}")]
    Key(String),
    /// A name that is neither a DNS name nor an address.
    #[error("{0:?} is no DNS name or IP address")]
    Name(String),
    /// The versions and the provider have nothing in common.
    #[error("TLS versions: {0}")]
    Versions(String),
}

/// One security configuration: trust, identity and policy. Its sessions live and die with it.
#[derive(Debug)]
pub(crate) struct TlsContext {
    config: TlsConfig,
    roots: Arc<RootCertStore>,
    identity: Option<Arc<dyn ResolvesClientCert>>,
    provider: Arc<CryptoProvider>,
    sessions: Option<Arc<SessionCache>>,
}

impl TlsContext {
    pub(crate) fn new(
        config: TlsConfig,
        pool_size: usize,
        stats: &Arc<Stats>,
    ) -> Result<Self, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        for (i, root) in config.roots.iter().enumerate() {
            roots
                .add(CertificateDer::from(root.as_slice()))
                .map_err(|_| TlsConfigError::Root(i))?;
        }
        if config.verify && roots.is_empty() {
            return Err(TlsConfigError::NoRoots);
        }
        for name in [&config.verified_name.fixed(), &config.sni.fixed()] {
            name.map(server_name).transpose()?;
        }
        let identity = config.identity.as_ref().map(identity).transpose()?;
        let sessions = config.session_cache.map(|cache| {
            let tickets = pool_size.clamp(session::MIN_TICKETS, session::MAX_TICKETS);
            Arc::new(SessionCache::new(
                cache.size,
                tickets,
                cache.ttl,
                Arc::new(std::time::Instant::now),
                Arc::clone(stats),
            ))
        });
        Ok(Self {
            config,
            roots: Arc::new(roots),
            identity,
            provider: Arc::new(aws_lc_rs::default_provider()),
            sessions,
        })
    }

    /// What connections to one endpoint share.
    pub(crate) fn endpoint(&self, endpoint: &Endpoint) -> Result<EndpointTls, TlsConfigError> {
        let verified = match &self.config.verified_name {
            _ if !self.config.verify => None,
            VerifiedName::Unchecked => None,
            VerifiedName::Endpoint => Some(
                endpoint
                    .verified_name
                    .as_ref()
                    .unwrap_or(&endpoint.host)
                    .as_str(),
            ),
            VerifiedName::Fixed(name) => Some(name.as_str()),
        };
        let sni = match &self.config.sni {
            Sni::Disabled => None,
            Sni::Fixed(name) => Some(name.as_str()),
            Sni::Verified => endpoint
                .sni
                .as_deref()
                .or(verified)
                .or(Some(endpoint.host.as_str())),
        };
        let verifier = Arc::new(EndpointVerifier::new(
            Arc::clone(&self.roots),
            self.config.verify,
            verified.map(server_name).transpose()?,
            Arc::clone(&self.provider),
        ));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions())
            .map_err(|e| TlsConfigError::Versions(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity)),
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = sni.is_some();
        config.resumption = Resumption::disabled();
        Ok(EndpointTls {
            config,
            verifier,
            server_name: server_name(sni.or(verified).unwrap_or(&endpoint.host))?,
            // Behind a proxy the SNI decides which server it is.
            key: match sni {
                Some(sni) if Some(sni) != verified => {
                    let name = format!("{} as {sni}", verified.unwrap_or(""));
                    SessionKey::new(&endpoint.to_string(), &name)
                }
                _ => SessionKey::new(&endpoint.to_string(), verified.unwrap_or("")),
            },
            sessions: self.sessions.clone(),
            verified_name: verified.map(Arc::from),
        })
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let wanted =
            |version| self.config.versions.is_empty() || self.config.versions.contains(&version);
        let mut versions = Vec::new();
        if wanted(TlsVersion::V13) {
            versions.push(&rustls::version::TLS13);
        }
        if wanted(TlsVersion::V12) {
            versions.push(&rustls::version::TLS12);
        }
        versions
    }
}

impl VerifiedName {
    fn fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(name) => Some(name),
            _ => None,
        }
    }
}

impl Sni {
    fn fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(name) => Some(name),
            _ => None,
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    // The root's dot has a meaning for resolvers only; certificates don't have it.
    let bare = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsConfigError::Name(name.to_owned()))
}

fn identity(identity: &Identity) -> Result<Arc<dyn ResolvesClientCert>, TlsConfigError> {
    let der = identity.key.expose().to_vec();
    let mut key = match identity.key_form {
        KeyForm::Pkcs8 => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der)),
        KeyForm::Pkcs1 => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der)),
        KeyForm::Sec1 => PrivateKeyDer::from(PrivateSec1KeyDer::from(der)),
    };
    let signing = aws_lc_rs::sign::any_supported_type(&key);
    key.zeroize();
    let signing = signing.map_err(|e| TlsConfigError::Key(e.to_string()))?;
    let chain = identity
        .chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    // Not `from_der`, which refuses the X.509 v1 certificates that `openssl x509 -req` makes:
    // whether a client certificate will do is the server's decision.
    let certified = CertifiedKey::new(chain, signing);
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

/// What connections to one endpoint share: the verifier above all, without which rustls would
/// refuse to resume.
#[derive(Debug)]
pub(crate) struct EndpointTls {
    config: ClientConfig,
    verifier: Arc<EndpointVerifier>,
    server_name: ServerName<'static>,
    key: SessionKey,
    sessions: Option<Arc<SessionCache>>,
    verified_name: Option<Arc<str>>,
}

impl EndpointTls {
    /// A configuration for one connection, with its own view of the sessions: what it receives is
    /// held back until [`View::commit`].
    pub(crate) fn connection(&self) -> (Arc<ClientConfig>, Option<Arc<View>>) {
        let mut config = self.config.clone();
        let view = self
            .sessions
            .as_ref()
            .map(|sessions| Arc::new(View::new(Arc::clone(sessions), self.key.clone())));
        if let Some(view) = &view {
            config.resumption = Resumption::store(Arc::clone(view) as _);
        }
        (Arc::new(config), view)
    }

    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    pub(crate) fn verified_name(&self) -> Option<&Arc<str>> {
        self.verified_name.as_ref()
    }

    /// Verifies a resumed connection's certificates again, as of now: resumption alone would
    /// accept a certificate that has expired since.
    pub(crate) fn verify_again(&self, chain: &[CertificateDer<'_>]) -> Result<(), Failure> {
        self.verifier
            .verify_chain(chain)
            .map_err(|e| rustls_error(&e))
    }

    /// How many connections could resume a session now.
    pub(crate) fn resumable(&self) -> usize {
        self.sessions
            .as_ref()
            .map_or(usize::MAX, |sessions| sessions.resumable(&self.key))
    }

    /// Drops this endpoint's sessions.
    pub(crate) fn purge(&self) {
        if let Some(sessions) = &self.sessions {
            sessions.purge(&self.key);
        }
    }
}
