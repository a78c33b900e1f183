use proptest::prelude::*;

use super::super::tests::identity;
use super::super::Exchange;
use super::*;

const CHALLENGE: &str = "realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",\
                         algorithm=md5-sess,charset=utf-8";
const LAST: &[u8] = b"rspauth=ea40f60335c427b5527b84dbabcdfffd";

fn begin(identity: Credentials) -> Mutually<DigestMd5> {
    let uri = "imap/elwood.innosoft.com".to_owned();
    let mut exchange = exchange(identity, uri, || Ok("OA6MHXh6VqTrRk".to_owned()));
    assert!(exchange.initial().unwrap().is_empty());
    exchange
}

fn chris() -> Mutually<DigestMd5> {
    begin(identity("chris", "secret"))
}

fn answered() -> Mutually<DigestMd5> {
    let mut exchange = chris();
    exchange.respond(CHALLENGE.as_bytes()).unwrap();
    exchange
}

/// What the answer to this challenge says.
fn answer(identity: Credentials, challenge: &str) -> Result<String, SaslError> {
    let token = begin(identity).respond(challenge.as_bytes())?;
    Ok(String::from_utf8_lossy(&token).into_owned())
}

fn is_malformed<T>(outcome: Result<T, SaslError>) -> bool {
    matches!(outcome, Err(SaslError::Malformed(_)))
}

/// RFC 2831, section 4
#[test]
fn the_example_with_imap() {
    let answer = answer(identity("chris", "secret"), CHALLENGE).unwrap();
    let expected = "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",\
                    nonce=\"OA6MG9tEQGm2hh\",nc=00000001,cnonce=\"OA6MHXh6VqTrRk\",\
                    digest-uri=\"imap/elwood.innosoft.com\",\
                    response=d388dad90d4bbd760a152321f2143af7,qop=auth";
    assert_eq!(answer, expected);
    assert_eq!(answered().finish(Some(LAST)), Ok(()));
}

/// RFC 2831, section 4
#[test]
fn the_example_with_acap() {
    let uri = "acap/elwood.innosoft.com".to_owned();
    let nonce = || Ok("OA9BSuZWMSpW8m".to_owned());
    let mut exchange = exchange(identity("chris", "secret"), uri, nonce);
    exchange.initial().unwrap();
    let challenge = b"realm=\"elwood.innosoft.com\",nonce=\"OA9BSXrbuRhWay\",qop=\"auth\",\
                      algorithm=md5-sess,charset=utf-8";
    let answer = exchange.respond(challenge).unwrap();
    let answer = std::str::from_utf8(&answer).unwrap();
    assert!(
        answer.contains(",response=6084c6db3fede7352c551284490fd0fc,"),
        "{answer}"
    );
    let last = b"rspauth=2f0b3d7c3c2e486600ef710726aa2eae";
    assert!(exchange.respond(last).unwrap().is_empty());
    assert_eq!(exchange.finish(None), Ok(()));
}

#[test]
fn success_without_the_servers_proof_is_none() {
    for last in [None, Some(&b""[..])] {
        let outcome = answered().finish(last);
        assert!(matches!(outcome, Err(SaslError::NotAuthentic(_))));
    }
    assert!(is_malformed(answered().finish(Some(b"stale=true"))));
}

#[test]
fn a_proof_altered_in_any_byte_is_refused() {
    let mechanism = DigestMd5 {
        identity: identity("chris", "secret"),
        uri: "imap/elwood.innosoft.com".to_owned(),
        nonce: || Ok("OA6MHXh6VqTrRk".to_owned()),
    };
    let proof = Zeroizing::new(b"ea40f60335c427b5527b84dbabcdfffd".to_vec());
    assert_eq!(mechanism.verify(&proof, LAST), Ok(()));
    for at in 0..LAST.len() {
        for by in 1..=u8::MAX {
            let mut altered = LAST.to_vec();
            altered[at] ^= by;
            // The names of directives are the same in capital letters.
            let is_same = altered[..8].eq_ignore_ascii_case(&LAST[..8]) && at < 8;
            let outcome = mechanism.verify(&proof, &altered);
            assert_eq!(outcome.is_ok(), is_same, "{altered:?}");
        }
        assert!(mechanism.verify(&proof, &LAST[..at]).is_err());
    }
    assert!(is_malformed(
        mechanism.verify(&proof, &[LAST, LAST].join(&b','))
    ));
}

