//! What the server sends: attributes of a letter and a value each, with commas between them.

use std::num::NonZeroU32;

use super::super::{base64, SaslError};

/// What both RFCs ask of servers. With fewer, who listens, or plays the server, tries passwords at
/// little cost.
const MIN_ITERATIONS: u32 = 4_096;

/// More than anybody recommends, and about a second of computing. A hostile server must not cost us more.
const MAX_ITERATIONS: u32 = 2_000_000;

/// Why it says that a login failed (RFC 5802, section 7), and whether name or password are the reason.
const ERRORS: [(&str, bool); 11] = [
    ("invalid-encoding", false),
    ("extensions-not-supported", false),
    ("invalid-proof", true),
    ("channel-bindings-dont-match", false),
    ("server-does-support-channel-binding", false),
    ("channel-binding-not-supported", false),
    ("unsupported-channel-binding-type", false),
    ("unknown-user", true),
    ("invalid-username-encoding", false),
    ("no-resources", false),
    ("other-error", false),
];

/// Its answer to our name.
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: NonZeroU32,
}

/// Its answer to our proof.
pub(super) struct ServerFinal {
    pub(super) signature: Vec<u8>,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a str) -> Result<Self, SaslError> {
        let mut attributes = message.split(',').map(attribute);
        let mut next = |wanted| match attributes.next().transpose()? {
            Some((letter, value)) if letter == wanted => Ok(value),
            Some((b'm', _)) => Err(SaslError::Malformed(
                "the server wants an extension that we don't have",
            )),
            Some((b'e', value)) => Err(refusal(value)),
            _ => Err(SaslError::Malformed(
                "the challenge is not nonce, salt and iterations, in this order",
            )),
        };
        let nonce = next(b'r')?;
        let salt = base64::decode(next(b's')?)?;
        let iterations = iterations(next(b'i')?)?;
        extensions(attributes)?;
        if !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SaslError::Malformed("the server's nonce is not printable"));
        }
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

impl ServerFinal {
    pub(super) fn parse(message: &str) -> Result<Self, SaslError> {
        let mut attributes = message.split(',').map(attribute);
        let signature = match attributes.next().transpose()? {
            Some((b'v', value)) => base64::decode(value)?,
            Some((b'e', value)) => return Err(refusal(value)),
            _ => {
                return Err(SaslError::Malformed(
                    "the last message is neither a signature nor an error",
                ))
            }
        };
        extensions(attributes)?;
        Ok(Self { signature })
    }
}

pub(super) fn text(message: &[u8]) -> Result<&str, SaslError> {
    std::str::from_utf8(message).map_err(|_| SaslError::Malformed("the message is not UTF-8"))
}

fn attribute(text: &str) -> Result<(u8, &str), SaslError> {
    match (text.as_bytes(), text.get(2..)) {
        ([letter, b'=', ..], Some(value))
            if letter.is_ascii_alphabetic() && !value.is_empty() && !value.contains('\0') =>
        {
            Ok((*letter, value))
        }
        _ => Err(SaslError::Malformed(
            "a part of the message is no attribute with a value",
        )),
    }
}

/// What is not known is passed over, but not the known in the wrong place: which of two would count?
fn extensions<'a>(
    mut attributes: impl Iterator<Item = Result<(u8, &'a str), SaslError>>,
) -> Result<(), SaslError> {
    attributes.try_for_each(|attribute| match attribute? {
        (letter, _) if b"aceimnprsv".contains(&letter) => Err(SaslError::Malformed(
            "an attribute stands twice, or where it doesn't belong",
        )),
        _ => Ok(()),
    })
}

fn iterations(value: &str) -> Result<NonZeroU32, SaslError> {
    if value.starts_with('0') || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SaslError::Malformed("the iteration count is no number"));
    }
    // Only what is too large for the type is left to fail.
    match value.parse::<NonZeroU32>() {
        Ok(count) if count.get() < MIN_ITERATIONS => Err(SaslError::Malformed(
            "the server wants fewer than 4,096 iterations, which protects no password",
        )),
        Ok(count) if count.get() <= MAX_ITERATIONS => Ok(count),
        _ => Err(SaslError::Malformed(
            "the server wants more than 2,000,000 iterations",
        )),
    }
}

fn refusal(value: &str) -> SaslError {
    // RFC 5802 wants what is unknown to be taken for this one.
    let known = ERRORS.iter().find(|(name, _)| *name == value);
    match *known.unwrap_or(&("other-error", false)) {
        (name, true) => SaslError::BadCredentials(name),
        (name, false) => SaslError::Refused(name),
    }
}
