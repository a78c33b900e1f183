//! PKCS#12 files, as `openssl pkcs12 -export` and `keytool` write them.

use p12_keystore::error::Error;
use p12_keystore::Pkcs12Archive;
use x509_parser::parse_x509_certificate;

use super::identity::{belongs_to, signing_key};
use super::KeyForm;
use crate::Secret;

/// A key and the certificates that lead from its own upwards.
#[derive(Debug, Clone)]
pub struct Pkcs12 {
    /// DER, the key's own first, each followed by its issuer's as far as there is one.
    pub chain: Vec<Vec<u8>>,
    /// The key, PKCS#8.
    pub key: Secret,
}

/// Why a file can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs12Error {
    /// The password is another one.
    #[error("wrong password")]
    WrongPassword,
    /// It is no PKCS#12 file, or a damaged one.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Nothing but certificates is in it.
    #[error("no private key")]
    NoKey,
    /// There is a key, and no certificate.
    #[error("no certificate")]
    NoCertificate,
    /// There are several keys: which is meant?
    #[error("{0} private keys")]
    AmbiguousKey(usize),
    /// None of its certificates is the key's.
    #[error("the private key belongs to none of the certificates")]
    KeyMismatch,
    /// It is encrypted or sealed in a way that is not known.
    #[error("unsupported encryption: {0}")]
    UnsupportedEncryption(String),
}

/// Reads the one key in a PKCS#12 file, and its chain. Which certificate is the key's is decided by
/// the keys themselves, not by the names and ids that the file gives them.
pub fn read_pkcs12(der: &[u8], password: &Secret) -> Result<Pkcs12, Pkcs12Error> {
    // The key is derived from characters: bytes that are none can't be the password.
    let password =
        std::str::from_utf8(password.expose()).map_err(|_| Pkcs12Error::WrongPassword)?;
    let archive = Pkcs12Archive::from_pkcs12(der, password).map_err(problem)?;
    let key = match archive.keys.as_slice() {
        [] => return Err(Pkcs12Error::NoKey),
        [bag] => Secret::new(bag.key.as_der()),
        several => return Err(Pkcs12Error::AmbiguousKey(several.len())),
    };
    if archive.certs.is_empty() {
        return Err(Pkcs12Error::NoCertificate);
    }
    let signing = signing_key(KeyForm::Pkcs8, key.expose())
        .map_err(|error| Pkcs12Error::Malformed(error.to_string()))?;
    let certificates: Vec<&[u8]> = archive.certs.iter().map(|bag| bag.cert.as_der()).collect();
    let leaf = certificates
        .iter()
        .find(|certificate| belongs_to(signing.as_ref(), certificate) == Some(true))
        .ok_or(Pkcs12Error::KeyMismatch)?;
    Ok(Pkcs12 {
        chain: chain(leaf, &certificates),
        key,
    })
}

/// From the leaf upwards, each certificate once.
fn chain(leaf: &[u8], certificates: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut chain = vec![leaf.to_vec()];
    while let Some(issuer) = chain
        .last()
        .and_then(|last| issuer_of(last, certificates))
        .filter(|issuer| !chain.iter().any(|known| known == issuer))
    {
        chain.push(issuer.to_vec());
    }
    chain
}

fn issuer_of<'a>(certificate: &[u8], certificates: &[&'a [u8]]) -> Option<&'a [u8]> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let issuer = certificate.issuer().as_raw();
    let is_issuer = |der: &&&[u8]| {
        parse_x509_certificate(der).is_ok_and(|(_, it)| it.subject().as_raw() == issuer)
    };
    certificates.iter().find(is_issuer).copied()
}

fn problem(error: Error) -> Pkcs12Error {
    let text = error.to_string();
    match error {
        // Without a seal over the whole, a wrong password shows only as nonsense.
        Error::MacError(_) | Error::UnpadError => Pkcs12Error::WrongPassword,
        Error::Pkcs5Error(_) if text.contains("decryption failed") => Pkcs12Error::WrongPassword,
        Error::DerError(_) if text.contains("unsupported OID") => {
            Pkcs12Error::UnsupportedEncryption(text)
        }
        Error::Pkcs5Error(_)
        | Error::UnsupportedEncryptionScheme
        | Error::UnsupportedMacAlgorithm
        | Error::InvalidParameters => Pkcs12Error::UnsupportedEncryption(text),
        _ => Pkcs12Error::Malformed(text),
    }
}
