//! PKCS#12 files as OpenSSL and Java write them, and what is wrong with others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use palladion_driver::tls::{read_pkcs12, Pkcs12, Pkcs12Error};
use palladion_driver::Secret;
use palladion_testkit::certs::{Authority, CertOptions, Identity};
use proptest::prelude::*;

/// A folder of its own for what `openssl` reads and writes.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("palladion-p12-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Papers {
    authority: Authority,
    between: Authority,
    identity: Identity,
}

fn papers() -> Papers {
    let authority = Authority::new("the CA").unwrap();
    let between = authority.intermediate("between").unwrap();
    let identity = between.issue(&CertOptions::client("ada")).unwrap();
    Papers {
        authority,
        between,
        identity,
    }
}

impl Papers {
    fn chain(&self) -> Vec<Vec<u8>> {
        let [leaf, between] = self.identity.chain.as_slice() else {
            panic!("a chain of two");
        };
        vec![
            leaf.to_vec(),
            between.to_vec(),
            self.authority.der().to_vec(),
        ]
    }

    /// As `openssl pkcs12 -export` with these options writes them, password `secret`.
    fn export(&self, options: &[&str]) -> Vec<u8> {
        let folder = Folder::new();
        // Not in order, and with a certificate that is not of the chain.
        let unrelated = Authority::new("unrelated").unwrap();
        let (ca, between) = (self.authority.pem(), self.between.pem());
        let above = folder.write("above.pem", &(unrelated.pem() + &ca + &between));
        let leaf = folder.write("leaf.pem", &self.identity.chain_pem);
        let key = folder.write("leaf.key", &self.identity.key_pem);
        let out = folder.0.join("out.p12");
        let path = |path: &Path| path.display().to_string();
        let done = Command::new("openssl")
            .args(["pkcs12", "-export", "-passout", "pass:secret"])
            .args(["-in", &path(&leaf), "-inkey", &path(&key)])
            .args(["-certfile", &path(&above), "-out", &path(&out)])
            .args(options)
            .output()
            .expect("these tests need openssl");
        assert!(done.status.success(), "{options:?}: {done:?}");
        std::fs::read(out).unwrap()
    }
}

fn read(file: &[u8], password: &str) -> Result<Pkcs12, Pkcs12Error> {
    read_pkcs12(file, &Secret::new(password.as_bytes()))
}

fn failure(file: &[u8], password: &str) -> Pkcs12Error {
    read(file, password).unwrap_err()
}

#[test]
fn openssls_files_are_read_however_they_are_encrypted() {
    let papers = papers();
    for options in [
        &[][..],
        &["-legacy"],
        &["-legacy", "-descert"],
        &["-certpbe", "aes-128-cbc", "-macalg", "sha512"],
        &["-certpbe", "NONE", "-keypbe", "NONE"],
        &["-nomac"],
    ] {
        let file = papers.export(options);
        let pkcs12 = read(&file, "secret").unwrap_or_else(|e| panic!("{options:?}: {e}"));
        assert_eq!(pkcs12.chain, papers.chain(), "{options:?}");
        assert_eq!(
            pkcs12.key.expose(),
            papers.identity.key.secret_der(),
            "{options:?}"
        );
    }
}

#[test]
fn a_wrong_password_is_told_from_a_damaged_file() {
    let papers = papers();
    for options in [&[][..], &["-legacy"]] {
        let file = papers.export(options);
        for password in ["wrong", "", "secrét"] {
            assert_eq!(failure(&file, password), Pkcs12Error::WrongPassword);
        }
        let cut = failure(&file[..file.len() / 2], "secret");
        assert!(matches!(cut, Pkcs12Error::Malformed(_)), "{cut:?}");
    }
    let not_text = read_pkcs12(&papers.export(&[]), &Secret::new(&[0xFF])).unwrap_err();
    assert_eq!(not_text, Pkcs12Error::WrongPassword);
    let pem = failure(papers.identity.chain_pem.as_bytes(), "secret");
    assert!(matches!(pem, Pkcs12Error::Malformed(_)), "{pem:?}");
}

#[test]
fn what_is_missing_is_named() {
    let papers = papers();
    let without_key = papers.export(&["-nokeys"]);
    assert_eq!(failure(&without_key, "secret"), Pkcs12Error::NoKey);
    let folder = Folder::new();
    let key = folder.write("leaf.key", &papers.identity.key_pem);
    let out = folder.0.join("out.p12");
    let done = Command::new("openssl")
        .args(["pkcs12", "-export", "-nocerts", "-passout", "pass:"])
        .arg("-inkey")
        .arg(&key)
        .arg("-out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let without_certificate = std::fs::read(&out).unwrap();
    let missing = failure(&without_certificate, "");
    assert_eq!(missing, Pkcs12Error::NoCertificate);
}

/// As Java keeps keys: each under an alias, with the certificates that are said to be its own.
fn keystore(entries: &[(&Identity, &Identity)]) -> Vec<u8> {
    let mut store = KeyStore::new();
    for (at, (key, certificate)) in entries.iter().enumerate() {
        let key = PrivateKey::from_der(key.key.secret_der()).unwrap();
        let chain = certificate.chain.iter();
        let chain = chain.map(|der| Certificate::from_der(der).unwrap());
        let entry = PrivateKeyChain::new(vec![at as u8], key, chain);
        store.add_entry(&at.to_string(), KeyStoreEntry::PrivateKeyChain(entry));
    }
    store.writer("secret").write().unwrap()
}

#[test]
fn several_keys_are_ambiguous_and_one_must_belong_to_a_certificate() {
    let (one, two) = (papers().identity, papers().identity);
    let read_one = read(&keystore(&[(&one, &one)]), "secret").unwrap();
    assert_eq!(read_one.chain[0], one.chain[0].to_vec());
    let several = keystore(&[(&one, &one), (&two, &two)]);
    assert_eq!(failure(&several, "secret"), Pkcs12Error::AmbiguousKey(2));
    let of_another = keystore(&[(&one, &two)]);
    assert_eq!(failure(&of_another, "secret"), Pkcs12Error::KeyMismatch);
}

#[test]
fn an_unknown_encryption_is_named() {
    let camellia = [
        "-certpbe",
        "camellia-128-cbc",
        "-keypbe",
        "camellia-128-cbc",
    ];
    let failure = failure(&papers().export(&camellia), "secret");
    assert!(
        matches!(failure, Pkcs12Error::UnsupportedEncryption(_)),
        "{failure:?}"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(&bytes, "secret");
    }
}

#[test]
fn no_damaged_byte_makes_it_panic() {
    // Without a seal, damage gets as far as it can.
    let file = papers().export(&["-nomac", "-certpbe", "NONE", "-keypbe", "NONE"]);
    for at in 0..file.len() {
        for damage in [0x00, 0x01, 0x80, 0xFF] {
            let mut damaged = file.clone();
            damaged[at] ^= damage;
            let _ = read(&damaged, "secret");
        }
    }
}
