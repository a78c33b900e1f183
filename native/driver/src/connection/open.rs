//! From an endpoint to a connection that is logged in.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use palladion_cql::FrameReader;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

use super::{ConnectionInfo, HandshakeKind, MaybeTls, Role, TlsInfo};
use crate::cluster::Shared;
use crate::error::Step;
use crate::event::Event;
use crate::login::{self, LoginTo};
use crate::network::Network;
use crate::node::Endpoint;
use crate::protocol::Wish;
use crate::tls::{
    failure_of, group_name, noting_a_wish, suite_name, EndpointTls, Offer, OurCertificate, View,
};
use crate::{ConnectError, Failure, LoginProblem};

/// A TCP connection that takes longer is not counted among the handshakes until it is there.
const SLOW_CONNECT: Duration = Duration::from_millis(250);

type Permit<'a> = SemaphorePermit<'a>;

/// A connection that is logged in.
pub(crate) struct Opened<S> {
    pub(crate) stream: MaybeTls<S>,
    pub(crate) info: ConnectionInfo,
    /// How what follows is read.
    pub(crate) frames: FrameReader,
    /// What was read after the login's last answer.
    pub(crate) unread: BytesMut,
}

/// Opens a connection, trying every address of the endpoint.
///
/// A resumed TLS session whose certificate no longer passes is closed before any byte of CQL, the
/// endpoint's sessions are dropped, and one full handshake follows.
pub(crate) async fn open<N: Network>(
    network: &N,
    endpoint: &Endpoint,
    shared: &Shared,
    role: Role,
) -> Result<Opened<N::Stream>, ConnectError> {
    let name: Arc<str> = endpoint.to_string().into();
    let error = |address, failure| ConnectError {
        endpoint: Arc::clone(&name),
        address,
        failure,
    };
    let limit = shared.config.timeouts.connect;
    let resolve = network.resolve(&endpoint.host, endpoint.port);
    let addresses = within(Step::Connect, limit, resolve)
        .await
        .and_then(|found| found.map_err(|e| Failure::Dns(e.to_string())))
        .map_err(|failure| error(None, failure))?;
    let mut last = error(None, Failure::Dns("the name has no address".to_owned()));
    for address in addresses {
        let attempt = Attempt {
            network,
            endpoint,
            name: &name,
            address,
            role,
            shared,
            wish: shared.wish(),
        };
        match attempt.negotiate().await {
            Ok(opened) => {
                shared.agreed(&opened.info);
                return Ok(opened);
            }
            Err(failure) => {
                let final_word = is_about_the_server(&failure);
                if final_word || !is_about_the_protocol(&last.failure) {
                    last = error(Some(address), failure);
                }
                if final_word {
                    break;
                }
            }
        }
    }
    Err(last)
}

/// Failures that another address of the same server would only repeat: above all, a password that
/// was refused must not be tried again and again.
fn is_about_the_server(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::BadCredentials(_)
            | Failure::SignatureRefused(_)
            | Failure::UnknownAuthenticator(_)
            | Failure::AuthRequired(_)
            | Failure::AuthNotRequested
            | Failure::Keyspace(_)
            | Failure::Login(LoginProblem::Mechanism(_) | LoginProblem::Unfit { .. })
    )
}

/// What another address may do without, since a name may stand for several nodes in the middle of an
/// upgrade. It tells more than that nobody answers there.
fn is_about_the_protocol(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::UnsupportedProtocol { .. } | Failure::UnsupportedCompression { .. }
    )
}

struct Attempt<'a, N> {
    network: &'a N,
    endpoint: &'a Endpoint,
    name: &'a Arc<str>,
    address: SocketAddr,
    role: Role,
    shared: &'a Shared,
    wish: Wish,
}

