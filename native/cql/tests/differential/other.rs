//! The other implementation's frames, and what it is handed and handing out.

use bytes::BytesMut;
use cassandra_protocol::compression::Compression as OtherCompression;
use cassandra_protocol::consistency::Consistency as OtherConsistency;
use cassandra_protocol::frame::frame_decoder::{
    FrameDecoder, LegacyFrameDecoder, Lz4FrameDecoder, UncompressedFrameDecoder,
};
use cassandra_protocol::frame::frame_encoder::{
    FrameEncoder, Lz4FrameEncoder, UncompressedFrameEncoder,
};
use cassandra_protocol::frame::{Envelope, Version as OtherVersion};
use palladion_cql::consistency::NAMES;
use palladion_cql::frame::Sender;
use palladion_cql::segment::SegmentWriter;
use palladion_cql::{Compression, Consistency, Dialect, Frame, FrameReader, Version};
use proptest::prelude::*;

/// No frame of a test is longer.
const MAX_LEN: u32 = 1 << 24;

pub(crate) fn version(dialect: &Dialect) -> OtherVersion {
    match dialect.version {
        Version::V3 => OtherVersion::V3,
        Version::V4 => OtherVersion::V4,
        Version::V5 => OtherVersion::V5,
    }
}

fn compression(dialect: &Dialect) -> OtherCompression {
    match dialect.compression {
        None => OtherCompression::None,
        Some(Compression::Lz4) => OtherCompression::Lz4,
        Some(Compression::Snappy) => OtherCompression::Snappy,
    }
}

pub(crate) fn consistency(level: Consistency) -> OtherConsistency {
    OtherConsistency::try_from(level as i16).unwrap()
}

pub(crate) fn any_consistency() -> impl Strategy<Value = Consistency> {
    prop::sample::select(NAMES.map(|(_, level)| level).to_vec())
}

/// Our frames as they are sent.
pub(crate) fn sent_by_us(dialect: &Dialect, frames: &[Vec<u8>]) -> Vec<u8> {
    if dialect.version < Version::V5 {
        return frames.concat();
    }
    let (mut writer, mut bytes) = (SegmentWriter::new(dialect.compression), Vec::new());
    frames
        .iter()
        .for_each(|frame| writer.put(frame, &mut bytes));
    writer.seal(&mut bytes);
    bytes
}

/// What the other implementation reads in bytes that come in pieces of this length.
pub(crate) fn read_by_them(dialect: &Dialect, bytes: &[u8], piece: usize) -> Vec<Envelope> {
    let mut decoder: Box<dyn FrameDecoder> = match (dialect.version, dialect.compression) {
        (Version::V5, None) => Box::<UncompressedFrameDecoder>::default(),
        (Version::V5, Some(_)) => Box::<Lz4FrameDecoder>::default(),
        _ => Box::<LegacyFrameDecoder>::default(),
    };
    let mut read = |piece: &[u8]| {
        let read = decoder.consume(&mut piece.to_vec(), compression(dialect));
        read.unwrap()
    };
    bytes.chunks(piece).flat_map(&mut read).collect::<Vec<_>>()
}

/// The other implementation's frames as they are sent.
pub(crate) fn sent_by_them(dialect: &Dialect, envelopes: &[Envelope]) -> Vec<u8> {
    let frames = envelopes
        .iter()
        .map(|envelope| envelope.encode_with(compression(dialect)).unwrap());
    if dialect.version < Version::V5 {
        return frames.flatten().collect();
    }
    let mut encoder: Box<dyn FrameEncoder> = match dialect.compression {
        None => Box::<UncompressedFrameEncoder>::default(),
        Some(_) => Box::<Lz4FrameEncoder>::default(),
    };
    let mut bytes = Vec::new();
    let flush = |encoder: &mut Box<dyn FrameEncoder>, bytes: &mut Vec<u8>| {
        if encoder.has_envelopes() {
            bytes.extend_from_slice(encoder.finalize_self_contained());
            encoder.reset();
        }
    };
    for frame in frames {
        if !encoder.can_fit(frame.len()) {
            flush(&mut encoder, &mut bytes);
        }
        if encoder.can_fit(frame.len()) {
            encoder.add_envelope(frame);
        } else {
            bytes.extend(in_parts(encoder.as_mut(), &frame));
        }
    }
    flush(&mut encoder, &mut bytes);
    bytes
}

/// A frame in segments of its own.
fn in_parts(encoder: &mut dyn FrameEncoder, mut frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !frame.is_empty() {
        let (taken, segment) = encoder.finalize_non_self_contained(frame);
        bytes.extend_from_slice(segment);
        encoder.reset();
        frame = &frame[taken..];
    }
    bytes
}

/// What we read in bytes that come in pieces of this length.
pub(crate) fn read_by_us(
    dialect: &Dialect,
    from: Sender,
    bytes: &[u8],
    piece: usize,
) -> Vec<Frame> {
    let mut reader = FrameReader::new(from, dialect.version, MAX_LEN);
    reader.agree(*dialect);
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        while let Some(frame) = reader.next(&mut buffer).unwrap() {
            frames.push(frame);
        }
    }
    assert!(buffer.is_empty(), "bytes after the last frame");
    frames
}

/// `[string]`, `[short bytes]`.
pub(crate) fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

/// `[bytes map]`: the other implementation knows no custom payload, only its flag.
pub(crate) fn bytes_map(entries: &[(String, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut out = (entries.len() as u16).to_be_bytes().to_vec();
    for (name, bytes) in entries {
        put_short(&mut out, name.as_bytes());
        match bytes {
            Some(bytes) => {
                out.extend((bytes.len() as i32).to_be_bytes());
                out.extend(bytes);
            }
            None => out.extend((-1i32).to_be_bytes()),
        }
    }
    out
}
