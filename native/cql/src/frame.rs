//! Frames (section 2): a header of nine bytes and a body.

use bytes::{Buf, Bytes, BytesMut};

use crate::compress::{decompress, decompressed_len};
use crate::segment::SegmentReader;
use crate::{Compression, DecodeError, Dialect, Version};

/// Length of a frame's header.
pub const HEADER_LEN: usize = 9;

/// The stream of what nobody has asked for.
const EVENT_STREAM: i16 = -1;

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

    /// Whether it is an event on the stream of events, and so no answer to anything.
    pub fn is_event(&self) -> bool {
        (self.stream, self.opcode) == (EVENT_STREAM, Opcode::Event)
    }
}

/// A whole frame. The body shares the read buffer's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// The body as it came, `header.length` bytes: [`Self::content`] is what was meant.
    pub body: Bytes,
    /// What it is written in.
    pub dialect: Dialect,
}

impl Frame {
    /// The body as it was before it was compressed.
    pub fn content(&self) -> Result<Bytes, DecodeError> {
        if !self.is_compressed() {
            return Ok(self.body.clone());
        }
        let compression = self.dialect.compression.ok_or(DecodeError::Compression)?;
        decompress(compression, &self.body)
    }

    /// The length of that; of a compressed body, what it claims.
    pub fn content_len(&self) -> Result<usize, DecodeError> {
        if !self.is_compressed() {
            return Ok(self.body.len());
        }
        let compression = self.dialect.compression.ok_or(DecodeError::Compression)?;
        decompressed_len(compression, &self.body)
    }

    /// In protocol 5 it is segments that are compressed, and the flag means nothing.
    fn is_compressed(&self) -> bool {
        self.header.flags & flag::COMPRESSION != 0 && self.dialect.version < Version::V5
    }
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
    dialect: Dialect,
    /// Whether the peer may answer in another version than it was asked in.
    negotiating: bool,
    max_len: u32,
    keep_len: u32,
    /// Bytes of a body that is not kept and has not arrived yet.
    skip: usize,
    /// Whether a long body was cut off the buffer's memory, which is still as long.
    is_grown: bool,
    segments: Option<Segments>,
}

/// The state of a reader whose frames come in segments.
#[derive(Debug, Clone)]
struct Segments {
    reader: SegmentReader,
    /// What was in them and has not been cut into frames yet.
    payload: BytesMut,
    /// Whether the last one had whole frames.
    self_contained: bool,
}

/// What a [`FrameReader`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole frame.
    Frame(Frame),
    /// The header of a frame whose body is longer than what is kept, with the length that is meant
    /// to be; the body is skipped.
    Oversized(Header),
}

impl FrameReader {
    /// Reads frames sent by `from` with bodies of at most `max_len` bytes. Frames are in no
    /// segments until [`Self::agree`].
    pub fn new(from: Sender, version: Version, max_len: u32) -> Self {
        Self {
            from,
            dialect: Dialect::plain(version),
            negotiating: false,
            max_len,
            keep_len: max_len,
            skip: 0,
            is_grown: false,
            segments: None,
        }
    }

    /// Takes frames of any version, as answers to one who asks for a version that a server may not
    /// know.
    pub fn negotiating(mut self) -> Self {
        self.negotiating = true;
        self
    }

    /// Keeps only bodies of at most `keep_len` bytes; of longer ones [`FrameReader::incoming`]
    /// tells the header.
    pub fn keeping(mut self, keep_len: u32) -> Self {
        self.limit(self.max_len, keep_len);
        self
    }

    /// Other limits from the next frame on.
    pub fn limit(&mut self, max_len: u32, keep_len: u32) {
        self.max_len = max_len;
        self.keep_len = keep_len.min(max_len);
    }

    /// What follows may be compressed so, as the answer to a STARTUP that asks for it.
    pub fn decompressing(&mut self, compression: Option<Compression>) {
        self.dialect.compression = compression;
    }

    /// What follows is written in this dialect: its version alone, compressed as agreed, in segments
    /// from protocol 5 on. That is so after READY or AUTHENTICATE.
    pub fn agree(&mut self, dialect: Dialect) {
        self.dialect = dialect;
        self.negotiating = false;
        self.segments = (dialect.version >= Version::V5).then(|| Segments {
            reader: SegmentReader::new(dialect.compression),
            payload: BytesMut::new(),
            self_contained: false,
        });
    }

