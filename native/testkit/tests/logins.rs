//! Logins by SASL mechanisms and by certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
#[path = "client/sasl.rs"]
mod sasl;

use std::sync::Arc;

use client::{refusal, tls, v4, Client};
use palladion_cql::request;
use palladion_cql::response::Message;
use palladion_testkit::certs::{Authority, CertOptions};
use palladion_testkit::login::{Faults, LastMessage, LastMessageIn, Mechanism, Method};
use palladion_testkit::{Login, Options, Server, TlsOptions};
use rustls::ClientConfig;
use tokio::net::TcpStream;

const SUCCESS: Message = Message::AuthSuccess(None);

fn server(login: Login) -> Server {
    let options = Options {
        login: Some(login),
        ..Options::default()
    };
    Server::start(options).unwrap()
}

/// A client that was asked to log in.
async fn asked(server: &Server) -> Client<TcpStream> {
    let mut client = Client::plain(server).await;
    assert!(matches!(client.start().await, Message::Authenticate(_)));
    client
}

fn success(message: impl Into<Vec<u8>>) -> Message {
    Message::AuthSuccess(Some(message.into().into()))
}

#[tokio::test]
async fn a_user_acts_as_those_who_are_allowed_only() {
    let mut login = Login::new("ann", "secret");
    login.may_act_as = vec!["bob".to_owned()];
    let server = server(login);
    let as_bob = asked(&server).await.respond("bob\0ann\0secret").await;
    assert_eq!(as_bob, SUCCESS);
    let as_eve = asked(&server).await.respond("eve\0ann\0secret").await;
    assert_eq!(refusal(as_eve), "ann is not permitted to act as eve");
    let [bob, eve] = &server.connections()[..] else {
        panic!("not two connections");
    };
    assert_eq!(bob.user.as_deref(), Some("ann"));
    assert_eq!(bob.login.authorization_id.as_deref(), Some("bob"));
    assert_eq!(bob.login.mechanism, Some("PLAIN"));
    assert_eq!(eve.user, None);
    assert_eq!(eve.login.authorization_id.as_deref(), Some("eve"));
    let refused = eve.login.refused.as_deref();
    assert_eq!(refused, Some("ann is not permitted to act as eve"));
    assert_eq!(server.counters().authorization_ids, 1);
}

#[tokio::test]
async fn scram_proves_both_sides() {
    let mut login = Login::new("a,b=c", "pencil").sasl(Mechanism::ScramSha256);
    login.may_act_as = vec!["bob".to_owned()];
    let server = server(login);
    let mut client = asked(&server).await;
    let (answer, expected) = sasl::scram(&mut client, "n,a=bob,", "a=2Cb=3Dc", "pencil").await;
    assert_eq!(answer, success(expected));
    let mut client = asked(&server).await;
    let (answer, _) = sasl::scram(&mut client, "n,,", "a=2Cb=3Dc", "pencils").await;
    assert!(refusal(answer).contains("a,b=c"));
    // Once more on the same connection, from the beginning.
    let (answer, expected) = sasl::scram(&mut client, "n,,", "a=2Cb=3Dc", "pencil").await;
    assert_eq!(answer, success(expected));
    let connections = server.connections();
    assert_eq!(
        connections[0].login.authorization_id.as_deref(),
        Some("bob")
    );
    assert_eq!(connections[1].login.rounds, 4);
    assert_eq!(server.counters().challenges, 3);
}

#[tokio::test]
async fn scram_refuses_what_the_client_made_up() {
    let server = server(Login::new("user", "pencil").sasl(Mechanism::ScramSha1));
    for wrong in ["", "p=tls-unique,,n=user,r=x", "n,,n=user", "n,,n=a=2,r=x"] {
        refusal(asked(&server).await.respond(wrong).await);
    }
    for wrong in ["c=biws,r=other,p=AAAA", "c=biwx,r=x,p=AAAA", "c=biws"] {
        let mut client = asked(&server).await;
        client.challenged("n,,n=user,r=x").await;
        refusal(client.respond(wrong).await);
    }
}

#[tokio::test]
async fn md5_mechanisms_let_the_server_speak_first() {
    let server = server(Login::new("ann", "secret").sasl(Mechanism::CramMd5));
    let mut client = asked(&server).await;
    let challenge = client.challenged("").await;
    let wrong = client.respond(sasl::cram_md5(&challenge, "ann", "guess"));
    refusal(wrong.await);
    let challenge = client.challenged("").await;
    let right = sasl::cram_md5(&challenge, "ann", "secret");
    assert_eq!(client.respond(right).await, SUCCESS);
    refusal(asked(&server).await.respond("ann 00").await);

    server.set_login(Some(Login::new("ann", "secret").sasl(Mechanism::DigestMd5)));
    let mut client = asked(&server).await;
    let (wrong, _) = sasl::digest_md5(&client.challenged("").await, "ann", "guess");
    refusal(client.respond(wrong).await);
    let (right, last) = sasl::digest_md5(&client.challenged("").await, "ann", "secret");
    assert_eq!(client.respond(right).await, success(last));
}

