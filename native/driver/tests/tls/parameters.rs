//! Our own certificate, versions, ciphers, groups and the key log.

use std::path::Path;
use std::sync::Arc;

use palladion_driver::network::System;
use palladion_driver::tls::{Identity, KeyForm, TlsConfig, TlsConfigError, TlsVersion};
use palladion_driver::{Cluster, ClusterConfig, Event, Failure, NoEvents, Secret};
use palladion_testkit::certs::{self, Authority, CertOptions, CrlOptions};
use palladion_testkit::Versions;
use rustls::{CipherSuite, NamedGroup};

use crate::failure;
use crate::support::*;

#[tokio::test]
async fn a_client_certificate_is_missing_untrusted_or_good() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        let (house, clients) = strict_house(versions);
        let with = |identity: Option<certs::Identity>| {
            let mut config = house.config();
            config.tls.as_mut().unwrap().identity = identity.map(|it| own(&it));
            config
        };
        let missing = failure(with(None)).await;
        assert!(
            matches!(missing, Failure::CertificateMissing(_)),
            "{versions:?}: {missing:?}"
        );
        let strangers = Authority::new("another CA").unwrap();
        let untrusted = strangers.issue(&CertOptions::client("eve")).unwrap();
        let rejected = failure(with(Some(untrusted))).await;
        assert!(
            matches!(rejected, Failure::CertificateRejected(_)),
            "{versions:?}: {rejected:?}"
        );
        let good = clients.issue(&CertOptions::client("ada")).unwrap();
        start(with(Some(good))).opened(1).await;
    }
}

fn own(identity: &certs::Identity) -> Identity {
    Identity {
        chain: identity.chain.iter().map(|der| der.to_vec()).collect(),
        key_form: KeyForm::Pkcs8,
        key: Secret::new(identity.key.secret_der()),
    }
}

#[tokio::test]
async fn ciphers_and_groups_are_those_named() {
    let suite = CipherSuite::TLS13_AES_128_GCM_SHA256;
    let house = house_with(
        |tls| {
            tls.cipher_suites = Some(vec![suite]);
            tls.groups = Some(vec![NamedGroup::secp384r1]);
        },
        |options| options,
    );
    let with = |cipher: &str, group: &str| {
        let mut config = house.config();
        let tls = config.tls.as_mut().unwrap();
        tls.cipher_suites = vec![cipher.to_owned()];
        tls.groups = vec![group.to_owned()];
        config
    };
    start(with("TLS_AES_128_GCM_SHA256", "secp384r1"))
        .opened(1)
        .await;
    for (cipher, group) in [
        ("TLS_AES_256_GCM_SHA384", "secp384r1"),
        ("TLS_AES_128_GCM_SHA256", "x25519"),
        ("TLS_AES_128_GCM_SHA256", "x25519mlkem768"),
    ] {
        let nothing = failure(with(cipher, group)).await;
        assert!(
            matches!(nothing, Failure::TlsCipher(_)),
            "{cipher}, {group}: {nothing:?}"
        );
    }
}

#[tokio::test]
async fn the_first_group_and_cipher_named_are_preferred() {
    let house = house_with(|tls| tls.versions = Versions::Tls13, |options| options);
    let mut config = house.config();
    let tls = config.tls.as_mut().unwrap();
    tls.groups = vec!["x25519mlkem768".to_owned(), "x25519".to_owned()];
    tls.cipher_suites = vec!["TLS_CHACHA20_POLY1305_SHA256".to_owned()];
    let mut started = start(config);
    match started.event().await {
        Event::Handshake { outcome, .. } => {
            let tls = outcome.unwrap();
            assert_eq!(tls.group.as_deref(), Some("x25519mlkem768"));
            assert_eq!(tls.cipher, "TLS_CHACHA20_POLY1305_SHA256");
        }
        other => panic!("{other:?}"),
    }
}

type Change<'a> = Box<dyn Fn(&mut TlsConfig) + 'a>;