    /// As [`FrameReader::next`], but a frame that is too long to keep is told instead of an error.
    pub fn incoming(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, DecodeError> {
        let Some(mut segments) = self.segments.take() else {
            return self.cut(buffer);
        };
        let found = self.cut_segments(&mut segments, buffer);
        self.segments = Some(segments);
        found
    }

    /// Takes the next whole frame off the front of `buffer`, or nothing while it is incomplete.
    ///
    /// An error is final: the bytes are no conversation that could go on.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        match self.incoming(buffer)? {
            Some(Incoming::Frame(frame)) => Ok(Some(frame)),
            Some(Incoming::Oversized(header)) => Err(self.too_large(header.length)),
            None => Ok(None),
        }
    }

    fn cut_segments(
        &mut self,
        segments: &mut Segments,
        buffer: &mut BytesMut,
    ) -> Result<Option<Incoming>, DecodeError> {
        loop {
            let found = self.cut(&mut segments.payload)?;
            if segments.payload.is_empty() {
                // Its memory is that of a long frame, perhaps, whose user may be done with it soon.
                segments.payload = BytesMut::new();
            }
            if found.is_some() {
                return Ok(found);
            }
            let inside = self.skip > 0 || !segments.payload.is_empty();
            if inside && segments.self_contained {
                return Err(DecodeError::Segment);
            }
            let Some(segment) = segments.reader.next(buffer)? else {
                return Ok(None);
            };
            segments.self_contained = segment.self_contained;
            if inside && segment.self_contained {
                return Err(DecodeError::Segment);
            }
            if segments.payload.is_empty() {
                segments.payload = segment.payload;
            } else {
                segments.payload.extend_from_slice(&segment.payload);
            }
        }
    }

    fn cut(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, DecodeError> {
        let skipped = self.skip.min(buffer.len());
        buffer.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 {
            self.run_out(buffer);
            return Ok(None);
        }
        let Some(header) = self.peek(buffer)? else {
            self.run_out(buffer);
            return Ok(None);
        };
        if header.length > self.keep_len {
            buffer.advance(HEADER_LEN);
            self.skip = header.length as usize;
            return Ok(Some(Incoming::Oversized(header)));
        }
        let total = HEADER_LEN + header.length as usize;
        if buffer.len() < total {
            self.run_out(buffer);
            let missing = total - buffer.len();
            buffer.reserve(missing.min(RESERVE_AT_MOST));
            return Ok(None);
        }
        self.is_grown |= total > KEEP_BUFFER;
        buffer.advance(HEADER_LEN);
        let frame = Frame {
            header,
            body: buffer.split_to(header.length as usize).freeze(),
            dialect: self.dialect_of(header),
        };
        self.kept(frame).map(Some)
    }

    /// There is no whole frame any more. What is left after a long one shares its memory, all of which
    /// the next read would take for itself and keep: it gets memory of its own.
    fn run_out(&mut self, buffer: &mut BytesMut) {
        if std::mem::take(&mut self.is_grown) {
            *buffer = BytesMut::from(&buffer[..]);
        }
    }

    /// A frame, unless its content would be longer than its body was.
    fn kept(&self, frame: Frame) -> Result<Incoming, DecodeError> {
        let length = u32::try_from(frame.content_len()?).unwrap_or(u32::MAX);
        if length > self.max_len {
            Err(self.too_large(length))
        } else if length > self.keep_len {
            let header = Header {
                length,
                ..frame.header
            };
            Ok(Incoming::Oversized(header))
        } else {
            Ok(Incoming::Frame(frame))
        }
    }

    fn too_large(&self, len: u32) -> DecodeError {
        DecodeError::FrameTooLarge {
            len: u64::from(len),
            max: self.max_len,
        }
    }

    /// What is refused is refused in a version that the peer knows.
    fn dialect_of(&self, header: Header) -> Dialect {
        if header.version == self.dialect.version.number() {
            return self.dialect;
        }
        Dialect::plain(Version::from_wire(header.version).unwrap_or(Version::V4))
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
            let version = first & 0x7F;
            let known = version == self.dialect.version.number()
                || (self.negotiating && OTHER_VERSIONS.contains(&version));
            if first & 0x80 != expected || !known {
                return Err(DecodeError::Version(first));
            }
        }
        let Some(bytes) = buffer.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let header = Header::parse(bytes)?;
        if header.length > self.max_len {
            return Err(self.too_large(header.length));
        }
        Ok(Some(header))
    }
}

/// Versions with frames like ours; the last two are those of DSE.
const OTHER_VERSIONS: [u8; 6] = [3, 4, 5, 6, 0x41, 0x42];

/// A frame's announced length is only a claim: memory for it is taken in steps of this size.
const RESERVE_AT_MOST: usize = 1 << 20;

/// A buffer that a longer frame made grow is not kept.
const KEEP_BUFFER: usize = 1 << 20;

const TLS_ALERT: u8 = 0x15;
const TLS_HANDSHAKE: u8 = 0x16;

#[cfg(test)]
mod tests;
