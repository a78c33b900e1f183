//! TLS towards a server: what is trusted, which name is verified, which sessions are resumed.

mod cache;
mod config;
mod dates;
mod error;
mod identity;
mod key_log;
mod observe;
mod pkcs12;
mod provider;
mod session;
mod trust;
mod verify;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, KeyLog, NoKeyLog};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

pub use cache::{Clock, Now, SessionChange};
pub use config::{
    CrlCheck, Identity, KeyForm, SessionCacheConfig, Sni, TlsConfig, TlsConfigError, TlsVersion,
    VerifiedName,
};
use dates::not_after;
pub use dates::ServerChain;
pub(crate) use error::{failure_of, rustls_error};
use identity::ClientCertificate;
pub(crate) use identity::{noting_a_wish, OurCertificate};
use key_log::KeyLogFile;
pub(crate) use observe::Observer;
pub use pkcs12::{read_pkcs12, Pkcs12, Pkcs12Error};
pub(crate) use provider::{group_name, suite_name};
pub(crate) use session::{Offer, View};
use session::{SessionCache, SessionKey};
use trust::Trust;
pub(crate) use verify::EndpointVerifier;

use crate::node::Endpoint;
use crate::{EventSink, Failure, Stats};

/// Endpoints whose verifiers are kept, without which their sessions can't be resumed: more than
/// clusters have nodes.
const MAX_ENDPOINTS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// An endpoint, and the names that go with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identified {
    /// `host:port`, as dialled.
    endpoint: Arc<str>,
    /// The name that is verified, if one is.
    verified_name: Option<Arc<str>>,
    /// The name that is sent: behind a proxy it decides which server answers.
    sni: Option<Arc<str>>,
}

/// One security configuration: trust, identity and policy. Its sessions live and die with it.
#[derive(Debug)]
pub(crate) struct TlsContext {
    /// How many there were before it.
    pub(crate) generation: u64,
    config: TlsConfig,
    /// None where verification is turned off.
    trust: Option<Arc<Trust>>,
    certified_key: Option<Arc<CertifiedKey>>,
    provider: Arc<CryptoProvider>,
    key_log: Arc<dyn KeyLog>,
    sessions: Option<Arc<SessionCache>>,
    endpoints: Mutex<LruCache<Identified, Arc<EndpointTls>>>,
    stats: Arc<Stats>,
}

impl TlsContext {
    pub(crate) fn new(
        config: TlsConfig,
        generation: u64,
        pool_size: usize,
        stats: &Arc<Stats>,
        events: &Arc<dyn EventSink>,
    ) -> Result<Self, TlsConfigError> {
        let provider = provider::provider(&config)?;
        let trust = Trust::new(&config, provider.signature_verification_algorithms)?;
        for name in [&config.verified_name.fixed(), &config.sni.fixed()] {
            name.map(server_name).transpose()?;
        }
        let identity = config.identity.as_ref();
        let certified_key = identity.map(identity::certified_key).transpose()?;
        let key_log: Arc<dyn KeyLog> = match &config.key_log {
            Some(path) => Arc::new(KeyLogFile::open(path)?),
            None => Arc::new(NoKeyLog),
        };
        let own = config.identity.as_ref().map(|identity| &identity.chain);
        let own_not_after = own.and_then(|chain| chain.iter().filter_map(|c| not_after(c)).min());
        let sessions = config.session_cache.map(|cache| {
            let (stats, events) = (Arc::clone(stats), Arc::clone(events));
            let clock = Arc::new(Now::system);
            let cache = SessionCache::new(cache, pool_size, own_not_after, clock, stats, events);
            Arc::new(cache)
        });
        Ok(Self {
            generation,
            config,
            trust: trust.map(Arc::new),
            certified_key: certified_key.map(Arc::new),
            provider: Arc::new(provider),
            key_log,
            sessions,
            endpoints: Mutex::new(LruCache::new(MAX_ENDPOINTS)),
            stats: Arc::clone(stats),
        })
    }

