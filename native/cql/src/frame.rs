//! Frames (section 2): a header of nine bytes and a body.

use bytes::{Buf, Bytes, BytesMut};

use crate::DecodeError;

/// Length of a frame's header.
pub const HEADER_LEN: usize = 9;

/// The protocol version spoken.
pub const VERSION: u8 = 4;

/// Bits of a header's flags.
pub mod flag {
    /// The body is compressed.
    pub const COMPRESSION: u8 = 0x01;
    /// A trace is asked for, or the body starts with a trace's id.
    pub const TRACING: u8 = 0x02;
    /// The body starts with a custom payload.
    pub const CUSTOM_PAYLOAD: u8 = 0x04;
    /// The body starts with warnings.
    pub const WARNING: u8 = 0x08;
}

macro_rules! opcodes {
    ($($name:ident = $value:literal),+ $(,)?) => {
        /// What a message is (section 2.4).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the names are the protocol's own
        pub enum Opcode { $($name = $value),+ }

        impl Opcode {
            /// The opcode with this number on the wire.
            pub fn from_wire(value: u8) -> Result<Self, DecodeError> {
                match value {
                    $($value => Ok(Self::$name),)+
                    _ => Err(DecodeError::Unknown { what: "opcode", value: i64::from(value) }),
                }
            }
        }
    };
}

opcodes! {
    Error = 0x00,
    Startup = 0x01,
    Ready = 0x02,
    Authenticate = 0x03,
    Options = 0x05,
    Supported = 0x06,
    Query = 0x07,
    Result = 0x08,
    Prepare = 0x09,
    Execute = 0x0A,
    Register = 0x0B,
    Event = 0x0C,
    Batch = 0x0D,
    AuthChallenge = 0x0E,
    AuthResponse = 0x0F,
    AuthSuccess = 0x10,
}

/// Which end sent a frame: the header's first bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A request.
    Client,
    /// A response or an event.
    Server,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who sent it.
    pub sender: Sender,
    /// Protocol version, without the direction bit.
    pub version: u8,
    /// See [`flag`].
    pub flags: u8,
    /// Pairs a response with its request; -1 is an event.
    pub stream: i16,
    /// What the body is.
    pub opcode: Opcode,
    /// Length of the body in bytes.
    pub length: u32,
}

impl Header {
    /// The header's nine bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let direction = match self.sender {
            Sender::Client => 0,
            Sender::Server => 0x80,
        };
        let [s0, s1] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        let (version, opcode) = (self.version | direction, self.opcode as u8);
        [version, self.flags, s0, s1, opcode, l0, l1, l2, l3]
    }

    /// Reads a header.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, DecodeError> {
        let [version, flags, s0, s1, opcode, l0, l1, l2, l3] = *bytes;
        Ok(Self {
            sender: if version & 0x80 == 0 {
                Sender::Client
            } else {
                Sender::Server
            },
            version: version & 0x7F,
            flags,
            stream: i16::from_be_bytes([s0, s1]),
            opcode: Opcode::from_wire(opcode)?,
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

/// A whole frame. The body shares the read buffer's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// The body, `header.length` bytes.
    pub body: Bytes,
}

/// Writes the stream id into an encoded frame; frames are built before their stream is known.
pub fn set_stream(frame: &mut [u8], stream: i16) {
    if let Some(field) = frame.get_mut(2..4) {
        field.copy_from_slice(&stream.to_be_bytes());
    }
}

/// Cuts frames out of a stream of bytes that may be split anywhere.
#[derive(Debug, Clone)]
pub struct FrameReader {
    from: Sender,
    max_len: u32,
    keep_len: u32,
    /// Bytes of a body that is not kept and has not arrived yet.
    skip: usize,
}

/// What a [`FrameReader`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole frame.
    Frame(Frame),
    /// The header of a frame whose body is longer than what is kept; the body is skipped.
    Oversized(Header),
}

impl FrameReader {
    /// Reads frames sent by `from` with bodies of at most `max_len` bytes.
    pub fn new(from: Sender, max_len: u32) -> Self {
        Self {
            from,
            max_len,
            keep_len: max_len,
            skip: 0,
        }
    }

    /// Keeps only bodies of at most `keep_len` bytes; of longer ones [`FrameReader::incoming`]
    /// tells the header.
    pub fn keeping(mut self, keep_len: u32) -> Self {
        self.keep_len = keep_len.min(self.max_len);
        self
    }

