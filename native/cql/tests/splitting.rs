//! Bytes that arrive in any pieces are the same conversation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::{Bytes, BytesMut};
use cassandra_protocol::frame::frame_encoder::{
    FrameEncoder, Lz4FrameEncoder, UncompressedFrameEncoder,
};
use palladion_cql::frame::{flag, Sender};
use palladion_cql::segment::SegmentWriter;
use palladion_cql::{
    Compression, DecodeError, Dialect, Frame, FrameReader, Header, Incoming, Opcode, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{any_dialect, content, DIALECTS};

/// The limits of a reader: bodies that are longer than the second are skipped.
const MAX_LEN: u32 = 1 << 24;
const KEEP_LEN: u32 = 200_000;

/// A frame as its sender makes it.
#[derive(Debug, Clone)]
struct Sent {
    header: Header,
    body: Vec<u8>,
    /// The body before it was compressed.
    content_len: u32,
    way: Way,
}

/// How a frame is put into segments, where there are such.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Together with others.
    Shared,
    /// Together with none that come after it.
    Alone,
    /// In parts of this length, with nothing else.
    Parts(usize),
}

impl Sent {
    fn new(dialect: Dialect, stream: i16, content: &[u8], compress: bool, way: Way) -> Self {
        let compression = dialect.compression.filter(|_| {
            // Segments do it from protocol 5 on.
            compress && dialect.version < Version::V5
        });
        let body = match compression {
            Some(compression) => compressed(compression, content),
            None => content.to_vec(),
        };
        let header = Header {
            sender: Sender::Server,
            version: dialect.version.number(),
            flags: compression.map_or(0, |_| flag::COMPRESSION),
            stream,
            opcode: Opcode::Result,
            length: body.len() as u32,
        };
        Self {
            header,
            body,
            content_len: content.len() as u32,
            way,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.header.to_bytes()[..], &self.body].concat()
    }

    /// What a reader should find.
    fn meant(&self, dialect: Dialect, keep_len: u32) -> Incoming {
        let header = self.header;
        if header.length > keep_len {
            Incoming::Oversized(header)
        } else if self.content_len > keep_len {
            let length = self.content_len;
            Incoming::Oversized(Header { length, ..header })
        } else {
            Incoming::Frame(Frame {
                header,
                body: Bytes::copy_from_slice(&self.body),
                dialect,
            })
        }
    }
}

/// A compressed body, also where it doesn't become shorter.
fn compressed(compression: Compression, content: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Lz4 => {
            let len = (content.len() as u32).to_be_bytes();
            [&len[..], &lz4_flex::block::compress(content)].concat()
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(content).unwrap(),
    }
}

