//! Logins at the testkit, whose side of each mechanism is another implementation: what is let in,
//! what is refused, with which reason, and what the server has seen of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use palladion_cql::response::{code, ErrorDetail, ServerError};
use palladion_cql::{DecodeError, Opcode, Version};
use palladion_driver::auth::{AuthMethod, CredentialSource, Credentials, Mechanism};
use palladion_driver::{Failure, LoginProblem};
use palladion_testkit::aws::{AccessKey, AccessKeys};
use palladion_testkit::login::{Faults, LastMessage, LastMessageIn, Mechanism as Theirs, Method};
use palladion_testkit::{Login, Reaction, Rule};
use support::logins::*;
use support::scripted::{count_turns, event, frame, pinned, ready, supported, void, Scripted};
use support::*;

const WITH_PASSWORDS: [(Mechanism, Theirs); 5] = [
    (Mechanism::Plain, Theirs::Plain),
    (Mechanism::CramMd5, Theirs::CramMd5),
    (Mechanism::DigestMd5, Theirs::DigestMd5),
    (Mechanism::ScramSha1, Theirs::ScramSha1),
    (Mechanism::ScramSha256, Theirs::ScramSha256),
];

#[tokio::test]
async fn each_mechanism_lets_the_right_password_in_alone() {
    for (ours, theirs) in WITH_PASSWORDS {
        let server = server(Login::new("ada", "pencil").sasl(theirs));
        let right = trusting_all(&server, sasl(&[ours], ada("pencil")));
        assert_eq!(mechanism(right).await, Some(ours.name()));
        let seen = server.connections();
        assert_eq!(seen[0].user.as_deref(), Some("ada"), "{ours:?}");
        assert_eq!(seen[0].login.mechanism, Some(ours.name()));
        let wrong = trusting_all(&server, sasl(&[ours], ada("pen")));
        let refused = failure(wrong).await;
        assert!(refused.is_refused_login(), "{ours:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_the_password_gets_no_request() {
    for (ours, theirs) in WITH_PASSWORDS {
        if !ours.authenticates_server() {
            continue;
        }
        for last_message_in in [LastMessageIn::Success, LastMessageIn::Challenge] {
            for (last_message, is_good) in [
                (LastMessage::Right, true),
                (LastMessage::Wrong, false),
                (LastMessage::Missing, false),
            ] {
                let mut login = Login::new("ada", "pencil").sasl(theirs);
                login.last_message_in = last_message_in;
                login.faults.last_message = last_message.clone();
                let server = server(login);
                let config = trusting_all(&server, sasl(&[ours], ada("pencil")));
                let case = format!("{ours:?} {last_message:?} in {last_message_in:?}");
                if is_good {
                    assert_eq!(mechanism(config).await, Some(ours.name()), "{case}");
                    continue;
                }
                let failure = failure(config).await;
                let is_told = matches!(
                    failure,
                    Failure::Login(
                        LoginProblem::NotAuthentic { .. } | LoginProblem::Challenge { .. }
                    )
                );
                assert!(is_told, "{case}: {failure:?}");
                assert_eq!(server.counters().query, 0, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn faults_of_a_server_have_an_end() {
    let faults = |faults: Faults| Login {
        faults,
        ..Login::new("ada", "pencil").sasl(Theirs::ScramSha256)
    };
    let endless = server(faults(Faults {
        endless: true,
        ..Faults::default()
    }));
    let malformed = server(faults(Faults {
        challenge: Some((1, Some(b"r=,s=,i=".to_vec()))),
        ..Faults::default()
    }));
    for server in [&endless, &malformed] {
        let config = trusting_all(server, sasl(&[Mechanism::ScramSha256], ada("pencil")));
        let failure = failure(config).await;
        assert!(
            matches!(failure, Failure::Login(LoginProblem::Challenge { .. })),
            "{failure:?}"
        );
    }
    let hangs = server(faults(Faults {
        hang_after: Some(1),
        ..Faults::default()
    }));
    let mut config = trusting_all(&hangs, sasl(&[Mechanism::ScramSha256], ada("pencil")));
    config.timeouts.login = Duration::from_millis(200);
    assert!(matches!(failure(config).await, Failure::Timeout { .. }));
}

#[tokio::test]
async fn anonymous_and_authorization_ids_are_seen_by_the_server() {
    let anonymous = server(Login::new("", "").sasl(Theirs::Anonymous));
    let trace = CredentialSource::None(Some("sirhc".to_owned()));
    let config = with(&anonymous, sasl(&[Mechanism::Anonymous], trace));
    assert_eq!(mechanism(config).await, Some("ANONYMOUS"));
    let seen = anonymous.connections();
    assert_eq!(seen[0].login.authorization_id.as_deref(), Some("sirhc"));

    let mut login = Login::new("ada", "pencil");
    login.may_act_as = vec!["grace".to_owned()];
    let proxy = server(login);
    for (role, is_let_in) in [("grace", true), ("linus", false)] {
        let source = CredentialSource::Static(Credentials {
            authorization_id: Some(role.to_owned()),
            ..credentials("ada", "pencil")
        });
        let config = with(&proxy, sasl(&[], source));
        if is_let_in {
            assert_eq!(mechanism(config).await, Some("PLAIN"));
        } else {
            assert!(failure(config).await.is_refused_login());
        }
    }
}

#[tokio::test]
async fn mechanisms_are_negotiated_by_name() {
    let negotiated = |ours: &[Mechanism]| {
        let mut auth = sasl(ours, ada("pencil"));
        if let AuthMethod::Sasl { negotiate, .. } = &mut auth.method {
            *negotiate = true;
        }
        let class = "com.datastax.bdp.cassandra.auth.DseAuthenticator";
        auth.allowed_authenticators = vec![class.to_owned()];
        auth
    };
    let theirs = vec![Theirs::ScramSha256, Theirs::Plain];
    let server = server(Login::new("ada", "pencil").by(Method::Negotiated(theirs)));
    for (ours, chosen) in [
        (
            vec![Mechanism::ScramSha256, Mechanism::Plain],
            "SCRAM-SHA-256",
        ),
        (vec![Mechanism::ScramSha1, Mechanism::Plain], "PLAIN"),
        (vec![Mechanism::Plain], "PLAIN"),
    ] {
        let found = mechanism(with(&server, negotiated(&ours))).await;
        assert_eq!(found, Some(chosen), "{ours:?}");
    }
    let none = with(
        &server,
        negotiated(&[Mechanism::ScramSha1, Mechanism::CramMd5]),
    );
    let failure = failure(none).await;
    assert!(
        matches!(failure, Failure::Login(LoginProblem::Mechanism(_))),
        "{failure:?}"
    );
    // No password was in it.
    assert_eq!(server.counters().failed_logins, 0);
}

#[tokio::test]
async fn a_password_is_not_told_to_a_class_that_may_not_have_it() {
    for mechanism in [Mechanism::Plain, Mechanism::CramMd5, Mechanism::DigestMd5] {
        let server = server(Login::new("ada", "pencil").sasl(Theirs::CramMd5));
        let failure = failure(with(&server, sasl(&[mechanism], ada("pencil")))).await;
        assert!(
            matches!(failure, Failure::UnknownAuthenticator(_)),
            "{failure:?}"
        );
        assert_eq!(server.connections()[0].login.rounds, 0);
    }
    // SCRAM tells nothing that is of use.
    let server = server(Login::new("ada", "pencil").sasl(Theirs::ScramSha256));
    let config = with(&server, sasl(&[Mechanism::ScramSha256], ada("pencil")));
    assert_eq!(mechanism(config).await, Some("SCRAM-SHA-256"));
}

#[tokio::test]
async fn a_mechanism_that_a_class_is_known_not_to_have_is_not_tried() {
    let server = server(Login::new("ada", "pencil"));
    let failure = failure(with(
        &server,
        sasl(&[Mechanism::ScramSha256], ada("pencil")),
    ))
    .await;
    assert!(
        matches!(failure, Failure::Login(LoginProblem::Mechanism(_))),
        "{failure:?}"
    );
    assert_eq!(server.counters().failed_logins, 0);
}

#[tokio::test]
async fn only_a_refusal_of_its_name_leads_to_the_next_mechanism() {
    let theirs = vec![Theirs::ScramSha256, Theirs::Plain];
    let server = server(Login::new("ada", "pencil").by(Method::Negotiated(theirs)));
    let overloaded = Reaction::Error(ServerError {
        code: code::OVERLOADED,
        message: "later".to_owned(),
        detail: ErrorDetail::None,
    });
    server
        .rule(Rule::opcode(Opcode::AuthResponse, overloaded))
        .unwrap();
    let mut auth = sasl(&[Mechanism::ScramSha256, Mechanism::Plain], ada("pencil"));
    if let AuthMethod::Sasl { negotiate, .. } = &mut auth.method {
        *negotiate = true;
    }
    auth.allowed_authenticators =
        vec!["com.datastax.bdp.cassandra.auth.DseAuthenticator".to_owned()];
    let failure = failure(with(&server, auth)).await;
    assert!(matches!(failure, Failure::Server(_)), "{failure:?}");
    assert_eq!(server.counters().auth_response, 1);
}

#[tokio::test]
async fn a_server_that_wants_no_signature_is_none_that_checks_them() {
    let mut login = Login::new("", "").by(Method::Script(Vec::new(), None));
    login.authenticator = "com.amazon.helenus.auth.HelenusAuthenticator".to_owned();
    let server = server(login);
    let failure = failure(with(&server, signing("A", "s", None, "us-east-1"))).await;
    assert!(
        matches!(failure, Failure::Login(LoginProblem::NotAuthentic { .. })),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_server_that_verifies_signatures_takes_good_ones_alone() {
    let keys = AccessKeys::default();
    let mut key = AccessKey::new("AKID", "secret");
    key.session_token = Some("a+/=token".to_owned());
    keys.add(key).unwrap();
    let server = server(Login::sigv4("us-east-1", keys));
    let token = Some("a+/=token");
    for region in ["us-east-1", "US-East-1"] {
        let good = with(&server, signing("AKID", "secret", token, region));
        assert_eq!(mechanism(good).await, Some("SigV4"));
    }
    for (key, secret, token, region) in [
        ("AKID", "other", token, "us-east-1"),
        ("OTHER", "secret", token, "us-east-1"),
        ("AKID", "secret", None, "us-east-1"),
        ("AKID", "secret", Some("other"), "us-east-1"),
        ("AKID", "secret", token, "us-east-2"),
    ] {
        let failure = failure(with(&server, signing(key, secret, token, region))).await;
        assert!(
            matches!(failure, Failure::SignatureRefused(_)),
            "{key} {secret} {token:?} {region}: {failure:?}"
        );
    }
    assert_eq!(server.counters().query, 0);
}

#[tokio::test]
async fn a_signature_goes_to_amazon_alone_and_answers_one_challenge() {
    let foreign = server(Login::new("ada", "pencil"));
    let failure_there = failure(with(&foreign, signing("A", "s", None, "us-east-1"))).await;
    assert!(matches!(failure_there, Failure::UnknownAuthenticator(_)));
    let nonce = b"nonce=91703fdc2ef562e19fbdab0f58e42fe5".to_vec();
    for challenges in [
        vec![nonce.clone(), nonce],
        vec![b"nonce=short".to_vec()],
        vec![Vec::new()],
    ] {
        let mut login = Login::new("", "").by(Method::Script(challenges, None));
        login.authenticator = "com.amazon.helenus.auth.HelenusAuthenticator".to_owned();
        let server = server(login);
        let failure = failure(with(&server, signing("A", "s", None, "us-east-1"))).await;
        assert!(
            matches!(
                failure,
                Failure::Login(LoginProblem::Challenge {
                    mechanism: "SigV4",
                    ..
                })
            ),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn an_event_in_the_packet_of_an_answer_is_passed_over() {
    let v4 = Version::V4;
    let script = vec![
        [event(v4, -1), event(v4, -1), supported(v4, 0)].concat(),
        [event(v4, -1), ready(v4)].concat(),
        void(v4, 0),
    ];
    let started = start_on(Scripted(script), pinned(v4, None));
    started.ready().await.unwrap();
    started.ask("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn an_answer_to_nothing_ends_the_login() {
    let v4 = Version::V4;
    for (stream, answer) in [
        (1, supported(v4, 1)),
        (-1, supported(v4, -1)),
        (-2, [event(v4, -2), supported(v4, 0)].concat()),
        (-1, [void(v4, -1), supported(v4, 0)].concat()),
    ] {
        let script = Scripted(vec![answer, ready(v4)]);
        let error = start_on(script, pinned(v4, None)).connect_error().await;
        assert!(
            matches!(error.failure, Failure::Protocol(DecodeError::Unknown { value, .. }) if value == stream),
            "{stream}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_flood_of_events_in_a_login_leaves_the_thread_to_others_between() {
    let v4 = Version::V4;
    let flood = frame(v4, -1, Opcode::Event, &[]).repeat(50_000);
    let script = vec![[flood, supported(v4, 0)].concat(), ready(v4)];
    let turns = count_turns();
    let started = start_on(Scripted(script), pinned(v4, None));
    started.ready().await.unwrap();
    let turns = turns.load(Ordering::Relaxed);
    assert!(turns > 100, "{turns}");
}