impl<N: Network> Attempt<'_, N> {
    /// Asks for older versions of the protocol as long as newer ones are refused, each on a
    /// connection of its own: a server closes one whose version it doesn't speak.
    async fn negotiate(mut self) -> Result<Opened<N::Stream>, Failure> {
        loop {
            let failure = match self.run().await {
                Ok(opened) => return Ok(opened),
                Err(failure) => failure,
            };
            let older = match &failure {
                Failure::UnsupportedProtocol { server, .. } => self.wish.older(*server),
                _ => None,
            };
            match older {
                Some(older) => self.wish = older,
                None => return Err(failure),
            }
        }
    }

    async fn run(&self) -> Result<Opened<N::Stream>, Failure> {
        let _turn = self.shared.refusal.pass().await;
        let (tcp, mut permit, started) = self.connect_in_turn().await?;
        // Not before it's needed: it may be replaced while this one waits.
        let Some(tls) = self.shared.endpoint_tls(self.endpoint)? else {
            let plain = MaybeTls::Plain(tcp);
            let not_asked = Certificate {
                seen: OurCertificate::NotAsked,
                seen_now: OurCertificate::NotAsked,
            };
            return self.login(plain, None, not_asked, started).await;
        };
        let secured = match self.secure(&tls, tcp, Offer::Session).await {
            Ok(secured) => secured,
            Err(Unsecured::Failed(failure)) => return Err(failure),
            Err(Unsecured::Session(view)) => {
                drop(permit);
                let (tcp, again, _) = self.connect_in_turn().await?;
                permit = again;
                let full = self.secure(&tls, tcp, Offer::Nothing).await;
                let full = full.map_err(Unsecured::into_failure)?;
                view.to_blame();
                full
            }
        };
        // The server is not told anything by the word of a configuration that is no longer in force.
        if Some(tls.generation()) != self.shared.generation() {
            return Err(Failure::Closed);
        }
        let Secured {
            stream,
            view,
            info,
            seen,
        } = secured;
        let resumed = info.handshake == HandshakeKind::Resumed;
        let stream = MaybeTls::Tls(Box::new(stream));
        let certificate = Certificate {
            seen,
            seen_now: if resumed {
                OurCertificate::NotAsked
            } else {
                seen
            },
        };
        let opened = self
            .login(stream, Some(Arc::clone(&info)), certificate, started)
            .await;
        drop(permit);
        if let Some(view) = view {
            match &opened {
                Ok(_) => view.commit(resumed, &info.chain, seen == OurCertificate::Shown),
                Err(failure) if failure.is_refused_login() => view.purge(),
                Err(_) => {}
            }
        }
        opened
    }

    /// Connects when it's this one's turn; when that was, is told as well.
    async fn connect_in_turn(&self) -> Result<(N::Stream, Option<Permit<'_>>, Instant), Failure> {
        let permit = self.permit().await;
        let started = Instant::now();
        let mut connecting = pin!(self.connect());
        if let Ok(connected) = timeout(SLOW_CONNECT, &mut connecting).await {
            return Ok((connected?, permit, started));
        }
        // One who doesn't even answer must not hold up those who do.
        drop(permit);
        let tcp = connecting.await?;
        Ok((tcp, self.permit().await, started))
    }

    /// The control connection has one of its own.
    async fn permit(&self) -> Option<Permit<'_>> {
        match self.role {
            Role::Pool(_) => self.shared.handshakes.acquire().await.ok(),
            Role::Control => None,
        }
    }

    async fn connect(&self) -> Result<N::Stream, Failure> {
        let limit = self.shared.config.timeouts.connect;
        within(Step::Connect, limit, self.network.connect(self.address))
            .await?
            .map_err(|error| connect_failure(&error))
    }

    /// The TLS handshake, and after a resumed one the verification that it leaves out.
    async fn secure(
        &self,
        tls: &EndpointTls,
        tcp: N::Stream,
        offer: Offer,
    ) -> Result<Secured<N::Stream>, Unsecured> {
        let started = Instant::now();
        let stats = &self.shared.stats;
        let (config, view) = tls.connection(self.address, offer);
        let handshake = TlsConnector::from(config).connect(tls.server_name(), tcp);
        let limit = self.shared.config.timeouts.tls;
        let (stream, is_asked) = noting_a_wish(within(Step::Tls, limit, handshake)).await;
        let stream = stream.and_then(|done| done.map_err(|error| handshake_failure(&error, tls)));
        let failed = |failure: Failure| {
            stats.handshakes_failed.add();
            self.tell(started, Err(failure.clone()));
            failure
        };
        let stream = stream.map_err(|failure| {
            let failure = failed(failure);
            match &view {
                Some(view) if view.failed(&failure) => Unsecured::Session(Arc::clone(view)),
                _ => Unsecured::Failed(failure),
            }
        })?;
        let info = tls_info(&stream, tls, started.elapsed());
        let resumed = info.handshake == HandshakeKind::Resumed;
        if let Some(view) = &view {
            view.handshake_done(resumed);
        }
        if resumed {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            if let Err(failure) = tls.verify_again(chain) {
                let failure = failed(failure);
                return Err(match view {
                    Some(view) => {
                        view.refused();
                        Unsecured::Session(view)
                    }
                    None => Unsecured::Failed(failure),
                });
            }
        }
        match info.handshake {
            HandshakeKind::Resumed => stats.handshakes_resumed.add(),
            HandshakeKind::Full => stats.handshakes_full.add(),
            HandshakeKind::HelloRetry => {
                stats.handshakes_full.add();
                stats.handshakes_hello_retry.add();
            }
        }
        let seen = match &view {
            // It has seen the certificate in the handshake that its session descends from, or never.
            Some(view) if resumed && view.was_shown() => OurCertificate::Shown,
            _ if resumed => OurCertificate::NotAsked,
            _ => tls.seen_certificate(is_asked),
        };
        let info = Arc::new(info);
        self.tell(started, Ok(Arc::clone(&info)));
        Ok(Secured {
            stream,
            view,
            info,
            seen,
        })
    }

    fn tell(&self, started: Instant, outcome: Result<Arc<TlsInfo>, Failure>) {
        self.shared.events.event(Event::Handshake {
            role: self.role,
            endpoint: Arc::clone(self.name),
            address: self.address,
            duration: started.elapsed(),
            outcome,
        });
    }

    async fn login(
        &self,
        mut stream: MaybeTls<N::Stream>,
        tls: Option<Arc<TlsInfo>>,
        certificate: Certificate,
        started: Instant,
    ) -> Result<Opened<N::Stream>, Failure> {
        let config = &self.shared.config;
        let auth = self.shared.auth.load_full();
        let limit = config.timeouts.login;
        // The control connection needs none, and learns the nodes even where it does not exist.
        let keyspace = match self.role {
            Role::Pool(_) => config.keyspace.as_deref(),
            Role::Control => None,
        };
        let to = LoginTo {
            host: self.endpoint.host.as_str().into(),
            address: self.address,
            ours: certificate.seen_now,
            certificate: certificate.seen,
            auth: auth.as_ref(),
        };
        let login = login::login(&mut stream, config, self.wish, keyspace, &to);
        let login = within(Step::Login, limit, login)
            .await
            .and_then(|done| done)
            .inspect_err(|failure| {
                if failure.is_refused_login() {
                    self.shared.stats.logins_refused.add();
                    self.shared.login_refused(auth.as_ref());
                }
            })?;
        if login.authenticator.is_some() {
            self.shared.stats.logins.add();
            self.shared.refusal.accepted();
        }
        Ok(Opened {
            stream,
            info: ConnectionInfo {
                role: self.role,
                endpoint: Arc::clone(self.name),
                address: self.address,
                tls,
                dialect: login.dialect,
                authenticator: login.authenticator,
                mechanism: login.mechanism,
                cql_versions: login.cql_versions,
                duration: started.elapsed(),
            },
            frames: login.frames,
            unread: login.unread,
        })
    }
}

