//! Who may log in, and how. The mechanisms are below, each as a conversation without I/O.

pub(crate) mod conversation;
mod digest_md5;
mod plain;
mod scram;
pub mod sigv4;

use std::time::Duration;

use crate::aws::AccessKeys;

/// Who may log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The role.
    pub user: String,
    /// Its password, as a server keeps it: prepared for comparison, if the mechanism asks for that.
    pub password: String,
    /// The class that AUTHENTICATE names.
    pub authenticator: String,
    /// How.
    pub method: Method,
    /// As whom the role may act beside itself: the authorization ids that are accepted.
    pub may_act_as: Vec<String>,
    /// SCRAM: the iteration count that is announced and used.
    pub iterations: u32,
    /// SCRAM: the salt.
    pub salt: Vec<u8>,
    /// DIGEST-MD5: the realms that are offered.
    pub realms: Vec<String>,
    /// Where the mechanism's last message goes.
    pub last_message_in: LastMessageIn,
    /// What goes wrong.
    pub faults: Faults,
}

/// How to log in.
#[derive(Debug, Clone)]
pub enum Method {
    /// By this mechanism, whose bytes come at once.
    Mechanism(Mechanism),
    /// By one of these: the client names it first, in ASCII, and is answered with `NAME-START`, or with
    /// an error after which it may name another one.
    Negotiated(Vec<Mechanism>),
    /// As Amazon Keyspaces.
    SigV4(SigV4),
    /// By the certificate that the client shows.
    Certificate(CertificateLogin),
    /// Whatever the client says, these are the challenges; then it is logged in, with this last token.
    Script(Vec<Vec<u8>>, Option<Vec<u8>>),
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each says what it is by its name
pub enum Mechanism {
    Plain,
    External,
    Anonymous,
    CramMd5,
    DigestMd5,
    ScramSha1,
    ScramSha256,
}

/// How Amazon Keyspaces checks signatures.
#[derive(Debug, Clone)]
pub struct SigV4 {
    /// Whose signatures are accepted; shared with those who issue keys.
    pub keys: AccessKeys,
    /// The region that signatures must be for, in lower case.
    pub region: String,
    /// By how many milliseconds the server's clock is ahead.
    pub skew: i64,
    /// What follows the nonce in the challenge.
    pub suffix: String,
}

/// A login by certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateLogin {
    /// The role that any certificate stands for. The login's own user and password are for the fallback.
    pub role: String,
    /// Whether a client that showed a certificate is sent READY straight after STARTUP, and not
    /// AUTHENTICATE, to which an empty token is the answer.
    pub ready: bool,
    /// Whether user and password by PLAIN will do as well.
    pub fallback: bool,
}

/// Where a mechanism's last message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastMessageIn {
    /// With AUTH_SUCCESS.
    #[default]
    Success,
    /// In one more challenge, which is to be answered with an empty token.
    Challenge,
}

/// What goes wrong in a login.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// What the mechanism's last message is.
    pub last_message: LastMessage,
    /// The n-th challenge, counted from 1, is replaced with these bytes, or with null.
    pub challenge: Option<(u32, Option<Vec<u8>>)>,
    /// Instead of success there are challenges for ever: the last one, again and again.
    pub endless: bool,
    /// After so many responses were answered, nothing is any more.
    pub hang_after: Option<u32>,
    /// After so many responses were answered, the connection is closed at the next one.
    pub close_after: Option<u32>,
    /// How long each answer to a response waits.
    pub delay: Duration,
}

/// A mechanism's last message, by which the server proves that it knows the password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LastMessage {
    /// As it has to be.
    #[default]
    Right,
    /// Well-formed, but with another proof.
    Wrong,
    /// There is none.
    Missing,
    /// These bytes.
    Bytes(Vec<u8>),
}

const CASSANDRA: &str = "org.apache.cassandra.auth.";

impl Login {
    /// By Cassandra's `PasswordAuthenticator`.
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            authenticator: format!("{CASSANDRA}PasswordAuthenticator"),
            method: Method::Mechanism(Mechanism::Plain),
            may_act_as: Vec::new(),
            iterations: 4096,
            salt: b"pinch of salt".to_vec(),
            realms: vec!["testkit".to_owned()],
            last_message_in: LastMessageIn::default(),
            faults: Faults::default(),
        }
    }

    /// The same by another method, and the class that usually goes with it.
    pub fn by(mut self, method: Method) -> Self {
        self.authenticator = method.usual_class();
        self.method = method;
        self
    }

    /// The same by a SASL mechanism.
    pub fn sasl(self, mechanism: Mechanism) -> Self {
        self.by(Method::Mechanism(mechanism))
    }

    /// By signatures that Amazon Keyspaces in this region accepts.
    pub fn sigv4(region: &str, keys: AccessKeys) -> Self {
        Self::new("", "").by(Method::SigV4(SigV4 {
            keys,
            region: region.to_owned(),
            skew: 0,
            suffix: String::new(),
        }))
    }

    /// By any certificate, which stands for this role.
    pub fn certificate(role: &str) -> Self {
        Self::new("", "").by(Method::Certificate(CertificateLogin {
            role: role.to_owned(),
            ready: false,
            fallback: false,
        }))
    }
}

impl Method {
    fn usual_class(&self) -> String {
        match self {
            Self::Mechanism(Mechanism::Plain) => format!("{CASSANDRA}PasswordAuthenticator"),
            Self::Mechanism(_) | Self::Script(..) => "testkit.SaslAuthenticator".to_owned(),
            Self::Negotiated(_) => "com.datastax.bdp.cassandra.auth.DseAuthenticator".to_owned(),
            Self::SigV4(_) => "com.amazon.helenus.auth.HelenusAuthenticator".to_owned(),
            Self::Certificate(CertificateLogin { fallback: true, .. }) => {
                format!("{CASSANDRA}MutualTlsWithPasswordFallbackAuthenticator")
            }
            Self::Certificate(_) => format!("{CASSANDRA}MutualTlsAuthenticator"),
        }
    }
}

impl Mechanism {
    /// All that there are.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::External,
        Self::Anonymous,
        Self::CramMd5,
        Self::DigestMd5,
        Self::ScramSha1,
        Self::ScramSha256,
    ];

    /// As IANA's registry has it: `SCRAM-SHA-256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
            Self::CramMd5 => "CRAM-MD5",
            Self::DigestMd5 => "DIGEST-MD5",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha256 => "SCRAM-SHA-256",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}
