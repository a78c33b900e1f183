//! Frames, in segments or not, out of bytes that arrive in any pieces.

use super::*;
use crate::compress::compress;
use crate::segment::{SegmentWriter, MAX_PAYLOAD};
use crate::Compression;
use proptest::prelude::*;

fn frame(stream: i16, opcode: Opcode, body: &[u8]) -> Vec<u8> {
    let header = Header {
        sender: Sender::Server,
        version: 4,
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
        let mut reader = FrameReader::new(Sender::Server, Version::V4, 1 << 20);
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
        let mut reader = FrameReader::new(Sender::Server, Version::V4, 1 << 10);
        while let Ok(Some(_)) = reader.next(&mut buffer) {}
        prop_assert!(buffer.len() <= bytes.len());
    }
}

#[test]
fn a_long_frame_is_refused_by_its_header_alone() {
    let mut buffer = BytesMut::from(&frame(1, Opcode::Result, &[0; 11])[..HEADER_LEN]);
    let refused = FrameReader::new(Sender::Server, Version::V4, 10).next(&mut buffer);
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
    let mut reader = FrameReader::new(Sender::Server, Version::V4, u32::MAX);
    assert_eq!(reader.next(&mut buffer), Ok(None));
    assert!(buffer.capacity() <= 2 * RESERVE_AT_MOST);
}