#[test]
fn a_third_challenge_is_one_too_many() {
    let mut exchange = answered();
    exchange.respond(LAST).unwrap();
    assert_eq!(
        exchange.respond(CHALLENGE.as_bytes()),
        Err(SaslError::Rounds)
    );
}

#[test]
fn the_first_realm_is_taken_or_none() {
    let with = |realms: &str| {
        let challenge = format!("{realms}nonce=\"1\",algorithm=md5-sess,charset=utf-8");
        answer(identity("chris", "secret"), &challenge).unwrap()
    };
    let answer = with("realm=\"one\",realm=\"two\",");
    assert!(answer.contains(",realm=\"one\",") && !answer.contains("two"));
    assert!(with("realm=\"\",").contains(",realm=\"\","));
    assert!(!with("").contains("realm"));
    // No realm counts as an empty one.
    let response = |answer: String| answer.split_once("response=").unwrap().1.to_owned();
    assert_eq!(response(with("")), response(with("realm=\"\",")));
}

#[test]
fn quoted_values_are_read_and_written_with_their_escapes() {
    let challenge = "realm=\"a\\\"b\\\\c, d\",nonce=\"x\\y\",algorithm=md5-sess,charset=utf-8";
    let answer = answer(identity("ch\"ri\\s", "secret"), challenge).unwrap();
    let expected = ",username=\"ch\\\"ri\\\\s\",realm=\"a\\\"b\\\\c, d\",nonce=\"xy\",";
    assert!(answer.contains(expected), "{answer}");
}

#[test]
fn white_space_empty_parts_and_unknown_directives_are_passed_over() {
    let odd = " , ,\r\n Realm = \"elwood.innosoft.com\" ,nonce=\"OA6MG9tEQGm2hh\",QOP=\"auth-int, AUTH\",\
               algorithm=\"MD5-sess\",charset=UTF-8,cipher=\"des\",maxbuf=65536,new=1,new=\"2\",";
    let ordinary = answer(identity("chris", "secret"), CHALLENGE);
    assert_eq!(answer(identity("chris", "secret"), odd), ordinary);
}

#[test]
fn malformed_challenges_are_refused() {
    for challenge in [
        "",
        "nonce",
        "nonce=",
        "=\"1\"",
        "algorithm=md5-sess",
        "nonce=\"1\"",
        "nonce=\"\",algorithm=md5-sess",
        "nonce=\"1\",algorithm=md5",
        "nonce=\"1\",algorithm=md5-sess,charset=latin1",
        "nonce=\"1\",algorithm=md5-sess,qop=\"auth-int,auth-conf\"",
        "nonce=\"1\",nonce=\"2\",algorithm=md5-sess",
        "nonce=\"1\",algorithm=md5-sess,algorithm=md5-sess",
        "nonce=\"1\",algorithm=md5-sess,stale=true,stale=true",
        "nonce=\"1\",algorithm=md5-sess,maxbuf=1,MAXBUF=2",
        "nonce=\"1\"algorithm=md5-sess",
        "nonce=\"1\" algorithm=md5-sess",
        "nonce=\"1,algorithm=md5-sess",
        "nonce=\"1\\",
        "nonce=\"1\n2\",algorithm=md5-sess",
        "nonce=1 2,algorithm=md5-sess",
        "non ce=\"1\",algorithm=md5-sess",
    ] {
        assert!(
            is_malformed(chris().respond(challenge.as_bytes())),
            "{challenge}"
        );
    }
    let with = |length| {
        let challenge = format!("{CHALLENGE},x=");
        let filler = "x".repeat(length - challenge.len());
        chris().respond(format!("{challenge}{filler}").as_bytes())
    };
    assert!(with(2_047).is_ok());
    assert!(is_malformed(with(2_048)));
}