    /// What connections to one endpoint share, and always the same.
    pub(crate) fn endpoint(&self, endpoint: &Endpoint) -> Result<Arc<EndpointTls>, TlsConfigError> {
        let identified = self.identified(endpoint);
        let mut endpoints = self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = endpoints.get(&identified) {
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(self.new_endpoint(&endpoint.host, &identified)?);
        endpoints.put(identified, Arc::clone(&new));
        Ok(new)
    }

    /// Drops the sessions, for `next` takes this one's place.
    pub(crate) fn close(&self, next: Option<&Self>) {
        if let Some(sessions) = &self.sessions {
            sessions.close(next.and_then(|next| next.sessions.as_deref()));
        }
    }

    fn identified(&self, endpoint: &Endpoint) -> Identified {
        let verified = match &self.config.verified_name {
            _ if !self.config.verify => None,
            VerifiedName::Unchecked => None,
            VerifiedName::Endpoint => endpoint.verified_name.as_ref().or(Some(&endpoint.host)),
            VerifiedName::Fixed(name) => Some(name),
        };
        let sni = match &self.config.sni {
            Sni::Disabled => None,
            Sni::Fixed(name) => Some(name),
            Sni::Verified => endpoint.sni.as_ref().or(verified).or(Some(&endpoint.host)),
        };
        Identified {
            endpoint: endpoint.to_string().into(),
            verified_name: verified.map(|name| name.as_str().into()),
            sni: sni.map(|name| name.as_str().into()),
        }
    }

    fn new_endpoint(
        &self,
        host: &str,
        identified: &Identified,
    ) -> Result<EndpointTls, TlsConfigError> {
        let verified = identified.verified_name.as_deref();
        let sni = identified.sni.as_deref();
        let verifier = Arc::new(EndpointVerifier::new(
            self.trust.clone(),
            verified.map(server_name).transpose()?,
            &self.provider,
        ));
        let certificate = Arc::new(ClientCertificate::new(self.certified_key.clone()));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&provider::versions(&self.config))
            .map_err(|_| TlsConfigError::Versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_client_cert_resolver(Arc::clone(&certificate) as _);
        config.key_log = Arc::clone(&self.key_log);
        config.enable_sni = sni.is_some();
        config.resumption = Resumption::disabled();
        Ok(EndpointTls {
            config,
            verifier,
            certificate,
            server_name: server_name(sni.or(verified).unwrap_or(host))?,
            identified: identified.clone(),
            sessions: self.sessions.clone(),
            last_address: Mutex::new(None),
            last_chain: Mutex::new(None),
            generation: self.generation,
            stats: Arc::clone(&self.stats),
        })
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    // The root's dot has a meaning for resolvers only; certificates don't have it.
    let bare = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsConfigError::Name(name.to_owned()))
}

/// What connections to one endpoint share: the verifier above all, without which rustls would
/// refuse to resume.
#[derive(Debug)]
pub(crate) struct EndpointTls {
    config: ClientConfig,
    verifier: Arc<EndpointVerifier>,
    certificate: Arc<ClientCertificate>,
    server_name: ServerName<'static>,
    identified: Identified,
    sessions: Option<Arc<SessionCache>>,
    /// Where a connection was opened last: that is where the next one will most likely go.
    last_address: Mutex<Option<SocketAddr>>,
    /// What it showed last, and most likely shows again.
    last_chain: Mutex<Option<Arc<ServerChain>>>,
    generation: u64,
    stats: Arc<Stats>,
}

impl EndpointTls {
    /// A configuration for one connection, with its own view of the sessions: what it receives is
    /// held back until [`View::commit`].
    pub(crate) fn connection(
        &self,
        address: SocketAddr,
        offer: Offer,
    ) -> (Arc<ClientConfig>, Option<Arc<View>>) {
        let mut config = self.config.clone();
        *self.lock_address() = Some(address);
        let view = self.sessions.as_ref().map(|sessions| {
            let (sessions, stats) = (Arc::clone(sessions), Arc::clone(&self.stats));
            Arc::new(View::new(sessions, self.key(address), offer, stats))
        });
        if let Some(view) = &view {
            config.resumption = Resumption::store(Arc::clone(view) as _);
        }
        (Arc::new(config), view)
    }

    /// The server's certificates, of which the same are read only once.
    pub(crate) fn chain(&self, shown: &[CertificateDer<'_>]) -> Arc<ServerChain> {
        let last = self.last_chain.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(last) if last.is(shown) => Arc::clone(last),
            _ => Arc::clone(last.insert(Arc::new(ServerChain::new(shown)))),
        }
    }

    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    pub(crate) fn verified_name(&self) -> Option<&Arc<str>> {
        self.identified.verified_name.as_ref()
    }

    /// Which of the cluster's configurations it belongs to.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// As [`Self::connection`], but whatever the server shows is accepted and noted, for one look
    /// at it: nothing may be told to a server that was not verified.
    pub(crate) fn observation(&self) -> (Arc<ClientConfig>, Arc<Observer>) {
        let observer = Arc::new(Observer::new(Arc::clone(&self.verifier)));
        let mut config = self.config.clone();
        config
            .dangerous()
            .set_certificate_verifier(Arc::clone(&observer) as _);
        (Arc::new(config), observer)
    }

    /// The name that is sent as SNI.
    pub(crate) fn sni(&self) -> Option<&Arc<str>> {
        let is_name = matches!(self.server_name, ServerName::DnsName(_));
        self.identified.sni.as_ref().filter(|_| is_name)
    }

    /// Whether the server has asked for our certificate, and got it.
    pub(crate) fn our_certificate(&self) -> OurCertificate {
        self.certificate.state()
    }

    /// What the server of a full handshake has seen of our certificate.
    pub(crate) fn seen_certificate(&self, is_asked: bool) -> OurCertificate {
        self.certificate.state_if(is_asked)
    }

    /// Verifies a resumed connection's certificates again, as of now: resumption alone would
    /// accept a certificate that has expired since.
    pub(crate) fn verify_again(&self, chain: &[CertificateDer<'_>]) -> Result<(), Failure> {
        self.verifier
            .verify_chain(chain, UnixTime::now())
            .map_err(|e| rustls_error(&e))
    }

    /// How many connections could resume a session now.
    pub(crate) fn resumable(&self) -> usize {
        match (&self.sessions, *self.lock_address()) {
            (None, _) => usize::MAX,
            (Some(_), None) => 0,
            (Some(sessions), Some(address)) => sessions.resumable(&self.key(address)),
        }
    }

    fn key(&self, address: SocketAddr) -> SessionKey {
        SessionKey {
            identified: self.identified.clone(),
            address,
        }
    }

    fn lock_address(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.last_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
