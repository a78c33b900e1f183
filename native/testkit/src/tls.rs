//! The server's side of TLS: what it offers, and what a test may change while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::{CipherSuite, NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;

use crate::certs::Identity;
use crate::Error;

/// Which versions of TLS the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// TLS 1.2 and 1.3.
    #[default]
    Both,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// How the server speaks TLS.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Its certificate.
    pub identity: Identity,
    /// The versions it speaks.
    pub versions: Versions,
    /// How many tickets it sends on a TLS 1.3 connection.
    pub tls13_tickets: usize,
    /// Whether it sends RFC 5077 tickets on TLS 1.2 connections. Also decides how TLS 1.3 tickets
    /// work: with it they hold the session and can be used again and again, as far as the server
    /// is concerned; without it they name a session in the server's memory and work once.
    pub tls12_tickets: bool,
    /// Whether it gives TLS 1.2 sessions an id and remembers them.
    pub tls12_session_ids: bool,
    /// The cipher suites it accepts, if not all that it knows.
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// The key exchange groups it accepts, if not all that it knows. A client that guesses another
    /// one first is sent a HelloRetryRequest (TLS 1.3).
    pub groups: Option<Vec<NamedGroup>>,
    /// If given, clients must show a certificate issued by one of these.
    pub client_authorities: Option<Vec<CertificateDer<'static>>>,
    /// Whether a client without a certificate is served nevertheless.
    pub client_cert_optional: bool,
}

impl TlsOptions {
    /// Both versions, tickets of both kinds, two on TLS 1.3, no client certificates.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            versions: Versions::default(),
            tls13_tickets: 2,
            tls12_tickets: true,
            tls12_session_ids: true,
            cipher_suites: None,
            groups: None,
            client_authorities: None,
            client_cert_optional: false,
        }
    }
}

/// The configuration for the next handshake. Sessions outlive a change of certificate, as they do
/// on real servers, unless they are forgotten.
#[derive(Debug)]
pub(crate) struct Tls {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    options: TlsOptions,
    sessions: Sessions,
    config: Arc<ServerConfig>,
}

/// What it takes to resume.
#[derive(Debug, Clone)]
struct Sessions {
    ticketer: Option<Arc<dyn ProducesTickets>>,
    memory: Arc<dyn StoresServerSessions>,
}

/// Sessions remembered by a server, at most.
const MEMORY: usize = 4096;

impl Sessions {
    fn new(options: &TlsOptions) -> Result<Self, Error> {
        // Without either, TLS 1.2 can't resume; TLS 1.3 needs the memory for its tickets.
        let memory = options.tls12_session_ids || options.versions == Versions::Tls13;
        Ok(Self {
            ticketer: if options.tls12_tickets {
                Some(aws_lc_rs::Ticketer::new()?)
            } else {
                None
            },
            memory: if memory {
                ServerSessionMemoryCache::new(MEMORY)
            } else {
                Arc::new(NoServerSessionStorage {})
            },
        })
    }
}

impl Tls {
    pub(crate) fn new(options: TlsOptions) -> Result<Self, Error> {
        let can_resume_tls13 = options.tls12_tickets
            || options.tls12_session_ids
            || options.versions != Versions::Both
            || options.tls13_tickets == 0;
        if !can_resume_tls13 {
            return Err(Error::usage(
                "a server of both versions can't send TLS 1.3 tickets without resuming TLS 1.2; \
                 choose one version, or tls13_tickets: 0",
            ));
        }
        let sessions = Sessions::new(&options)?;
        let config = config(&options, &sessions)?;
        let state = State {
            options,
            sessions,
            config,
        };
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.lock().config.clone()
    }

    pub(crate) fn forget_sessions(&self) -> Result<(), Error> {
        let mut state = self.lock();
        state.sessions = Sessions::new(&state.options)?;
        state.config = config(&state.options, &state.sessions)?;
        Ok(())
    }

    pub(crate) fn set_identity(&self, identity: Identity) -> Result<(), Error> {
        let mut state = self.lock();
        state.options.identity = identity;
        state.config = config(&state.options, &state.sessions)?;
        Ok(())
    }

    pub(crate) fn identity(&self) -> Identity {
        self.lock().options.identity.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config(options: &TlsOptions, sessions: &Sessions) -> Result<Arc<ServerConfig>, Error> {
    static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let versions = match options.versions {
        Versions::Both => rustls::ALL_VERSIONS,
        Versions::Tls12 => TLS12,
        Versions::Tls13 => TLS13,
    };
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suites) = &options.cipher_suites {
        provider
            .cipher_suites
            .retain(|suite| suites.contains(&suite.suite()));
    }
    if let Some(groups) = &options.groups {
        provider.kx_groups = aws_lc_rs::ALL_KX_GROUPS.to_vec();
        provider
            .kx_groups
            .retain(|group| groups.contains(&group.name()));
    }
    let provider = Arc::new(provider);
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = match &options.client_authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority.clone())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = if options.client_cert_optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            let verifier = verifier
                .build()
                .map_err(|error| Error::usage(format!("client authorities: {error}")))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let identity = &options.identity;
    let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.send_tls13_tickets = options.tls13_tickets;
    config.session_storage = sessions.memory.clone();
    if let Some(ticketer) = &sessions.ticketer {
        config.ticketer = ticketer.clone();
    }
    Ok(Arc::new(config))
}
