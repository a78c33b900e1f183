//! Logins: who we are, and how a server is told.

pub mod callbacks;
mod exchange;
pub(crate) mod sasl;
pub mod sigv4;

use std::sync::Arc;
use std::time::Duration;

pub use callbacks::{Answered, CallbackAnswer, Callbacks, NoCallbacks, Peer, Question};
pub(crate) use exchange::Exchange;
pub use sasl::Mechanism;

use callbacks::{Conversation, Unanswered};
use sigv4::{SigV4, SigV4Config};

use crate::error::LoginProblem;
use crate::tls::OurCertificate;
use crate::{EventSink, Failure, Secret};

/// The login.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// How.
    pub method: AuthMethod,
    /// Refuse a server that asks for no login.
    pub require_auth: bool,
    /// Authenticator classes beside [`PASSWORD_AUTHENTICATORS`] that may see the password, or a
    /// signature beside [`SIGV4_AUTHENTICATOR`].
    pub allowed_authenticators: Vec<String>,
    /// How long whoever is asked for something may take for each answer.
    pub timeout: Duration,
}

/// How to log in.
#[derive(Debug, Clone)]
pub enum AuthMethod {
    /// By a mechanism of SASL.
    Sasl {
        /// Which, the best one first. None: by the authenticator's class, PLAIN.
        mechanisms: Vec<Mechanism>,
        /// Whether the server is told the mechanism's name first, and may want another one.
        negotiate: bool,
        /// With what.
        credentials: CredentialSource,
    },
    /// By an authenticator of the user's.
    Custom,
    /// By a signature of Amazon Web Services.
    SigV4(SigV4Config),
}

/// Where a name and a password come from.
#[derive(Debug, Clone)]
pub enum CredentialSource {
    /// Always the same.
    Static(Credentials),
    /// The user is asked at each login.
    Ask,
    /// There are none; only the name to act under, if there is one.
    None(Option<String>),
}

/// A name and a password. [`Mechanism::has_password`] says which of it counts.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The role.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// The role to act as, if that is another. With ANONYMOUS the text for the server's log.
    pub authorization_id: Option<String>,
}

/// Authenticator classes known to take a user's name and password by SASL PLAIN.
pub const PASSWORD_AUTHENTICATORS: [&str; 8] = [
    "org.apache.cassandra.auth.PasswordAuthenticator",
    FALLBACK_AUTHENTICATOR,
    "com.scylladb.auth.SaslauthdAuthenticator",
    "com.scylladb.auth.TransitionalAuthenticator",
    "com.instaclustr.cassandra.auth.InstaclustrPasswordAuthenticator",
    "com.ericsson.bss.cassandra.ecaudit.auth.AuditPasswordAuthenticator",
    "io.aiven.cassandra.auth.AivenAuthenticator",
    SIGV4_AUTHENTICATOR,
];

/// Amazon Keyspaces', which takes signatures and passwords.
pub const SIGV4_AUTHENTICATOR: &str = "com.amazon.helenus.auth.HelenusAuthenticator";

const FALLBACK_AUTHENTICATOR: &str =
    "org.apache.cassandra.auth.MutualTlsWithPasswordFallbackAuthenticator";

/// Authenticator classes that log in by the certificate of the TLS handshake.
const CERTIFICATE_AUTHENTICATORS: [&str; 3] = [
    "org.apache.cassandra.auth.MutualTlsAuthenticator",
    FALLBACK_AUTHENTICATOR,
    "com.scylladb.auth.CertificateAuthenticator",
];

fn logs_in_by_certificate(class: &str) -> bool {
    CERTIFICATE_AUTHENTICATORS.contains(&class)
}

/// A login's configuration in use, with what it keeps.
pub(crate) struct Auth {
    pub(crate) config: AuthConfig,
    callbacks: Arc<dyn Callbacks>,
    sigv4: Option<SigV4>,
}

