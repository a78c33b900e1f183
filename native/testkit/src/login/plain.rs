//! Mechanisms of one message: PLAIN, EXTERNAL, ANONYMOUS, and what servers with mutual TLS expect.

use super::conversation::{incorrect, may_act, Exchange, Step, Told};
use super::{CertificateLogin, Login};

/// RFC 4616: `authorization-id NUL user NUL password`.
#[derive(Debug)]
pub(crate) struct Plain {
    login: Login,
}

impl Plain {
    pub(crate) fn new(login: &Login) -> Self {
        Self {
            login: login.clone(),
        }
    }
}

impl Exchange for Plain {
    fn answer(&mut self, token: &[u8], told: &mut Told) -> Step {
        let parts: Vec<_> = token.split(|byte| *byte == 0).collect();
        let [authorization_id, user, password] = parts[..] else {
            return Step::Refused("Client provided an invalid SASL PLAIN token".to_owned());
        };
        told.authorization_id = text_of(authorization_id);
        let user = String::from_utf8_lossy(user).into_owned();
        if self.login.user != user || self.login.password.as_bytes() != password {
            return incorrect(&user);
        }
        match may_act(&self.login, told.authorization_id.as_deref()) {
            Ok(()) => Step::Done(user, None),
            Err(message) => Step::Refused(message),
        }
    }
}

/// RFC 4422, appendix A: the certificate says who it is, the token as whom to act.
#[derive(Debug)]
pub(crate) struct External {
    login: Login,
    shown: bool,
}

impl External {
    pub(crate) fn new(login: &Login, shown: bool) -> Self {
        Self {
            login: login.clone(),
            shown,
        }
    }
}

impl Exchange for External {
    fn answer(&mut self, token: &[u8], told: &mut Told) -> Step {
        told.authorization_id = text_of(token);
        if !self.shown {
            return no_certificate();
        }
        match may_act(&self.login, told.authorization_id.as_deref()) {
            Ok(()) => Step::Done(self.login.user.clone(), None),
            Err(message) => Step::Refused(message),
        }
    }
}

/// RFC 4505: the token is a trace that the client leaves if it likes.
#[derive(Debug)]
pub(crate) struct Anonymous;

impl Exchange for Anonymous {
    fn answer(&mut self, token: &[u8], told: &mut Told) -> Step {
        told.authorization_id = text_of(token);
        Step::Done("anonymous".to_owned(), None)
    }
}

/// After AUTHENTICATE with a class for certificates: an empty token, or PLAIN as the fallback.
#[derive(Debug)]
pub(crate) struct Certificate {
    options: CertificateLogin,
    plain: Plain,
    shown: bool,
}

impl Certificate {
    pub(crate) fn new(options: CertificateLogin, plain: Plain, shown: bool) -> Self {
        Self {
            options,
            plain,
            shown,
        }
    }
}

impl Exchange for Certificate {
    fn answer(&mut self, token: &[u8], told: &mut Told) -> Step {
        if token.is_empty() {
            return if self.shown {
                Step::Done(self.options.role.clone(), None)
            } else {
                no_certificate()
            };
        }
        if self.options.fallback {
            self.plain.answer(token, told)
        } else {
            Step::Refused("A login by certificate has no token".to_owned())
        }
    }
}

/// What a client is told that showed no certificate where one is its login.
pub(crate) const NO_CERTIFICATE: &str = "The client has shown no certificate";

fn no_certificate() -> Step {
    Step::Refused(NO_CERTIFICATE.to_owned())
}

fn text_of(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}
