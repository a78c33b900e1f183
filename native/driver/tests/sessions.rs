//! Resumption: as often as can be, and never where it should not be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use palladion_driver::tls::{SessionCacheConfig, VerifiedName};
use palladion_driver::ClusterConfig;
use palladion_testkit::certs::{CertOptions, CrlOptions, Validity};
use palladion_testkit::{Handshake, Versions};
use support::*;
use tokio::io::{copy_bidirectional, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};

const VERSIONS: [Versions; 2] = [Versions::Tls12, Versions::Tls13];

/// Handshakes as the server counted them: full and resumed.
fn counted(house: &House) -> (u64, u64) {
    let counters = house.server.counters();
    (counters.full, counters.resumed)
}

fn with_cache(config: &mut ClusterConfig, cache: Option<SessionCacheConfig>) {
    if let Some(tls) = config.tls.as_mut() {
        tls.session_cache = cache;
    }
}

#[tokio::test]
async fn fifteen_of_sixteen_connections_resume() {
    for versions in VERSIONS {
        let house = house_with(
            |tls| {
                tls.versions = versions;
                tls.tls13_tickets = 2;
            },
            |options| options,
        );
        let mut config = house.config();
        config.pool_size = 16;
        let mut started = start(config);
        started.opened(16).await;
        assert_eq!(counted(&house), (1, 15), "{versions:?}");
        let stats = started.cluster.stats();
        assert_eq!(stats.handshakes_full.get(), 1);
        assert_eq!(stats.handshakes_resumed.get(), 15);
    }
}

#[tokio::test]
async fn a_reconnection_resumes_every_session_and_loses_no_request() {
    for versions in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        let mut config = house.config();
        config.pool_size = 4;
        let mut started = start(config);
        started.opened(4).await;
        let (full, resumed) = counted(&house);
        let mut asked = Vec::new();
        for _ in 0..50 {
            asked.push(started.send("SELECT numbers(3)"));
        }
        started.reconnect().await.unwrap();
        for sent in asked {
            assert_eq!(row_count(&sent.answer().await.unwrap()), 3);
        }
        assert_eq!(counted(&house), (full, resumed + 4), "{versions:?}");
        until("the old ones are closed", || {
            house.server.counters().open == 4
        })
        .await;
    }
}

#[tokio::test]
async fn without_a_cache_every_handshake_is_full() {
    let house = house();
    let mut config = house.config();
    config.pool_size = 4;
    with_cache(&mut config, None);
    start(config).opened(4).await;
    assert_eq!(counted(&house), (4, 0));
}

#[tokio::test]
async fn a_session_is_not_resumed_after_its_time() {
    for versions in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        let mut config = house.config();
        with_cache(
            &mut config,
            Some(session_cache(100, Duration::from_millis(50))),
        );
        let mut started = start(config);
        started.opened(1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        started.reconnect().await.unwrap();
        assert_eq!(counted(&house), (2, 0), "{versions:?}");
        assert!(started.cluster.stats().sessions_expired.get() > 0);
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_after_the_certificate_has_expired() {
    for versions in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        let brief =
            CertOptions::server(&["localhost"]).validity(Validity::For(Duration::from_secs(3)));
        let brief = house.authority.issue(&brief).unwrap();
        house.server.set_identity(brief).unwrap();
        let mut started = start(house.config());
        started.opened(1).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let refused = started.reconnect().await;
        assert!(refused.is_err(), "{versions:?}");
        // The server itself would have gone on with the session, which isn't even offered.
        let stats = started.cluster.stats();
        assert!(stats.sessions_lineage_expired.get() > 0, "{versions:?}");
        assert_eq!(stats.sessions_offered.get(), 0, "{versions:?}");
        assert_eq!(counted(&house).1, 0, "{versions:?}");
    }
}

/// The chain's dates are good, but what it was found good by no longer holds: the session is resumed
/// by the server, and closed here before a byte of CQL.
#[tokio::test]
async fn a_resumed_session_is_verified_as_of_now() {
    for versions in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        let mut config = house.config();
        let list = CrlOptions {
            validity: Validity::For(Duration::from_secs(3)),
            ..CrlOptions::default()
        };
        if let Some(tls) = config.tls.as_mut() {
            tls.crls = vec![house.authority.crl(&list).unwrap()];
        }
        let mut started = start(config);
        started.opened(1).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let refused = started.reconnect().await;
        assert!(refused.is_err(), "{versions:?}: {refused:?}");
        let stats = started.cluster.stats();
        assert!(stats.sessions_refused.get() > 0, "{versions:?}");
        assert_eq!(stats.handshakes_resumed.get(), 0, "{versions:?}");
        let seen = house.server.connections();
        let mut resumed = seen
            .iter()
            .filter(|c| c.handshake == Some(Handshake::Resumed));
        assert!(resumed.clone().count() > 0, "{versions:?}");
        assert!(resumed.all(|c| c.startup.is_empty()), "no CQL on it");
    }
}

