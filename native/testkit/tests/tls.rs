//! Handshakes are made as told and counted right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use std::sync::Arc;

use client::{tls, v4, without_resumption, Client, PATIENCE};
use palladion_cql::response::Message;
use palladion_testkit::certs::{self_signed, Authority, CertOptions, Validity};
use palladion_testkit::{Handshake, Options, Server, TlsOptions, Versions};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ALL_VERSIONS};

struct House {
    authority: Authority,
    server: Server,
}

fn house(change: impl FnOnce(&mut TlsOptions)) -> House {
    let authority = Authority::new("the CA").unwrap();
    let identity = authority
        .issue(&CertOptions::server(&["localhost"]))
        .unwrap();
    let mut tls = TlsOptions::new(identity);
    change(&mut tls);
    let server = Server::start(Options::default().tls(tls)).unwrap();
    House { authority, server }
}

/// Connects so many times, one after another, and says how the handshakes went.
async fn connect(server: &Server, config: rustls::ClientConfig, n: usize) -> Vec<HandshakeKind> {
    let config = Arc::new(config);
    let mut kinds = Vec::new();
    for _ in 0..n {
        let mut client = Client::tls(server, &config).await.unwrap();
        // An answer means that the tickets sent before it have arrived.
        assert_eq!(client.start().await, Message::Ready);
        kinds.push(client.handshake());
    }
    kinds
}

const FULL: HandshakeKind = HandshakeKind::Full;
const RESUMED: HandshakeKind = HandshakeKind::Resumed;

#[tokio::test]
async fn both_sides_agree_on_what_was_resumed() {
    for (versions, name) in [([&TLS12], "1.2"), ([&TLS13], "1.3")] {
        let house = house(|_| {});
        let kinds = connect(&house.server, tls(&house.authority, &versions), 3).await;
        assert_eq!(kinds, [FULL, RESUMED, RESUMED], "TLS {name}");
        let counters = house.server.counters();
        assert_eq!((counters.full, counters.resumed), (1, 2), "TLS {name}");
        assert_eq!(counters.connections, 3);
        let tls12 = u64::from(name == "1.2") * 3;
        assert_eq!((counters.tls12, counters.tls13), (tls12, 3 - tls12));
        let connections = house.server.connections();
        let handshakes: Vec<_> = connections.iter().map(|c| c.handshake).collect();
        assert_eq!(
            handshakes,
            [Handshake::Full, Handshake::Resumed, Handshake::Resumed].map(Some)
        );
        for connection in connections {
            assert_eq!(connection.server_name.as_deref(), Some("localhost"));
            assert_eq!(connection.tls_version, Some(name));
        }
    }
}

#[tokio::test]
async fn the_server_resumes_only_as_it_is_told() {
    let ids = house(|tls| tls.tls12_tickets = false);
    let kinds = connect(&ids.server, tls(&ids.authority, &[&TLS12]), 2).await;
    assert_eq!(kinds, [FULL, RESUMED], "session ids only");

    let tickets = house(|tls| tls.tls12_session_ids = false);
    let kinds = connect(&tickets.server, tls(&tickets.authority, &[&TLS12]), 2).await;
    assert_eq!(kinds, [FULL, RESUMED], "tickets only");

    let neither = house(|tls| {
        tls.tls12_tickets = false;
        tls.tls12_session_ids = false;
        tls.versions = Versions::Tls12;
    });
    let kinds = connect(&neither.server, tls(&neither.authority, ALL_VERSIONS), 2).await;
    assert_eq!(kinds, [FULL, FULL], "TLS 1.2 without either");

    let none = house(|tls| tls.tls13_tickets = 0);
    let kinds = connect(&none.server, tls(&none.authority, &[&TLS13]), 2).await;
    assert_eq!(kinds, [FULL, FULL], "TLS 1.3 without tickets");
}

#[tokio::test]
async fn a_client_that_guesses_the_wrong_group_is_told_once() {
    let house = house(|tls| tls.groups = Some(vec![rustls::NamedGroup::secp384r1]));
    let config = tls(&house.authority, &[&TLS13]);
    let kinds = connect(&house.server, config, 1).await;
    assert_eq!(kinds, [HandshakeKind::FullWithHelloRetryRequest]);
    let counters = house.server.counters();
    assert_eq!((counters.full, counters.hello_retry), (1, 1));
}

#[tokio::test]
async fn each_connection_gets_the_tickets_asked_for() {
    for n in [1, 4] {
        let house = house(|tls| tls.tls13_tickets = n);
        let config = Arc::new(tls(&house.authority, &[&TLS13]));
        let mut client = Client::tls(&house.server, &config).await.unwrap();
        client.start().await;
        assert_eq!(client.tickets_received(), n as u32);
    }
}

