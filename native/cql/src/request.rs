//! Requests (section 4.1) as whole frames, with stream 0: [`crate::frame::set_stream`] gives them
//! theirs once a connection has one free.

use crate::frame::{Header, Opcode, Sender, HEADER_LEN, VERSION};
use crate::wire::{put_long_bytes, put_short_bytes, TooLong};
use crate::Consistency;

/// OPTIONS: asks what the server supports; also serves as a heartbeat.
pub fn options() -> Vec<u8> {
    Builder::new(Opcode::Options).finish_short()
}

/// STARTUP with these options; `CQL_VERSION` must be among them.
pub fn startup(options: &[(&str, &str)]) -> Result<Vec<u8>, TooLong> {
    let mut frame = Builder::new(Opcode::Startup);
    let n = u16::try_from(options.len()).map_err(|_| TooLong {
        what: "startup options",
        max: usize::from(u16::MAX),
    })?;
    frame.short(n);
    for (key, value) in options {
        put_short_bytes(&mut frame.out, key.as_bytes(), "startup option")?;
        put_short_bytes(&mut frame.out, value.as_bytes(), "startup option")?;
    }
    frame.finish()
}

/// AUTH_RESPONSE with a mechanism's bytes, or a null. The frame holds a secret: its user wipes it.
pub fn auth_response(token: Option<&[u8]>) -> Result<Vec<u8>, TooLong> {
    // Reserved in one piece, so that no copy of the secret stays behind in a grown buffer.
    let length = token.map_or(0, <[u8]>::len);
    let mut frame = Builder::with_capacity(Opcode::AuthResponse, length + 4);
    match token {
        Some(token) => put_long_bytes(&mut frame.out, token, "auth response")?,
        None => frame.out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
    frame.finish()
}

/// REGISTER for these kinds of event, for example `TOPOLOGY_CHANGE`.
pub fn register(kinds: &[&str]) -> Result<Vec<u8>, TooLong> {
    let mut frame = Builder::new(Opcode::Register);
    let n = u16::try_from(kinds.len()).map_err(|_| TooLong {
        what: "event kinds",
        max: usize::from(u16::MAX),
    })?;
    frame.short(n);
    for kind in kinds {
        put_short_bytes(&mut frame.out, kind.as_bytes(), "event kind")?;
    }
    frame.finish()
}

/// PREPARE.
pub fn prepare(statement: &str) -> Result<Vec<u8>, TooLong> {
    let mut frame = Builder::with_capacity(Opcode::Prepare, statement.len() + 4);
    put_long_bytes(&mut frame.out, statement.as_bytes(), "statement")?;
    frame.finish()
}

/// What QUERY and EXECUTE carry beside the statement (section 4.1.4, `<query_parameters>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// How many replicas must answer.
    pub consistency: Consistency,
    /// Rows a page, or everything at once.
    pub page_size: Option<i32>,
    /// Where the page before this one ended.
    pub paging_state: Option<Vec<u8>>,
    /// For conditional updates: `Serial` or `LocalSerial`.
    pub serial_consistency: Option<Consistency>,
    /// The write's time in µs since 1970.
    pub timestamp: Option<i64>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            consistency: Consistency::LocalOne,
            page_size: None,
            paging_state: None,
            serial_consistency: None,
            timestamp: None,
        }
    }
}

/// QUERY without values.
pub fn query(statement: &str, parameters: &Parameters) -> Result<Vec<u8>, TooLong> {
    let mut frame = Builder::with_capacity(Opcode::Query, statement.len() + 32);
    put_long_bytes(&mut frame.out, statement.as_bytes(), "statement")?;
    frame.parameters(parameters, 0, |_| Ok::<(), TooLong>(()))?;
    frame.finish()
}

/// EXECUTE of a prepared statement with `count` values that `values` writes, each as `[value]`.
pub fn execute<E: From<TooLong>>(
    id: &[u8],
    parameters: &Parameters,
    count: u16,
    values: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut frame = Builder::with_capacity(Opcode::Execute, 128);
    put_short_bytes(&mut frame.out, id, "prepared statement's id")?;
    frame.parameters(parameters, count, values)?;
    Ok(frame.finish()?)
}

