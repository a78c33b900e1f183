//! STARTUP and AUTH_RESPONSE.

use palladion_cql::response::code;
use palladion_cql::wire::Reader;
use palladion_cql::{DecodeError, Opcode};

use super::{Login, Session};
use crate::counters::add;
use crate::response::{error, put_authenticate, put_frame, put_token};

impl Session {
    pub(super) fn startup(
        &mut self,
        reader: &mut Reader<'_>,
        stream: i16,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let n = reader.short("startup options")?;
        let mut options = Vec::new();
        for _ in 0..n {
            let name = reader.string("startup option")?.to_owned();
            options.push((name, reader.string("startup option")?.to_owned()));
        }
        let compression = options.iter().find(|(name, _)| name == "COMPRESSION");
        if let Some((_, algorithm)) = compression {
            let message = format!("Unknown compression algorithm: {algorithm}");
            self.error(stream, &error(code::PROTOCOL, message), out);
            return Ok(());
        }
        self.shared
            .observed
            .update(self.connection, |c| c.startup = options);
        let authenticator = self
            .shared
            .login()
            .as_ref()
            .map(|l| l.authenticator.clone());
        match authenticator {
            Some(authenticator) => {
                self.login = Login::Asked;
                put_authenticate(out, stream, &authenticator);
            }
            None => {
                self.logged_in();
                put_frame(out, stream, Opcode::Ready, |_| {});
            }
        }
        self.count_response();
        Ok(())
    }

    pub(super) fn log_in(
        &mut self,
        reader: &mut Reader<'_>,
        stream: i16,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let token = reader.bytes("authentication token")?.unwrap_or_default();
        let mut parts = token.split(|byte| *byte == 0).skip(1);
        let (user, password) = (parts.next(), parts.next());
        let (Some(user), Some(password), None) = (user, password, parts.next()) else {
            let message = "Client provided an invalid SASL PLAIN token";
            add(&self.shared.observed.cells.failed_logins, 1);
            self.error(stream, &error(code::BAD_CREDENTIALS, message), out);
            return Ok(());
        };
        let user = String::from_utf8_lossy(user).into_owned();
        let right = match self.shared.login().as_ref() {
            Some(login) => login.user == user && login.password.as_bytes() == password,
            None => true,
        };
        if !right {
            add(&self.shared.observed.cells.failed_logins, 1);
            let message = format!("Provided username {user} and/or password are incorrect");
            self.error(stream, &error(code::BAD_CREDENTIALS, message), out);
            return Ok(());
        }
        add(&self.shared.observed.cells.logins, 1);
        self.logged_in();
        self.shared
            .observed
            .update(self.connection, |c| c.user = Some(user));
        put_token(out, stream, Opcode::AuthSuccess, None);
        self.count_response();
        Ok(())
    }

    fn logged_in(&mut self) {
        self.login = Login::Done;
        self.handshaking = None;
    }
}
