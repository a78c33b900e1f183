//! From an endpoint to a connection that is logged in.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustls::HandshakeKind;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

use super::{ConnectionInfo, MaybeTls, Role, TlsInfo};
use crate::cluster::Shared;
use crate::config::ClusterConfig;
use crate::error::Step;
use crate::login;
use crate::network::Network;
use crate::node::Endpoint;
use crate::tls::{failure_of, EndpointTls, View};
use crate::{ConnectError, Failure, Stats};

/// A TCP connection that takes longer is not counted among the handshakes until it is there.
const SLOW_CONNECT: Duration = Duration::from_millis(250);

type Permit<'a> = SemaphorePermit<'a>;

/// A connection that is logged in.
pub(crate) struct Opened<S> {
    pub(crate) stream: MaybeTls<S>,
    pub(crate) info: ConnectionInfo,
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
    tls: Option<&EndpointTls>,
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
            name: &name,
            address,
            role,
            shared,
            config: &shared.config,
            tls,
            stats: &shared.stats,
        };
        match attempt.run().await {
            Ok(opened) => return Ok(opened),
            Err(failure) => {
                let final_word = is_about_the_server(&failure);
                last = error(Some(address), failure);
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
            | Failure::UnknownAuthenticator(_)
            | Failure::AuthRequired(_)
            | Failure::AuthNotRequested
            | Failure::Keyspace(_)
    )
}

struct Attempt<'a, N> {
    network: &'a N,
    name: &'a Arc<str>,
    address: SocketAddr,
    role: Role,
    shared: &'a Shared,
    config: &'a ClusterConfig,
    tls: Option<&'a EndpointTls>,
    stats: &'a Stats,
}

impl<N: Network> Attempt<'_, N> {
    async fn run(&self) -> Result<Opened<N::Stream>, Failure> {
        let _turn = self.shared.refusal.pass().await;
        let (tcp, permit, started) = self.connect_in_turn().await?;
        let Some(tls) = self.tls else {
            return self.login(MaybeTls::Plain(tcp), None, started).await;
        };
        let (stream, view, duration) = match self.secure(tls, tcp).await? {
            Some(secured) => secured,
            None => {
                drop(permit);
                self.stats.sessions_refused.add();
                tls.purge();
                // Stale again: another connection's session, stored in between.
                let (tcp, _permit, _) = self.connect_in_turn().await?;
                let again = self.secure(tls, tcp).await?;
                again.ok_or(Failure::Unexpected("a stale TLS session, twice"))?
            }
        };
        let info = tls_info(&stream, tls, duration);
        let stream = MaybeTls::Tls(Box::new(stream));
        let opened = match self.login(stream, Some(info), started).await {
            Ok(opened) => opened,
            Err(failure) => {
                if matches!(failure, Failure::BadCredentials(_)) {
                    tls.purge();
                }
                return Err(failure);
            }
        };
        if let Some(view) = view {
            view.commit();
        }
        Ok(opened)
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
        let limit = self.config.timeouts.connect;
        within(Step::Connect, limit, self.network.connect(self.address))
            .await?
            .map_err(|error| connect_failure(&error))
    }

    /// Nothing if a session was resumed whose certificate no longer passes.
    async fn secure(
        &self,
        tls: &EndpointTls,
        tcp: N::Stream,
    ) -> Result<Option<Secured<N::Stream>>, Failure> {
        let started = Instant::now();
        let (config, view) = tls.connection();
        let handshake = TlsConnector::from(config).connect(tls.server_name(), tcp);
        let stream = within(Step::Tls, self.config.timeouts.tls, handshake)
            .await
            .and_then(|done| done.map_err(|error| handshake_failure(&error)))
            .inspect_err(|_| self.stats.handshakes_failed.add())?;
        let session = stream.get_ref().1;
        if session.handshake_kind() != Some(HandshakeKind::Resumed) {
            self.stats.handshakes_full.add();
            return Ok(Some((stream, view, started.elapsed())));
        }
        let chain = session.peer_certificates().unwrap_or_default();
        match tls.verify_again(chain) {
            Ok(()) => {
                self.stats.handshakes_resumed.add();
                Ok(Some((stream, view, started.elapsed())))
            }
            Err(_) => Ok(None),
        }
    }

    async fn login(
        &self,
        mut stream: MaybeTls<N::Stream>,
        tls: Option<TlsInfo>,
        started: Instant,
    ) -> Result<Opened<N::Stream>, Failure> {
        let limit = self.config.timeouts.login;
        // The control connection needs none, and learns the nodes even where it does not exist.
        let keyspace = match self.role {
            Role::Pool(_) => self.config.keyspace.as_deref(),
            Role::Control => None,
        };
        let login = login::login(&mut stream, self.config, keyspace);
        let login = within(Step::Login, limit, login)
            .await
            .and_then(|done| done)
            .inspect_err(|failure| {
                if matches!(failure, Failure::BadCredentials(_)) {
                    self.stats.logins_refused.add();
                    self.shared.refusal.refused();
                }
            })?;
        if login.authenticator.is_some() {
            self.stats.logins.add();
            self.shared.refusal.accepted();
        }
        Ok(Opened {
            stream,
            info: ConnectionInfo {
                role: self.role,
                endpoint: Arc::clone(self.name),
                address: self.address,
                tls,
                authenticator: login.authenticator,
                cql_versions: login.cql_versions,
                duration: started.elapsed(),
            },
            unread: login.unread,
        })
    }
}

/// A TLS stream, its view of the sessions, and the handshake's duration.
type Secured<S> = (TlsStream<S>, Option<Arc<View>>, Duration);

pub(crate) async fn within<T>(
    step: Step,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    timeout(limit, work)
        .await
        .map_err(|_| Failure::Timeout { step, limit })
}

fn connect_failure(error: &io::Error) -> Failure {
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
fn handshake_failure(error: &io::Error) -> Failure {
    match failure_of(error) {
        Failure::Io(text) => Failure::Tls(text),
        other => other,
    }
}

fn tls_info<S>(stream: &TlsStream<S>, tls: &EndpointTls, duration: Duration) -> TlsInfo {
    let session = stream.get_ref().1;
    let cipher = session.negotiated_cipher_suite();
    TlsInfo {
        version: session
            .protocol_version()
            .and_then(|version| version.as_str())
            .unwrap_or("unknown"),
        cipher: cipher.map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        verified_name: tls.verified_name().cloned(),
        chain: session
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|der| der.to_vec())
            .collect(),
        duration,
    }
}