impl Auth {
    pub(crate) fn new(
        config: AuthConfig,
        callbacks: &Arc<dyn Callbacks>,
        events: &Arc<dyn EventSink>,
    ) -> Self {
        let limit = config.timeout;
        let sigv4 = match &config.method {
            AuthMethod::SigV4(sigv4) => Some(SigV4::new(sigv4, callbacks, events, limit)),
            AuthMethod::Sasl { .. } | AuthMethod::Custom => None,
        };
        Self {
            config,
            callbacks: Arc::clone(callbacks),
            sigv4,
        }
    }

    /// What was used for a login has been refused: it is not used again where there may be newer.
    pub(crate) fn refused(&self) {
        if let Some(sigv4) = &self.sigv4 {
            sigv4.forget();
        }
    }

    /// Whether a server that asks for nothing has what it needs all the same: the certificate.
    fn is_by_certificate(&self) -> bool {
        match &self.config.method {
            AuthMethod::Sasl { mechanisms, .. } => mechanisms.contains(&Mechanism::External),
            AuthMethod::Custom | AuthMethod::SigV4(_) => false,
        }
    }

    fn is_allowed(&self, class: &str, known: &[&str]) -> Result<(), Failure> {
        let allowed = &self.config.allowed_authenticators;
        if known.contains(&class) || allowed.iter().any(|name| name == class) {
            Ok(())
        } else {
            Err(Failure::UnknownAuthenticator(class.to_owned()))
        }
    }
}

/// What is to follow what the server said to STARTUP: an exchange of tokens, or nothing.
pub(crate) async fn begin(
    auth: Option<&Arc<Auth>>,
    class: Option<&str>,
    host: &Arc<str>,
    address: std::net::SocketAddr,
    certificate: OurCertificate,
) -> Result<Option<Exchange>, Failure> {
    let Some(class) = class else {
        return match auth {
            Some(auth) if !auth.config.require_auth => Ok(None),
            // A server that has seen the certificate may not need to ask.
            Some(auth) if auth.is_by_certificate() && certificate == OurCertificate::Shown => {
                Ok(None)
            }
            Some(_) => Err(Failure::AuthNotRequested),
            None => Ok(None),
        };
    };
    let Some(auth) = auth else {
        return if !logs_in_by_certificate(class) {
            Err(Failure::AuthRequired(class.to_owned()))
        } else if certificate == OurCertificate::Shown {
            Ok(Some(Exchange::certificate()))
        } else if class == FALLBACK_AUTHENTICATOR {
            Err(Failure::AuthRequired(class.to_owned()))
        } else {
            Err(missing(class, certificate))
        };
    };
    let peer = || Peer {
        host: Arc::clone(host),
        address,
        class: class.to_owned(),
    };
    match &auth.config.method {
        AuthMethod::Custom => {
            let conversation = Conversation::new(&auth.callbacks, auth.config.timeout);
            Ok(Some(Exchange::custom(conversation, peer())))
        }
        AuthMethod::SigV4(_) => {
            auth.is_allowed(class, &[SIGV4_AUTHENTICATOR])?;
            Ok(Some(Exchange::sigv4(auth)))
        }
        AuthMethod::Sasl {
            mechanisms,
            negotiate,
            credentials,
        } => {
            if logs_in_by_certificate(class) && class != FALLBACK_AUTHENTICATOR {
                return by_certificate(mechanisms, credentials, class, certificate, host);
            }
            let chosen = choose(mechanisms, class, certificate)?;
            // What is known of a class needs no negotiation.
            let negotiate = *negotiate && !PASSWORD_AUTHENTICATORS.contains(&class);
            // By MD5 it is as good as told.
            for mechanism in &chosen {
                if mechanism.has_password() && !mechanism.is_fit_without_tls() {
                    auth.is_allowed(class, &PASSWORD_AUTHENTICATORS)?;
                }
            }
            let credentials = auth.credentials(credentials, peer).await?;
            Ok(Some(Exchange::sasl(chosen, negotiate, credentials, host)))
        }
    }
}