#[test]
fn an_authorization_id_is_sent_and_signed() {
    let mut other = identity("chris", "secret");
    other.authorization_id = Some("nöbody".to_owned());
    let answer = answer(other, CHALLENGE).unwrap();
    assert!(answer.ends_with(",qop=auth,authzid=\"nöbody\""), "{answer}");
    assert!(!answer.contains("d388dad90d4bbd760a152321f2143af7"));
}

/// The response as RFC 2831, section 2.1.2.1 has it, with what is hashed for user, realm and password
/// as bytes.
fn response(hashed: &[u8]) -> String {
    let text = |hash| String::from_utf8(hex(&hash).to_vec()).unwrap();
    let session = [&md5(&[hashed])[..], b":1:OA6MHXh6VqTrRk"].concat();
    let action = text(md5(&[b"AUTHENTICATE:imap/elwood.innosoft.com"]));
    let session = text(md5(&[&session]));
    let all = format!("{session}:1:00000001:OA6MHXh6VqTrRk:auth:{action}");
    text(md5(&[all.as_bytes()]))
}

#[test]
fn with_utf_8_the_hash_is_over_latin_1_where_that_is_possible() {
    let challenge = "realm=\"größe\",nonce=\"1\",algorithm=md5-sess,charset=utf-8";
    let answer = answer(identity("jürgen", "geheim€"), challenge).unwrap();
    assert!(
        answer.contains("username=\"jürgen\",realm=\"größe\""),
        "{answer}"
    );
    let hashed = [&b"j\xfcrgen:gr\xf6\xdfe:geheim"[..], "€".as_bytes()].concat();
    assert!(answer.contains(&response(&hashed)), "{answer}");
}

#[test]
fn without_utf_8_all_is_latin_1() {
    let challenge = "realm=\"r\",nonce=\"1\",algorithm=md5-sess";
    let mut exchange = begin(identity("jürgen", "schlüssel"));
    let answer = exchange.respond(challenge.as_bytes()).unwrap();
    assert!(answer.starts_with(b"username=\"j\xfcrgen\",realm=\"r\""));
    let expected = response(b"j\xfcrgen:r:schl\xfcssel");
    assert!(String::from_utf8_lossy(&answer).contains(&expected));
    for (name, password) in [("chris€", "secret"), ("chris", "secret€")] {
        let outcome = super::tests::answer(identity(name, password), challenge);
        assert!(matches!(outcome, Err(SaslError::Unfit(_))));
    }
}

#[test]
fn names_that_cannot_be_quoted_are_not_sent() {
    for (name, password) in [("", "secret"), ("chr\nis", "secret"), ("chr\0is", "secret")] {
        let uri = "cassandra/db.example".to_owned();
        let nonce = || Ok("1".to_owned());
        let outcome = exchange(identity(name, password), uri, nonce).initial();
        assert!(matches!(outcome, Err(SaslError::Unfit(_))), "{name:?}");
    }
    let long = "x".repeat(4_096);
    let outcome = answer(identity(&long, "secret"), CHALLENGE);
    assert!(matches!(outcome, Err(SaslError::Unfit(_))));
}

proptest! {
    #[test]
    fn what_is_quoted_is_read_again(value in "[ -~ä-ü]{0,40}") {
        let mut message = Token::default();
        quote(&mut message, "x", value.as_bytes());
        let directives = Directives::parse(&message).unwrap();
        prop_assert_eq!(directives.first("x"), Some(value.as_bytes()));
    }
}