#[tokio::test]
async fn anonymous_leaves_a_trace() {
    let server = server(Login::new("", "").sasl(Mechanism::Anonymous));
    assert_eq!(asked(&server).await.respond("a trace").await, SUCCESS);
    let mut client = asked(&server).await;
    let null = request::auth_response(&v4(), None).unwrap();
    assert_eq!(client.ask(null).await, SUCCESS);
    let [first, second] = &server.connections()[..] else {
        panic!("not two connections");
    };
    assert_eq!(first.login.authorization_id.as_deref(), Some("a trace"));
    assert_eq!(first.login.tokens, [Some(b"a trace".to_vec())]);
    assert_eq!(second.login.tokens, [None]);
}

#[tokio::test]
async fn a_mechanism_is_negotiated() {
    let mechanisms = vec![Mechanism::ScramSha256, Mechanism::Plain];
    let server = server(Login::new("ann", "secret").by(Method::Negotiated(mechanisms)));
    let mut client = asked(&server).await;
    let unknown = refusal(client.respond("GSSAPI").await);
    assert_eq!(unknown, "Unsupported SASL mechanism: GSSAPI");
    assert_eq!(client.challenged("PLAIN").await, "PLAIN-START");
    assert_eq!(client.respond("\0ann\0secret").await, SUCCESS);
    let mut client = asked(&server).await;
    assert_eq!(
        client.challenged("SCRAM-SHA-256").await,
        "SCRAM-SHA-256-START"
    );
    let (answer, expected) = sasl::scram(&mut client, "n,,", "ann", "secret").await;
    assert_eq!(answer, success(expected));
    let counters = server.counters();
    assert_eq!((counters.refused_mechanisms, counters.logins), (1, 2));
    let used: Vec<_> = server
        .connections()
        .iter()
        .map(|c| c.login.mechanism)
        .collect();
    assert_eq!(used, [Some("PLAIN"), Some("SCRAM-SHA-256")]);
}

#[tokio::test]
async fn the_last_message_comes_where_and_as_the_test_wants() {
    let mut login = Login::new("ann", "secret").sasl(Mechanism::ScramSha256);
    let server = server(login.clone());
    login.last_message_in = LastMessageIn::Challenge;
    server.set_login(Some(login.clone()));
    let mut client = asked(&server).await;
    let (answer, expected) = sasl::scram(&mut client, "n,,", "ann", "secret").await;
    assert_eq!(answer, Message::AuthChallenge(Some(expected.into())));
    assert_eq!(client.respond("").await, SUCCESS);

    login.last_message_in = LastMessageIn::Success;
    for (fault, is_right) in [
        (
            LastMessage::Missing,
            Box::new(|last: &Message| *last == SUCCESS) as Box<dyn Fn(&_) -> _>,
        ),
        (
            LastMessage::Bytes(b"v=".to_vec()),
            Box::new(|last: &Message| *last == success("v=")),
        ),
        (
            LastMessage::Wrong,
            Box::new(|last: &Message| *last != SUCCESS),
        ),
    ] {
        login.faults.last_message = fault;
        server.set_login(Some(login.clone()));
        let mut client = asked(&server).await;
        let (answer, expected) = sasl::scram(&mut client, "n,,", "ann", "secret").await;
        assert!(is_right(&answer), "{answer:?}");
        assert_ne!(answer, success(expected));
    }
}

#[tokio::test]
async fn challenges_are_replaced_or_never_end() {
    let faults = Faults {
        challenge: Some((1, None)),
        ..Faults::default()
    };
    let mut login = Login::new("ann", "secret").sasl(Mechanism::CramMd5);
    login.faults = faults;
    let server = server(login);
    let mut client = asked(&server).await;
    assert_eq!(client.respond("").await, Message::AuthChallenge(None));

    let mut login = Login::new("ann", "").by(Method::Script(vec![b"more".to_vec()], None));
    login.faults.endless = true;
    server.set_login(Some(login.clone()));
    let mut client = asked(&server).await;
    for _ in 0..20 {
        assert_eq!(client.challenged("x").await, "more");
    }
    assert_eq!(server.connections()[1].login.rounds, 20);

    login.faults.endless = false;
    login.method = Method::Script(vec![b"1".to_vec(), b"2".to_vec()], Some(b"3".to_vec()));
    server.set_login(Some(login));
    let mut client = asked(&server).await;
    assert_eq!(client.challenged("").await, "1");
    assert_eq!(client.challenged("").await, "2");
    assert_eq!(client.respond("").await, success("3"));
}

