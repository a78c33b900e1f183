//! Bodies of SUPPORTED, EVENT, ERROR and of what is said during a login.

use bytes::Bytes;
use palladion_cql::frame::Opcode;

use super::input::{choice, dialects, Input};
use super::{messages, responses};

const OPCODES: [Opcode; 7] = [
    Opcode::Supported,
    Opcode::Event,
    Opcode::Error,
    Opcode::Authenticate,
    Opcode::AuthChallenge,
    Opcode::AuthSuccess,
    Opcode::Ready,
];

/// A message's kind, a dialect, flags, and a body.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let opcode = OPCODES[usize::from(input.byte()) % OPCODES.len()];
    let dialect = input.dialect();
    let flags = input.byte();
    let body = Bytes::copy_from_slice(input.rest());
    responses::check(&messages::parsed(dialect, opcode, flags, body));
}

/// Each of these messages.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for dialect in dialects() {
        for (opcode, flags, body) in messages::responses(&dialect) {
            if let Some(kind) = OPCODES.iter().position(|known| *known == opcode) {
                let head = [kind as u8, choice(&dialect), flags];
                seeds.push([&head, &body[..]].concat());
            }
        }
    }
    seeds
}
