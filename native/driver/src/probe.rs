//! One look at a server, step by step: what a user needs to know about a connection that fails.
//!
//! The first connection only looks: whatever the server shows is accepted and noted, and nothing is
//! told to it, no certificate of ours and no byte of CQL. Where verification has no objection,
//! others follow that are made as a cluster makes its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palladion_cql::Version;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

use crate::auth::{Auth, AuthConfig, Callbacks};
use crate::config::{ClientIdentity, ProtocolConfig, Timeouts};
use crate::connection::{connect_failure, handshake_failure, tls_info, within};
use crate::connection::{HandshakeKind, TlsInfo};
use crate::error::Step;
use crate::login::{LoginTo, Supported, Talk};
use crate::network::Network;
use crate::protocol::Wish;
use crate::tls::{
    rustls_error, EndpointTls, Offer, OurCertificate, SessionCacheConfig, TlsConfig,
    TlsConfigError, TlsContext,
};
use crate::{Endpoint, EventSink, Failure, NoEvents, Stats};

/// Room for what one connection is given, whatever the configuration says of later ones.
const SESSIONS: SessionCacheConfig = SessionCacheConfig {
    size: 1,
    ttl: Duration::from_secs(60),
    max_lineage: Duration::from_secs(60),
};

/// What to look at.
#[derive(Debug, Clone)]
pub struct ProbeConfig {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Which of its addresses.
    pub address: SocketAddr,
    /// How it is to be verified; none for a server without TLS.
    pub tls: Option<TlsConfig>,
    /// The login, if there is to be one.
    pub auth: Option<AuthConfig>,
    /// Who is asked where only the user's own code can answer.
    pub callbacks: Arc<dyn Callbacks>,
    /// Whether to speak CQL.
    pub cql: bool,
    /// Whether to try and resume a session.
    pub resume: bool,
    /// The version of the protocol to speak.
    pub version: Version,
    /// Who we say that we are.
    pub client: ClientIdentity,
    /// How long each step may take.
    pub timeouts: Timeouts,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Probe {
    /// How long the TCP connection took.
    pub connect: Option<Duration>,
    /// TLS, if the server showed a certificate.
    pub tls: Option<TlsProbe>,
    /// Resumption, if it was tried.
    pub resumption: Option<Resumption>,
    /// CQL, if the server spoke it.
    pub cql: Option<CqlProbe>,
    /// Where it ended before its time.
    pub failure: Option<Failure>,
}

/// What was seen of TLS.
#[derive(Debug)]
pub struct TlsProbe {
    /// The last handshake that was completed.
    pub info: Option<Arc<TlsInfo>>,
    /// The server's certificates, DER, its own first.
    pub chain: Vec<Vec<u8>>,
    /// The name that was sent.
    pub sni: Option<Arc<str>>,
    /// The name that was verified.
    pub verified_name: Option<Arc<str>>,
    /// What verification says.
    pub verdict: Result<(), Failure>,
    /// Whether the server asked for our certificate.
    pub certificate_asked: bool,
    /// Whether it got one.
    pub certificate_shown: bool,
}

/// What was seen of resumption.
#[derive(Debug)]
pub struct Resumption {
    /// Sessions that the first connection was given.
    pub tickets: u64,
    /// How the second handshake went.
    pub second: Result<HandshakeKind, Failure>,
}

/// What was seen of CQL.
#[derive(Debug)]
pub struct CqlProbe {
    /// What the server says that it supports.
    pub supported: Supported,
    /// Its authenticator's class, if it asks for a login.
    pub authenticator: Option<String>,
    /// How the login was tried, if it was.
    pub mechanism: Option<&'static str>,
    /// How the login went; none if there was nothing to log in with, or nobody asked.
    pub login: Option<Result<(), Failure>>,
}

/// Looks at a server. What can't work at all is an error at once.
pub async fn probe<N: Network>(network: &N, config: &ProbeConfig) -> Result<Probe, TlsConfigError> {
    let mut probe = Probe::default();
    let probing = Probing { network, config };
    let failure = match &config.tls {
        None => probing.without_tls(&mut probe).await,
        Some(tls) => probing.with_tls(tls, &mut probe).await?,
    };
    probe.failure = failure.err();
    Ok(probe)
}

struct Probing<'a, N> {
    network: &'a N,
    config: &'a ProbeConfig,
}

/// A connection, its handshake and the view that keeps its sessions.
struct Secured<S> {
    stream: TlsStream<S>,
    info: Arc<TlsInfo>,
    view: Option<Arc<crate::tls::View>>,
}

