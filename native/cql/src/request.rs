//! Requests (section 4.1) as whole frames, with stream 0: [`crate::frame::set_stream`] gives them
//! theirs once a connection has one free.

mod batch;

pub use batch::{Batch, BatchKind};

use crate::compress::compress;
use crate::frame::{flag, Header, Opcode, Sender, HEADER_LEN};
use crate::wire::{put_long_bytes, put_short_bytes, TooLong};
use crate::{Consistency, Dialect, Version};

/// A request that can't be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// Something is longer than its length field can say.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// There are more of something than can be counted.
    #[error("there are more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most that can be counted.
        max: usize,
    },
    /// The connection's version of the protocol has no such thing.
    #[error("{feature} needs protocol {needs}, and {spoken} is spoken")]
    Unsupported {
        /// What.
        feature: &'static str,
        /// Which version has it.
        needs: Version,
        /// Which one is spoken.
        spoken: Version,
    },
}

/// The longest body that the protocol allows (section 2.5).
const MAX_BODY: usize = 256 << 20;

/// OPTIONS: asks what the server supports; also serves as a heartbeat.
pub fn options(dialect: &Dialect) -> Vec<u8> {
    Builder::new(dialect, Opcode::Options, 0).finish_short()
}

/// STARTUP with these options; `CQL_VERSION` must be among them.
pub fn startup(dialect: &Dialect, options: &[(&str, &str)]) -> Result<Vec<u8>, Unsendable> {
    let mut frame = Builder::new(dialect, Opcode::Startup, 64);
    frame.count(options.len(), "startup options")?;
    for (key, value) in options {
        put_short_bytes(&mut frame.out, key.as_bytes(), "startup option")?;
        put_short_bytes(&mut frame.out, value.as_bytes(), "startup option")?;
    }
    frame.check_len()?;
    // The server learns only from it whether anything is compressed.
    Ok(frame.finish_short())
}

/// AUTH_RESPONSE with a mechanism's bytes, or a null. The frame holds a secret: its user wipes it.
pub fn auth_response(dialect: &Dialect, token: Option<&[u8]>) -> Result<Vec<u8>, TooLong> {
    // Reserved in one piece, so that no copy of the secret stays behind in a grown buffer; nor is it
    // compressed.
    let length = token.map_or(0, <[u8]>::len);
    let mut frame = Builder::new(dialect, Opcode::AuthResponse, length + 4);
    match token {
        Some(token) => put_long_bytes(&mut frame.out, token, "auth response")?,
        None => frame.int(-1),
    }
    frame.check_len()?;
    Ok(frame.finish_short())
}

/// REGISTER for these kinds of event, for example `TOPOLOGY_CHANGE`.
pub fn register(dialect: &Dialect, kinds: &[&str]) -> Result<Vec<u8>, Unsendable> {
    let mut frame = Builder::new(dialect, Opcode::Register, 64);
    frame.count(kinds.len(), "event kinds")?;
    for kind in kinds {
        put_short_bytes(&mut frame.out, kind.as_bytes(), "event kind")?;
    }
    Ok(frame.finish()?)
}

/// PREPARE, in another keyspace than the connection's if one is named (protocol 5).
pub fn prepare(
    dialect: &Dialect,
    statement: &str,
    keyspace: Option<&str>,
) -> Result<Vec<u8>, Unsendable> {
    let mut frame = Builder::new(dialect, Opcode::Prepare, statement.len() + 8);
    put_long_bytes(&mut frame.out, statement.as_bytes(), "statement")?;
    if dialect.version >= Version::V5 {
        frame.int(keyspace.map_or(0, |_| PREPARE_KEYSPACE));
    }
    if let Some(keyspace) = keyspace {
        needs_v5(dialect, KEYSPACE)?;
        put_short_bytes(&mut frame.out, keyspace.as_bytes(), "keyspace")?;
    }
    Ok(frame.finish()?)
}

const PREPARE_KEYSPACE: i32 = 0x01;