#[tokio::test]
async fn forgotten_tickets_and_an_unwilling_client_make_full_handshakes() {
    let house = house(|_| {});
    let config = Arc::new(tls(&house.authority, ALL_VERSIONS));
    let mut kinds = connect(&house.server, (*config).clone(), 2).await;
    house.server.forget_tickets().unwrap();
    kinds.extend(connect(&house.server, (*config).clone(), 2).await);
    assert_eq!(kinds, [FULL, RESUMED, FULL, RESUMED]);
    let unwilling = without_resumption((*config).clone());
    assert_eq!(connect(&house.server, unwilling, 2).await, [FULL, FULL]);
}

#[tokio::test]
async fn a_session_outlives_a_change_of_certificate() {
    let house = house(|_| {});
    let config = tls(&house.authority, ALL_VERSIONS);
    connect(&house.server, config.clone(), 1).await;
    let expired = CertOptions::server(&["localhost"]).validity(Validity::Expired);
    let expired = house.authority.issue(&expired).unwrap();
    house.server.set_identity(expired).unwrap();
    assert_eq!(connect(&house.server, config.clone(), 1).await, [RESUMED]);
    house.server.forget_tickets().unwrap();
    let refused = Client::tls(&house.server, &Arc::new(config)).await;
    assert!(refused.err().unwrap().to_string().contains("xpired"));
}

#[tokio::test]
async fn what_a_client_must_refuse_is_refused_and_the_server_hears_of_it() {
    let authority = Authority::new("the CA").unwrap();
    let unrelated = Authority::new("the CA").unwrap();
    let options = CertOptions::server(&["localhost"]);
    let not_yet = options.clone().validity(Validity::NotYetValid);
    for (what, identity) in [
        ("self-signed", self_signed(&options).unwrap()),
        ("of an unrelated CA", unrelated.issue(&options).unwrap()),
        ("not yet valid", authority.issue(&not_yet).unwrap()),
        (
            "for another name",
            authority
                .issue(&CertOptions::server(&["other.example", "127.0.0.1"]))
                .unwrap(),
        ),
    ] {
        let server = Server::start(Options::default().tls(TlsOptions::new(identity))).unwrap();
        let config = Arc::new(tls(&authority, ALL_VERSIONS));
        assert!(Client::tls(&server, &config).await.is_err(), "{what}");
        let counters = server.until(PATIENCE, |c| c.failed_handshakes == 1).await;
        let counters = counters.unwrap();
        assert_eq!((counters.full, counters.resumed), (0, 0));
        assert!(counters.last_failure.unwrap().contains("alert"), "{what}");
    }
}

#[tokio::test]
async fn client_certificates_are_demanded_and_seen() {
    let clients = Authority::new("the clients' CA").unwrap();
    let house = house(|tls| tls.client_authorities = Some(vec![clients.der().clone()]));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(house.authority.der().clone()).unwrap();
    let identity = clients.issue(&CertOptions::client("a client")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain, identity.key)
        .unwrap();
    assert_eq!(connect(&house.server, config, 2).await, [FULL, RESUMED]);
    assert_eq!(house.server.counters().client_certs, 2);
    assert!(house.server.connections().iter().all(|c| c.client_cert));

    let without = Arc::new(tls(&house.authority, &[&TLS12]));
    assert!(Client::tls(&house.server, &without).await.is_err());
    let counters = house
        .server
        .until(PATIENCE, |c| c.failed_handshakes == 1)
        .await;
    assert!(counters.is_ok());
}

#[tokio::test]
async fn a_plain_client_at_a_tls_port_and_the_reverse_both_fail() {
    let house = house(|_| {});
    let mut client = Client::plain(&house.server).await;
    client.send(palladion_cql::request::options(&v4()), 1).await;
    assert_eq!(
        client.next().await,
        Err(palladion_cql::DecodeError::TlsRecord)
    );

    let plain = Server::start(Options::default()).unwrap();
    let config = Arc::new(tls(&house.authority, ALL_VERSIONS));
    assert!(Client::tls(&plain, &config).await.is_err());
    assert_eq!(plain.counters().bad_frames, 1);
}

#[test]
fn tickets_without_a_way_to_resume_are_a_usage_error() {
    let authority = Authority::new("the CA").unwrap();
    let identity = authority
        .issue(&CertOptions::server(&["localhost"]))
        .unwrap();
    let mut tls = TlsOptions::new(identity);
    tls.tls12_tickets = false;
    tls.tls12_session_ids = false;
    assert!(Server::start(Options::default().tls(tls)).is_err());
}
