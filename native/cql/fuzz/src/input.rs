//! What an input says beside the bytes under test: they are taken off its front.

use bytes::{Bytes, BytesMut};
use palladion_cql::{Compression, DecodeError, Dialect, FrameReader, Incoming, Version};

/// Longer inputs are not looked at: they find nothing that shorter ones don't, only slower.
const LONGEST: usize = 1 << 16;

/// The code of ScyllaDB's error in dialects that have it.
pub const RATE_LIMIT: i32 = 0x4321;

/// An input, from where it has not been read yet. Behind its end there are zeros.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(&bytes[..bytes.len().min(LONGEST)])
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// The next bytes, `len` of them if there are so many.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(len.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// A dialect; [`choice`] is its opposite.
    pub fn dialect(&mut self) -> Dialect {
        let choice = self.byte();
        Dialect {
            version: match choice & 0x03 {
                0 => Version::V3,
                1 => Version::V4,
                _ => Version::V5,
            },
            compression: match choice >> 2 & 0x03 {
                1 => Some(Compression::Lz4),
                2 => Some(Compression::Snappy),
                _ => None,
            },
            metadata_ids: choice & 0x10 != 0,
            rate_limit_error: (choice & 0x20 != 0).then_some(RATE_LIMIT),
        }
    }

    /// Where a stream of bytes is split: the lengths of its pieces, again and again.
    pub fn cuts(&mut self) -> &'a [u8] {
        let count = self.byte();
        self.take(usize::from(count & 0x0F))
    }
}

/// The byte for a dialect.
pub fn choice(dialect: &Dialect) -> u8 {
    let compression = match dialect.compression {
        None => 0,
        Some(Compression::Lz4) => 0x04,
        Some(Compression::Snappy) => 0x08,
    };
    let metadata_ids = if dialect.metadata_ids { 0x10 } else { 0 };
    let rate_limit = dialect.rate_limit_error.map_or(0, |_| 0x20);
    (dialect.version.number() - 3) | compression | metadata_ids | rate_limit
}

/// Dialects that differ in what matters to the readers.
pub fn dialects() -> Vec<Dialect> {
    let plain = Version::ALL.map(Dialect::plain);
    let compressed = |compression| Dialect {
        compression: Some(compression),
        ..Dialect::plain(Version::V4)
    };
    let scylla = Dialect {
        metadata_ids: true,
        rate_limit_error: Some(RATE_LIMIT),
        ..Dialect::plain(Version::V4)
    };
    let mut all = plain.to_vec();
    all.extend([Compression::Lz4, Compression::Snappy].map(compressed));
    all.push(scylla);
    all
}

/// What became of a stream of bytes.
#[derive(Debug, PartialEq)]
pub struct Conversation {
    pub found: Vec<Incoming>,
    /// How many bytes were left that are no whole message, if there was no error.
    pub left: Result<usize, DecodeError>,
}

/// Reads a stream in pieces, and at once: that must be the same.
pub fn converse(reader: &FrameReader, stream: &[u8], cuts: &[u8]) -> Conversation {
    let whole = read(reader.clone(), std::iter::once(stream));
    assert_eq!(read(reader.clone(), pieces(stream, cuts)), whole);
    whole
}

fn pieces<'a>(stream: &'a [u8], cuts: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    let lengths = cuts.iter().chain(std::iter::once(&u8::MAX)).cycle();
    lengths.map_while(move |length| {
        let (piece, tail) = rest.split_at(usize::from(*length).max(1).min(rest.len()));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

fn read<'a>(mut reader: FrameReader, pieces: impl Iterator<Item = &'a [u8]>) -> Conversation {
    let (mut buffer, mut found, mut arrived) = (BytesMut::new(), Vec::new(), 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        arrived += piece.len();
        loop {
            match reader.incoming(&mut buffer) {
                Ok(Some(incoming)) => found.push(incoming),
                Ok(None) => break,
                Err(error) => {
                    let left = Err(error);
                    return Conversation { found, left };
                }
            }
        }
        assert!(buffer.len() <= arrived);
        assert!(buffer.capacity() <= 2 * arrived + MOST_RESERVED);
    }
    let left = Ok(buffer.len());
    Conversation { found, left }
}

/// What a reader may take for a frame or a segment that has not arrived.
const MOST_RESERVED: usize = 4 << 20;

/// Bytes compressed as bodies are.
pub fn compress(compression: Compression, body: &[u8]) -> Bytes {
    match compression {
        Compression::Lz4 => {
            let len = body.len() as u32;
            [&len.to_be_bytes()[..], &lz4_flex::block::compress(body)]
                .concat()
                .into()
        }
        Compression::Snappy => snap::raw::Encoder::new()
            .compress_vec(body)
            .unwrap_or_default()
            .into(),
    }
}
