//! Frames that are in no segments, and what they say.

use palladion_cql::frame::{Opcode, Sender};
use palladion_cql::{Dialect, FrameReader, Incoming, Version};

use super::input::{choice, converse, dialects, Input};
use super::{messages, responses};

/// The longest body, and the longest that is kept where not all are.
const MAX_LEN: u32 = 1 << 16;
const KEEP_LEN: u32 = 64;

/// Bits of an input's second byte.
const FROM_CLIENT: u8 = 0x01;
const NEGOTIATING: u8 = 0x02;
const KEEPING: u8 = 0x04;

/// A dialect, a byte of what else matters, where the stream is split, and the stream.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut dialect = input.dialect();
    if dialect.version == Version::V5 {
        // Its frames are in no segments before the login only, when nothing else is agreed on.
        dialect = Dialect::plain(Version::V5);
    }
    let mode = input.byte();
    let cuts = input.cuts();
    let stream = input.rest();
    let reader = reader(dialect, mode);
    let conversation = converse(&reader, stream, cuts);
    for incoming in &conversation.found {
        match incoming {
            Incoming::Frame(frame) => {
                assert_eq!(frame.body.len(), frame.header.length as usize);
                assert!(frame.content_len().is_ok_and(|len| len <= MAX_LEN as usize));
                responses::check(frame);
            }
            Incoming::Oversized(header) => assert!(header.length <= MAX_LEN),
        }
    }
}

fn reader(dialect: Dialect, mode: u8) -> FrameReader {
    let from = if mode & FROM_CLIENT == 0 {
        Sender::Server
    } else {
        Sender::Client
    };
    let mut reader = FrameReader::new(from, dialect.version, MAX_LEN);
    if dialect.version < Version::V5 {
        reader.agree(dialect);
    }
    if mode & NEGOTIATING != 0 {
        reader = reader.negotiating();
    }
    if mode & KEEPING != 0 {
        reader = reader.keeping(KEEP_LEN);
    }
    reader
}

/// All messages, one after another in every dialect.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for dialect in dialects() {
        let responses: Vec<_> = messages::responses(&dialect)
            .iter()
            .map(|(opcode, flags, body)| messages::frame(&dialect, *opcode, *flags, body))
            .collect();
        for frames in responses.chunks(4) {
            seeds.push(seed(&dialect, 0, &frames.concat()));
        }
        let all = responses.concat();
        seeds.push(seed(&dialect, KEEPING, &all));
        seeds.push(seed(
            &dialect,
            FROM_CLIENT,
            &messages::requests(&dialect).concat(),
        ));
    }
    let plain = Dialect::plain(Version::V5);
    for version in Version::ALL {
        let ready = messages::frame(&Dialect::plain(version), Opcode::Ready, 0, &[]);
        seeds.push(seed(&plain, NEGOTIATING, &ready));
    }
    seeds.push(seed(&plain, 0, &[0x15, 3, 3, 0, 2, 2, 70]));
    seeds
}

fn seed(dialect: &Dialect, mode: u8, stream: &[u8]) -> Vec<u8> {
    [&[choice(dialect), mode, 3, 1, 9, 40], stream].concat()
}
