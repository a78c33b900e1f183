//! One look at a server: what it shows is seen also where it wouldn't do, and then nothing is told
//! to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use palladion_driver::connection::HandshakeKind;
use palladion_driver::network::System;
use palladion_driver::probe::{probe, Probe, ProbeConfig};
use palladion_driver::tls::TlsVersion;
use palladion_driver::{CertificateProblem, ClusterConfig, Endpoint, Failure};
use palladion_testkit::certs::{Authority, CertOptions};
use palladion_testkit::Versions;
use support::*;

const VERSIONS: [(Versions, TlsVersion); 2] = [
    (Versions::Tls12, TlsVersion::V12),
    (Versions::Tls13, TlsVersion::V13),
];

async fn look(house: &House, config: ClusterConfig) -> Probe {
    let config = ProbeConfig {
        endpoint: Endpoint::from(&config.contact_points[0]),
        address: house.server.address(),
        tls: config.tls,
        auth: config.auth,
        callbacks: config.callbacks,
        cql: true,
        resume: true,
        version: palladion_cql::Version::V4,
        client: config.client,
        timeouts: config.timeouts,
    };
    probe(&System, &config).await.unwrap()
}

#[tokio::test]
async fn a_good_server_is_seen_whole() {
    for (versions, _) in VERSIONS {
        let house = house_with(
            |tls| tls.versions = versions,
            |options| options.login("ada", "secret"),
        );
        let mut config = house.config();
        config.auth = password("ada", "secret");
        let seen = look(&house, config).await;
        assert!(seen.failure.is_none(), "{:?}", seen.failure);
        assert!(seen.connect.is_some());
        let tls = seen.tls.unwrap();
        assert!(tls.verdict.is_ok());
        assert_eq!(tls.verified_name.as_deref(), Some("localhost"));
        assert_eq!(tls.sni.as_deref(), Some("localhost"));
        assert!(!tls.certificate_asked && !tls.certificate_shown);
        assert_eq!(tls.chain.len(), tls.info.unwrap().chain.certificates.len());
        let resumption = seen.resumption.unwrap();
        assert!(resumption.tickets > 0);
        assert!(matches!(resumption.second, Ok(HandshakeKind::Resumed)));
        let cql = seen.cql.unwrap();
        assert!(cql.supported.iter().any(|(key, _)| key == "CQL_VERSION"));
        assert!(cql
            .authenticator
            .unwrap()
            .ends_with("PasswordAuthenticator"));
        assert!(matches!(cql.login, Some(Ok(()))));
        assert_eq!(house.server.counters().logins, 1, "once");
    }
}

#[tokio::test]
async fn a_server_that_is_not_verified_shows_itself_and_learns_nothing() {
    let clients = Authority::new("clients").unwrap();
    let client = clients.issue(&CertOptions::client("ada")).unwrap();
    for (versions, _) in VERSIONS {
        let wanted = vec![clients.der().clone()];
        let house = house_with(
            |tls| {
                tls.versions = versions;
                tls.client_authorities = Some(wanted);
            },
            |options| options.login("ada", "secret"),
        );
        let mut config = house.config();
        config.auth = password("ada", "secret");
        let mut tls = trusting(&Authority::new("another CA").unwrap());
        tls.identity = Some(client_identity(&client));
        config.tls = Some(tls);
        let seen = look(&house, config).await;
        let tls = seen.tls.unwrap();
        assert!(!tls.chain.is_empty());
        assert!(
            matches!(
                tls.verdict,
                Err(Failure::Certificate(CertificateProblem::UnknownIssuer))
            ),
            "{:?}",
            tls.verdict
        );
        assert!(tls.certificate_asked && !tls.certificate_shown);
        assert!(seen.cql.is_none() && seen.resumption.is_none());
        let counters = house.server.counters();
        assert_eq!(counters.client_certs, 0, "{versions:?}");
        let connections = house.server.connections();
        assert!(connections.iter().all(|c| c.startup.is_empty()));
    }
}

#[tokio::test]
async fn a_missing_certificate_is_told() {
    for (versions, _) in VERSIONS {
        let (house, _clients) = strict_house(versions);
        let seen = look(&house, house.config()).await;
        let tls = seen.tls.unwrap();
        assert!(tls.verdict.is_ok() && tls.certificate_asked);
        assert!(
            matches!(seen.failure, Some(Failure::CertificateMissing(_))),
            "{versions:?}: {:?}",
            seen.failure
        );
    }
}

#[tokio::test]
async fn a_refused_login_is_told() {
    let house = house_with(|_| {}, |options| options.login("ada", "secret"));
    let mut config = house.config();
    config.auth = password("ada", "wrong");
    let cql = look(&house, config).await.cql.unwrap();
    assert!(cql.authenticator.is_some());
    assert!(matches!(cql.login, Some(Err(Failure::BadCredentials(_)))));
    // Nothing to log in with: not tried.
    let cql = look(&house, house.config()).await.cql.unwrap();
    assert!(cql.authenticator.is_some() && cql.login.is_none());
}

#[tokio::test]
async fn a_version_that_the_server_refuses_is_told() {
    for (versions, _) in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        for (other, version) in VERSIONS {
            let mut config = house.config();
            if let Some(tls) = config.tls.as_mut() {
                tls.versions = vec![version];
            }
            let seen = look(&house, config).await;
            if other == versions {
                assert!(seen.failure.is_none());
            } else {
                assert!(seen.tls.is_none());
                assert!(
                    matches!(seen.failure, Some(Failure::TlsVersion(_))),
                    "{:?}",
                    seen.failure
                );
            }
        }
    }
}

#[tokio::test]
async fn plain_text_and_tls_are_told_apart() {
    let house = house();
    let mut config = house.config();
    config.tls = None;
    let seen = look(&house, config).await;
    assert!(
        matches!(seen.failure, Some(Failure::RequiresTls)),
        "{:?}",
        seen.failure
    );
    let server = palladion_testkit::Server::start(palladion_testkit::Options::default()).unwrap();
    let mut config = house.config();
    config.contact_points = plain(&server).contact_points;
    let plain = House {
        authority: Authority::new("unused").unwrap(),
        server,
    };
    let seen = look(&plain, config.clone()).await;
    assert!(
        matches!(seen.failure, Some(Failure::NotTls)),
        "{:?}",
        seen.failure
    );
    config.tls = None;
    let seen = look(&plain, config).await;
    assert!(seen.failure.is_none() && seen.cql.is_some());
}