#[test]
fn the_memory_of_a_long_frame_is_not_kept_for_the_next() {
    let long = frame_of(4, 0, &vec![7; 8 << 20]);
    let next = frame_of(4, 0, b"next");
    for rest in [&[][..], &next[..5], &next[..11], &next] {
        let mut reader = FrameReader::new(Sender::Server, Version::V4, 1 << 28);
        let mut buffer = BytesMut::new();
        // As much is read at once as there is room for.
        for piece in [&long[..], rest].concat().chunks(64 << 10) {
            assert_eq!(reader.incoming(&mut buffer).unwrap(), None);
            buffer.extend_from_slice(piece);
        }
        let first = reader.next(&mut buffer).unwrap().unwrap();
        assert_eq!(first.body.len(), 8 << 20);
        let second = reader.next(&mut buffer).unwrap();
        let second = second.or_else(|| {
            buffer.extend_from_slice(&next[rest.len()..]);
            reader.next(&mut buffer).unwrap()
        });
        assert_eq!(second.unwrap().body, &b"next"[..]);
        assert_eq!(reader.incoming(&mut buffer).unwrap(), None);
        drop(first);
        buffer.reserve(64 << 10);
        // Of its own memory, the capacity is only what it has taken so far.
        assert!(!buffer.try_reclaim(1 << 20), "after {}", rest.len());
    }
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
        let mut reader = FrameReader::new(Sender::Server, Version::V4, 1_000).keeping(10);
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
    let mut reader = FrameReader::new(Sender::Server, Version::V4, 10);
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

const LZ4: Dialect = with(Version::V4, Some(Compression::Lz4));

const fn with(version: Version, compression: Option<Compression>) -> Dialect {
    Dialect {
        version,
        compression,
        metadata_ids: false,
        rate_limit_error: None,
    }
}

/// A reader after READY.
fn agreed(dialect: Dialect, max_len: u32, keep_len: u32) -> FrameReader {
    let mut reader = FrameReader::new(Sender::Server, dialect.version, max_len).keeping(keep_len);
    reader.agree(dialect);
    reader
}

/// A frame with these two fields of its header.
fn frame_of(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = frame(1, Opcode::Result, body);
    bytes[0] = 0x80 | version;
    bytes[1] = flags;
    bytes
}

/// A plain segment of whole frames.
fn segment(payload: &[u8]) -> Vec<u8> {
    let (mut writer, mut bytes) = (SegmentWriter::new(None), Vec::new());
    writer.put(payload, &mut bytes);
    writer.seal(&mut bytes);
    bytes
}

/// The first of the plain segments that a long frame is put into.
fn first_part(long: &[u8]) -> Vec<u8> {
    let mut bytes = segment(long);
    // A header of six bytes and a checksum of four.
    bytes.truncate(MAX_PAYLOAD + 10);
    bytes
}

fn oversized(found: Option<Incoming>) -> u32 {
    match found {
        Some(Incoming::Oversized(header)) => header.length,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_negotiates_is_answered_in_any_version() {
    let ask = |version, bytes: &[u8]| {
        FrameReader::new(Sender::Server, Version::V5, 1_000)
            .negotiating()
            .next(&mut BytesMut::from(&frame_of(version, 0, bytes)[..]))
    };
    let spoken = [(3, Version::V3), (4, Version::V4), (5, Version::V5)];
    // What isn't spoken here, DSE's own among it, is read as what all servers know.
    let others = [6, 0x41, 0x42].map(|number| (number, Version::V4));
    for (number, version) in spoken.into_iter().chain(others) {
        let frame = ask(number, b"told").unwrap().unwrap();
        assert_eq!(frame.header.version, number);
        assert_eq!(frame.dialect, Dialect::plain(version));
        assert_eq!(frame.content().unwrap(), &b"told"[..]);
    }
    for number in [0, 1, 2, 7, 0x40, 0x43, 0x7F] {
        assert_eq!(ask(number, b""), Err(DecodeError::Version(0x80 | number)));
    }
}

#[test]
fn who_does_not_negotiate_is_answered_in_its_version() {
    for number in [3, 5, 6, 0x42] {
        let mut reader = FrameReader::new(Sender::Server, Version::V4, 1_000);
        let found = reader.next(&mut BytesMut::from(&frame_of(number, 0, b"")[..]));
        assert_eq!(found, Err(DecodeError::Version(0x80 | number)));
    }
}

#[test]
fn from_an_agreement_on_the_version_is_fixed() {
    let mut reader = FrameReader::new(Sender::Server, Version::V5, 1_000).negotiating();
    let mut buffer = BytesMut::from(&frame_of(3, 0, b"error")[..]);
    assert!(reader.next(&mut buffer).unwrap().is_some());
    reader.agree(Dialect::plain(Version::V4));
    let found = reader.next(&mut BytesMut::from(&frame_of(3, 0, b"")[..]));
    assert_eq!(found, Err(DecodeError::Version(0x83)));
    let found = reader.next(&mut BytesMut::from(&frame_of(4, 0, b"")[..]));
    assert!(found.unwrap().is_some());
}

#[test]
fn segments_begin_where_protocol_5_was_agreed_on() {
    for compression in [None, Some(Compression::Lz4)] {
        let dialect = with(Version::V5, compression);
        let mut reader = FrameReader::new(Sender::Server, Version::V5, 1_000);
        // Both in one read: what comes after READY has to wait for the agreement.
        let mut bytes = frame_of(5, 0, b"ready");
        let mut writer = SegmentWriter::new(compression);
        writer.put(&frame_of(5, 0, b"rows"), &mut bytes);
        writer.seal(&mut bytes);
        let mut buffer = BytesMut::from(&bytes[..]);
        let ready = reader.next(&mut buffer).unwrap().unwrap();
        assert_eq!(ready.body, &b"ready"[..]);
        assert_eq!(ready.dialect, Dialect::plain(Version::V5));
        reader.agree(dialect);
        let rows = reader.next(&mut buffer).unwrap().unwrap();
        assert_eq!(rows.body, &b"rows"[..]);
        assert_eq!(rows.dialect, dialect);
        assert_eq!(reader.next(&mut buffer), Ok(None));
        assert!(buffer.is_empty());
        // A frame without a segment is none any more.
        let mut buffer = BytesMut::from(&frame_of(5, 0, b"naked")[..]);
        let header = "a segment's header";
        assert_eq!(reader.next(&mut buffer), Err(DecodeError::Checksum(header)));
    }
}

#[test]
fn a_compressed_body_is_too_long_by_what_it_becomes() {
    for compression in [Compression::Lz4, Compression::Snappy] {
        let dialect = with(Version::V4, Some(compression));
        let long = compress(compression, &[7; 10_000]).unwrap();
        assert!(long.len() < 1_000);
        let all = [
            frame_of(4, flag::COMPRESSION, &long),
            frame_of(4, 0, b"next"),
        ]
        .concat();
        // Kept whole, told by its header alone, and refused.
        let mut reader = agreed(dialect, 10_000, 10_000);
        let frame = reader.next(&mut BytesMut::from(&all[..])).unwrap().unwrap();
        assert_eq!(frame.content_len(), Ok(10_000));
        assert_eq!(frame.content().unwrap(), &[7; 10_000][..]);
        let mut reader = agreed(dialect, 10_000, 9_999);
        let mut buffer = BytesMut::from(&all[..]);
        assert_eq!(oversized(reader.incoming(&mut buffer).unwrap()), 10_000);
        let next = reader.next(&mut buffer).unwrap().unwrap();
        assert_eq!(next.body, &b"next"[..]);
        assert_eq!(
            agreed(dialect, 9_999, 10).incoming(&mut BytesMut::from(&all[..])),
            Ok(Some(Incoming::Oversized(Header {
                length: long.len() as u32,
                ..frame.header
            }))),
            "what is too long already is skipped unread"
        );
        assert_eq!(
            agreed(dialect, 9_999, 9_999).incoming(&mut BytesMut::from(&all[..])),
            Err(DecodeError::FrameTooLarge {
                len: 10_000,
                max: 9_999
            })
        );
    }
}

#[test]
fn a_compressed_body_that_nobody_agreed_on_is_an_error() {
    let lz4 = frame_of(4, flag::COMPRESSION, &[0, 0, 0, 1, 0x10, b'x']);
    let read = |dialect| {
        let mut reader = agreed(dialect, 1_000, 1_000);
        reader.next(&mut BytesMut::from(&lz4[..]))
    };
    assert_eq!(
        read(Dialect::plain(Version::V4)),
        Err(DecodeError::Compression)
    );
    let frame = read(LZ4).unwrap().unwrap();
    assert_eq!(frame.content().unwrap(), &b"x"[..]);
    // Nor before the agreement: what the user asks for counts from READY on.
    let mut reader = FrameReader::new(Sender::Server, Version::V4, 1_000).negotiating();
    let found = reader.next(&mut BytesMut::from(&lz4[..]));
    assert_eq!(found, Err(DecodeError::Compression));
}

#[test]
fn a_body_that_is_not_compressed_is_taken_as_it_is() {
    let bytes = frame_of(4, 0, b"short");
    let frame = agreed(LZ4, 10, 10).next(&mut BytesMut::from(&bytes[..]));
    assert_eq!(frame.unwrap().unwrap().content().unwrap(), &b"short"[..]);
}

#[test]
fn protocol_5_does_not_know_the_flag() {
    for compression in [None, Some(Compression::Lz4)] {
        let dialect = with(Version::V5, compression);
        let (mut writer, mut bytes) = (SegmentWriter::new(compression), Vec::new());
        writer.put(&frame_of(5, flag::COMPRESSION, b"as it is"), &mut bytes);
        writer.seal(&mut bytes);
        let mut reader = agreed(dialect, 1_000, 1_000);
        let frame = reader.next(&mut BytesMut::from(&bytes[..]));
        let frame = frame.unwrap().unwrap();
        assert_eq!(frame.content().unwrap(), &b"as it is"[..]);
        assert_eq!(frame.content_len(), Ok(8));
    }
}

#[test]
fn a_segment_of_whole_frames_ends_where_one_ends() {
    let whole = frame_of(5, 0, &[1; 20]);
    for keep_len in [1_000, 10] {
        for cut in 1..whole.len() {
            let two = [&whole[..], &whole[..cut]].concat();
            for payload in [&whole[..cut], &two] {
                let mut buffer = BytesMut::from(&segment(payload)[..]);
                let mut reader = agreed(Dialect::plain(Version::V5), 1_000, keep_len);
                let end = loop {
                    match reader.incoming(&mut buffer) {
                        Ok(Some(_)) => {}
                        end => break end,
                    }
                };
                assert_eq!(end, Err(DecodeError::Segment), "{cut} of {keep_len}");
            }
        }
    }
}

#[test]
fn a_frame_in_parts_is_not_ended_by_a_segment_of_whole_frames() {
    let body = vec![1; MAX_PAYLOAD + 5];
    let long = frame_of(5, 0, &body);
    let bytes = [first_part(&long), segment(&long[MAX_PAYLOAD..])].concat();
    for keep_len in [1 << 20, 10] {
        let mut reader = agreed(Dialect::plain(Version::V5), 1 << 20, keep_len);
        let mut buffer = BytesMut::from(&bytes[..]);
        if keep_len == 10 {
            assert_eq!(
                oversized(reader.incoming(&mut buffer).unwrap()),
                body.len() as u32
            );
        }
        assert_eq!(reader.incoming(&mut buffer), Err(DecodeError::Segment));
    }
}

#[test]
fn a_segment_of_nothing_is_nothing() {
    let bytes = [segment(&[]), segment(&frame_of(5, 0, b"x"))].concat();
    let mut reader = agreed(Dialect::plain(Version::V5), 10, 10);
    let found = reader.next(&mut BytesMut::from(&bytes[..]));
    assert_eq!(found.unwrap().unwrap().body, &b"x"[..]);
}