/// However often sessions are renewed on the way, they end with the handshake they descend from.
#[tokio::test]
async fn resumed_connections_pass_their_lineage_on() {
    for versions in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        let mut config = house.config();
        let mut cache = session_cache(100, Duration::from_secs(3_600));
        cache.max_lineage = Duration::from_secs(3);
        with_cache(&mut config, Some(cache));
        let mut started = start(config);
        started.opened(1).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            started.reconnect().await.unwrap();
        }
        assert_eq!(counted(&house), (1, 3), "{versions:?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        started.reconnect().await.unwrap();
        assert_eq!(counted(&house), (2, 3), "{versions:?}");
        let stats = started.cluster.stats();
        assert!(stats.sessions_lineage_expired.get() > 0);
        assert_eq!(stats.sessions_expired.get(), 0);
    }
}

/// Whatever a server has against a session that it is offered, it is not offered again.
#[tokio::test]
async fn a_session_whose_handshake_fails_is_not_offered_again() {
    for versions in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        let mut config = house.config();
        config.timeouts.tls = Duration::from_millis(300);
        let mut started = start(config);
        started.opened(1).await;
        house.server.set_handshake_delay(Duration::from_secs(2));
        assert!(started.reconnect().await.is_err());
        house.server.set_handshake_delay(Duration::ZERO);
        started.opened(1).await;
        let stats = started.cluster.stats();
        assert_eq!(stats.sessions_offered.get(), 1, "{versions:?}");
        assert_eq!(stats.sessions_rejected.get(), 1, "{versions:?}");
        assert_eq!(stats.handshakes_resumed.get(), 0, "{versions:?}");
    }
}

/// Who has something against a session says so by an alert, or by closing. Then a full handshake
/// follows at once.
#[tokio::test]
async fn a_handshake_that_fails_with_a_session_is_done_once_more_without() {
    for versions in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        let mut config = house.config();
        config.contact_points[0].port = way_to(house.server.address(), 1).await;
        let mut started = start(config);
        started.opened(1).await;
        started.reconnect().await.unwrap();
        let stats = started.cluster.stats();
        assert_eq!(counted(&house), (2, 0), "{versions:?}");
        assert_eq!(stats.sessions_offered.get(), 1, "{versions:?}");
        assert_eq!(stats.sessions_rejected.get(), 1, "{versions:?}");
        assert_eq!(stats.connect_failures.get(), 0, "{versions:?}");
        // What the full one was given is good.
        started.reconnect().await.unwrap();
        assert_eq!(counted(&house), (2, 1), "{versions:?}");
    }
}

/// Passes connections on, all but one: that is closed as soon as it's there.
async fn way_to(server: SocketAddr, closed: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for n in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            if n == closed {
                // The hello is read first: what is not read makes closing a reset.
                let _ = client.read(&mut [0; 4096]).await;
                continue;
            }
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn endpoints_and_clusters_never_share_sessions() {
    let house = house();
    let mut config = house.config();
    let mut other = config.contact_points[0].clone();
    other.host = "127.0.0.1".to_owned();
    config.contact_points.push(other);
    // The verified name is the same; the endpoint is not.
    if let Some(tls) = config.tls.as_mut() {
        tls.verified_name = VerifiedName::Fixed("localhost".to_owned());
    }
    let mut one = start(config.clone());
    one.opened(2).await;
    assert_eq!(counted(&house), (2, 0));
    let mut two = start(config);
    two.opened(2).await;
    assert_eq!(counted(&house), (4, 0));
}

#[tokio::test]
async fn the_least_recently_used_endpoint_makes_room() {
    let house = house();
    let mut config = house.config();
    let mut other = config.contact_points[0].clone();
    other.host = "127.0.0.1".to_owned();
    config.contact_points.push(other);
    with_cache(
        &mut config,
        Some(session_cache(1, Duration::from_secs(3_600))),
    );
    let mut started = start(config);
    started.opened(2).await;
    started.reconnect().await.unwrap();
    let (full, resumed) = counted(&house);
    assert!(resumed <= 1 && full >= 3, "{full} full, {resumed} resumed");
    assert!(started.cluster.stats().sessions_evicted.get() > 0);
}

#[tokio::test]
async fn sessions_of_a_refused_login_are_forgotten() {
    let house = house_with(|_| {}, |options| options.login("ada", "secret"));
    let mut config = house.config();
    config.auth = password("ada", "wrong");
    let mut started = start(config);
    for _ in 0..3 {
        started.connect_error().await;
    }
    let (full, resumed) = counted(&house);
    assert!(full >= 3 && resumed == 0, "{full} full, {resumed} resumed");
    assert_eq!(started.cluster.stats().sessions_stored.get(), 0);
}

#[tokio::test]
async fn a_server_that_forgot_its_tickets_costs_only_a_full_handshake() {
    for versions in VERSIONS {
        let house = house_with(|tls| tls.versions = versions, |options| options);
        let mut started = start(house.config());
        started.opened(1).await;
        house.server.forget_tickets().unwrap();
        started.reconnect().await.unwrap();
        assert_eq!(counted(&house), (2, 0), "{versions:?}");
        let stats = started.cluster.stats();
        assert_eq!(stats.sessions_offered.get(), 1, "{versions:?}");
        assert_eq!(stats.sessions_rejected.get(), 1, "{versions:?}");
        // Nor are the others that it had given tried one by one.
        started.reconnect().await.unwrap();
        assert_eq!(counted(&house), (2, 1), "{versions:?}");
    }
}