/// A password is not told to a server that does not ask for it. What was asked of the login besides
/// must hold all the same.
fn by_certificate(
    mechanisms: &[Mechanism],
    credentials: &CredentialSource,
    class: &str,
    certificate: OurCertificate,
    host: &Arc<str>,
) -> Result<Option<Exchange>, Failure> {
    if certificate != OurCertificate::Shown {
        return Err(missing(class, certificate));
    }
    match credentials {
        CredentialSource::None(authorization_id) if mechanisms.contains(&Mechanism::External) => {
            let nobody = Credentials::nobody(authorization_id.clone());
            let external = vec![Mechanism::External];
            Ok(Some(Exchange::sasl(external, false, nobody, host)))
        }
        CredentialSource::Static(Credentials {
            authorization_id: Some(_),
            ..
        }) => Err(LoginProblem::Mechanism(format!(
            "{class} logs in as whom the certificate stands for, and not by authorization_id:"
        ))
        .into()),
        _ if mechanisms.is_empty() => Ok(Some(Exchange::certificate())),
        _ => Err(LoginProblem::Mechanism(format!("{class} takes the certificate alone")).into()),
    }
}

fn missing(class: &str, certificate: OurCertificate) -> Failure {
    let detail = match certificate {
        OurCertificate::NotAsked => "did not ask for one in the TLS handshake",
        OurCertificate::Missing | OurCertificate::Shown => "got none in the TLS handshake",
    };
    Failure::CertificateMissing(format!(
        "{class} logs in by certificate, and the server {detail}"
    ))
}

/// The mechanisms that may be tried with this class, the best one first.
fn choose(
    mechanisms: &[Mechanism],
    class: &str,
    certificate: OurCertificate,
) -> Result<Vec<Mechanism>, Failure> {
    if mechanisms.is_empty() {
        return Ok(vec![Mechanism::Plain]);
    }
    if !PASSWORD_AUTHENTICATORS.contains(&class) {
        return Ok(mechanisms.to_vec());
    }
    let is_seen = certificate == OurCertificate::Shown;
    let takes = |mechanism: &&Mechanism| match mechanism {
        Mechanism::Plain => true,
        Mechanism::External => class == FALLBACK_AUTHENTICATOR && is_seen,
        _ => false,
    };
    match mechanisms.iter().find(takes) {
        Some(mechanism) => Ok(vec![*mechanism]),
        None if class == FALLBACK_AUTHENTICATOR && mechanisms.contains(&Mechanism::External) => {
            Err(missing(class, certificate))
        }
        None => Err(LoginProblem::Mechanism(format!("{class} takes PLAIN")).into()),
    }
}

impl Credentials {
    /// Of a mechanism that takes none.
    fn nobody(authorization_id: Option<String>) -> Self {
        Self {
            username: String::new(),
            password: Secret::new(b""),
            authorization_id,
        }
    }
}

impl Auth {
    async fn credentials(
        &self,
        source: &CredentialSource,
        peer: impl FnOnce() -> Peer,
    ) -> Result<Credentials, Failure> {
        match source {
            CredentialSource::Static(credentials) => Ok(credentials.clone()),
            CredentialSource::None(authorization_id) => {
                Ok(Credentials::nobody(authorization_id.clone()))
            }
            CredentialSource::Ask => {
                let conversation = Conversation::new(&self.callbacks, self.config.timeout);
                match conversation.ask(Question::Credentials(peer())).await {
                    Ok(Answered::Credentials(credentials)) => Ok(credentials),
                    Ok(_) => Err(Failure::Unexpected("to a question for credentials")),
                    Err(unanswered) => Err(unanswered.of_credentials().into()),
                }
            }
        }
    }
}

impl Unanswered {
    fn of_credentials(self) -> LoginProblem {
        match self {
            Self::Failed(detail) => LoginProblem::CredentialsFailed(detail),
            Self::TimedOut(limit) => LoginProblem::CredentialsTimeout(limit),
        }
    }

    fn of_authenticator(self) -> LoginProblem {
        match self {
            Self::Failed(detail) => LoginProblem::AuthenticatorFailed(detail),
            Self::TimedOut(limit) => LoginProblem::AuthenticatorTimeout(limit),
        }
    }
}
