//! Messages of DIGEST-MD5: `name=value` or `name="value"`, with commas between them.

use super::super::SaslError;

/// RFC 2831 allows no challenge of this length.
const MAX_LENGTH: usize = 2_048;

/// In the order of the message. The values are as they were before they were quoted.
pub(super) struct Directives<'a>(Vec<(&'a [u8], Vec<u8>)>);

impl<'a> Directives<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, SaslError> {
        if message.len() >= MAX_LENGTH {
            return Err(SaslError::Malformed(
                "the message is longer than 2,047 bytes",
            ));
        }
        let mut rest = Rest(message);
        let mut directives = Vec::new();
        loop {
            // Nothing between two commas is allowed.
            while rest.takes(b',') {}
            if rest.0.is_empty() {
                return Ok(Self(directives));
            }
            let name = rest.token()?;
            if !rest.takes(b'=') {
                return Err(SaslError::Malformed("a directive has no value"));
            }
            directives.push((name, rest.value()?));
            if !rest.0.is_empty() && !rest.takes(b',') {
                return Err(SaslError::Malformed("no comma between two directives"));
            }
        }
    }

    pub(super) fn first(&self, name: &'static str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Of those that must not be repeated.
    pub(super) fn only(&self, name: &'static str) -> Result<Option<&[u8]>, SaslError> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(SaslError::Malformed(
                "a directive stands twice that may only stand once",
            )),
            (first, None) => Ok(first),
        }
    }

    fn all<'s>(&'s self, name: &'static str) -> impl Iterator<Item = &'s [u8]> + use<'s, 'a> {
        let found = move |(known, _): &&(&[u8], _)| known.eq_ignore_ascii_case(name.as_bytes());
        self.0.iter().filter(found).map(|(_, value)| &value[..])
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Whether this came next; white space around it doesn't count.
    fn takes(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let Some(rest) = self.0.strip_prefix(&[wanted]) else {
            return false;
        };
        self.0 = rest;
        self.skip_space();
        true
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn token(&mut self) -> Result<&'a [u8], SaslError> {
        let end = self.0.iter().position(|byte| !is_token(*byte));
        let (token, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        self.skip_space();
        if token.is_empty() {
            Err(SaslError::Malformed("a name or value is missing"))
        } else {
            Ok(token)
        }
    }

    fn value(&mut self) -> Result<Vec<u8>, SaslError> {
        let Some(quoted) = self.0.strip_prefix(b"\"") else {
            return Ok(self.token()?.to_vec());
        };
        let mut value = Vec::new();
        let mut bytes = quoted.iter();
        loop {
            let byte = match bytes.next() {
                Some(b'"') => break,
                Some(b'\\') => bytes.next(),
                other => other,
            };
            match byte {
                None => return Err(SaslError::Malformed("a quoted value has no end")),
                Some(byte) if byte.is_ascii_control() => {
                    return Err(SaslError::Malformed(
                        "a quoted value has a control character",
                    ))
                }
                Some(byte) => value.push(*byte),
            }
        }
        self.0 = bytes.as_slice();
        self.skip_space();
        Ok(value)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}
