//! Responses as bytes.

mod errors;

use palladion_cql::response::SchemaChange;
use palladion_cql::Opcode;

pub(crate) use errors::{error, put_address, put_error};

use crate::head::{put_frame, Head};

/// A RESULT without content.
pub(crate) fn put_void(out: &mut Vec<u8>, head: &Head) {
    put_frame(out, head, Opcode::Result, |out| put_int(out, 1));
}

/// A RESULT that names the keyspace now in use.
pub(crate) fn put_set_keyspace(out: &mut Vec<u8>, head: &Head, keyspace: &str) {
    put_frame(out, head, Opcode::Result, |out| {
        put_int(out, 3);
        put_text(out, keyspace);
    });
}

/// A RESULT or EVENT content that says what a schema statement changed.
pub(crate) fn put_schema_change(out: &mut Vec<u8>, change: &SchemaChange) {
    put_text(out, &change.change);
    put_text(out, &change.target);
    put_text(out, &change.keyspace);
    if let Some(name) = &change.name {
        put_text(out, name);
    }
}

/// A SUPPORTED.
pub(crate) fn put_supported(out: &mut Vec<u8>, head: &Head, options: &[(String, Vec<String>)]) {
    put_frame(out, head, Opcode::Supported, |out| {
        put_len(out, options.len());
        for (name, values) in options {
            put_text(out, name);
            put_len(out, values.len());
            values.iter().for_each(|value| put_text(out, value));
        }
    });
}

/// An AUTHENTICATE.
pub(crate) fn put_authenticate(out: &mut Vec<u8>, head: &Head, class: &str) {
    put_frame(out, head, Opcode::Authenticate, |out| put_text(out, class));
}

/// An AUTH_SUCCESS or AUTH_CHALLENGE with this token.
pub(crate) fn put_token(out: &mut Vec<u8>, head: &Head, opcode: Opcode, token: Option<&[u8]>) {
    put_frame(out, head, opcode, |out| match token {
        Some(token) => put_bytes(out, token),
        None => put_int(out, -1),
    });
}

pub(crate) fn put_short(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_int(out, bytes.len() as i32);
    out.extend_from_slice(bytes);
}

/// A `[string]`, cut where its length field ends.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let end = (0..=text.len().min(usize::from(u16::MAX)))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    let text = &text.as_bytes()[..end.unwrap_or(0)];
    put_len(out, text.len());
    out.extend_from_slice(text);
}

/// A `[short]` that counts, at most what it can say.
pub(crate) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_short(out, u16::try_from(len).unwrap_or(u16::MAX));
}
