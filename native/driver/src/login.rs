//! From an open stream to one that takes requests: OPTIONS, STARTUP, the login, USE.

use bytes::BytesMut;
use palladion_cql::frame::{FrameReader, Sender};
use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{code, Message, Response, ResultBody, ServerError};
use palladion_cql::Consistency;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::config::{AuthConfig, ClientIdentity, ClusterConfig, PASSWORD_AUTHENTICATORS};
use crate::tls::{failure_of, OurCertificate};
use crate::Failure;

/// What was learned on the way.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) authenticator: Option<String>,
    pub(crate) cql_versions: Vec<String>,
    pub(crate) unread: BytesMut,
}

/// Before the login nobody is trusted with memory: all answers until then are short.
const MAX_LOGIN_FRAME: u32 = 1 << 20;

/// `ours` is what the server has seen of our certificate: on TLS 1.3 it says only now what it thinks
/// of it.
pub(crate) async fn login<S>(
    stream: &mut S,
    config: &ClusterConfig,
    keyspace: Option<&str>,
    ours: OurCertificate,
) -> Result<Login, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(stream, ours);
    let supported = talk.supported().await?;
    let authenticator = talk.start(&config.client, &supported).await?;
    talk.log_in(authenticator.as_deref(), config.auth.as_ref())
        .await?;
    if let Some(keyspace) = keyspace {
        use_keyspace(&mut talk, keyspace).await?;
    }
    Ok(Login {
        authenticator,
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

/// SASL PLAIN (RFC 4616) with an empty authorization id.
async fn password<S>(talk: &mut Talk<'_, S>, auth: &AuthConfig, class: &str) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let allowed = &auth.allowed_authenticators;
    if !PASSWORD_AUTHENTICATORS.contains(&class) && !allowed.iter().any(|name| name == class) {
        return Err(Failure::UnknownAuthenticator(class.to_owned()));
    }
    let password = auth.password.expose();
    let mut token = Zeroizing::new(Vec::with_capacity(auth.username.len() + password.len() + 2));
    token.push(0);
    token.extend_from_slice(auth.username.as_bytes());
    token.push(0);
    token.extend_from_slice(password);
    let frame = request::auth_response(&token).map_err(|_| Failure::Unexpected("password"))?;
    match talk.ask(&Zeroizing::new(frame)).await? {
        Message::AuthSuccess(_) => Ok(()),
        _ => Err(Failure::Unexpected("to AUTH_RESPONSE")),
    }
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

    /// The login that this class of authenticator asks for, or none.
    pub(crate) async fn log_in(
        &mut self,
        class: Option<&str>,
        auth: Option<&AuthConfig>,
    ) -> Result<(), Failure> {
        match (class, auth) {
            (None, Some(auth)) if auth.require_auth => Err(Failure::AuthNotRequested),
            (None, _) => Ok(()),
            (Some(class), None) => Err(Failure::AuthRequired(class.to_owned())),
            (Some(class), Some(auth)) => password(self, auth, class).await,
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
        code::BAD_CREDENTIALS => Failure::BadCredentials(error.message),
        code::PROTOCOL => Failure::UnsupportedProtocol(error.message),
        _ => Failure::Server(error),
    }
}
