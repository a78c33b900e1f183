//! What every answer has around its body: header, extras, compression.

use std::sync::Arc;

use palladion_cql::frame::{flag, Header, Sender, HEADER_LEN};
use palladion_cql::{Compression, Dialect, Opcode, Version};

use crate::response::{put_bytes, put_int, put_len, put_text};

/// What an answer carries beside its message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// The trace's id. Without it a traced request gets one of the server's.
    pub tracing_id: Option<[u8; 16]>,
    /// Warnings, from protocol 4 on.
    pub warnings: Vec<String>,
    /// The custom payload, from protocol 4 on.
    pub payload: Vec<(String, Option<Vec<u8>>)>,
}

/// What an answer is to be written in.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) dialect: Dialect,
    pub(crate) stream: i16,
    pub(crate) extras: Option<Arc<Extras>>,
    pub(crate) tracing_id: Option<[u8; 16]>,
}

impl Head {
    pub(crate) fn new(dialect: Dialect, stream: i16) -> Self {
        Self {
            dialect,
            stream,
            extras: None,
            tracing_id: None,
        }
    }

    /// The same to another stream.
    pub(crate) fn on(&self, stream: i16) -> Self {
        Self {
            stream,
            ..self.clone()
        }
    }

    /// A header of this length and these flags.
    pub(crate) fn header(&self, opcode: Opcode, flags: u8, length: u32) -> [u8; HEADER_LEN] {
        let header = Header {
            sender: Sender::Server,
            version: self.dialect.version.number(),
            flags,
            stream: self.stream,
            opcode,
            length,
        };
        header.to_bytes()
    }

    /// How bodies are compressed; in protocol 5 segments are instead.
    pub(crate) fn body_compression(&self) -> Option<Compression> {
        (self.dialect.compression).filter(|_| self.dialect.version < Version::V5)
    }

    /// Appends what stands before the message, and tells its flags.
    fn put_extras(&self, out: &mut Vec<u8>) -> u8 {
        let extras = self.extras.as_deref();
        let mut flags = 0;
        if let Some(id) = extras.and_then(|e| e.tracing_id).or(self.tracing_id) {
            out.extend_from_slice(&id);
            flags |= flag::TRACING;
        }
        let Some(extras) = extras.filter(|_| self.dialect.version >= Version::V4) else {
            return flags;
        };
        if !extras.warnings.is_empty() {
            put_len(out, extras.warnings.len());
            extras.warnings.iter().for_each(|w| put_text(out, w));
            flags |= flag::WARNING;
        }
        if !extras.payload.is_empty() {
            put_len(out, extras.payload.len());
            for (name, bytes) in &extras.payload {
                put_text(out, name);
                match bytes {
                    Some(bytes) => put_bytes(out, bytes),
                    None => put_int(out, -1),
                }
            }
            flags |= flag::CUSTOM_PAYLOAD;
        }
        flags
    }
}

/// Appends a frame whose body is what `body` appends.
pub(crate) fn put_frame(
    out: &mut Vec<u8>,
    head: &Head,
    opcode: Opcode,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    let body_at = start + HEADER_LEN;
    out.extend_from_slice(&[0; HEADER_LEN]);
    let mut flags = head.put_extras(out);
    body(out);
    let compression = head.body_compression().filter(|_| out.len() > body_at);
    if let Some(compressed) = compression.and_then(|c| compress(c, &out[body_at..])) {
        out.truncate(body_at);
        out.extend_from_slice(&compressed);
        flags |= flag::COMPRESSION;
    }
    let header = head.header(opcode, flags, (out.len() - body_at) as u32);
    out[start..body_at].copy_from_slice(&header);
}

/// A body compressed, as Cassandra does it: also where that makes it longer.
pub(crate) fn compress(compression: Compression, body: &[u8]) -> Option<Vec<u8>> {
    match compression {
        Compression::Lz4 => {
            let mut out = (body.len() as u32).to_be_bytes().to_vec();
            out.extend(lz4_flex::block::compress(body));
            Some(out)
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(body).ok(),
    }
}
