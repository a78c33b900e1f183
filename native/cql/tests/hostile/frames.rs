//! Frames and segments of hostile bytes.

use bytes::{Bytes, BytesMut};
use palladion_cql::frame::{flag, Sender};
use palladion_cql::{
    Compression, DecodeError, Dialect, Frame, FrameReader, Header, Incoming, Opcode, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{any_dialect, dialect, DIALECTS, LZ4, SNAPPY};
use crate::{alone, memory_of};

/// What a reader may take for a frame or a segment that has only been announced.
const STEP: usize = 3 << 20;

/// How often a byte is there at most while it is read: in the bytes that came, in the buffer that
/// grew for them, and in the one that it was before.
const COPIES: usize = 4;

/// The most that LZ4 makes of a byte.
const RATIO: usize = 255;

fn reader(dialect: Dialect, max_len: u32) -> FrameReader {
    let mut reader = FrameReader::new(Sender::Server, dialect.version, max_len);
    reader.agree(dialect);
    reader
}

/// Reads until nothing more comes, with the content of each frame.
fn drain(reader: &mut FrameReader, buffer: &mut BytesMut) -> Result<(), DecodeError> {
    while let Some(incoming) = reader.incoming(buffer)? {
        if let Incoming::Frame(frame) = incoming {
            drop(frame.content());
        }
    }
    Ok(())
}

/// Bytes in pieces as a socket gives them.
fn read_in_pieces(dialect: Dialect, max_len: u32, bytes: &[u8]) -> Result<(), DecodeError> {
    let mut reader = reader(dialect, max_len);
    let mut buffer = BytesMut::new();
    for piece in bytes.chunks(4_096) {
        buffer.extend_from_slice(piece);
        drain(&mut reader, &mut buffer)?;
    }
    Ok(())
}

fn header(dialect: Dialect, flags: u8, length: u32) -> [u8; 9] {
    Header {
        sender: Sender::Server,
        version: dialect.version.number(),
        flags,
        stream: 1,
        opcode: Opcode::Result,
        length,
    }
    .to_bytes()
}

#[test]
fn any_bytes_end_in_an_error_or_patience_with_little_memory() {
    let _alone = alone();
    proptest!(|(
        dialect in any_dialect(),
        has_header in any::<bool>(),
        flags in any::<u8>(),
        length in any::<u32>(),
        bytes in vec(any::<u8>(), 0..3_000),
    )| {
        let head = if has_header { &header(dialect, flags, length)[..] } else { &[] };
        let bytes = [head, &bytes].concat();
        let (_, taken) = memory_of(|| read_in_pieces(dialect, u32::MAX, &bytes));
        prop_assert!(taken <= COPIES * bytes.len() + STEP, "{taken}");
    });
}

/// Nothing but a header that claims the most there is, and then bytes as they come.
#[test]
fn a_claimed_length_takes_no_memory_before_its_bytes_are_there() {
    let _alone = alone();
    for dialect in DIALECTS.into_iter().filter(|d| d.version < Version::V5) {
        for arrived in [0, 100, 1 << 20, 8 << 20] {
            let bytes = [&header(dialect, 0, u32::MAX)[..], &vec![7; arrived]].concat();
            let (end, taken) = memory_of(|| read_in_pieces(dialect, u32::MAX, &bytes));
            assert_eq!(end, Ok(()));
            assert!(taken <= COPIES * arrived + STEP, "{taken} of {arrived}");
        }
    }
}

/// The same in segments, each of which is right.
#[test]
fn a_claimed_length_in_segments_takes_no_memory_before_its_bytes_are_there() {
    let _alone = alone();
    use palladion_cql::segment::SegmentWriter;
    for compression in [None, LZ4] {
        let dialect = dialect(Version::V5, compression);
        let mut frame = header(dialect, 0, u32::MAX).to_vec();
        frame.resize(4 << 20, 0);
        let (mut writer, mut bytes) = (SegmentWriter::new(compression), Vec::new());
        writer.put(&frame, &mut bytes);
        let (end, taken) = memory_of(|| read_in_pieces(dialect, u32::MAX, &bytes));
        assert_eq!(end, Ok(()));
        assert!(taken <= COPIES * frame.len() + STEP, "{taken}");
    }
}

#[test]
fn a_frame_that_is_skipped_takes_no_memory_at_all() {
    let _alone = alone();
    let dialect = dialect(Version::V4, None);
    let mut reader = reader(dialect, u32::MAX).keeping(1_000);
    let mut buffer = BytesMut::with_capacity(8_192);
    let piece = [7; 4_096];
    let (_, taken) = memory_of(|| {
        buffer.extend_from_slice(&header(dialect, 0, 64 << 20));
        for _ in 0..(64 << 20) / piece.len() {
            drain(&mut reader, &mut buffer).unwrap();
            buffer.extend_from_slice(&piece);
        }
        drain(&mut reader, &mut buffer).unwrap();
    });
    assert!(buffer.is_empty());
    assert!(taken <= 64 << 10, "{taken}");
}

/// A body that says it becomes longer than it can.
#[test]
fn a_bomb_is_refused_before_memory_is_taken() {
    let _alone = alone();
    let claimed = i32::MAX as u32;
    let lz4 = [&claimed.to_be_bytes()[..], &[0xFF; 1_000]].concat();
    let snappy = [&[0xFF, 0xFF, 0xFF, 0xFF, 0x07][..], &[0xFE; 1_000]].concat();
    for (compression, body) in [(LZ4, &lz4), (SNAPPY, &snappy)] {
        let dialect = dialect(Version::V4, compression);
        let head = header(dialect, flag::COMPRESSION, body.len() as u32);
        let bytes = [&head[..], body].concat();
        let (end, taken) = memory_of(|| read_in_pieces(dialect, u32::MAX, &bytes));
        assert!(matches!(end, Err(DecodeError::Bomb { .. })), "{end:?}");
        assert!(taken <= 64 << 10, "{taken}");
    }
}

#[test]
fn any_compressed_body_takes_no_more_than_it_can_become() {
    let _alone = alone();
    proptest!(|(
        compression in prop::sample::select(vec![LZ4, SNAPPY]),
        claimed in prop_oneof![0..300_000u32, any::<u32>()],
        bytes in vec(any::<u8>(), 0..1_000),
    )| {
        let claim = match compression {
            LZ4 => claimed.to_be_bytes().to_vec(),
            _ => vint(claimed),
        };
        let body = [&claim[..], &bytes].concat();
        let frame = compressed_frame(compression, &body);
        let (_, taken) = memory_of(|| frame.content());
        prop_assert!(taken <= RATIO * body.len() + (16 << 10), "{taken}");
    });
}

/// A length as Snappy writes it.
fn vint(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(0x80 | number as u8);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn compressed_frame(compression: Option<Compression>, body: &[u8]) -> Frame {
    let dialect = dialect(Version::V4, compression);
    let head = header(dialect, flag::COMPRESSION, body.len() as u32);
    Frame {
        header: Header::parse(&head).unwrap(),
        body: Bytes::copy_from_slice(body),
        dialect,
    }
}

/// A block of LZ4: `literal`, then a copy of `len` bytes from `offset` bytes before, then five more.
fn block(literal: &[u8], offset: u16, len: usize) -> Vec<u8> {
    let token = (literal.len() as u8) << 4 | (len - 4) as u8;
    let copy = offset.to_le_bytes();
    [&[token][..], literal, &copy, &[0x50], b"abcde"].concat()
}

fn lz4_body(block: &[u8], len: usize) -> Vec<u8> {
    [&(len as u32).to_be_bytes()[..], block].concat()
}

/// A copy from before the beginning could show what memory held before: the body of another
/// message, above all.
#[test]
fn a_copy_from_before_the_beginning_is_an_error() {
    let _alone = alone();
    let literal = b"0123456789";
    for offset in 0..=u16::MAX {
        let body = lz4_body(&block(literal, offset, 8), 10 + 8 + 5);
        let found = compressed_frame(LZ4, &body).content();
        if offset == 0 || usize::from(offset) > literal.len() {
            assert_eq!(found, Err(DecodeError::Compression), "{offset}");
        } else {
            let start = literal.len() - usize::from(offset);
            let copy = literal[start..].iter().cycle().take(8);
            let expected: Vec<u8> = literal
                .iter()
                .chain(copy)
                .chain(b"abcde")
                .copied()
                .collect();
            assert_eq!(found.unwrap(), expected, "{offset}");
        }
    }
}

/// The same in segments, where a buffer has just held another message, and then goes on.
#[test]
fn a_buffer_that_is_used_again_shows_nothing_of_what_it_held() {
    let _alone = alone();
    let secret = b"the secret of another message".repeat(8);
    let dialect = dialect(Version::V5, LZ4);
    let frame = |body: &[u8]| [&header(dialect, 0, body.len() as u32)[..], body].concat();
    for offset in (0..200u16).chain([1_000, u16::MAX]) {
        let mut reader = reader(dialect, 10_000);
        let mut buffer = BytesMut::with_capacity(4_096);
        buffer.extend_from_slice(&lz4_segment(
            &lz4_flex::block::compress(&frame(&secret)),
            9 + 232,
        ));
        let first = reader.next(&mut buffer).unwrap().unwrap();
        assert_eq!(first.content().unwrap(), secret);
        drop(first);
        let head = frame(&[0; 6]);
        let hostile = block(&head[..9], offset, 6);
        buffer.extend_from_slice(&lz4_segment(&hostile, 9 + 6 + 5));
        let found = reader.next(&mut buffer);
        if offset == 0 || offset > 9 {
            assert_eq!(found, Err(DecodeError::Compression), "{offset}");
        } else {
            let body = found.unwrap().unwrap().body;
            assert!(body.iter().all(|byte| head.contains(byte)), "{offset}");
        }
    }
}

/// A segment with this block; its checksums are those of the other implementation.
fn lz4_segment(block: &[u8], plain_len: usize) -> Vec<u8> {
    use cassandra_protocol::crc::{crc24, crc32};
    let fields = block.len() as u64 | (plain_len as u64) << 17 | 1 << 34;
    let fields = &fields.to_le_bytes()[..5];
    let crc = crc24(fields).to_le_bytes();
    let trailer = crc32(block).to_le_bytes();
    [fields, &crc[..3], block, &trailer].concat()
}
