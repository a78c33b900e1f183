//! Bodies of RESULT, as they are and compressed, and the values in their rows.

use bytes::Bytes;
use palladion_cql::frame::{flag, Opcode};
use palladion_cql::{Dialect, Version};

use super::input::{choice, compress, dialects, Input};
use super::{messages, responses};

/// A bit of an input's second byte: the body is compressed by us, and else as it came. The other
/// bits are a frame's flags.
const COMPRESS: u8 = 0x80;

/// A dialect, flags, and a body.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let dialect = input.dialect();
    let flags = input.byte();
    let body = input.rest();
    responses::check(&compressed(dialect, flags, body, Opcode::Result));
}

fn compressed(dialect: Dialect, flags: u8, body: &[u8], opcode: Opcode) -> palladion_cql::Frame {
    let compression = dialect.compression.filter(|_| flags & COMPRESS != 0);
    let body = match compression {
        Some(compression) if dialect.version < Version::V5 => compress(compression, body),
        _ => Bytes::copy_from_slice(body),
    };
    let set = compression.map_or(0, |_| flag::COMPRESSION);
    messages::parsed(dialect, opcode, flags & !COMPRESS | set, body)
}

/// Each result, with and without compression.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for dialect in dialects() {
        for (opcode, flags, body) in messages::responses(&dialect) {
            if opcode == Opcode::Result {
                let flags = flags | dialect.compression.map_or(0, |_| COMPRESS);
                seeds.push([&[choice(&dialect), flags], &body[..]].concat());
                if let Some(compression) = dialect.compression {
                    let flags = flags & !COMPRESS | flag::COMPRESSION;
                    let body = compress(compression, &body);
                    seeds.push([&[choice(&dialect), flags], &body[..]].concat());
                }
            }
        }
    }
    seeds
}
