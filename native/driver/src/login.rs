//! From an open stream to one that takes requests: OPTIONS, STARTUP, the login, USE.

use bytes::BytesMut;
use palladion_cql::frame::{FrameReader, Sender};
use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{code, Message, Response, ResultBody, ServerError};
use palladion_cql::Consistency;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::config::{AuthConfig, ClusterConfig, PASSWORD_AUTHENTICATORS};
use crate::tls::failure_of;
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

pub(crate) async fn login<S>(
    stream: &mut S,
    config: &ClusterConfig,
    keyspace: Option<&str>,
) -> Result<Login, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk {
        stream,
        frames: FrameReader::new(Sender::Server, MAX_LOGIN_FRAME),
        input: BytesMut::new(),
    };
    let Message::Supported(supported) = talk.ask(&request::options()).await? else {
        return Err(Failure::Unexpected("to OPTIONS"));
    };
    let cql_versions: Vec<String> = supported
        .into_iter()
        .find_map(|(key, values)| (key == "CQL_VERSION").then_some(values))
        .unwrap_or_default();
    let authenticator = startup(&mut talk, config, &cql_versions).await?;
    if let Some(keyspace) = keyspace {
        use_keyspace(&mut talk, keyspace).await?;
    }
    Ok(Login {
        authenticator,
        cql_versions,
        unread: talk.input,
    })
}

async fn startup<S>(
    talk: &mut Talk<'_, S>,
    config: &ClusterConfig,
    cql_versions: &[String],
) -> Result<Option<String>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let client = &config.client;
    let cql_version = cql_versions.first().map_or("3.0.0", String::as_str);
    let mut options = vec![
        ("CQL_VERSION", cql_version),
        ("DRIVER_NAME", &client.driver_name),
        ("DRIVER_VERSION", &client.driver_version),
        ("CLIENT_ID", &client.client_id),
    ];
    options.extend(
        client
            .application_name
            .as_deref()
            .map(|name| ("APPLICATION_NAME", name)),
    );
    let version = client.application_version.as_deref();
    options.extend(version.map(|version| ("APPLICATION_VERSION", version)));
    let frame = request::startup(&options).map_err(|_| Failure::Unexpected("startup option"))?;
    match (talk.ask(&frame).await?, &config.auth) {
        (Message::Ready, Some(auth)) if auth.require_auth => Err(Failure::AuthNotRequested),
        (Message::Ready, _) => Ok(None),
        (Message::Authenticate(class), None) => Err(Failure::AuthRequired(class)),
        (Message::Authenticate(class), Some(auth)) => {
            password(talk, auth, &class).await?;
            Ok(Some(class))
        }
        _ => Err(Failure::Unexpected("to STARTUP")),
    }
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
struct Talk<'a, S> {
    stream: &'a mut S,
    frames: FrameReader,
    input: BytesMut,
}

impl<S> Talk<'_, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    async fn ask(&mut self, frame: &[u8]) -> Result<Message, Failure> {
        match self.ask_unchecked(frame).await? {
            Message::Error(error) => Err(refusal(error)),
            message => Ok(message),
        }
    }

    async fn ask_unchecked(&mut self, frame: &[u8]) -> Result<Message, Failure> {
        let failed = |error: std::io::Error| failure_of(&error);
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
                return Err(Failure::ClosedByServer);
            }
        }
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