    /// As [`FrameReader::next`], but a frame that is too long to keep is told instead of an error.
    pub fn incoming(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, DecodeError> {
        let skipped = self.skip.min(buffer.len());
        buffer.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 {
            return Ok(None);
        }
        match self.peek(buffer)? {
            Some(header) if header.length > self.keep_len => {
                buffer.advance(HEADER_LEN);
                self.skip = header.length as usize;
                Ok(Some(Incoming::Oversized(header)))
            }
            _ => Ok(self.next(buffer)?.map(Incoming::Frame)),
        }
    }

    /// Takes the next whole frame off the front of `buffer`, or nothing while it is incomplete.
    ///
    /// An error is final: the bytes are no conversation that could go on.
    pub fn next(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let Some(header) = self.peek(buffer)? else {
            return Ok(None);
        };
        let total = HEADER_LEN + header.length as usize;
        if buffer.len() < total {
            let missing = total - buffer.len();
            buffer.reserve(missing.min(RESERVE_AT_MOST));
            return Ok(None);
        }
        buffer.advance(HEADER_LEN);
        let body = buffer.split_to(header.length as usize).freeze();
        Ok(Some(Frame { header, body }))
    }

    fn peek(&self, buffer: &[u8]) -> Result<Option<Header>, DecodeError> {
        // The first byte already tells a peer that speaks something else.
        if let Some(&first) = buffer.first() {
            if first == TLS_ALERT || first == TLS_HANDSHAKE {
                return Err(DecodeError::TlsRecord);
            }
            let expected = match self.from {
                Sender::Client => 0,
                Sender::Server => 0x80,
            };
            if first & 0x80 != expected || !(3..=6).contains(&(first & 0x7F)) {
                return Err(DecodeError::Version(first));
            }
        }
        let Some(bytes) = buffer.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let header = Header::parse(bytes)?;
        if header.length > self.max_len {
            return Err(DecodeError::FrameTooLarge {
                len: u64::from(header.length),
                max: self.max_len,
            });
        }
        Ok(Some(header))
    }
}

/// A frame's announced length is only a claim: memory for it is taken in steps of this size.
const RESERVE_AT_MOST: usize = 1 << 20;

const TLS_ALERT: u8 = 0x15;
const TLS_HANDSHAKE: u8 = 0x16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(stream: i16, opcode: Opcode, body: &[u8]) -> Vec<u8> {
        let header = Header {
            sender: Sender::Server,
            version: VERSION,
            flags: 0,
            stream,
            opcode,
            length: body.len() as u32,
        };
        [&header.to_bytes()[..], body].concat()
    }

    proptest! {
        #[test]
        fn bytes_split_anywhere_give_the_same_frames(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 1..8),
            cuts in proptest::collection::vec(1usize..40, 1..200),
        ) {
            let all: Vec<u8> = bodies
                .iter()
                .enumerate()
                .flat_map(|(i, body)| frame(i as i16, Opcode::Result, body))
                .collect();
            let reader = FrameReader::new(Sender::Server, 1 << 20);
            let (mut buffer, mut seen, mut at) = (BytesMut::new(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(all.len());
                buffer.extend_from_slice(&all[at..end]);
                at = end;
                while let Some(frame) = reader.next(&mut buffer).unwrap() {
                    seen.push((frame.header.stream, frame.body.to_vec()));
                }
                if at == all.len() {
                    break;
                }
            }
            let expected: Vec<_> =
                bodies.into_iter().enumerate().map(|(i, b)| (i as i16, b)).collect();
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_bytes_end_in_a_frame_an_error_or_patience(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let reader = FrameReader::new(Sender::Server, 1 << 10);
            while let Ok(Some(_)) = reader.next(&mut buffer) {}
            prop_assert!(buffer.len() <= bytes.len());
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_header_alone() {
        let mut buffer = BytesMut::from(&frame(1, Opcode::Result, &[0; 11])[..HEADER_LEN]);
        let refused = FrameReader::new(Sender::Server, 10).next(&mut buffer);
        assert_eq!(
            refused,
            Err(DecodeError::FrameTooLarge { len: 11, max: 10 })
        );
    }

    #[test]
    fn a_claimed_length_reserves_no_more_than_a_step() {
        let mut header = frame(1, Opcode::Result, &[]);
        header[5..9].copy_from_slice(&(1u32 << 30).to_be_bytes());
        let mut buffer = BytesMut::from(&header[..]);
        let reader = FrameReader::new(Sender::Server, u32::MAX);
        assert_eq!(reader.next(&mut buffer), Ok(None));
        assert!(buffer.capacity() <= 2 * RESERVE_AT_MOST);
    }

    #[test]
    fn a_frame_too_long_to_keep_is_skipped_however_it_arrives() {
        let all = [
            frame(1, Opcode::Result, b"short"),
            frame(2, Opcode::Result, &[7; 100]),
            frame(3, Opcode::Result, b"again"),
        ]
        .concat();
        for piece in [1, 2, 7, 50, 1_000] {
            let mut reader = FrameReader::new(Sender::Server, 1_000).keeping(10);
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for bytes in all.chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let Some(incoming) = reader.incoming(&mut buffer).unwrap() {
                    seen.push(match incoming {
                        Incoming::Frame(frame) => (frame.header.stream, frame.body.to_vec()),
                        Incoming::Oversized(header) => (header.stream, b"skipped".to_vec()),
                    });
                }
            }
            let expected = [(1, "short"), (2, "skipped"), (3, "again")];
            assert_eq!(
                seen,
                expected.map(|(id, text)| (id, text.as_bytes().to_vec()))
            );
        }
    }

    #[test]
    fn the_first_byte_tells_a_tls_peer() {
        let reader = FrameReader::new(Sender::Server, 10);
        let alert = reader.next(&mut BytesMut::from(&[0x15, 3, 3][..]));
        assert_eq!(alert, Err(DecodeError::TlsRecord));
        let http = reader.next(&mut BytesMut::from(&b"HTTP/1.1"[..]));
        assert_eq!(http, Err(DecodeError::Version(b'H')));
    }

    #[test]
    fn the_stream_is_patched_in_place() {
        let mut bytes = frame(0, Opcode::Result, b"x");
        set_stream(&mut bytes, 0x1234);
        assert_eq!(&bytes[2..4], &[0x12, 0x34]);
    }
}
