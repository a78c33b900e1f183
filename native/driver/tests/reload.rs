//! Another TLS configuration in the place of the one in force, while requests go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use palladion_driver::tls::{SessionChange, TlsConfig};
use palladion_driver::{ClusterConfig, Event, RequestError};
use palladion_testkit::certs::{self, Authority, CertOptions};
use palladion_testkit::Versions;
use rustls::NamedGroup;
use support::*;

const VERSIONS: [Versions; 2] = [Versions::Tls12, Versions::Tls13];

fn showing(house: &House, client: &certs::Identity) -> TlsConfig {
    let mut tls = trusting(&house.authority);
    tls.identity = Some(client_identity(client));
    tls
}

fn with_tls(house: &House, tls: TlsConfig, size: usize) -> ClusterConfig {
    let mut config = house.config();
    config.pool_size = size;
    config.tls = Some(tls);
    config
}

impl Started {
    async fn reload(&self, tls: TlsConfig) -> Result<(), RequestError> {
        let prepared = self.cluster.prepare_tls(tls).unwrap();
        let (waiter, outcome) = waiter();
        self.cluster.reload_tls(prepared, waiter);
        patiently(outcome).await.unwrap()
    }
}

/// What open connections show, each once.
fn shown(house: &House) -> Vec<String> {
    let connections = house.server.connections();
    let open = connections.into_iter().filter(|c| c.open);
    let mut shown: Vec<_> = open.filter_map(|c| c.client_fingerprint).collect();
    shown.sort();
    shown.dedup();
    shown
}

#[tokio::test]
async fn every_connection_shows_the_new_certificate_and_no_request_is_lost() {
    for versions in VERSIONS {
        let (house, clients) = strict_house(versions);
        let old = clients.issue(&CertOptions::client("old")).unwrap();
        let new = clients.issue(&CertOptions::client("new")).unwrap();
        let mut started = start(with_tls(&house, showing(&house, &old), 8));
        started.opened(8).await;
        let before = shown(&house);
        assert_eq!(before.len(), 1);
        let counters = house.server.counters();
        assert_eq!((counters.full, counters.resumed), (1, 7));
        let asked: Vec<_> = (0..200)
            .map(|_| started.send("SELECT numbers(3)"))
            .collect();
        started.reload(showing(&house, &new)).await.unwrap();
        for sent in asked {
            assert_eq!(row_count(&sent.answer().await.unwrap()), 3);
        }
        until("the old connections are closed", || {
            house.server.counters().open == 8
        })
        .await;
        let after = shown(&house);
        assert!(after.len() == 1 && after != before, "{versions:?}");
        // The sessions of the old certificate were not used: the first handshake was a full one.
        let counters = house.server.counters();
        assert_eq!(
            (counters.full, counters.resumed),
            (2, 14),
            "{versions:?}, and nothing was rejected"
        );
        let stats = started.cluster.stats();
        assert_eq!(stats.sessions_rejected.get(), 0);
        assert!(stats.sessions_purged.get() > 0);
        assert_eq!(stats.tls_reloads.get(), 1);
        let status = started.cluster.status();
        let connections = status.nodes.iter().flat_map(|node| &node.connections);
        assert!(connections
            .map(|info| info.tls.as_ref().unwrap().generation)
            .all(|generation| generation == 1));
    }
}

#[tokio::test]
async fn what_cannot_be_parsed_changes_nothing() {
    let house = house();
    let mut started = start(house.config());
    started.opened(1).await;
    let mut bad = trusting(&house.authority);
    bad.roots = vec![b"no certificate".to_vec()];
    assert!(started.cluster.prepare_tls(bad).is_err());
    started.reconnect().await.unwrap();
    assert_eq!(house.server.counters().resumed, 1);
    assert_eq!(started.cluster.stats().tls_reloads.get(), 0);
}

#[tokio::test]
async fn where_the_new_trust_does_not_fit_the_old_connections_serve() {
    let house = house();
    let mut started = start(with_tls(&house, trusting(&house.authority), 4));
    started.opened(4).await;
    let stranger = Authority::new("another CA").unwrap();
    let refused = started.reload(trusting(&stranger)).await;
    assert!(
        matches!(refused, Err(RequestError::NoConnection { last: Some(_) })),
        "{refused:?}"
    );
    for _ in 0..20 {
        let answer = started.ask("SELECT numbers(3)").await.unwrap();
        assert_eq!(row_count(&answer), 3);
    }
    assert_eq!(house.server.counters().open, 4);
    started.reload(trusting(&house.authority)).await.unwrap();
    until("all are replaced", || house.server.counters().open == 4).await;
    assert_eq!(
        house.server.counters().full,
        2,
        "one more, and the rest resumed"
    );
}

/// Logged in after the reload, by the trust of before: it doesn't get into service.
#[tokio::test]
async fn a_control_connection_that_is_being_opened_is_replaced_too() {
    let house = house();
    house.server.set_handshake_delay(Duration::from_millis(200));
    let mut config = house.config();
    config.discover = true;
    let started = start(config);
    tokio::time::sleep(Duration::from_millis(100)).await;
    started.reload(trusting(&house.authority)).await.unwrap();
    until("there is a control connection", || {
        started.cluster.status().control.is_some()
    })
    .await;
    let control = started.cluster.status().control.unwrap();
    assert_eq!(control.tls.as_ref().unwrap().generation, 1);
    assert_eq!(started.cluster.stats().control_connections_opened.get(), 1);
}

