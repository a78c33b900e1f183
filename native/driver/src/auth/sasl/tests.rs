use proptest::prelude::*;

use super::*;
use crate::Secret;

pub(super) fn identity(username: &str, password: &str) -> Credentials {
    Credentials {
        username: username.to_owned(),
        password: Secret::new(password.as_bytes()),
        authorization_id: None,
    }
}

fn acting_as(authorization_id: &str) -> Credentials {
    Credentials {
        authorization_id: Some(authorization_id.to_owned()),
        ..identity("tim", "tanstaaftanstaaf")
    }
}

fn begin(
    mechanism: Mechanism,
    identity: Credentials,
) -> (Box<dyn Exchange>, Result<Token, SaslError>) {
    let mut exchange = exchange(mechanism, identity, "db.example", random_nonce);
    let initial = exchange.initial();
    (exchange, initial)
}

fn initial(mechanism: Mechanism, identity: Credentials) -> Result<Vec<u8>, SaslError> {
    let (_, initial) = begin(mechanism, identity);
    initial.map(|token| token.to_vec())
}

fn is_unfit(outcome: Result<Vec<u8>, SaslError>) -> bool {
    matches!(outcome, Err(SaslError::Unfit(_)))
}

#[test]
fn every_mechanism_is_found_by_its_name() {
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
    }
    assert_eq!(Mechanism::from_name("GSSAPI"), None);
    assert_eq!(Mechanism::from_name("plain"), None);
}

#[test]
fn without_tls_only_what_gives_a_listener_nothing_to_try_passwords_on_quickly() {
    let fit = |mechanism: &Mechanism| mechanism.is_fit_without_tls();
    let names: Vec<_> = Mechanism::ALL
        .into_iter()
        .filter(fit)
        .map(Mechanism::name)
        .collect();
    assert_eq!(names, ["ANONYMOUS", "SCRAM-SHA-1", "SCRAM-SHA-256"]);
}

#[test]
fn plain_is_three_texts_with_zeros_between() {
    let expected = b"\0tim\0tanstaaftanstaaf";
    let plain = identity("tim", "tanstaaftanstaaf");
    assert_eq!(initial(Mechanism::Plain, plain).unwrap(), expected);
    let expected = b"Ursel\0tim\0tanstaaftanstaaf";
    assert_eq!(
        initial(Mechanism::Plain, acting_as("Ursel")).unwrap(),
        expected
    );
    let expected = b"\0tim\0tanstaaftanstaaf";
    assert_eq!(initial(Mechanism::Plain, acting_as("")).unwrap(), expected);
}

#[test]
fn plain_takes_bytes_that_are_no_text() {
    let mut binary = identity("tim", "");
    binary.password = Secret::new(&[0xff, 0xfe]);
    assert_eq!(
        initial(Mechanism::Plain, binary).unwrap(),
        b"\0tim\0\xff\xfe"
    );
}

#[test]
fn what_plain_cannot_separate_is_not_sent() {
    for wrong in [
        identity("t\0im", "secret"),
        identity("tim", "sec\0ret"),
        identity("", "secret"),
        identity("tim", ""),
        acting_as("Ur\0sel"),
    ] {
        assert!(is_unfit(initial(Mechanism::Plain, wrong)));
    }
}

#[test]
fn external_sends_whom_we_act_as_or_nothing() {
    let external = Mechanism::External;
    assert_eq!(initial(external, identity("", "")).unwrap(), b"");
    assert_eq!(
        initial(external, acting_as("fred@example.com")).unwrap(),
        b"fred@example.com"
    );
    assert!(is_unfit(initial(external, acting_as("fr\0ed"))));
}

#[test]
fn anonymous_sends_a_text_that_can_be_shown() {
    let anonymous = Mechanism::Anonymous;
    assert_eq!(initial(anonymous, identity("", "")).unwrap(), b"");
    assert_eq!(initial(anonymous, acting_as("sirhc")).unwrap(), b"sirhc");
    let longest = "ü".repeat(255);
    assert_eq!(
        initial(anonymous, acting_as(&longest)).unwrap(),
        longest.as_bytes()
    );
    assert!(is_unfit(initial(anonymous, acting_as(&"ü".repeat(256)))));
    for hidden in [
        "a\nb",
        "a\0b",
        "a\u{7f}",
        "a\u{202e}b",
        "\u{e000}",
        "\u{e0001}",
    ] {
        assert!(
            is_unfit(initial(anonymous, acting_as(hidden))),
            "{hidden:?}"
        );
    }
}

