//! Mechanisms that consist of one message: PLAIN (RFC 4616), EXTERNAL (RFC 4422, appendix A) and
//! ANONYMOUS (RFC 4505).

use stringprep::tables;
use zeroize::Zeroizing;

use super::{Credentials, Exchange, SaslError, Token};

/// What RFC 4505 allows.
const MAX_TRACE_CHARACTERS: usize = 255;

pub(super) struct Single {
    identity: Credentials,
    message: fn(&Credentials) -> Result<Token, SaslError>,
}

pub(super) fn plain(identity: Credentials) -> Single {
    let message = plain_message;
    Single { identity, message }
}

pub(super) fn external(identity: Credentials) -> Single {
    let message = external_message;
    Single { identity, message }
}

pub(super) fn anonymous(identity: Credentials) -> Single {
    let message = anonymous_message;
    Single { identity, message }
}

impl Exchange for Single {
    fn initial(&mut self) -> Result<Token, SaslError> {
        (self.message)(&self.identity)
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Token, SaslError> {
        Err(SaslError::Rounds)
    }

    fn finish(&mut self, _last: Option<&[u8]>) -> Result<(), SaslError> {
        Ok(())
    }
}

fn plain_message(identity: &Credentials) -> Result<Token, SaslError> {
    let authorization_id = identity.authorization_id().unwrap_or_default();
    let (username, password) = (&identity.username, identity.password.expose());
    if username.is_empty() {
        return Err(SaslError::Unfit("the username is empty"));
    }
    // Where a directory stands behind the server, an empty password may pass as that of anybody.
    if password.is_empty() {
        return Err(SaslError::Unfit("the password is empty"));
    }
    without_zero(authorization_id)?;
    without_zero(username)?;
    if password.contains(&0) {
        return Err(SaslError::Unfit("the password has a zero byte"));
    }
    let length = authorization_id.len() + username.len() + password.len() + 2;
    let mut token = Zeroizing::new(Vec::with_capacity(length));
    token.extend_from_slice(authorization_id.as_bytes());
    token.push(0);
    token.extend_from_slice(username.as_bytes());
    token.push(0);
    token.extend_from_slice(password);
    Ok(token)
}

fn external_message(identity: &Credentials) -> Result<Token, SaslError> {
    let authorization_id = identity.authorization_id().unwrap_or_default();
    without_zero(authorization_id)?;
    Ok(Zeroizing::new(authorization_id.as_bytes().to_vec()))
}

fn anonymous_message(identity: &Credentials) -> Result<Token, SaslError> {
    let trace = identity.authorization_id().unwrap_or_default();
    if trace.chars().count() > MAX_TRACE_CHARACTERS {
        return Err(SaslError::Unfit(
            "the text for ANONYMOUS is longer than 255 characters",
        ));
    }
    if trace.chars().any(is_prohibited_in_trace) {
        return Err(SaslError::Unfit(
            "the text for ANONYMOUS has a character that can't be shown",
        ));
    }
    Ok(Zeroizing::new(trace.as_bytes().to_vec()))
}

fn is_prohibited_in_trace(character: char) -> bool {
    tables::ascii_control_character(character)
        || tables::non_ascii_control_character(character)
        || tables::private_use(character)
        || tables::non_character_code_point(character)
        || tables::inappropriate_for_plain_text(character)
        || tables::change_display_properties_or_deprecated(character)
        || tables::tagging_character(character)
}

fn without_zero(name: &str) -> Result<(), SaslError> {
    if name.contains('\0') {
        Err(SaslError::Unfit("the name has a zero byte"))
    } else {
        Ok(())
    }
}
