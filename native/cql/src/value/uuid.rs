//! UUIDs as text (RFC 9562).

/// Length of a UUID's text.
pub const TEXT_LEN: usize = 36;

const HEX: &[u8; 16] = b"0123456789abcdef";
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// Lower-case text with dashes.
pub fn format(uuid: &[u8; 16]) -> [u8; TEXT_LEN] {
    let mut text = [b'-'; TEXT_LEN];
    let mut at = 0;
    for byte in uuid {
        if DASHES.contains(&at) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 0xF)];
        at += 2;
    }
    text
}

/// Reads text with dashes, in either case.
pub fn parse(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != TEXT_LEN || DASHES.iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut digits = text.iter().enumerate();
    let mut next = || {
        digits
            .find(|(at, _)| !DASHES.contains(at))
            .and_then(|(_, digit)| (*digit as char).to_digit(16))
    };
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = (next()? << 4 | next()?) as u8;
    }
    Some(uuid)
}
