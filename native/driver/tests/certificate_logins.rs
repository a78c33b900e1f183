//! Logins by what the TLS handshake has shown, and what else such a server is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use palladion_driver::auth::{AuthConfig, CredentialSource, Credentials, Mechanism};
use palladion_driver::{ClusterConfig, Failure, LoginProblem};
use palladion_testkit::certs::CertOptions;
use palladion_testkit::login::{CertificateLogin, Method};
use palladion_testkit::{Login, Options, Server, TlsOptions, Versions};
use support::logins::*;
use support::*;

const FALLBACK: &str = "org.apache.cassandra.auth.MutualTlsWithPasswordFallbackAuthenticator";

fn of_certificate(ready: bool, fallback: bool) -> Login {
    Login::new("ada", "pencil").by(Method::Certificate(CertificateLogin {
        role: "app".to_owned(),
        ready,
        fallback,
    }))
}

/// A server that logs in by certificate, and a configuration that has one.
fn by_certificate(login: Login, versions: Versions) -> (House, ClusterConfig) {
    let (house, clients) = strict_house(versions);
    house.server.set_login(Some(login));
    let mut config = house.config();
    if let Some(tls) = &mut config.tls {
        let client = clients.issue(&CertOptions::client("app")).unwrap();
        tls.identity = Some(client_identity(&client));
    }
    (house, config)
}

#[tokio::test]
async fn a_certificate_is_a_login() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        for (ready, fallback) in [(true, false), (false, false), (true, true), (false, true)] {
            for explicit in [true, false] {
                let login = of_certificate(ready, fallback);
                let (house, mut config) = by_certificate(login, versions);
                if explicit {
                    let nothing = CredentialSource::None(None);
                    config.auth = Some(sasl(&[Mechanism::External], nothing));
                }
                let started = start(config);
                started.ready().await.unwrap();
                // Resumed, the certificate isn't shown again, and still is the login.
                started.reconnect().await.unwrap();
                let seen = house.server.connections();
                assert_eq!(seen.len(), 2);
                for connection in seen {
                    assert_eq!(connection.user.as_deref(), Some("app"));
                    let expected = (!ready).then(|| Some(Vec::new()));
                    let tokens = connection.login.tokens;
                    assert_eq!(tokens, expected.into_iter().collect::<Vec<_>>());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_password_goes_to_the_fallback_and_not_to_a_pure_certificate_login() {
    let (house, mut config) = by_certificate(of_certificate(false, true), Versions::Tls13);
    config.auth = password("ada", "pencil");
    assert_eq!(mechanism(config).await, Some("PLAIN"));
    assert_eq!(house.server.connections()[0].user.as_deref(), Some("ada"));

    let (house, mut config) = by_certificate(of_certificate(false, false), Versions::Tls13);
    config.auth = password("ada", "pencil");
    assert_eq!(mechanism(config).await, Some("EXTERNAL"));
    let seen = house.server.connections();
    assert_eq!(seen[0].login.tokens, [Some(Vec::new())]);
}

#[tokio::test]
async fn a_login_by_certificate_without_one_says_so() {
    let plain = server(of_certificate(false, false));
    let missing = failure(support::plain(&plain)).await;
    assert!(
        matches!(missing, Failure::CertificateMissing(_)),
        "{missing:?}"
    );
    let password = with(&plain, sasl(&[], ada("pencil")));
    let missing = failure(password).await;
    assert!(
        matches!(missing, Failure::CertificateMissing(_)),
        "{missing:?}"
    );
    let fallback = server(of_certificate(false, true));
    let required = failure(support::plain(&fallback)).await;
    assert!(
        matches!(&required, Failure::AuthRequired(class) if class == FALLBACK),
        "{required:?}"
    );
}

#[tokio::test]
async fn a_server_that_asks_for_nothing_is_refused_unless_it_has_seen_the_certificate() {
    let nothing = || Some(sasl(&[Mechanism::External], CredentialSource::None(None)));
    let house = house();
    let mut config = house.config();
    config.auth = nothing();
    let not_asked = failure(config).await;
    assert!(
        matches!(not_asked, Failure::AuthNotRequested),
        "{not_asked:?}"
    );
}

#[tokio::test]
async fn a_certificate_that_was_asked_for_before_is_no_login_of_now() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        let (house, mut config) = by_certificate(of_certificate(true, false), versions);
        config.auth = Some(sasl(&[Mechanism::External], CredentialSource::None(None)));
        // So that nothing is resumed.
        if let Some(tls) = &mut config.tls {
            tls.session_cache = None;
        }
        let port = house.server.address().port();
        let mut started = start(config);
        started.opened(1).await;
        // In its place comes one that asks for nothing.
        let identity = identity(&house.authority, &["localhost", "127.0.0.1"]);
        drop(house.server);
        let mut tls = TlsOptions::new(identity);
        tls.versions = versions;
        let options = Options {
            address: ([127, 0, 0, 1], port).into(),
            ..Options::default().tls(tls)
        };
        let careless = Server::start(options).unwrap();
        loop {
            let error = started.connect_error().await;
            // While neither listens, connections are refused.
            match &error.failure {
                Failure::AuthNotRequested => break,
                Failure::Refused | Failure::ClosedByServer | Failure::Io(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(careless.counters().query, 0);
    }
}

#[tokio::test]
async fn what_was_asked_of_a_login_holds_where_a_certificate_would_do_too() {
    let refused = |auth: AuthConfig| async move {
        let (house, mut config) = by_certificate(of_certificate(false, false), Versions::Tls13);
        config.auth = Some(auth);
        let failure = failure(config).await;
        assert!(
            matches!(failure, Failure::Login(LoginProblem::Mechanism(_))),
            "{failure:?}"
        );
        assert_eq!(house.server.connections()[0].login.rounds, 0);
    };
    refused(sasl(&[Mechanism::ScramSha256], ada("pencil"))).await;
    refused(sasl(
        &[],
        CredentialSource::Static(Credentials {
            authorization_id: Some("grace".to_owned()),
            ..credentials("ada", "pencil")
        }),
    ))
    .await;
    let (house, mut config) = by_certificate(of_certificate(false, false), Versions::Tls13);
    let grace = CredentialSource::None(Some("grace".to_owned()));
    config.auth = Some(sasl(&[Mechanism::External], grace));
    failure(config).await;
    assert_eq!(
        house.server.connections()[0].login.tokens,
        [Some(b"grace".to_vec())]
    );
}
