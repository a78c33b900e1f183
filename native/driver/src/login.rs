//! From an open stream to one that takes requests: OPTIONS, STARTUP, the login, USE. Nothing is in
//! segments before the answer to STARTUP is there, and nothing is compressed before that answer.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use palladion_cql::frame::{FrameReader, Sender};
use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{code, Message, Response, ResultBody, ServerError};
use palladion_cql::segment::SegmentWriter;
use palladion_cql::{Consistency, DecodeError, Dialect, Frame, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::coop::consume_budget;
use zeroize::Zeroizing;

use crate::auth::{self, Auth};
use crate::config::{ClientIdentity, ClusterConfig};
use crate::connection::unasked;
use crate::protocol::Wish;
use crate::tls::{failure_of, OurCertificate};
use crate::{Failure, RefusedLogin};

/// What was learned on the way.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) authenticator: Option<String>,
    pub(crate) mechanism: Option<&'static str>,
    pub(crate) cql_versions: Vec<String>,
    pub(crate) dialect: Dialect,
    pub(crate) frames: FrameReader,
    pub(crate) unread: BytesMut,
}

/// What requests are asked on that are built for no other.
const STREAM: i16 = 0;

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
    wish: Wish,
    keyspace: Option<&str>,
    to: &LoginTo<'_>,
) -> Result<Login, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(stream, to.ours, wish);
    let supported = talk.supported().await?;
    let authenticator = talk.start(&config.client, &supported).await?;
    talk.log_in(authenticator.as_deref(), to).await?;
    if let Some(keyspace) = keyspace {
        use_keyspace(&mut talk, keyspace).await?;
    }
    Ok(Login {
        authenticator,
        mechanism: talk.mechanism,
        cql_versions: option(&supported, "CQL_VERSION").to_vec(),
        dialect: talk.dialect,
        frames: talk.frames,
        unread: talk.input,
    })
}

/// What a server says that it supports.
pub(crate) type Supported = Vec<(String, Vec<String>)>;

fn option<'a>(supported: &'a Supported, name: &str) -> &'a [String] {
    let found = supported.iter().find(|(key, _)| key == name);
    found.map_or(&[], |(_, values)| values)
}

/// Extensions of ScyllaDB.
const METADATA_IDS: &str = "SCYLLA_USE_METADATA_ID";
const RATE_LIMIT_ERROR: &str = "SCYLLA_RATE_LIMIT_ERROR";

/// What there is to agree on with this server, as far as it is wanted.
fn dialect(wish: Wish, supported: &Supported) -> Result<Dialect, Failure> {
    let compression = match wish.compression {
        Some(compression) => {
            let offered = option(supported, "COMPRESSION");
            let name = compression.name();
            if !offered.iter().any(|one| one.eq_ignore_ascii_case(name)) {
                return Err(Failure::UnsupportedCompression {
                    wanted: name,
                    offered: offered.to_vec(),
                });
            }
            Some(compression)
        }
        None => None,
    };
    let offers = |name: &str| supported.iter().any(|(key, _)| key == name);
    let code = option(supported, RATE_LIMIT_ERROR)
        .iter()
        .find_map(|value| value.strip_prefix("ERROR_CODE=")?.parse().ok());
    Ok(Dialect {
        version: wish.version,
        compression,
        metadata_ids: wish.metadata_ids && wish.version < Version::V5 && offers(METADATA_IDS),
        rate_limit_error: code,
    })
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
    let frame = request::query(&talk.dialect, &statement, &parameters)
        .map_err(|_| Failure::Unexpected("keyspace's name"))?;
    match talk.ask_unchecked(&frame).await? {
        Message::Result(ResultBody::SetKeyspace(_)) => Ok(()),
        Message::Error(error) => Err(Failure::Keyspace(error)),
        _ => Err(Failure::Unexpected("to USE")),
    }
}

/// What a server may object to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Nothing but the version.
    Version,
    Options,
}

