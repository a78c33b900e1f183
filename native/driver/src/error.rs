use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palladion_cql::response::ServerError;
use palladion_cql::DecodeError;

use crate::node::NodeId;

/// A connection that could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{endpoint}: {failure}")]
pub struct ConnectError {
    /// The contact point or node, `host:port`.
    pub endpoint: Arc<str>,
    /// The address that was tried last.
    pub address: Option<SocketAddr>,
    /// Why.
    pub failure: Failure,
}

/// Why a connection could not be opened, or did not stay.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The name has no address.
    #[error("the name can't be resolved: {0}")]
    Dns(String),
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No way there.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Another error of the operating system while connecting.
    #[error("connecting failed: {0}")]
    Connect(String),
    /// A step took too long.
    #[error("{step} took longer than {} ms", limit.as_millis())]
    Timeout {
        /// Which step.
        step: Step,
        /// Its limit.
        limit: Duration,
    },
    /// The port does not speak TLS.
    #[error("the server does not speak TLS on this port")]
    NotTls,
    /// The port speaks only TLS.
    #[error("the server speaks TLS on this port")]
    RequiresTls,
    /// The server's certificate is not acceptable.
    #[error("server's certificate refused: {0}")]
    Certificate(CertificateProblem),
    /// The server wants a certificate, and none is configured.
    #[error("the server wants a certificate of ours: {0}")]
    CertificateMissing(String),
    /// The server refused our certificate.
    #[error("the server refused our certificate: {0}")]
    CertificateRejected(String),
    /// No TLS version in common.
    #[error("no TLS version in common: {0}")]
    TlsVersion(String),
    /// No cipher suite, key exchange group or kind of signature in common.
    #[error("no cipher suite or group in common: {0}")]
    TlsCipher(String),
    /// The server ended the handshake.
    #[error("the server sent a TLS alert: {0}")]
    TlsAlert(String),
    /// Any other error of TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The login was refused.
    #[error("login refused: {}", .0.message)]
    BadCredentials(RefusedLogin),
    /// A login by signature was refused.
    #[error("signature refused: {}", .0.message)]
    SignatureRefused(RefusedLogin),
    /// The server's authenticator may not see the password or signature.
    #[error("authenticator {0} is not known to take a password or signature")]
    UnknownAuthenticator(String),
    /// The login went wrong before the server could judge it.
    #[error("login failed: {0}")]
    Login(#[from] LoginProblem),
    /// The server wants a login and none is configured.
    #[error("the server asks for a login ({0})")]
    AuthRequired(String),
    /// A login is configured and the server did not ask.
    #[error("the server asks for no login")]
    AuthNotRequested,
    /// The server does not speak our protocol version.
    #[error("unsupported protocol version: {message}")]
    UnsupportedProtocol {
        /// What it says.
        message: String,
        /// The version that it speaks itself, if it says so.
        server: Option<u8>,
    },
    /// The server does not offer the compression that is wanted.
    #[error("the server offers no compression by {wanted}, but {offered:?}")]
    UnsupportedCompression {
        /// Its name.
        wanted: &'static str,
        /// Those that it offers.
        offered: Vec<String>,
    },
    /// The keyspace can't be used.
    #[error("keyspace: {}", .0.message)]
    Keyspace(ServerError),
    /// Another error answer during the login.
    #[error("server error {:#06x}: {}", .0.code, .0.message)]
    Server(ServerError),
    /// Bytes that are no CQL.
    #[error("protocol error: {0}")]
    Protocol(#[from] DecodeError),
    /// An answer that does not belong there.
    #[error("unexpected answer: {0}")]
    Unexpected(&'static str),
    /// The peer closed the connection.
    #[error("closed by the server")]
    ClosedByServer,
    /// An error of the operating system on an open connection.
    #[error("connection lost: {0}")]
    Io(String),
    /// Nothing was received for too long.
    #[error("no answer to a heartbeat within {} ms", .0.as_millis())]
    Heartbeat(Duration),
    /// Too many answers that nobody waits for.
    #[error("{0} answers are overdue and no longer wanted")]
    Orphans(i64),
    /// Closed by us.
    #[error("closed")]
    Closed,
    /// A bug: the task ended by a panic.
    #[error("internal error")]
    Panic,
}

/// A login that the server has refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLogin {
    /// What it says.
    pub message: String,
    /// The authenticator's class, if it had asked for a login.
    pub class: Option<String>,
    /// How the login was tried, if it was.
    pub mechanism: Option<&'static str>,
}

/// Why a login could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginProblem {
    /// A challenge that the mechanism does not have.
    #[error("{mechanism}: malformed challenge: {detail}")]
    Challenge {
        /// The mechanism's name.
        mechanism: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The server has not proved that it knows the password.
    #[error("{mechanism}: the server is not authentic: {detail}")]
    NotAuthentic {
        /// The mechanism's name.
        mechanism: &'static str,
        /// What it has not done.
        detail: String,
    },
    /// A name or password that the mechanism can't carry.
    #[error("{mechanism}: {detail}")]
    Unfit {
        /// The mechanism's name.
        mechanism: &'static str,
        /// Which.
        detail: String,
    },
    /// No mechanism in common.
    #[error("no mechanism in common: {0}")]
    Mechanism(String),
    /// There are no credentials.
    #[error("no credentials: {0}")]
    CredentialsMissing(String),
    /// Who should give them has failed.
    #[error("credentials: {0}")]
    CredentialsFailed(String),
    /// Who should give them took too long.
    #[error("credentials took longer than {} ms", .0.as_millis())]
    CredentialsTimeout(Duration),
    /// They are no longer good.
    #[error("credentials expired: {0}")]
    CredentialsExpired(String),
    /// The user's authenticator has failed.
    #[error("authenticator: {0}")]
    AuthenticatorFailed(String),
    /// The user's authenticator took too long.
    #[error("the authenticator took longer than {} ms", .0.as_millis())]
    AuthenticatorTimeout(Duration),
}

/// A step on the way to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    Connect,
    Tls,
    Login,
}

