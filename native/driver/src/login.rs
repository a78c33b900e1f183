//! From an open stream to one that takes requests: OPTIONS, STARTUP, the login, USE.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use palladion_cql::frame::{FrameReader, Sender};
use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{code, Message, Response, ResultBody, ServerError};
use palladion_cql::Consistency;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::auth::{self, Auth};
use crate::config::{ClientIdentity, ClusterConfig};
use crate::tls::{failure_of, OurCertificate};
use crate::{Failure, RefusedLogin};

/// What was learned on the way.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) authenticator: Option<String>,
    pub(crate) mechanism: Option<&'static str>,
    pub(crate) cql_versions: Vec<String>,
    pub(crate) unread: BytesMut,
}

/// Before the login nobody is trusted with memory: all answers until then are short.
const MAX_LOGIN_FRAME: u32 = 1 << 20;

/// Whom to log in to, and with what.
pub(crate) struct LoginTo<'a> {
    /// As it is dialled.
    pub(crate) host: Arc<str>,
    pub(crate) address: SocketAddr,
    /// What the server has seen of our certificate on this connection: on TLS 1.3 it says only now
    /// what it thinks of it.
    pub(crate) ours: OurCertificate,
    /// The same, or what it had seen of it before where a session was resumed.
    pub(crate) certificate: OurCertificate,
    pub(crate) auth: Option<&'a Arc<Auth>>,
}

/// OPTIONS, STARTUP, the login, and USE where there is a keyspace.
pub(crate) async fn login<S>(
    stream: &mut S,
    config: &ClusterConfig,
    keyspace: Option<&str>,
    to: &LoginTo<'_>,
) -> Result<Login, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(stream, to.ours);
    let supported = talk.supported().await?;
    let authenticator = talk.start(&config.client, &supported).await?;
    talk.log_in(authenticator.as_deref(), to).await?;
    if let Some(keyspace) = keyspace {
        use_keyspace(&mut talk, keyspace).await?;
    }
    Ok(Login {
        authenticator,
        mechanism: talk.mechanism,
        cql_versions: cql_versions(&supported).to_vec(),
        unread: talk.input,
    })
}

/// What a server says that it supports.
pub(crate) type Supported = Vec<(String, Vec<String>)>;

fn cql_versions(supported: &Supported) -> &[String] {
    let found = supported.iter().find(|(key, _)| key == "CQL_VERSION");
    found.map_or(&[], |(_, versions)| versions)
}

async fn use_keyspace<S>(talk: &mut Talk<'_, S>, keyspace: &str) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let statement = format!("USE \"{}\"", keyspace.replace('"', "\"\""));
    let parameters = Parameters {
        consistency: Consistency::One,
        ..Parameters::default()
    };
    let frame = request::query(&statement, &parameters)
        .map_err(|_| Failure::Unexpected("keyspace's name"))?;
    match talk.ask_unchecked(&frame).await? {
        Message::Result(ResultBody::SetKeyspace(_)) => Ok(()),
        Message::Error(error) => Err(Failure::Keyspace(error)),
        _ => Err(Failure::Unexpected("to USE")),
    }
}

/// One question, one answer.
pub(crate) struct Talk<'a, S> {
    stream: &'a mut S,
    frames: FrameReader,
    input: BytesMut,
    ours: OurCertificate,
    /// How the login is tried.
    mechanism: Option<&'static str>,
    /// The server has sent something, so it has no objection to our certificate.
    is_answered: bool,
}