/// One question, one answer.
pub(crate) struct Talk<'a, S> {
    stream: &'a mut S,
    wish: Wish,
    dialect: Dialect,
    /// Nothing before the server has agreed to that.
    segments: Option<SegmentWriter>,
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
    pub(crate) fn new(stream: &'a mut S, ours: OurCertificate, wish: Wish) -> Self {
        Self {
            stream,
            wish,
            dialect: Dialect::plain(wish.version),
            segments: None,
            frames: FrameReader::new(Sender::Server, wish.version, MAX_LOGIN_FRAME).negotiating(),
            input: BytesMut::new(),
            ours,
            mechanism: None,
            is_answered: false,
        }
    }

    /// OPTIONS
    pub(crate) async fn supported(&mut self) -> Result<Supported, Failure> {
        let options = request::options(&self.dialect);
        match self.ask(&options, Asks::Version).await? {
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
        let dialect = dialect(self.wish, supported)?;
        let cql_version = option(supported, "CQL_VERSION")
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
        let compression = dialect.compression.map(|c| ("COMPRESSION", c.name()));
        options.extend(compression);
        options.extend(dialect.metadata_ids.then_some((METADATA_IDS, "")));
        options.extend(dialect.rate_limit_error.map(|_| (RATE_LIMIT_ERROR, "")));
        let frame = request::startup(&self.dialect, &options)
            .map_err(|_| Failure::Unexpected("startup option"))?;
        self.frames.decompressing(dialect.compression);
        let class = match self.ask(&frame, Asks::Options).await? {
            Message::Ready => None,
            Message::Authenticate(class) => Some(class),
            _ => return Err(Failure::Unexpected("to STARTUP")),
        };
        self.dialect = dialect;
        self.frames.agree(dialect);
        if dialect.version >= Version::V5 {
            self.segments = Some(SegmentWriter::new(dialect.compression));
        }
        Ok(class)
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
            let token_bytes = token.as_ref().map(|token| token.as_slice());
            let frame = request::auth_response(&self.dialect, token_bytes)
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

    async fn ask(&mut self, frame: &[u8], asks: Asks) -> Result<Message, Failure> {
        let answer = self.exchange(frame).await?;
        let is_ours = answer.header.version == self.wish.version.number();
        match Response::parse(&answer)?.message {
            Message::Error(error)
                if is_about_the_version(&error)
                    || (error.code == code::PROTOCOL && (asks == Asks::Version || !is_ours)) =>
            {
                Err(Failure::UnsupportedProtocol {
                    message: error.message,
                    server: Some(answer.header.version),
                })
            }
            Message::Error(error) => Err(refusal(error)),
            // Only a refusal may be in another version than the question.
            _ if !is_ours => Err(DecodeError::Version(answer.header.version).into()),
            message => Ok(message),
        }
    }

    async fn ask_unchecked(&mut self, frame: &[u8]) -> Result<Message, Failure> {
        let answer = self.exchange(frame).await?;
        Ok(Response::parse(&answer)?.message)
    }

    async fn exchange(&mut self, frame: &[u8]) -> Result<Frame, Failure> {
        let segment;
        let bytes = match &mut self.segments {
            Some(segments) => {
                let mut out = Vec::new();
                segments.put_secret(frame, &mut out);
                segment = Zeroizing::new(out);
                segment.as_slice()
            }
            None => frame,
        };
        let (ours, is_answered) = (self.ours, self.is_answered);
        let failed = |error: std::io::Error| match failure_of(&error, ours) {
            Failure::ClosedByServer if !is_answered => closed_at_once(ours),
            other => other,
        };
        self.stream.write_all(bytes).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)?;
        loop {
            while let Some(frame) = self.frames.next(&mut self.input).map_err(first_bytes)? {
                match frame.header.stream {
                    STREAM => return Ok(frame),
                    // Nothing is registered for, but an event would be no answer. A few bytes can become
                    // very many of them, which must not hold up those who share the thread.
                    _ if frame.header.is_event() => consume_budget().await,
                    other => return Err(unasked(other).into()),
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

fn first_bytes(error: DecodeError) -> Failure {
    match error {
        DecodeError::TlsRecord => Failure::RequiresTls,
        // Their frames have another header, so that what they say can't be read.
        DecodeError::Version(first @ (0x81 | 0x82)) => Failure::UnsupportedProtocol {
            message: String::new(),
            server: Some(first & 0x7F),
        },
        other => Failure::Protocol(other),
    }
}

/// Some versions of Cassandra 2.1 and 2.2 call a version that they don't know an error of their own:
/// only its text tells.
fn is_about_the_version(error: &ServerError) -> bool {
    error.code == code::SERVER
        && (error.message.to_ascii_lowercase()).contains("unsupported protocol version")
}

fn refusal(error: ServerError) -> Failure {
    match error.code {
        code::BAD_CREDENTIALS => Failure::BadCredentials(RefusedLogin {
            message: error.message,
            class: None,
            mechanism: None,
        }),
        _ => Failure::Server(error),
    }
}