#[tokio::test]
async fn what_can_not_be_used_is_a_configuration_error() {
    let house = house();
    let revoked = house.authority.crl(&CrlOptions::default()).unwrap();
    let good = house.authority.issue(&CertOptions::client("a")).unwrap();
    let mut mixed = own(&good);
    mixed.chain = vec![house.authority.der().to_vec()];
    let none = Identity {
        chain: Vec::new(),
        ..own(&good)
    };
    let cases: Vec<(&str, Change<'_>)> = vec![
        (
            "list 1",
            Box::new(|tls| tls.crls = vec![revoked.clone(), vec![0x30, 0x03, 2, 1, 1]]),
        ),
        (
            "certificate 0",
            Box::new(|tls| tls.roots = vec![b"no".to_vec()]),
        ),
        ("no trusted", Box::new(|tls| tls.roots.clear())),
        (
            "\"RC4\"",
            Box::new(|tls| tls.cipher_suites = vec!["RC4".to_owned()]),
        ),
        (
            "\"secp1\"",
            Box::new(|tls| tls.groups = vec!["secp1".to_owned()]),
        ),
        (
            "none of the TLS versions",
            Box::new(|tls| {
                tls.cipher_suites = vec!["TLS_AES_128_GCM_SHA256".to_owned()];
                tls.versions = vec![TlsVersion::V12];
            }),
        ),
        (
            "none of the TLS versions",
            Box::new(|tls| {
                tls.groups = vec!["x25519mlkem768".to_owned()];
                tls.versions = vec![TlsVersion::V12];
            }),
        ),
        (
            "does not belong",
            Box::new(|tls| tls.identity = Some(mixed.clone())),
        ),
        (
            "our certificate",
            Box::new(|tls| tls.identity = Some(none.clone())),
        ),
        (
            "without verification",
            Box::new(|tls| {
                tls.verify = false;
                tls.pins = vec![[0; 32]];
            }),
        ),
    ];
    for (text, change) in cases {
        let mut config = house.config();
        change(config.tls.as_mut().unwrap());
        let told = start_here(config).err().unwrap().to_string();
        assert!(told.contains(text), "{told:?} for {text:?}");
    }
}

#[tokio::test]
async fn secrets_are_written_where_asked_for_and_for_nobody_else_to_read() {
    let house = house();
    let path = std::env::temp_dir().join(format!("palladion-key-log-{}", std::process::id()));
    let mut config = house.config();
    config.tls.as_mut().unwrap().key_log = Some(path.clone());
    start(config.clone()).opened(1).await;
    let log = std::fs::read_to_string(&path).unwrap();
    assert!(log.contains("CLIENT_TRAFFIC_SECRET_0 "), "{log}");
    let line = log.lines().next().unwrap();
    let fields: Vec<_> = line.split(' ').map(str::len).collect();
    assert!(matches!(fields[..], [_, 64, 64 | 96]), "{line}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    std::fs::remove_file(&path).unwrap();
}

fn start_here(config: ClusterConfig) -> Result<Cluster, TlsConfigError> {
    let runtime = tokio::runtime::Handle::current();
    Cluster::start(config, System, Arc::new(NoEvents), &runtime)
}

#[tokio::test]
async fn a_key_log_is_a_plain_file_that_its_owner_alone_can_read() {
    let house = house();
    let directory = std::env::temp_dir();
    let opened = |path: &Path| {
        let mut config = house.config();
        config.tls.as_mut().unwrap().key_log = Some(path.to_owned());
        start_here(config)
    };
    let refused = |path: &Path| match opened(path) {
        Err(TlsConfigError::KeyLog(_)) => {}
        other => panic!("{path:?}: {:?}", other.map(|_| ())),
    };
    refused(&directory.join("nowhere/at/all"));
    refused(&directory);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{symlink, PermissionsExt};
        let path = directory.join(format!("palladion-old-key-log-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        opened(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "also where it was there before");
        let link = path.with_extension("link");
        symlink(&path, &link).unwrap();
        refused(&link);
        std::fs::remove_file(&link).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