/// While no connection can be made under the new configuration, the old one is watched.
#[tokio::test]
async fn a_control_connection_that_is_lost_before_it_is_replaced_is_told() {
    let house = house();
    let mut config = house.config();
    config.discover = true;
    let mut started = start(config);
    while !matches!(started.event().await, Event::ControlOpened(_)) {}
    let stranger = Authority::new("another CA").unwrap();
    assert!(started.reload(trusting(&stranger)).await.is_err());
    house.server.close_connections();
    while !matches!(started.event().await, Event::ControlClosed) {}
    let closed = started.event().await;
    assert!(
        matches!(
            closed,
            Event::Closed {
                failure: Some(_),
                ..
            }
        ),
        "{closed:?}"
    );
    assert!(started.cluster.status().control.is_none());
    started.reload(trusting(&house.authority)).await.unwrap();
    while !matches!(started.event().await, Event::ControlOpened(_)) {}
}

/// What an attempt of before runs into is not the new configuration's fault.
#[tokio::test]
async fn a_reload_is_not_failed_by_attempts_of_the_one_before() {
    for discover in [false, true] {
        let house = house();
        house.server.set_handshake_delay(Duration::from_millis(200));
        let mut config = with_tls(&house, trusting(&house.authority), 2);
        config.discover = discover;
        let mut started = start(config);
        if discover {
            while !matches!(started.event().await, Event::ControlOpened(_)) {}
        } else {
            started.opened(2).await;
        }
        let stranger = trusting(&Authority::new("another CA").unwrap());
        let prepared = started.cluster.prepare_tls(stranger).unwrap();
        let (bad, _outcome) = waiter();
        started.cluster.reload_tls(prepared, bad);
        // In the midst of its attempts.
        tokio::time::sleep(Duration::from_millis(100)).await;
        started.reload(trusting(&house.authority)).await.unwrap();
    }
}

/// Opened under the old configuration, logged in under the new one.
#[tokio::test]
async fn connections_that_are_being_opened_are_replaced_too() {
    let (house, clients) = strict_house(Versions::Tls13);
    let old = clients.issue(&CertOptions::client("old")).unwrap();
    let new = clients.issue(&CertOptions::client("new")).unwrap();
    house.server.pause();
    let started = start(with_tls(&house, showing(&house, &old), 2));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let prepared = started.cluster.prepare_tls(showing(&house, &new)).unwrap();
    let (waiter, outcome) = waiter();
    started.cluster.reload_tls(prepared, waiter);
    // Nothing was open, so nobody has to wait.
    patiently(outcome).await.unwrap().unwrap();
    house.server.resume();
    started.ready().await.unwrap();
    until("all connections are the new configuration's", || {
        let status = started.cluster.status();
        let infos: Vec<_> = status.nodes.iter().flat_map(|n| &n.connections).collect();
        infos.len() == 2
            && infos
                .iter()
                .all(|info| info.tls.as_ref().unwrap().generation == 1)
    })
    .await;
}

#[tokio::test]
async fn the_control_connection_is_replaced_too() {
    let house = house();
    let mut config = house.config();
    config.discover = true;
    let mut started = start(config);
    while !matches!(started.event().await, Event::ControlOpened(_)) {}
    started.reload(trusting(&house.authority)).await.unwrap();
    let second = started.cluster.status().control.unwrap();
    assert_eq!(second.tls.as_ref().unwrap().generation, 1);
    until("the first is closed", || house.server.counters().open == 1).await;
    // It is still one that works, and is found again when it is lost.
    house.server.close_connections();
    until("there is a third", || {
        started.cluster.stats().control_connections_opened.get() == 3
    })
    .await;
}

#[tokio::test]
async fn a_control_connection_that_cannot_be_replaced_serves_on() {
    let house = house();
    let mut config = house.config();
    config.discover = true;
    let mut started = start(config);
    while !matches!(started.event().await, Event::ControlOpened(_)) {}
    let stranger = Authority::new("another CA").unwrap();
    let refused = started.reload(trusting(&stranger)).await;
    assert!(refused.is_err());
    let sent = started.send_to_control("SELECT numbers(1)");
    assert_eq!(row_count(&sent.answer().await.unwrap()), 1);
    started.reload(trusting(&house.authority)).await.unwrap();
    let control = started.cluster.status().control.unwrap();
    assert_eq!(control.tls.as_ref().unwrap().generation, 2);
}

/// It is no secret which group a server wants, and it saves a round.
#[tokio::test]
async fn the_hint_of_the_key_exchange_group_stays() {
    let groups = Some(vec![NamedGroup::secp384r1]);
    let house = house_with(|tls| tls.groups = groups, |options| options);
    let mut started = start(house.config());
    started.opened(1).await;
    assert_eq!(house.server.counters().hello_retry, 1);
    started.reload(trusting(&house.authority)).await.unwrap();
    let counters = house.server.counters();
    assert_eq!((counters.full, counters.hello_retry), (2, 1));
    assert_eq!(started.cluster.stats().handshakes_hello_retry.get(), 1);
}

#[tokio::test]
async fn purged_sessions_are_told_of() {
    let house = house();
    let mut started = start(house.config());
    started.opened(1).await;
    until("tickets have come", || {
        started.cluster.stats().sessions_stored.get() >= 2
    })
    .await;
    started.reload(trusting(&house.authority)).await.unwrap();
    loop {
        if let Event::Sessions {
            change: SessionChange::Purged,
            endpoint,
            verified_name,
            count,
        } = started.event().await
        {
            assert!(endpoint.starts_with("localhost:"));
            assert_eq!(verified_name.as_deref(), Some("localhost"));
            assert_eq!(count, 2);
            break;
        }
    }
}