impl<'a, S> Talk<'a, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(stream: &'a mut S, ours: OurCertificate) -> Self {
        Self {
            stream,
            frames: FrameReader::new(Sender::Server, MAX_LOGIN_FRAME),
            input: BytesMut::new(),
            ours,
            mechanism: None,
            is_answered: false,
        }
    }

    /// OPTIONS
    pub(crate) async fn supported(&mut self) -> Result<Supported, Failure> {
        match self.ask(&request::options()).await? {
            Message::Supported(supported) => Ok(supported),
            _ => Err(Failure::Unexpected("to OPTIONS")),
        }
    }

    /// STARTUP: the authenticator's class if the server asks for a login.
    pub(crate) async fn start(
        &mut self,
        client: &ClientIdentity,
        supported: &Supported,
    ) -> Result<Option<String>, Failure> {
        let cql_version = cql_versions(supported)
            .first()
            .map_or("3.0.0", String::as_str);
        let mut options = vec![
            ("CQL_VERSION", cql_version),
            ("DRIVER_NAME", &client.driver_name),
            ("DRIVER_VERSION", &client.driver_version),
            ("CLIENT_ID", &client.client_id),
        ];
        let name = client.application_name.as_deref();
        options.extend(name.map(|name| ("APPLICATION_NAME", name)));
        let version = client.application_version.as_deref();
        options.extend(version.map(|version| ("APPLICATION_VERSION", version)));
        let frame =
            request::startup(&options).map_err(|_| Failure::Unexpected("startup option"))?;
        match self.ask(&frame).await? {
            Message::Ready => Ok(None),
            Message::Authenticate(class) => Ok(Some(class)),
            _ => Err(Failure::Unexpected("to STARTUP")),
        }
    }

    /// How the login was tried, if it was: a mechanism of SASL, `SigV4` or `custom`.
    pub(crate) fn mechanism(&self) -> Option<&'static str> {
        self.mechanism
    }

    /// The login that this class of authenticator asks for, or none.
    pub(crate) async fn log_in(
        &mut self,
        class: Option<&str>,
        to: &LoginTo<'_>,
    ) -> Result<(), Failure> {
        let begun = auth::begin(to.auth, class, &to.host, to.address, to.certificate).await?;
        let Some(mut exchange) = begun else {
            return Ok(());
        };
        let mut token = exchange.initial().await?;
        loop {
            self.mechanism = Some(exchange.mechanism());
            let frame = request::auth_response(token.as_ref().map(|token| token.as_slice()))
                .map_err(|_| Failure::Unexpected("token, which is too long"))?;
            match self.ask_unchecked(&Zeroizing::new(frame)).await? {
                Message::AuthChallenge(challenge) => {
                    token = exchange.respond(&challenge.unwrap_or_default()).await?;
                }
                Message::AuthSuccess(last) => return exchange.finish(last.as_deref()).await,
                Message::Error(error) if error.code == code::BAD_CREDENTIALS => {
                    token = match exchange.next_name() {
                        Some(next) => next?,
                        None => return Err(exchange.refused(error.message, class)),
                    };
                }
                Message::Error(error) => return Err(refusal(error)),
                _ => return Err(Failure::Unexpected("to AUTH_RESPONSE")),
            }
        }
    }

    async fn ask(&mut self, frame: &[u8]) -> Result<Message, Failure> {
        match self.ask_unchecked(frame).await? {
            Message::Error(error) => Err(refusal(error)),
            message => Ok(message),
        }
    }

    async fn ask_unchecked(&mut self, frame: &[u8]) -> Result<Message, Failure> {
        let (ours, is_answered) = (self.ours, self.is_answered);
        let failed = |error: std::io::Error| match failure_of(&error, ours) {
            Failure::ClosedByServer if !is_answered => closed_at_once(ours),
            other => other,
        };
        self.stream.write_all(frame).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)?;
        loop {
            if let Some(frame) = self.frames.next(&mut self.input).map_err(first_bytes)? {
                // Nothing is registered for, but an event would be no answer.
                if frame.header.stream >= 0 {
                    return Ok(Response::parse(&frame)?.message);
                }
            }
            if self
                .stream
                .read_buf(&mut self.input)
                .await
                .map_err(failed)?
                == 0
            {
                return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
            }
            self.is_answered = true;
        }
    }
}

/// The alert may be lost on the way, when the server closes at once.
fn closed_at_once(ours: OurCertificate) -> Failure {
    let text = || "closed without an alert, after it had asked for a certificate".to_owned();
    match ours {
        OurCertificate::NotAsked => Failure::ClosedByServer,
        OurCertificate::Missing => Failure::CertificateMissing(text()),
        OurCertificate::Shown => Failure::CertificateRejected(text()),
    }
}

fn first_bytes(error: palladion_cql::DecodeError) -> Failure {
    match error {
        palladion_cql::DecodeError::TlsRecord => Failure::RequiresTls,
        other => Failure::Protocol(other),
    }
}

fn refusal(error: ServerError) -> Failure {
    match error.code {
        code::BAD_CREDENTIALS => Failure::BadCredentials(RefusedLogin {
            message: error.message,
            class: None,
            mechanism: None,
        }),
        code::PROTOCOL => Failure::UnsupportedProtocol(error.message),
        _ => Failure::Server(error),
    }
}
