//! Protocol 5's segments: as they come, and with their checksums made right.

use palladion_cql::frame::{set_stream, Sender};
use palladion_cql::segment::{SegmentWriter, MAX_PAYLOAD};
use palladion_cql::{Compression, Dialect, FrameReader, Incoming, Version};

use super::input::{converse, Input};
use super::{messages, responses};

const MAX_LEN: u32 = 1 << 17;
const KEEP_LEN: u32 = 64;

/// Bits of an input's first byte.
const LZ4: u8 = 0x01;
const REPAIRED: u8 = 0x02;
const KEEPING: u8 = 0x04;
const FROM_CLIENT: u8 = 0x08;

/// Bits of the byte before each segment that is repaired.
const PART: u8 = 0x01;
const COMPRESS: u8 = 0x02;
const CLAIM: u8 = 0x04;

/// A byte of what is spoken, where the stream is split, and the stream. One that is repaired has
/// before each segment a byte of what it is, and the length of its payload.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mode = input.byte();
    let cuts = input.cuts();
    let reader = reader(mode);
    let conversation = if mode & REPAIRED == 0 {
        converse(&reader, input.rest(), cuts)
    } else {
        converse(&reader, &repaired(mode & LZ4 != 0, &mut input), cuts)
    };
    for incoming in &conversation.found {
        match incoming {
            Incoming::Frame(frame) => {
                assert_eq!(frame.content_len(), Ok(frame.header.length as usize));
                responses::check(frame);
            }
            Incoming::Oversized(header) => assert!(header.length > KEEP_LEN),
        }
    }
}

fn reader(mode: u8) -> FrameReader {
    let from = if mode & FROM_CLIENT == 0 {
        Sender::Server
    } else {
        Sender::Client
    };
    let mut reader = FrameReader::new(from, Version::V5, MAX_LEN);
    if mode & KEEPING != 0 {
        reader = reader.keeping(KEEP_LEN);
    }
    reader.agree(dialect(mode));
    reader
}

fn dialect(mode: u8) -> Dialect {
    Dialect {
        compression: (mode & LZ4 != 0).then_some(Compression::Lz4),
        ..Dialect::plain(Version::V5)
    }
}

/// Segments with right checksums around payloads of the input.
fn repaired(lz4: bool, input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() {
        let kind = input.byte();
        // Of a compressed payload, how long it claims to be.
        let claim = if kind & CLAIM == 0 { 0 } else { input.short() };
        let len = usize::from(input.short());
        let payload = input.take(len);
        let (plain_len, payload) = if lz4 && kind & COMPRESS != 0 {
            (payload.len(), lz4_flex::block::compress(payload))
        } else {
            (usize::from(claim), payload.to_vec())
        };
        let len = payload.len().min(MAX_PAYLOAD);
        put_segment(
            lz4,
            kind & PART == 0,
            plain_len,
            &payload[..len],
            &mut stream,
        );
    }
    stream
}

fn put_segment(lz4: bool, whole: bool, plain_len: usize, payload: &[u8], out: &mut Vec<u8>) {
    let (len, plain_len, whole) = (payload.len() as u64, plain_len as u64, u64::from(whole));
    let fields = if lz4 {
        (len | plain_len << 17 | whole << 34).to_le_bytes()[..5].to_vec()
    } else {
        (len | whole << 17).to_le_bytes()[..3].to_vec()
    };
    out.extend_from_slice(&fields);
    out.extend_from_slice(&crc24(&fields).to_le_bytes()[..3]);
    out.extend_from_slice(payload);
    let mut crc32 = crc32fast::Hasher::new();
    crc32.update(&[0xFA, 0x2D, 0x55, 0xCA]);
    crc32.update(payload);
    out.extend_from_slice(&crc32.finalize().to_le_bytes());
}

/// The checksum of headers, a bit at a time as the specification has it.
fn crc24(bytes: &[u8]) -> u32 {
    let mut crc = 0x0087_5060;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0197_4F0B;
            }
        }
    }
    crc
}

/// Responses and requests by the writer of segments, and some to be repaired.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for lz4 in [0, LZ4] {
        let plain = Dialect::plain(Version::V5);
        let responses: Vec<_> = messages::responses(&plain)
            .iter()
            .map(|(opcode, flags, body)| messages::frame(&plain, *opcode, *flags, body))
            .collect();
        for frames in responses.chunks(4) {
            seeds.push(seed(lz4, &written(lz4, frames)));
        }
        let requests = written(lz4, &messages::requests(&plain));
        seeds.push(seed(lz4 | FROM_CLIENT, &requests));
        seeds.push(seed(lz4 | KEEPING, &written(lz4, &responses)));
        for frame in &responses {
            let (head, tail) = frame.split_at(frame.len() / 2);
            let whole = to_repair(0, frame);
            let parts = [to_repair(PART, head), to_repair(PART, tail)].concat();
            let compressed = to_repair(COMPRESS, frame);
            seeds.push(seed(lz4 | REPAIRED, &[whole, compressed, parts].concat()));
        }
        let block = lz4_flex::block::compress(&responses.concat());
        let len = responses.concat().len() as u16;
        let claimed = [&[CLAIM], &len.to_be_bytes()[..], &to_repair(0, &block)[1..]].concat();
        seeds.push(seed(lz4 | REPAIRED, &claimed));
    }
    seeds
}

fn seed(mode: u8, stream: &[u8]) -> Vec<u8> {
    [&[mode, 3, 1, 9, 40], stream].concat()
}

fn to_repair(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[kind], &len[..], payload].concat()
}

fn written(mode: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = SegmentWriter::new(dialect(mode).compression);
    let mut out = Vec::new();
    for (stream, frame) in (0..).zip(frames) {
        let mut frame = frame.clone();
        set_stream(&mut frame, stream);
        writer.put(&frame, &mut out);
    }
    writer.seal(&mut out);
    out
}
