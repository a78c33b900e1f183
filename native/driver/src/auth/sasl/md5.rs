//! MD5 and what is made of it, for the mechanisms that prescribe it. It is broken as a hash; TLS has
//! to protect them.

use std::hint::black_box;

use ::md5::digest::{FixedOutputReset, Update};
use ::md5::Md5;
use zeroize::Zeroizing;

pub(super) type Hash = Zeroizing<[u8; 16]>;

const BLOCK: usize = 64;

/// The hash of the parts in a row.
pub(super) fn md5(parts: &[&[u8]]) -> Hash {
    let mut hasher = Md5::default();
    for part in parts {
        hasher.update(part);
    }
    let mut hash = Hash::default();
    hasher.finalize_into_reset((&mut *hash).into());
    // The hasher still has the end of the text in its buffer, and no other way to be wiped. A whole
    // block at once would bypass the buffer.
    hasher.update(&[0]);
    hasher.update(&[0; BLOCK - 1]);
    black_box(&hasher);
    hash
}

/// RFC 2104
pub(super) fn hmac_md5(key: &[u8], message: &[u8]) -> Hash {
    let mut block = Zeroizing::new([0; BLOCK]);
    if key.len() > BLOCK {
        block[..16].copy_from_slice(&*md5(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| {
        let mut pad = Zeroizing::new([with; BLOCK]);
        for (pad, byte) in pad.iter_mut().zip(block.iter()) {
            *pad ^= byte;
        }
        pad
    };
    let inner = md5(&[&*pad(0x36), message]);
    md5(&[&*pad(0x5c), &*inner])
}

/// In small letters, as both mechanisms want it.
pub(super) fn hex(hash: &Hash) -> Zeroizing<[u8; 32]> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new([0; 32]);
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash.iter()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hash: &Hash) -> String {
        String::from_utf8(hex(hash).to_vec()).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_1321() {
        assert_eq!(text(&md5(&[])), "d41d8cd98f00b204e9800998ecf8427e");
        let parts: [&[u8]; 2] = [b"message ", b"digest"];
        assert_eq!(text(&md5(&parts)), "f96b697d7cb7938d525a2f31aaf161d0");
    }

    #[test]
    fn the_examples_of_rfc_2202() {
        let hash = hmac_md5(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(text(&hash), "750c783e6ab0b503eaa86e310a5db738");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let hash = hmac_md5(&[0xaa; 80], long);
        assert_eq!(text(&hash), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }
}