#[tokio::test]
async fn a_login_hangs_or_closes_after_some_rounds() {
    let mut login = Login::new("ann", "secret").sasl(Mechanism::ScramSha256);
    login.faults.hang_after = Some(1);
    let server = server(login.clone());
    let mut client = asked(&server).await;
    client.challenged("n,,n=ann,r=x").await;
    client
        .send(request::auth_response(&v4(), Some(b"c=biws")).unwrap(), 1)
        .await;
    assert!(client.is_silent().await);

    login.faults = Faults {
        close_after: Some(0),
        ..Faults::default()
    };
    server.set_login(Some(login));
    let mut client = asked(&server).await;
    client
        .send(
            request::auth_response(&v4(), Some(b"n,,n=ann,r=x")).unwrap(),
            1,
        )
        .await;
    assert_eq!(client.next().await, Ok(None));
}

// Certificates

struct House {
    server: Server,
    with: Arc<ClientConfig>,
    without: Arc<ClientConfig>,
}

/// A server that is shown certificates by clients that have one.
fn house(login: Login) -> House {
    let (authority, clients) = (
        Authority::new("CA").unwrap(),
        Authority::new("clients").unwrap(),
    );
    let identity = authority
        .issue(&CertOptions::server(&["localhost"]))
        .unwrap();
    let mut options = TlsOptions::new(identity);
    options.client_authorities = Some(vec![clients.der().clone()]);
    options.client_cert_optional = true;
    let options = Options {
        tls: Some(options),
        login: Some(login),
        ..Options::default()
    };
    let identity = clients.issue(&CertOptions::client("ann")).unwrap();
    let without = tls(&authority, rustls::ALL_VERSIONS);
    let mut with = without.clone();
    let shown = rustls::sign::CertifiedKey::from_der(
        identity.chain,
        identity.key,
        &rustls::crypto::aws_lc_rs::default_provider(),
    );
    with.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(shown.unwrap()));
    House {
        server: Server::start(options).unwrap(),
        with: Arc::new(with),
        without: Arc::new(without),
    }
}

#[tokio::test]
async fn external_needs_a_certificate() {
    let house = house(Login::new("ann", "").sasl(Mechanism::External));
    let mut client = Client::tls(&house.server, &house.with).await.unwrap();
    client.start().await;
    assert_eq!(client.respond("ann").await, SUCCESS);
    let mut client = Client::tls(&house.server, &house.without).await.unwrap();
    client.start().await;
    assert!(refusal(client.respond("").await).contains("certificate"));
}

#[tokio::test]
async fn a_certificate_is_a_login() {
    let mut login = Login::certificate("ann");
    let house = house(login.clone());
    let mut client = Client::tls(&house.server, &house.with).await.unwrap();
    let class = "org.apache.cassandra.auth.MutualTlsAuthenticator";
    assert_eq!(
        client.start().await,
        Message::Authenticate(class.to_owned())
    );
    assert!(refusal(client.respond("\0ann\0secret").await).contains("token"));
    assert_eq!(client.respond("").await, SUCCESS);
    let mut client = Client::tls(&house.server, &house.without).await.unwrap();
    client.start().await;
    assert!(refusal(client.respond("").await).contains("certificate"));

    let Method::Certificate(options) = &mut login.method else {
        panic!("another method");
    };
    options.ready = true;
    house.server.set_login(Some(login));
    let mut client = Client::tls(&house.server, &house.with).await.unwrap();
    assert_eq!(client.start().await, Message::Ready);
    let mut client = Client::tls(&house.server, &house.without).await.unwrap();
    assert!(refusal(client.start().await).contains("certificate"));
    let users = house.server.connections();
    let users: Vec<_> = users.iter().map(|c| c.user.as_deref()).collect();
    assert_eq!(users, [Some("ann"), None, Some("ann"), None]);
}

#[tokio::test]
async fn a_password_is_the_fallback_of_a_certificate() {
    let mut login = Login::certificate("machine");
    if let Method::Certificate(options) = &mut login.method {
        options.fallback = true;
        options.ready = true;
    }
    let mut login = Login::new("ann", "secret").by(login.method);
    let house = house(login.clone());
    let mut client = Client::tls(&house.server, &house.with).await.unwrap();
    assert_eq!(client.start().await, Message::Ready);
    let mut client = Client::tls(&house.server, &house.without).await.unwrap();
    let class = "org.apache.cassandra.auth.MutualTlsWithPasswordFallbackAuthenticator";
    assert_eq!(
        client.start().await,
        Message::Authenticate(class.to_owned())
    );
    assert_eq!(client.respond("\0ann\0secret").await, SUCCESS);

    if let Method::Certificate(options) = &mut login.method {
        options.ready = false;
    }
    house.server.set_login(Some(login));
    let mut client = Client::tls(&house.server, &house.with).await.unwrap();
    client.start().await;
    assert_eq!(client.respond("").await, SUCCESS);
    let mut client = Client::tls(&house.server, &house.with).await.unwrap();
    client.start().await;
    assert_eq!(client.respond("\0ann\0secret").await, SUCCESS);
    let users = house.server.connections();
    let users: Vec<_> = users.iter().map(|c| c.user.as_deref()).collect();
    let machine = Some("machine");
    assert_eq!(users, [machine, Some("ann"), machine, Some("ann")]);
}