/// The conversation as it is sent.
fn sent(dialect: Dialect, frames: &[Sent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if dialect.version < Version::V5 {
        frames.iter().for_each(|frame| bytes.extend(frame.bytes()));
        return bytes;
    }
    let mut writer = SegmentWriter::new(dialect.compression);
    for frame in frames {
        match frame.way {
            Way::Shared => writer.put(&frame.bytes(), &mut bytes),
            Way::Alone => {
                writer.put(&frame.bytes(), &mut bytes);
                writer.seal(&mut bytes);
            }
            Way::Parts(len) => {
                writer.seal(&mut bytes);
                bytes.extend(in_parts(dialect, &frame.bytes(), len));
            }
        }
    }
    writer.seal(&mut bytes);
    bytes
}

/// A frame in segments of so many bytes of it, which our writer never makes.
fn in_parts(dialect: Dialect, frame: &[u8], len: usize) -> Vec<u8> {
    let mut encoder: Box<dyn FrameEncoder> = match dialect.compression {
        None => Box::<UncompressedFrameEncoder>::default(),
        Some(_) => Box::<Lz4FrameEncoder>::default(),
    };
    let mut bytes = Vec::new();
    for part in frame.chunks(len) {
        let (taken, segment) = encoder.finalize_non_self_contained(part);
        assert_eq!(taken, part.len());
        bytes.extend_from_slice(segment);
        encoder.reset();
    }
    bytes
}

/// What a reader finds in bytes that end where `cuts` say.
fn read(
    dialect: Dialect,
    keep_len: u32,
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<Vec<Incoming>, DecodeError> {
    let mut reader = FrameReader::new(Sender::Server, dialect.version, MAX_LEN).keeping(keep_len);
    reader.agree(dialect);
    let (mut buffer, mut found, mut at) = (BytesMut::new(), Vec::new(), 0);
    for cut in cuts.into_iter().chain([bytes.len()]) {
        buffer.extend_from_slice(&bytes[at..cut]);
        at = cut;
        while let Some(incoming) = reader.incoming(&mut buffer)? {
            found.push(incoming);
        }
    }
    assert!(buffer.is_empty(), "bytes after the last frame");
    Ok(found)
}

fn meant(dialect: Dialect, keep_len: u32, frames: &[Sent]) -> Vec<Incoming> {
    frames
        .iter()
        .map(|frame| frame.meant(dialect, keep_len))
        .collect()
}

fn any_way() -> impl Strategy<Value = Way> {
    prop_oneof![
        Just(Way::Shared),
        Just(Way::Alone),
        (1..30usize).prop_map(Way::Parts),
        (1_000..100_000usize).prop_map(Way::Parts),
    ]
}

fn any_frame(dialect: Dialect) -> impl Strategy<Value = Sent> {
    let len = prop_oneof![
        8 => 0..64usize,
        4 => 500..5_000usize,
        // More than a segment has.
        1 => 130_000..140_000usize,
        // More than is kept.
        1 => 190_000..300_000usize,
    ];
    (any::<i16>(), len, any::<u8>(), any::<bool>(), any_way()).prop_map(
        move |(stream, len, seed, compress, way)| {
            let way = match way {
                // Parts of a few bytes are tried with short frames.
                Way::Parts(part) if len > 5_000 && part < 1_000 => Way::Parts(part * 1_000),
                way => way,
            };
            Sent::new(dialect, stream, &content(len, seed), compress, way)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn bytes_split_anywhere_are_the_same_conversation(
        (dialect, frames) in any_dialect()
            .prop_flat_map(|dialect| (Just(dialect), vec(any_frame(dialect), 1..8))),
        places in vec(any::<prop::sample::Index>(), 0..60),
        piece in 1..5_000usize,
    ) {
        let bytes = sent(dialect, &frames);
        let meant = meant(dialect, KEEP_LEN, &frames);
        let mut cuts: Vec<_> = places.iter().map(|place| place.index(bytes.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&read(dialect, KEEP_LEN, &bytes, cuts).unwrap(), &meant);
        let even = (0..bytes.len()).step_by(piece);
        prop_assert_eq!(&read(dialect, KEEP_LEN, &bytes, even).unwrap(), &meant);
        for incoming in &meant {
            if let Incoming::Frame(frame) = incoming {
                let len = frame.content().unwrap().len();
                prop_assert_eq!(len, frame.content_len().unwrap());
            }
        }
    }
}

/// Short frames of every kind, of which some are too long to keep.
fn short_conversation(dialect: Dialect) -> Vec<Sent> {
    let frame = |stream, len, seed, compress, way| {
        Sent::new(dialect, stream, &content(len, seed), compress, way)
    };
    vec![
        frame(1, 0, 0, false, Way::Alone),
        frame(2, 3, 1, true, Way::Shared),
        frame(3, 40, 2, true, Way::Shared),
        frame(4, 21, 3, false, Way::Parts(7)),
        frame(5, 5, 4, false, Way::Parts(40)),
        frame(6, 25, 5, true, Way::Alone),
        frame(7, 1, 6, false, Way::Shared),
    ]
}

const SHORT_KEEP_LEN: u32 = 20;

#[test]
fn a_short_conversation_may_be_cut_at_any_two_places() {
    for dialect in DIALECTS {
        let frames = short_conversation(dialect);
        let bytes = sent(dialect, &frames);
        let meant = meant(dialect, SHORT_KEEP_LEN, &frames);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let found = read(dialect, SHORT_KEEP_LEN, &bytes, [first, second]);
                assert_eq!(found.as_ref(), Ok(&meant), "{dialect:?} {first} {second}");
            }
        }
        let found = read(dialect, SHORT_KEEP_LEN, &bytes, 0..bytes.len());
        assert_eq!(found.as_ref(), Ok(&meant), "{dialect:?} byte by byte");
    }
}

/// Whatever is damaged: an error, or other frames, but no panic; and with checksums an error.
#[test]
fn a_conversation_with_any_bit_changed_is_read_without_harm() {
    for dialect in DIALECTS {
        let bytes = sent(dialect, &short_conversation(dialect));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut reader = FrameReader::new(Sender::Server, dialect.version, MAX_LEN);
            reader.agree(dialect);
            let mut buffer = BytesMut::from(&damaged[..]);
            let end = loop {
                match reader.incoming(&mut buffer) {
                    Ok(Some(Incoming::Frame(frame))) => drop(frame.content()),
                    Ok(Some(Incoming::Oversized(_))) => {}
                    end => break end,
                }
            };
            if dialect.version >= Version::V5 {
                assert!(matches!(end, Err(DecodeError::Checksum(_))), "{end:?}");
            }
        }
    }
}