/// Bits of `<query_parameters>`' flags.
mod parameter {
    pub(super) const VALUES: u8 = 0x01;
    pub(super) const PAGE_SIZE: u8 = 0x04;
    pub(super) const PAGING_STATE: u8 = 0x08;
    pub(super) const SERIAL_CONSISTENCY: u8 = 0x10;
    pub(super) const TIMESTAMP: u8 = 0x20;
}

/// A frame under construction: room for the header, then the body.
struct Builder {
    opcode: Opcode,
    out: Vec<u8>,
}

impl Builder {
    fn new(opcode: Opcode) -> Self {
        Self::with_capacity(opcode, 64)
    }

    fn with_capacity(opcode: Opcode, body: usize) -> Self {
        let mut out = Vec::with_capacity(HEADER_LEN + body);
        out.resize(HEADER_LEN, 0);
        Self { opcode, out }
    }

    fn short(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn parameters<E: From<TooLong>>(
        &mut self,
        parameters: &Parameters,
        count: u16,
        values: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let set = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = set(count > 0, parameter::VALUES)
            | set(parameters.page_size.is_some(), parameter::PAGE_SIZE)
            | set(parameters.paging_state.is_some(), parameter::PAGING_STATE)
            | set(
                parameters.serial_consistency.is_some(),
                parameter::SERIAL_CONSISTENCY,
            )
            | set(parameters.timestamp.is_some(), parameter::TIMESTAMP);
        self.short(parameters.consistency as u16);
        self.out.push(flags);
        if count > 0 {
            self.short(count);
            values(&mut self.out)?;
        }
        if let Some(size) = parameters.page_size {
            self.out.extend_from_slice(&size.to_be_bytes());
        }
        if let Some(state) = &parameters.paging_state {
            put_long_bytes(&mut self.out, state, "paging state")?;
        }
        if let Some(serial) = parameters.serial_consistency {
            self.short(serial as u16);
        }
        if let Some(timestamp) = parameters.timestamp {
            self.out.extend_from_slice(&timestamp.to_be_bytes());
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, TooLong> {
        if i32::try_from(self.out.len() - HEADER_LEN).is_err() {
            return Err(TooLong {
                what: "request",
                max: i32::MAX as usize,
            });
        }
        Ok(self.finish_short())
    }

    fn finish_short(mut self) -> Vec<u8> {
        let header = Header {
            sender: Sender::Client,
            version: VERSION,
            flags: 0,
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
mod tests {
    use super::*;

    fn body(frame: &[u8]) -> &[u8] {
        let header = Header::parse(frame.first_chunk().unwrap()).unwrap();
        assert_eq!(header.length as usize, frame.len() - HEADER_LEN);
        &frame[HEADER_LEN..]
    }

    #[test]
    fn options_is_a_bare_header() {
        assert_eq!(options(), [4, 0, 0, 0, 5, 0, 0, 0, 0]);
    }

    #[test]
    fn startup_is_a_string_map() {
        let frame = startup(&[("CQL_VERSION", "3.0.0")]).unwrap();
        assert_eq!(body(&frame), b"\0\x01\0\x0bCQL_VERSION\0\x053.0.0");
    }

    #[test]
    fn parameters_stand_in_the_order_of_the_specification() {
        let parameters = Parameters {
            consistency: Consistency::LocalQuorum,
            page_size: Some(100),
            paging_state: Some(vec![9, 9]),
            serial_consistency: Some(Consistency::LocalSerial),
            timestamp: Some(-1),
        };
        let frame = execute(&[7], &parameters, 1, |out| {
            put_long_bytes(out, b"v", "value")
        })
        .unwrap();
        let expected = [
            &[0, 1, 7][..],            // id
            &[0, 6, 0x3D],             // consistency, flags
            &[0, 1, 0, 0, 0, 1, b'v'], // values
            &[0, 0, 0, 100],           // page size
            &[0, 0, 0, 2, 9, 9],       // paging state
            &[0, 9],                   // serial consistency
            &[0xFF; 8],                // timestamp
        ]
        .concat();
        assert_eq!(body(&frame), expected);
    }

    #[test]
    fn a_string_too_long_for_its_length_field_is_an_error() {
        let long = "x".repeat(70_000);
        assert!(startup(&[("APPLICATION_NAME", &long)]).is_err());
    }
}