/// What the server has seen of our certificate.
#[derive(Clone, Copy)]
struct Certificate {
    /// On this connection, or on the one whose session it resumed.
    seen: OurCertificate,
    /// On this connection.
    seen_now: OurCertificate,
}

/// A connection whose server has proved who it is.
struct Secured<S> {
    stream: TlsStream<S>,
    view: Option<Arc<View>>,
    info: Arc<TlsInfo>,
    /// What it has seen of our certificate, here or in the handshake that its session is of.
    seen: OurCertificate,
}

/// Why there is no such connection.
enum Unsecured {
    Failed(Failure),
    /// The session that was offered may be to blame: without one it may go well.
    Session(Arc<View>),
}

impl Unsecured {
    fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Session(_) => Failure::Unexpected("a resumed session where none was offered"),
        }
    }
}

pub(crate) async fn within<T>(
    step: Step,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    timeout(limit, work)
        .await
        .map_err(|_| Failure::Timeout { step, limit })
}

pub(crate) fn connect_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Failure::Unreachable(error.to_string())
        }
        io::ErrorKind::TimedOut => Failure::Unreachable(error.to_string()),
        _ => Failure::Connect(error.to_string()),
    }
}

/// During the handshake a peer that closes without a word is most often one that speaks no TLS.
pub(crate) fn handshake_failure(error: &io::Error, tls: &EndpointTls) -> Failure {
    match failure_of(error, tls.our_certificate()) {
        Failure::Io(text) => Failure::Tls(text),
        other => other,
    }
}

pub(crate) fn tls_info<S>(stream: &TlsStream<S>, tls: &EndpointTls, duration: Duration) -> TlsInfo {
    let session = stream.get_ref().1;
    let cipher = session.negotiated_cipher_suite();
    let group = session.negotiated_key_exchange_group();
    TlsInfo {
        version: session
            .protocol_version()
            .and_then(|version| version.as_str())
            .unwrap_or("unknown"),
        cipher: cipher.map_or_else(String::new, |suite| suite_name(suite.suite())),
        group: group.map(|group| group_name(group.name())),
        handshake: match session.handshake_kind() {
            Some(rustls::HandshakeKind::Resumed) => HandshakeKind::Resumed,
            Some(rustls::HandshakeKind::FullWithHelloRetryRequest) => HandshakeKind::HelloRetry,
            _ => HandshakeKind::Full,
        },
        verified_name: tls.verified_name().cloned(),
        chain: tls.chain(session.peer_certificates().unwrap_or_default()),
        duration,
        generation: tls.generation(),
    }
}