impl<N: Network> Probing<'_, N> {
    async fn without_tls(&self, probe: &mut Probe) -> Result<(), Failure> {
        let mut stream = self.connect(probe).await?;
        self.speak(&mut stream, OurCertificate::NotAsked, probe)
            .await
    }

    async fn with_tls(
        &self,
        tls: &TlsConfig,
        probe: &mut Probe,
    ) -> Result<Result<(), Failure>, TlsConfigError> {
        let stats = Arc::new(Stats::default());
        let events: Arc<dyn EventSink> = Arc::new(NoEvents);
        let looking = TlsConfig {
            identity: None,
            ..tls.clone()
        };
        let looking = TlsContext::new(looking, 0, 1, &stats, &events)?;
        let looking = looking.endpoint(&self.config.endpoint)?;
        let resuming = TlsConfig {
            session_cache: self.config.resume.then_some(SESSIONS),
            ..tls.clone()
        };
        let real = TlsContext::new(resuming, 0, 1, &stats, &events)?;
        let real = real.endpoint(&self.config.endpoint)?;
        if let Err(failure) = self.look(&looking, probe).await {
            return Ok(Err(failure));
        }
        match &probe.tls {
            // Nothing is told to a server that could be anybody.
            Some(seen) if seen.verdict.is_ok() => {}
            _ => return Ok(Ok(())),
        }
        Ok(self.go_on(&real, &stats, probe).await)
    }

    /// Completes a handshake, or learns at least what the server shows.
    async fn look(&self, tls: &EndpointTls, probe: &mut Probe) -> Result<(), Failure> {
        let tcp = self.connect(probe).await?;
        let (config, observer) = tls.observation();
        let started = Instant::now();
        let handshake = TlsConnector::from(config).connect(tls.server_name(), tcp);
        let done = self.handshake(handshake, tls).await;
        let chain = observer.chain();
        if let (Err(failure), true) = (&done, chain.is_empty()) {
            return Err(failure.clone());
        }
        let verdict = observer.verdict().map_err(|error| rustls_error(&error));
        // One that fails because we show no certificate is not over yet.
        let failure = done.as_ref().err().cloned();
        let is_asked = tls.our_certificate() != OurCertificate::NotAsked;
        let failure = failure.filter(|_| verdict.is_ok() && !is_asked);
        let info = done.ok();
        let info = info.map(|stream| Arc::new(tls_info(&stream, tls, started.elapsed())));
        probe.tls = Some(TlsProbe {
            info,
            chain,
            sni: tls.sni().cloned(),
            verified_name: tls.verified_name().cloned(),
            verdict,
            certificate_asked: is_asked,
            certificate_shown: false,
        });
        failure.map_or(Ok(()), Err)
    }

    /// Connects as a cluster does, speaks CQL and resumes.
    async fn go_on(
        &self,
        tls: &EndpointTls,
        stats: &Stats,
        probe: &mut Probe,
    ) -> Result<(), Failure> {
        let tcp = self.connect(probe).await?;
        let Secured {
            mut stream,
            info,
            view,
        } = self.secure(tls, tcp).await?;
        if let Some(seen) = &mut probe.tls {
            let ours = tls.our_certificate();
            seen.certificate_asked |= ours != OurCertificate::NotAsked;
            seen.certificate_shown = ours == OurCertificate::Shown;
            seen.info = Some(Arc::clone(&info));
        }
        if self.config.cql || self.config.resume {
            self.speak(&mut stream, tls.our_certificate(), probe)
                .await?;
        }
        if let (Some(view), true) = (view, self.config.resume) {
            let received = stream.get_ref().1.tls13_tickets_received();
            view.commit(false, &info.chain, false);
            // Some servers forget the session of a connection that breaks off.
            let _ = within(Step::Tls, self.config.timeouts.tls, stream.shutdown()).await;
            drop(stream);
            let second = match self.connect(probe).await {
                Ok(tcp) => self.secure(tls, tcp).await,
                Err(failure) => Err(failure),
            };
            probe.resumption = Some(Resumption {
                tickets: stats.sessions_stored.get().max(u64::from(received)),
                second: second.map(|secured| secured.info.handshake),
            });
        }
        Ok(())
    }

    async fn connect(&self, probe: &mut Probe) -> Result<N::Stream, Failure> {
        let started = Instant::now();
        let connect = self.network.connect(self.config.address);
        let connected = within(Step::Connect, self.config.timeouts.connect, connect)
            .await?
            .map_err(|error| connect_failure(&error))?;
        probe.connect.get_or_insert(started.elapsed());
        Ok(connected)
    }

    async fn secure(
        &self,
        tls: &EndpointTls,
        tcp: N::Stream,
    ) -> Result<Secured<N::Stream>, Failure> {
        let started = Instant::now();
        let (config, view) = tls.connection(self.config.address, Offer::Session);
        let handshake = TlsConnector::from(config).connect(tls.server_name(), tcp);
        let stream = self.handshake(handshake, tls).await?;
        let info = Arc::new(tls_info(&stream, tls, started.elapsed()));
        Ok(Secured { stream, info, view })
    }

    async fn handshake(
        &self,
        handshake: tokio_rustls::Connect<N::Stream>,
        tls: &EndpointTls,
    ) -> Result<TlsStream<N::Stream>, Failure> {
        let limit = self.config.timeouts.tls;
        within(Step::Tls, limit, handshake)
            .await?
            .map_err(|error| handshake_failure(&error, tls))
    }

    /// OPTIONS, and STARTUP with the login where CQL is to be looked at.
    async fn speak<S>(
        &self,
        stream: &mut S,
        ours: OurCertificate,
        probe: &mut Probe,
    ) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let talking = async {
            let wish = Wish::new(ProtocolConfig {
                version: Some(self.config.version),
                compression: None,
            });
            let mut talk = Talk::new(stream, ours, wish);
            let supported = talk.supported().await?;
            if !self.config.cql {
                return Ok(());
            }
            let cql = probe.cql.insert(CqlProbe {
                supported,
                authenticator: None,
                mechanism: None,
                login: None,
            });
            cql.authenticator = talk.start(&self.config.client, &cql.supported).await?;
            let class = cql.authenticator.as_deref();
            if self.config.auth.is_some() || ours == OurCertificate::Shown {
                let auth = self.config.auth.clone();
                let (callbacks, events) = (&self.config.callbacks, Arc::new(NoEvents) as _);
                let auth = auth.map(|auth| Arc::new(Auth::new(auth, callbacks, &events)));
                let to = LoginTo {
                    host: self.config.endpoint.host.as_str().into(),
                    address: self.config.address,
                    ours,
                    certificate: ours,
                    auth: auth.as_ref(),
                };
                cql.login = Some(talk.log_in(class, &to).await);
                cql.mechanism = talk.mechanism();
            }
            Ok(())
        };
        within(Step::Login, self.config.timeouts.login, talking).await?
    }
}