#[test]
fn the_example_of_rfc_2195() {
    let (mut exchange, initial) = begin(Mechanism::CramMd5, identity("tim", "tanstaaftanstaaf"));
    assert!(initial.unwrap().is_empty());
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
    let answer = exchange.respond(challenge).unwrap();
    assert_eq!(*answer, b"tim b913a602c7eda7a495b4e6e7334d3890");
    assert_eq!(exchange.finish(None), Ok(()));
}

#[test]
fn what_cram_md5_cannot_carry_is_not_sent() {
    for wrong in [
        identity("", "secret"),
        identity("t\0im", "secret"),
        identity("tim", "secret\0"),
        acting_as("Ursel"),
    ] {
        assert!(is_unfit(initial(Mechanism::CramMd5, wrong)));
    }
}

#[test]
fn cram_md5_answers_one_challenge() {
    let cram_md5 = || begin(Mechanism::CramMd5, identity("tim", "tanstaaftanstaaf")).0;
    let malformed = |outcome| matches!(outcome, Err(SaslError::Malformed(_)));
    assert!(malformed(cram_md5().respond(b"").map(|_| ())));
    assert!(malformed(cram_md5().finish(None)));
    let mut answered = cram_md5();
    answered.respond(b"<1@example>").unwrap();
    assert_eq!(answered.respond(b"<2@example>"), Err(SaslError::Rounds));
}

#[test]
fn mechanisms_of_one_message_answer_no_challenge() {
    for mechanism in [Mechanism::Plain, Mechanism::External, Mechanism::Anonymous] {
        let (mut exchange, initial) = begin(mechanism, identity("tim", "tanstaaftanstaaf"));
        initial.unwrap();
        assert_eq!(exchange.respond(b""), Err(SaslError::Rounds));
    }
}

#[test]
fn a_server_that_must_prove_something_cannot_skip_it() {
    for mechanism in Mechanism::ALL {
        if mechanism.authenticates_server() {
            let (mut exchange, initial) = begin(mechanism, identity("tim", "tanstaaftanstaaf"));
            initial.unwrap();
            let outcome = exchange.finish(None);
            assert!(
                matches!(outcome, Err(SaslError::NotAuthentic(_))),
                "{mechanism:?}"
            );
        }
    }
}

#[test]
fn nonces_are_printable_and_differ() {
    let (one, other) = (random_nonce().unwrap(), random_nonce().unwrap());
    assert_eq!(one.len(), 24);
    assert!(one
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b','));
    assert_ne!(one, other);
}

#[test]
fn nothing_shows_the_password() {
    let shown = format!("{:?}", identity("tim", "tanstaaftanstaaf"));
    assert!(!shown.contains("tanstaaf"), "{shown}");
}

/// Bytes, and texts that look a little like what servers send.
fn challenges() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let anything = proptest::collection::vec(any::<u8>(), 0..200);
    let similar = "([rsivem]|nonce|qop|realm|rspauth|algorithm|charset)?=?\"?[A-Za-z0-9+/=,\"\\\\ -]{0,20}\"?";
    let similar =
        proptest::collection::vec(similar, 0..6).prop_map(|parts| parts.join(",").into_bytes());
    proptest::collection::vec(prop_oneof![anything, similar], 0..4)
}

proptest! {
    #[test]
    fn no_challenge_makes_a_mechanism_panic(
        username in any::<String>(),
        password in proptest::collection::vec(any::<u8>(), 0..40),
        authorization_id in any::<Option<String>>(),
        challenges in challenges(),
        last in any::<Option<Vec<u8>>>(),
    ) {
        for mechanism in Mechanism::ALL {
            let identity = Credentials {
                username: username.clone(),
                password: Secret::new(&password),
                authorization_id: authorization_id.clone(),
            };
            let (mut exchange, _) = begin(mechanism, identity);
            for challenge in &challenges {
                exchange.takes_long(challenge);
                let _ = exchange.respond(challenge);
            }
            let finished = exchange.finish(last.as_deref());
            prop_assert!(finished.is_err() || !mechanism.authenticates_server());
        }
    }
}