/// What QUERY, EXECUTE and BATCH carry beside the statement (section 4.1.4,
/// `<query_parameters>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// How many replicas must answer.
    pub consistency: Consistency,
    /// Rows a page, or everything at once. Not of a batch.
    pub page_size: Option<i32>,
    /// Where the page before this one ended. Not of a batch.
    pub paging_state: Option<Vec<u8>>,
    /// For conditional updates: `Serial` or `LocalSerial`.
    pub serial_consistency: Option<Consistency>,
    /// The write's time in µs since 1970.
    pub timestamp: Option<i64>,
    /// Asks for no metadata in the answer.
    pub skip_metadata: bool,
    /// The keyspace of names that have none (protocol 5).
    pub keyspace: Option<String>,
    /// The time that a time to live counts from, in seconds since 1970 (protocol 5).
    pub now_in_seconds: Option<i32>,
    /// Bytes for the server's own extensions (from protocol 4 on).
    pub payload: Vec<(String, Vec<u8>)>,
    /// Asks for a trace.
    pub tracing: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            consistency: Consistency::LocalOne,
            page_size: None,
            paging_state: None,
            serial_consistency: None,
            timestamp: None,
            skip_metadata: false,
            keyspace: None,
            now_in_seconds: None,
            payload: Vec::new(),
            tracing: false,
        }
    }
}

const KEYSPACE: &str = "a keyspace per request";
const NOW: &str = "now_in_seconds";
const PAYLOAD: &str = "a custom payload";

fn needs_v5(dialect: &Dialect, feature: &'static str) -> Result<(), Unsendable> {
    needs(dialect, Version::V5, feature)
}

/// Refuses what only a newer version has.
pub fn needs(dialect: &Dialect, needs: Version, feature: &'static str) -> Result<(), Unsendable> {
    if dialect.version >= needs {
        Ok(())
    } else {
        Err(Unsendable::Unsupported {
            feature,
            needs,
            spoken: dialect.version,
        })
    }
}

/// QUERY without values.
pub fn query(
    dialect: &Dialect,
    statement: &str,
    parameters: &Parameters,
) -> Result<Vec<u8>, Unsendable> {
    let mut frame = Builder::new(dialect, Opcode::Query, statement.len() + 32);
    frame.extras(parameters)?;
    put_long_bytes(&mut frame.out, statement.as_bytes(), "statement")?;
    frame.parameters(parameters, 0, |_| Ok::<(), Unsendable>(()))?;
    Ok(frame.finish()?)
}

/// A prepared statement, as EXECUTE names it.
#[derive(Debug, Clone, Copy)]
pub struct StatementId<'a> {
    /// The server's name for it.
    pub id: &'a [u8],
    /// The id of its result's metadata, where the dialect has such.
    pub result_id: Option<&'a [u8]>,
}

/// EXECUTE of a prepared statement with `count` values that `values` writes, each as `[value]`.
pub fn execute<E: From<Unsendable>>(
    dialect: &Dialect,
    statement: StatementId<'_>,
    parameters: &Parameters,
    count: u16,
    values: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut frame = Builder::new(dialect, Opcode::Execute, 128);
    frame.extras(parameters)?;
    frame.execute_head(dialect, statement)?;
    frame.parameters(parameters, count, values)?;
    Ok(frame.finish().map_err(Unsendable::from)?)
}

/// Bits of `<query_parameters>`' flags.
mod parameter {
    pub(super) const VALUES: u32 = 0x01;
    pub(super) const SKIP_METADATA: u32 = 0x02;
    pub(super) const PAGE_SIZE: u32 = 0x04;
    pub(super) const PAGING_STATE: u32 = 0x08;
    pub(super) const SERIAL_CONSISTENCY: u32 = 0x10;
    pub(super) const TIMESTAMP: u32 = 0x20;
    pub(super) const KEYSPACE: u32 = 0x80;
    pub(super) const NOW: u32 = 0x100;
}

fn too_many(what: &'static str) -> Unsendable {
    let max = usize::from(u16::MAX);
    Unsendable::TooMany { what, max }
}

/// A frame under construction: room for the header, then the body.
struct Builder {
    dialect: Dialect,
    opcode: Opcode,
    flags: u8,
    out: Vec<u8>,
}

impl Builder {
    fn new(dialect: &Dialect, opcode: Opcode, body: usize) -> Self {
        let mut out = Vec::with_capacity(HEADER_LEN + body);
        out.resize(HEADER_LEN, 0);
        Self {
            dialect: *dialect,
            opcode,
            flags: 0,
            out,
        }
    }

