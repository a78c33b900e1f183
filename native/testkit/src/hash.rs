//! Hashes for logins, by other libraries than the driver's, so that neither side can agree with itself.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::Sha256;

/// A hash function, all of them with blocks of 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Md5,
    Sha1,
    Sha256,
}

const BLOCK: usize = 64;

impl Hash {
    /// Of the parts one after another.
    pub(crate) fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        let whole = parts.concat();
        match self {
            // Its version has a `Digest` trait of its own.
            Self::Md5 => <md5::Md5 as md5::Digest>::digest(&whole).to_vec(),
            Self::Sha1 => <Sha1 as sha2::Digest>::digest(&whole).to_vec(),
            Self::Sha256 => <Sha256 as sha2::Digest>::digest(&whole).to_vec(),
        }
    }

    /// RFC 2104.
    pub(crate) fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let mut block = if key.len() > BLOCK {
            self.of(&[key])
        } else {
            key.to_vec()
        };
        block.resize(BLOCK, 0);
        let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
        let inner = self.of(&[&padded(0x36), message]);
        self.of(&[&padded(0x5C), &inner])
    }

    /// As many bytes as the hash has; of MD5 there are none, since no mechanism asks for it.
    pub(crate) fn pbkdf2(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Md5 => Vec::new(),
            Self::Sha1 => {
                let mut key = vec![0; 20];
                pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut key);
                key
            }
            Self::Sha256 => {
                let mut key = vec![0; 32];
                pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut key);
                key
            }
        }
    }
}

/// In lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits that differ each time. They needn't be secret, only new.
pub(crate) fn random_hex(digits: usize) -> String {
    let mut text = String::new();
    while text.len() < digits {
        text += &format!("{:016x}", RandomState::new().build_hasher().finish());
    }
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_2202_and_4231() {
        let (key, message) = (b"Jefe", b"what do ya want for nothing?");
        let md5 = hex(&Hash::Md5.hmac(key, message));
        assert_eq!(md5, "750c783e6ab0b503eaa86e310a5db738");
        let sha1 = hex(&Hash::Sha1.hmac(key, message));
        assert_eq!(sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let long = Hash::Sha256.hmac(
            &[0xAA; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
        );
        assert_eq!(
            hex(&long),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn random_digits_differ() {
        assert_eq!(random_hex(33).len(), 33);
        assert_ne!(random_hex(32), random_hex(32));
    }
}
