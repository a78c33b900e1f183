//! STARTUP and AUTH_RESPONSE.

use std::time::Duration;

use palladion_cql::response::code;
use palladion_cql::wire::Reader;
use palladion_cql::{DecodeError, Opcode};

use super::{Outcome, Session, Stage, Then};
use crate::counters::add;
use crate::head::{put_frame, Head};
use crate::login::conversation::{Answer, Conversation, NO_CERTIFICATE};
use crate::login::{CertificateLogin, Login, Method};
use crate::response::{error, put_authenticate, put_token};

impl Session {
    pub(super) fn startup(
        &mut self,
        reader: &mut Reader<'_>,
        head: &Head,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let n = reader.short("startup options")?;
        let mut options = Vec::new();
        for _ in 0..n {
            let name = reader.string("startup option")?.to_owned();
            options.push((name, reader.string("startup option")?.to_owned()));
        }
        if let Err(wrong) = self.agree(head.dialect.version, &options) {
            self.error(head, &wrong, out);
            return Ok(());
        }
        // As Cassandra does: compressed already, even where there is nothing to compress.
        let agreed = self.agreed.unwrap_or(head.dialect);
        let head = &Head::new(agreed, head.stream);
        let mut shown = false;
        self.shared.observed.update(self.connection, |c| {
            c.startup = options;
            shown = c.client_cert;
        });
        let login = self.shared.login().clone();
        match login {
            None => self.ready(head, out),
            Some(Login {
                method: Method::Certificate(certificate),
                ..
            }) if certificate.ready && shown => {
                self.accept(certificate.role);
                self.ready(head, out);
            }
            Some(Login {
                method:
                    Method::Certificate(CertificateLogin {
                        ready: true,
                        fallback: false,
                        ..
                    }),
                ..
            }) => self.refuse_login(NO_CERTIFICATE.to_owned(), head, out),
            Some(login) => {
                self.stage = Stage::Asked;
                self.conversation = None;
                put_authenticate(out, head, &login.authenticator);
            }
        }
        self.count_response();
        Ok(())
    }

    pub(super) fn log_in(
        &mut self,
        reader: &mut Reader<'_>,
        head: &Head,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, DecodeError> {
        let token = reader.bytes("authentication token")?;
        let mut shown = false;
        self.shared.observed.update(self.connection, |c| {
            c.login.saw(token);
            shown = c.client_cert;
        });
        // What is in force when the client begins, not what was when it was asked.
        let login = || self.shared.login().clone();
        let begun = self.conversation.take();
        let begun = begun.or_else(|| login().map(|login| Conversation::new(login, shown)));
        let Some(mut conversation) = begun else {
            self.logged_in();
            put_token(out, head, Opcode::AuthSuccess, None);
            self.count_response();
            return Ok(Outcome::now(Then::GoOn));
        };
        let answer = conversation.answer(token);
        self.shared.observed.update(self.connection, |c| {
            c.login.mechanism = conversation.mechanism.or(c.login.mechanism);
            c.login.learn(&conversation.told);
        });
        let cells = &self.shared.observed.cells;
        let mut outcome = Outcome {
            delay: conversation.delay(),
            ..Outcome::now(Then::GoOn)
        };
        match answer {
            Answer::Challenge(challenge) => {
                add(&cells.challenges, 1);
                put_token(out, head, Opcode::AuthChallenge, challenge.as_deref());
                self.count_response();
                self.conversation = Some(conversation);
            }
            Answer::Success(user, last) => {
                self.accept(user);
                put_token(out, head, Opcode::AuthSuccess, last.as_deref());
                self.count_response();
            }
            Answer::Refused(message) => self.refuse_login(message, head, out),
            Answer::NoSuchMechanism(message) => {
                add(&cells.refused_mechanisms, 1);
                self.error(head, &error(code::BAD_CREDENTIALS, message), out);
                self.conversation = Some(conversation);
            }
            Answer::Hang => {
                outcome.delay = Duration::ZERO;
                outcome.then = Then::Hang;
            }
            Answer::Close => outcome.then = Then::Close,
        }
        Ok(outcome)
    }

    fn ready(&mut self, head: &Head, out: &mut Vec<u8>) {
        self.logged_in();
        put_frame(out, head, Opcode::Ready, |_| {});
    }

    fn accept(&mut self, user: String) {
        let cells = &self.shared.observed.cells;
        add(&cells.logins, 1);
        self.shared.observed.update(self.connection, |c| {
            if c.login.authorization_id.is_some() {
                add(&cells.authorization_ids, 1);
            }
            c.user = Some(user);
        });
        self.logged_in();
    }

    fn refuse_login(&mut self, message: String, head: &Head, out: &mut Vec<u8>) {
        add(&self.shared.observed.cells.failed_logins, 1);
        self.error(head, &error(code::BAD_CREDENTIALS, message.as_str()), out);
        self.shared
            .observed
            .update(self.connection, |c| c.login.refused = Some(message));
    }

    fn logged_in(&mut self) {
        self.stage = Stage::Done;
        self.handshaking = None;
    }
}