    fn short(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn int(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// `[short]` that counts.
    fn count(&mut self, count: usize, what: &'static str) -> Result<(), Unsendable> {
        self.short(u16::try_from(count).map_err(|_| too_many(what))?);
        Ok(())
    }

    /// What stands before any message: the wish for a trace, and a custom payload.
    fn extras(&mut self, parameters: &Parameters) -> Result<(), Unsendable> {
        if parameters.tracing {
            self.flags |= flag::TRACING;
        }
        if parameters.payload.is_empty() {
            return Ok(());
        }
        needs(&self.dialect, Version::V4, PAYLOAD)?;
        self.flags |= flag::CUSTOM_PAYLOAD;
        self.count(parameters.payload.len(), "entries in a custom payload")?;
        for (name, bytes) in &parameters.payload {
            put_short_bytes(&mut self.out, name.as_bytes(), "custom payload")?;
            put_long_bytes(&mut self.out, bytes, "custom payload")?;
        }
        Ok(())
    }

    fn execute_head(
        &mut self,
        dialect: &Dialect,
        statement: StatementId<'_>,
    ) -> Result<(), Unsendable> {
        put_short_bytes(&mut self.out, statement.id, "prepared statement's id")?;
        if dialect.has_metadata_ids() {
            // An id that is no metadata's makes the server send what it has.
            let id = statement.result_id.unwrap_or_default();
            put_short_bytes(&mut self.out, id, "metadata's id")?;
        }
        Ok(())
    }

    fn parameters<E: From<Unsendable>>(
        &mut self,
        parameters: &Parameters,
        count: u16,
        values: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let set = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        let flags = set(count > 0, parameter::VALUES)
            | set(parameters.skip_metadata, parameter::SKIP_METADATA)
            | set(parameters.page_size.is_some(), parameter::PAGE_SIZE)
            | set(parameters.paging_state.is_some(), parameter::PAGING_STATE);
        self.short(parameters.consistency as u16);
        self.parameter_flags(parameters, flags)?;
        if count > 0 {
            self.short(count);
            values(&mut self.out)?;
        }
        if let Some(size) = parameters.page_size {
            self.int(size);
        }
        if let Some(state) = &parameters.paging_state {
            put_long_bytes(&mut self.out, state, "paging state").map_err(Unsendable::from)?;
        }
        Ok(self.common_parameters(parameters)?)
    }

    /// The flags, with those of [`Self::common_parameters`].
    fn parameter_flags(&mut self, parameters: &Parameters, more: u32) -> Result<(), Unsendable> {
        let set = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        let serial = parameters.serial_consistency.is_some();
        let flags = more
            | set(serial, parameter::SERIAL_CONSISTENCY)
            | set(parameters.timestamp.is_some(), parameter::TIMESTAMP)
            | set(parameters.keyspace.is_some(), parameter::KEYSPACE)
            | set(parameters.now_in_seconds.is_some(), parameter::NOW);
        if self.dialect.version >= Version::V5 {
            self.out.extend_from_slice(&flags.to_be_bytes());
            return Ok(());
        }
        if parameters.keyspace.is_some() {
            needs_v5(&self.dialect, KEYSPACE)?;
        }
        if parameters.now_in_seconds.is_some() {
            needs_v5(&self.dialect, NOW)?;
        }
        // The two that are longer than a byte were just refused.
        self.out.push(flags as u8);
        Ok(())
    }

    /// What a batch has as well.
    fn common_parameters(&mut self, parameters: &Parameters) -> Result<(), Unsendable> {
        if let Some(serial) = parameters.serial_consistency {
            self.short(serial as u16);
        }
        if let Some(timestamp) = parameters.timestamp {
            self.out.extend_from_slice(&timestamp.to_be_bytes());
        }
        if let Some(keyspace) = &parameters.keyspace {
            put_short_bytes(&mut self.out, keyspace.as_bytes(), "keyspace")?;
        }
        if let Some(now) = parameters.now_in_seconds {
            self.int(now);
        }
        Ok(())
    }

    fn check_len(&self) -> Result<(), TooLong> {
        if self.out.len() - HEADER_LEN > MAX_BODY {
            return Err(TooLong {
                what: "request",
                max: MAX_BODY,
            });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, TooLong> {
        self.check_len()?;
        if let Some(compression) = self.dialect.body_compression() {
            let body = self.out.get(HEADER_LEN..).unwrap_or_default();
            if let Some(compressed) = compress(compression, body) {
                self.out.truncate(HEADER_LEN);
                self.out.extend_from_slice(&compressed);
                self.flags |= flag::COMPRESSION;
            }
        }
        Ok(self.finish_short())
    }

    fn finish_short(mut self) -> Vec<u8> {
        let header = Header {
            sender: Sender::Client,
            version: self.dialect.version.number(),
            flags: self.flags,
            stream: 0,
            opcode: self.opcode,
            length: (self.out.len() - HEADER_LEN) as u32,
        };
        if let Some(room) = self.out.first_chunk_mut::<HEADER_LEN>() {
            *room = header.to_bytes();
        }
        self.out
    }
}

#[cfg(test)]
mod tests;