impl Failure {
    /// Whether the server knows who we say that we are, and does not believe it: tried again and
    /// again, that may lock an account.
    pub fn is_refused_login(&self) -> bool {
        matches!(self, Self::BadCredentials(_) | Self::SignatureRefused(_))
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Login => "the login",
        })
    }
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// No trusted root signed it.
    #[error("unknown issuer")]
    UnknownIssuer,
    /// It is signed by its own key, and is not itself trusted.
    #[error("self-signed")]
    SelfSigned,
    /// It is X.509 v1, which has no names to verify.
    #[error("X.509 v1")]
    Version1,
    /// Its issuer has withdrawn it.
    #[error("revoked")]
    Revoked,
    /// Whether its issuer has withdrawn it can't be known, and must be.
    #[error("revocation status unknown: {0}")]
    RevocationUnknown(String),
    /// It is none of those that may be shown.
    #[error("not pinned: SHA-256 {fingerprint}")]
    Pin {
        /// SHA-256 of the certificate, in hexadecimal digits.
        fingerprint: String,
    },
    /// It has no names to verify: a common name is none.
    #[error("no subject alternative name, so not valid for {name}")]
    NoSubjectAltName {
        /// The name that was asked for.
        name: String,
    },
    /// It is not for this IP address.
    #[error("not valid for the address {expected}, but for {presented:?}")]
    Address {
        /// The address that was asked for.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// It is for other names.
    #[error("not valid for {expected}, but for {presented:?}")]
    Name {
        /// The name that was asked for.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// Its time is over.
    #[error("expired at {not_after}")]
    Expired {
        /// Seconds since 1970.
        not_after: i64,
    },
    /// Its time has not come.
    #[error("not valid before {not_before}")]
    NotYetValid {
        /// Seconds since 1970.
        not_before: i64,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A request without an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// The cluster is closed.
    #[error("the cluster is closed")]
    Closed,
    /// No connection is open; `last` says what went wrong last.
    #[error("no connection")]
    NoConnection {
        /// The newest failure to connect.
        last: Option<Arc<ConnectError>>,
    },
    /// The answer is longer than what is kept. It was skipped; the connection goes on.
    #[error("the answer has {len} bytes, more than {max}")]
    ResponseTooLarge {
        /// Its length.
        len: u32,
        /// The bound.
        max: u32,
    },
    /// Every queue is full.
    #[error("every connection's queue is full")]
    Overloaded,
    /// The request was made for another version of the protocol than is spoken by now. It was not
    /// sent.
    #[error("made for another version of the protocol")]
    ProtocolChanged,
    /// More wait for a connection than may.
    #[error("too many wait for a connection")]
    TooManyWaiters,
    /// The connection ended.
    #[error("{endpoint}: {failure}")]
    ConnectionLost {
        /// Its endpoint.
        endpoint: Arc<str>,
        /// Its node; nothing for the control connection.
        node: Option<NodeId>,
        /// Why.
        failure: Arc<Failure>,
        /// Whether the request had been written: then the server may have carried it out.
        sent: bool,
    },
}
