//! Errors as `{kind, map}`.

mod server;

use std::net::IpAddr;

use palladion_cql::request::Unsendable;
use palladion_cql::value::{EncodeError, Problem};
use palladion_driver::{ConnectError, Failure, NodeId, RequestError};
use rustler::types::map::map_new;
use rustler::{Atom, Binary, Encoder, Env, NewBinary, Term};

use crate::atoms;

pub(crate) use server::server_error;

/// An error of ours, with fields that are safe to show.
pub(crate) struct NativeError {
    kind: Kind,
    fields: Vec<(&'static str, Field)>,
}

enum Kind {
    Atom(Atom),
    Name(&'static str),
}

pub(crate) enum Field {
    Text(String),
    Texts(Vec<String>),
    /// Replicas and why they failed.
    Replicas(Vec<(IpAddr, u16)>),
    Int(i64),
    Bool(bool),
    Node(NodeId),
    Error(Box<NativeError>),
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<NodeId> for Field {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}

impl From<i64> for Field {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Field {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl NativeError {
    pub(crate) fn new(kind: Atom) -> Self {
        Self {
            kind: Kind::Atom(kind),
            fields: Vec::new(),
        }
    }

    pub(crate) fn named(kind: &'static str) -> Self {
        Self {
            kind: Kind::Name(kind),
            fields: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Field>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(crate) fn of_node(self, node: Option<NodeId>) -> Self {
        match node {
            Some(node) => self.with("node", node),
            None => self,
        }
    }

    pub(crate) fn bad_argument(argument: &str) -> Self {
        Self::new(atoms::bad_argument()).with("argument", argument)
    }

    pub(crate) fn bad_config(option: &str, detail: impl ToString) -> Self {
        Self::new(atoms::bad_config())
            .with("option", option)
            .with("detail", detail.to_string())
    }

    pub(crate) fn closed() -> Self {
        Self::new(atoms::closed())
    }
}

/// `{:ok, value}` or `{:error, {kind, map}}`.
pub(crate) fn reply<'a, T: Encoder>(env: Env<'a>, result: Result<T, NativeError>) -> Term<'a> {
    match result {
        Ok(value) => (atoms::ok(), value).encode(env),
        Err(error) => (atoms::error(), error).encode(env),
    }
}

impl Encoder for NativeError {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let kind = match self.kind {
            Kind::Atom(atom) => atom.to_term(env),
            Kind::Name(name) => atom(env, name),
        };
        let fields = self
            .fields
            .iter()
            .fold(map_new(env), |map, (name, value)| put(map, name, value));
        (kind, fields).encode(env)
    }
}

impl Encoder for Field {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self {
            Self::Text(text) => text.encode(env),
            Self::Texts(texts) => texts.encode(env),
            Self::Replicas(replicas) => {
                let each = replicas.iter();
                let each = each.map(|(address, code)| (address.to_string(), *code));
                each.collect::<Vec<_>>().encode(env)
            }
            Self::Int(number) => number.encode(env),
            Self::Bool(value) => value.encode(env),
            Self::Node(node) => node_term(env, *node),
            Self::Error(error) => error.encode(env),
        }
    }
}

/// A node's host id as 16 bytes.
pub(crate) fn node_term(env: Env<'_>, node: NodeId) -> Term<'_> {
    NewBinary::from_slice(env, &node.0.to_be_bytes()).into()
}

pub(crate) fn node_of(term: Term<'_>) -> Result<NodeId, NativeError> {
    let bytes: Option<Binary<'_>> = term.decode().ok();
    bytes
        .and_then(|bytes| bytes.as_slice().try_into().ok())
        .map(|bytes| NodeId(u128::from_be_bytes(bytes)))
        .ok_or_else(|| NativeError::bad_argument("node"))
}

/// Only ever called with names that stand in this crate.
pub(crate) fn atom<'a>(env: Env<'a>, name: &'static str) -> Term<'a> {
    Atom::from_str(env, name).map_or_else(|_| atoms::internal().to_term(env), |a| a.to_term(env))
}

pub(crate) fn put<'a>(map: Term<'a>, name: &'static str, value: impl Encoder) -> Term<'a> {
    map.map_put(atom(map.get_env(), name), value).unwrap_or(map)
}

impl From<&Unsendable> for NativeError {
    fn from(error: &Unsendable) -> Self {
        match error {
            Unsendable::TooLong(_) | Unsendable::TooMany { .. } => {
                Self::new(atoms::bad_statement()).with("detail", error.to_string())
            }
            Unsendable::Unsupported {
                feature,
                needs,
                spoken,
            } => Self::named("unsupported")
                .with("feature", *feature)
                .with("needs", i64::from(needs.number()))
                .with("version", i64::from(spoken.number())),
        }
    }
}

impl From<&RequestError> for NativeError {
    fn from(error: &RequestError) -> Self {
        match error {
            RequestError::Closed => Self::closed(),
            RequestError::Overloaded => Self::named("overloaded"),
            RequestError::ProtocolChanged => Self::named("protocol_changed").with("sent", false),
            RequestError::TooManyWaiters => Self::named("too_many_waiters"),
            RequestError::ResponseTooLarge { len, max } => Self::new(atoms::response_too_large())
                .with("size", i64::from(*len))
                .with("max", i64::from(*max)),
            RequestError::NoConnection { last } => {
                let error = Self::named("no_connection");
                match last {
                    Some(last) => error.with(
                        "last_error",
                        Field::Error(Box::new(Self::from(last.as_ref()))),
                    ),
                    None => error,
                }
            }
            RequestError::ConnectionLost {
                endpoint,
                node,
                failure,
                sent,
            } => {
                let cause = Self::from(failure.as_ref());
                let kind = match **failure {
                    Failure::Heartbeat(_) => "heartbeat_timeout",
                    Failure::Closed => "closed",
                    Failure::ClosedByServer => "connection_closed",
                    Failure::Panic => "panic",
                    _ => "connection_lost",
                };
                Self::named(kind)
                    .with("endpoint", &**endpoint)
                    .with("sent", *sent)
                    .with("cause", Field::Error(Box::new(cause)))
                    .of_node(*node)
            }
        }
    }
}

impl From<&ConnectError> for NativeError {
    fn from(error: &ConnectError) -> Self {
        let ours = Self::from(&error.failure).with("endpoint", &*error.endpoint);
        match error.address {
            Some(address) => ours.with("address", address.to_string()),
            None => ours,
        }
    }
}

impl From<&Failure> for NativeError {
    fn from(failure: &Failure) -> Self {
        use palladion_driver::Failure as F;
        match failure {
            F::Dns(detail) => Self::named("dns_failed").with("detail", detail.as_str()),
            F::Refused => Self::named("connection_refused"),
            F::Unreachable(detail) => Self::named("unreachable").with("detail", detail.as_str()),
            F::Connect(detail) => Self::named("connect_failed").with("detail", detail.as_str()),
            F::Timeout { step, limit } => {
                let kind = match step {
                    palladion_driver::Step::Connect => "connect_timeout",
                    palladion_driver::Step::Tls => "tls_timeout",
                    palladion_driver::Step::Login => "login_timeout",
                };
                Self::named(kind).with("timeout", millis(limit))
            }
            F::NotTls => Self::named("not_tls"),
            F::RequiresTls => Self::named("server_requires_tls"),
            F::Certificate(problem) => certificate(problem),
            F::CertificateMissing(alert) => {
                Self::named("client_certificate_missing").with("detail", alert.as_str())
            }
            F::CertificateRejected(alert) => {
                Self::named("certificate_rejected").with("detail", alert.as_str())
            }
            F::TlsVersion(detail) => Self::named("tls_version").with("detail", detail.as_str()),
            F::TlsCipher(detail) => Self::named("cipher_mismatch").with("detail", detail.as_str()),
            F::TlsAlert(alert) => Self::named("tls_alert").with("detail", alert.as_str()),
            F::Tls(detail) => Self::named("tls_failed").with("detail", detail.as_str()),
            F::BadCredentials(refused) => refused_login("bad_credentials", refused),
            F::SignatureRefused(refused) => refused_login("signature_refused", refused),
            F::Login(problem) => login(problem),
            F::UnknownAuthenticator(class) => {
                Self::named("unknown_authenticator").with("class", class.as_str())
            }
            F::AuthRequired(class) => Self::named("auth_required").with("class", class.as_str()),
            F::AuthNotRequested => Self::named("auth_not_requested"),
            F::UnsupportedProtocol { message, server } => {
                let error = match message.as_str() {
                    "" => Self::named("unsupported_protocol"),
                    text => Self::named("unsupported_protocol").with("server_message", text),
                };
                optional(error, "server_version", *server)
            }
            F::UnsupportedCompression { wanted, offered } => Self::named("unsupported_compression")
                .with("compression", *wanted)
                .with("offered", Field::Texts(offered.clone())),
            F::Keyspace(error) => {
                Self::named("keyspace_failed").with("server_message", error.message.as_str())
            }
            F::Server(error) => Self::named("protocol_error")
                .with("code", i64::from(error.code))
                .with("server_message", error.message.as_str()),
            F::Protocol(error) => Self::named("protocol_error").with("detail", error.to_string()),
            F::Unexpected(to) => {
                Self::named("protocol_error").with("detail", format!("unexpected answer: {to}"))
            }
            F::ClosedByServer => Self::named("connection_closed").with("by", "server"),
            F::Io(detail) => Self::named("connection_lost").with("detail", detail.as_str()),
            F::Heartbeat(limit) => Self::named("heartbeat_timeout").with("timeout", millis(limit)),
            F::Orphans(count) => Self::named("too_many_orphans").with("count", *count),
            F::Closed => Self::closed(),
            F::Panic => Self::named("panic"),
        }
    }
}

fn millis(limit: &std::time::Duration) -> i64 {
    i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
}

fn refused_login(kind: &'static str, refused: &palladion_driver::RefusedLogin) -> NativeError {
    let error = NativeError::named(kind).with("server_message", refused.message.as_str());
    let error = match &refused.class {
        Some(class) => error.with("class", class.as_str()),
        None => error,
    };
    match refused.mechanism {
        Some(mechanism) => error.with("mechanism", mechanism),
        None => error,
    }
}

fn login(problem: &palladion_driver::LoginProblem) -> NativeError {
    use palladion_driver::LoginProblem as P;
    let (kind, detail) = match problem {
        P::Challenge { mechanism, detail } => {
            return NativeError::named("challenge_malformed")
                .with("mechanism", *mechanism)
                .with("detail", detail.as_str())
        }
        P::NotAuthentic { mechanism, detail } => {
            return NativeError::named("server_not_authentic")
                .with("mechanism", *mechanism)
                .with("detail", detail.as_str())
        }
        P::Unfit { mechanism, detail } => {
            return NativeError::named("credentials_invalid")
                .with("mechanism", *mechanism)
                .with("detail", detail.as_str())
        }
        P::CredentialsTimeout(limit) => {
            return NativeError::named("credentials_timeout").with("timeout", millis(limit))
        }
        P::AuthenticatorTimeout(limit) => {
            return NativeError::named("authenticator_timeout").with("timeout", millis(limit))
        }
        P::Mechanism(detail) => ("mechanism_refused", detail),
        P::CredentialsMissing(detail) => ("credentials_missing", detail),
        P::CredentialsFailed(detail) => ("credentials_failed", detail),
        P::CredentialsExpired(detail) => ("credentials_expired", detail),
        P::AuthenticatorFailed(detail) => ("authenticator_failed", detail),
    };
    NativeError::named(kind).with("detail", detail.as_str())
}

fn certificate(problem: &palladion_driver::CertificateProblem) -> NativeError {
    use palladion_driver::CertificateProblem as P;
    match problem {
        P::UnknownIssuer => NativeError::named("unknown_ca"),
        P::SelfSigned => NativeError::named("certificate_self_signed"),
        P::Version1 => NativeError::named("certificate_v1"),
        P::Revoked => NativeError::named("certificate_revoked"),
        P::RevocationUnknown(detail) => {
            NativeError::named("revocation_unknown").with("detail", detail.as_str())
        }
        P::Pin { fingerprint } => {
            NativeError::named("pin_mismatch").with("fingerprint", fingerprint.as_str())
        }
        P::NoSubjectAltName { name } => {
            NativeError::named("no_subject_alt_name").with("name", name.as_str())
        }
        P::Name {
            expected,
            presented,
        } => name_error("name_mismatch", expected, presented),
        P::Address {
            expected,
            presented,
        } => name_error("address_mismatch", expected, presented),
        P::Expired { not_after } => {
            NativeError::named("certificate_expired").with("not_after", *not_after)
        }
        P::NotYetValid { not_before } => {
            NativeError::named("certificate_not_yet_valid").with("not_before", *not_before)
        }
        P::Other(detail) => {
            NativeError::named("certificate_invalid").with("detail", detail.as_str())
        }
    }
}

fn name_error(kind: &'static str, expected: &str, presented: &[String]) -> NativeError {
    NativeError::named(kind)
        .with("name", expected)
        .with("names", Field::Texts(presented.to_vec()))
}

fn optional(error: NativeError, name: &'static str, value: Option<impl Into<i64>>) -> NativeError {
    match value {
        Some(value) => error.with(name, value.into()),
        None => error,
    }
}

/// A value that does not fit its bind marker: where and what was expected, never the value.
pub(crate) fn value_error(index: usize, column: &str, error: &EncodeError) -> NativeError {
    let problem = match error.problem {
        Problem::WrongType => "wrong_type",
        Problem::OutOfRange => "out_of_range",
        Problem::WrongSize => "wrong_size",
        Problem::UnknownField => "unknown_field",
        Problem::NullInCollection => "null_in_collection",
        Problem::TooLong | Problem::Budget => "too_long",
    };
    let path = error.path.iter().map(ToString::to_string).collect();
    NativeError::new(atoms::bad_value())
        .with("index", index as i64)
        .with("column", column)
        .with("type", error.expected.as_str())
        .with("problem", problem)
        .with("path", Field::Texts(path))
}
