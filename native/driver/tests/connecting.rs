//! Each way in which a connection can fail has a reason of its own, and none a storm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use palladion_driver::connection::HandshakeKind;
use palladion_driver::tls::{Sni, TlsVersion, VerifiedName};
use palladion_driver::{CertificateProblem, Failure, Step};
use palladion_driver::{ClusterConfig, Event, Phase, RequestError};
use palladion_testkit::certs::{Authority, CertOptions, Validity};
use palladion_testkit::{Options, Server, Versions};
use support::*;

/// What the first attempt fails with.
async fn failure(config: ClusterConfig) -> Failure {
    start(config).connect_error().await.failure.clone()
}

#[tokio::test]
async fn a_verified_server_and_a_password_it_likes() {
    let house = house_with(|_| {}, |options| options.login("ada", "secret"));
    let mut config = house.config();
    config.auth = password("ada", "secret");
    config.keyspace = Some("shop".to_owned());
    let mut started = start(config);
    started.opened(1).await;
    let status = started.cluster.status();
    assert_eq!(status.phase, Phase::Ready);
    let info = &status.nodes[0].connections[0];
    let tls = info.tls.as_ref().unwrap();
    assert_eq!(
        (tls.version, tls.handshake),
        ("TLSv1_3", HandshakeKind::Full)
    );
    assert_eq!(tls.verified_name.as_deref(), Some("localhost"));
    assert_eq!(
        info.authenticator.as_deref(),
        Some("org.apache.cassandra.auth.PasswordAuthenticator")
    );
    // The other end saw the same.
    let seen = &house.server.connections()[0];
    assert_eq!(seen.server_name.as_deref(), Some("localhost"));
    assert_eq!(seen.user.as_deref(), Some("ada"));
    assert_eq!(seen.keyspace.as_deref(), Some("shop"));
    let option = |key: &str| {
        let found = seen.startup.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(option("DRIVER_NAME"), Some("Palladion"));
    assert_eq!(option("DRIVER_VERSION"), Some("0"));
    assert_eq!(option("APPLICATION_NAME"), Some("tests"));
    assert!(option("CLIENT_ID").is_some() && option("CQL_VERSION").is_some());
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let house = house();
    let mut config = house.config();
    config.tls = Some(trusting(&Authority::new("another CA").unwrap()));
    let failure = failure(config).await;
    assert!(
        matches!(
            failure,
            Failure::Certificate(CertificateProblem::UnknownIssuer)
        ),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_by_default() {
    let house = house_with(|_| {}, |options| options);
    let other = identity(&house.authority, &["elsewhere.example"]);
    house.server.set_identity(other).unwrap();
    match failure(house.config()).await {
        Failure::Certificate(CertificateProblem::Name {
            expected,
            presented,
        }) => {
            assert_eq!(expected, "localhost");
            assert!(
                presented.concat().contains("elsewhere.example"),
                "{presented:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_verified_name_and_the_sni_can_differ_from_the_endpoint() {
    let house = house();
    let other = identity(&house.authority, &["real.example"]);
    house.server.set_identity(other).unwrap();
    let mut config = house.config();
    if let Some(tls) = config.tls.as_mut() {
        tls.verified_name = VerifiedName::Fixed("real.example".to_owned());
        tls.sni = Sni::Fixed("proxy.example".to_owned());
    }
    start(config).opened(1).await;
    let seen = &house.server.connections()[0];
    assert_eq!(seen.server_name.as_deref(), Some("proxy.example"));
}

#[tokio::test]
async fn an_unchecked_name_still_needs_a_trusted_chain() {
    let house = house();
    let other = identity(&house.authority, &["elsewhere.example"]);
    house.server.set_identity(other).unwrap();
    let mut config = house.config();
    if let Some(tls) = config.tls.as_mut() {
        tls.verified_name = VerifiedName::Unchecked;
    }
    start(config.clone()).opened(1).await;
    if let Some(tls) = config.tls.as_mut() {
        tls.roots = vec![Authority::new("another CA").unwrap().der().to_vec()];
    }
    let failure = failure(config).await;
    assert!(
        matches!(
            failure,
            Failure::Certificate(CertificateProblem::UnknownIssuer)
        ),
        "{failure:?}"
    );
}

#[tokio::test]
async fn addresses_are_checked_against_ip_names() {
    let house = house();
    let mut config = house.config();
    config.contact_points[0].host = "127.0.0.1".to_owned();
    start(config.clone()).opened(1).await;
    let by_name_only = identity(&house.authority, &["localhost"]);
    house.server.set_identity(by_name_only).unwrap();
    let failure = failure(config).await;
    assert!(
        matches!(
            failure,
            Failure::Certificate(CertificateProblem::Address { .. })
        ),
        "{failure:?}"
    );
}

#[tokio::test]
async fn certificates_count_only_in_their_time() {
    let house = house();
    let of = |validity| {
        let options = CertOptions::server(&["localhost"]).validity(validity);
        house.authority.issue(&options).unwrap()
    };
    house.server.set_identity(of(Validity::Expired)).unwrap();
    match failure(house.config()).await {
        Failure::Certificate(CertificateProblem::Expired { not_after }) => assert!(not_after > 0),
        other => panic!("{other:?}"),
    }
    house
        .server
        .set_identity(of(Validity::NotYetValid))
        .unwrap();
    match failure(house.config()).await {
        Failure::Certificate(CertificateProblem::NotYetValid { not_before }) => {
            assert!(not_before > 0);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let house = house();
    let mut config = house.config();
    if let Some(tls) = config.tls.as_mut() {
        tls.verify = false;
        tls.roots.clear();
    }
    let expired = CertOptions::server(&["elsewhere.example"]).validity(Validity::Expired);
    let expired = house.authority.issue(&expired).unwrap();
    house.server.set_identity(expired).unwrap();
    start(config).opened(1).await;
}

#[tokio::test]
async fn a_plain_port_and_a_tls_port_are_told_apart() {
    let server = Server::start(Options::default()).unwrap();
    let mut config = plain(&server);
    config.tls = Some(trusting(&Authority::new("CA").unwrap()));
    let not_tls = failure(config).await;
    assert!(matches!(not_tls, Failure::NotTls), "{not_tls:?}");

    let secure = house();
    let requires_tls = failure(plain(&secure.server)).await;
    assert!(
        matches!(requires_tls, Failure::RequiresTls | Failure::ClosedByServer),
        "{requires_tls:?}"
    );
}

#[tokio::test]
async fn versions_without_a_common_one() {
    let house = house_with(|tls| tls.versions = Versions::Tls12, |options| options);
    let mut config = house.config();
    if let Some(tls) = config.tls.as_mut() {
        tls.versions = vec![TlsVersion::V13];
    }
    let failure = failure(config).await;
    assert!(matches!(failure, Failure::TlsVersion(_)), "{failure:?}");
}

/// TLS 1.2 fails in the handshake; on TLS 1.3 the client has finished before the server looks.
#[tokio::test]
async fn a_client_certificate_is_missed_where_its_version_of_tls_says_so() {
    for (versions, in_handshake) in [(Versions::Tls12, true), (Versions::Tls13, false)] {
        let (house, _clients) = strict_house(versions);
        let mut started = start(house.config());
        let missed = started.connect_error().await.failure.clone();
        assert!(
            matches!(missed, Failure::CertificateMissing(_)),
            "{versions:?}: {missed:?}"
        );
        let stats = started.cluster.stats();
        let failed = stats.handshakes_failed.get() > 0;
        let done = stats.handshakes_full.get() > 0;
        assert_eq!(
            (failed, done),
            (in_handshake, !in_handshake),
            "{versions:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_login_is_probed_once_at_a_time() {
    let house = house_with(|_| {}, |options| options.login("ada", "secret"));
    let mut config = house.config();
    config.pool_size = 8;
    config.auth = password("ada", "wrong");
    config.reconnect = doubling(Duration::from_millis(200), Duration::from_millis(400));
    let mut started = start(config);
    for n in 1..=3 {
        let failure = started.connect_error().await.failure.clone();
        assert!(matches!(failure, Failure::BadCredentials(_)), "{failure:?}");
        let seen = house.server.counters();
        assert_eq!(seen.failed_logins, n, "one attempt each time");
    }
    // The right password, known late, is found by the next probe.
    house.server.set_password("wrong");
    started.opened(8).await;
}

#[tokio::test]
async fn a_refused_login_is_probed_once_at_a_time_without_sessions_too() {
    let house = house_with(|_| {}, |options| options.login("ada", "secret"));
    let mut config = house.config();
    config.pool_size = 8;
    config.auth = password("ada", "wrong");
    config.reconnect = doubling(Duration::from_secs(5), Duration::from_secs(5));
    if let Some(tls) = config.tls.as_mut() {
        tls.session_cache = None;
    }
    let mut started = start(config);
    started.connect_error().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(house.server.counters().failed_logins, 1);
}

#[tokio::test]
async fn attempts_that_fail_together_lengthen_the_delay_once() {
    let server = Server::start(Options::default()).unwrap();
    let mut config = plain(&server);
    config.pool_size = 8;
    config.reconnect = doubling(Duration::from_millis(100), Duration::from_secs(60));
    let mut started = start(config);
    started.opened(8).await;
    server.refuse().unwrap();
    // Eight lost connections at once, and whatever attempts follow at once.
    server.close_connections();
    let mut delays = Vec::new();
    while delays.len() < 3 {
        if let Event::ConnectFailed { retry_in, .. } = started.event().await {
            delays.push(retry_in);
        }
    }
    // Doubling three times at most from where the loss itself had put it.
    assert!(delays[2] <= Duration::from_millis(1_600), "{delays:?}");
}

#[tokio::test]
async fn authenticators_and_logins_have_to_fit() {
    let asking = house_with(|_| {}, |options| options.login("ada", "secret"));
    let no_login = failure(asking.config()).await;
    assert!(matches!(no_login, Failure::AuthRequired(_)), "{no_login:?}");

    let open = house();
    let mut config = open.config();
    config.auth = password("ada", "secret");
    let not_asked = failure(config.clone()).await;
    assert!(
        matches!(not_asked, Failure::AuthNotRequested),
        "{not_asked:?}"
    );
    if let Some(auth) = config.auth.as_mut() {
        auth.require_auth = false;
    }
    start(config).opened(1).await;
}

#[tokio::test]
async fn an_unknown_authenticator_never_sees_the_password() {
    let mut login = palladion_testkit::Login::new("ada", "secret");
    login.authenticator = "com.example.Phisher".to_owned();
    let house = house_with(
        |_| {},
        |options| Options {
            login: Some(login),
            ..options
        },
    );
    let mut config = house.config();
    config.auth = password("ada", "secret");
    let failure = failure(config.clone()).await;
    assert!(
        matches!(failure, Failure::UnknownAuthenticator(_)),
        "{failure:?}"
    );
    assert_eq!(house.server.counters().auth_response, 0);
    if let Some(auth) = config.auth.as_mut() {
        auth.allowed_authenticators = vec!["com.example.Phisher".to_owned()];
    }
    start(config).opened(1).await;
}

#[tokio::test]
async fn nobody_there() {
    let server = Server::start(Options::default()).unwrap();
    server.refuse().unwrap();
    let refused = failure(plain(&server)).await;
    assert!(matches!(refused, Failure::Refused), "{refused:?}");

    let mut config = plain(&server);
    config.contact_points[0].host = "no-such-host.invalid".to_owned();
    let unknown = failure(config).await;
    assert!(matches!(unknown, Failure::Dns(_)), "{unknown:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let silent = Server::start(Options::default()).unwrap();
    silent.pause();
    let mut config = plain(&silent);
    config.timeouts.login = Duration::from_millis(100);
    let login = failure(config.clone()).await;
    assert!(
        matches!(
            login,
            Failure::Timeout {
                step: Step::Login,
                ..
            }
        ),
        "{login:?}"
    );
    config.tls = Some(trusting(&Authority::new("CA").unwrap()));
    config.timeouts.tls = Duration::from_millis(100);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.contact_points[0].port = listener.local_addr().unwrap().port();
    let handshake = failure(config).await;
    assert!(
        matches!(
            handshake,
            Failure::Timeout {
                step: Step::Tls,
                ..
            }
        ),
        "{handshake:?}"
    );
}

#[tokio::test]
async fn a_server_that_drops_connections_is_not_stormed() {
    let server = Server::start(Options::default()).unwrap();
    let mut config = plain(&server);
    config.pool_size = 4;
    config.reconnect = doubling(Duration::from_millis(100), Duration::from_secs(1));
    let mut started = start(config);
    started.opened(4).await;
    let before = server.counters().connections;
    for _ in 0..5 {
        server.close_connections();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Five rounds of four: a storm would be twenty connections and more.
    let after = server.counters().connections;
    assert!(after - before <= 10, "{} connections", after - before);
}

#[tokio::test]
async fn what_waits_for_a_connection_is_bounded_and_told_of_the_end() {
    let server = Server::start(Options::default()).unwrap();
    server.refuse().unwrap();
    let mut started = start(plain(&server));
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let (waiter, outcome) = waiter();
        assert!(started.cluster.wait(waiter).is_ok());
        waiting.push(outcome);
    }
    let (one_more, _outcome) = waiter();
    assert!(started.cluster.wait(one_more).is_err());
    // One who gave up makes room.
    drop(waiting.pop());
    let (instead, outcome) = waiter();
    assert!(started.cluster.wait(instead).is_ok());
    waiting.push(outcome);

    match started.send("SELECT 1").answer().await {
        Err(RequestError::NoConnection { .. }) => {}
        other => panic!("{other:?}"),
    }
    server.listen().unwrap();
    for outcome in waiting {
        patiently(outcome).await.unwrap().unwrap();
    }
    started.opened(1).await;
}
