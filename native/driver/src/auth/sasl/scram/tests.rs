use proptest::prelude::*;

use super::super::tests::identity;
use super::super::Exchange;
use super::*;

/// What RFC 5802 and RFC 7677 have as examples, for the user `user` with the password `pencil`.
struct Example {
    hash: Hash,
    nonce: NonceSource,
    messages: [&'static str; 4],
}

const EXAMPLES: [Example; 2] = [
    Example {
        hash: Hash::Sha1,
        nonce: || Ok("fyko+d2lbbFgONRv9qkxdawL".to_owned()),
        messages: [
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ],
    },
    Example {
        hash: Hash::Sha256,
        nonce: || Ok("rOprNGfwEbeRWgbNEkqO".to_owned()),
        messages: [
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    },
];

impl Example {
    fn begin(&self, password: &str) -> Mutually<Scram> {
        let mut exchange = exchange(self.hash, identity("user", password), self.nonce);
        let initial = exchange.initial().unwrap();
        assert_eq!(*initial, self.messages[0].as_bytes());
        exchange
    }

    fn answered(&self) -> Mutually<Scram> {
        let mut exchange = self.begin("pencil");
        let answer = exchange.respond(self.messages[1].as_bytes()).unwrap();
        assert_eq!(*answer, self.messages[2].as_bytes());
        exchange
    }

    fn last(&self) -> &'static [u8] {
        self.messages[3].as_bytes()
    }

    /// What comes of another challenge than the example's.
    fn respond(&self, challenge: &str) -> Result<Token, SaslError> {
        self.begin("pencil").respond(challenge.as_bytes())
    }
}

#[test]
fn the_examples_of_the_rfcs_with_the_signature_in_the_success() {
    for example in EXAMPLES {
        assert_eq!(example.answered().finish(Some(example.last())), Ok(()));
    }
}

#[test]
fn the_examples_of_the_rfcs_with_the_signature_in_a_challenge() {
    for example in EXAMPLES {
        let with = |last| {
            let mut exchange = example.answered();
            assert!(exchange.respond(example.last()).unwrap().is_empty());
            exchange.finish(last)
        };
        assert_eq!(with(None), Ok(()));
        assert_eq!(with(Some(b"")), Ok(()));
        assert_eq!(with(Some(example.last())), Ok(()));
        assert!(with(Some(b"v=AAAA")).is_err());
    }
}

#[test]
fn success_without_a_signature_is_none() {
    for last in [None, Some(&b""[..])] {
        let outcome = EXAMPLES[1].answered().finish(last);
        assert!(matches!(outcome, Err(SaslError::NotAuthentic(_))));
    }
}

#[test]
fn a_signature_altered_in_any_byte_is_refused() {
    for example in EXAMPLES {
        let mut scram = Scram {
            hash: example.hash,
            identity: identity("user", "pencil"),
            nonce: example.nonce,
            first: None,
        };
        scram.first().unwrap();
        let (_, proof) = scram.answer(example.messages[1].as_bytes()).unwrap();
        assert_eq!(scram.verify(&proof, example.last()), Ok(()));
        for at in 0..example.last().len() {
            for by in 1..=u8::MAX {
                let mut altered = example.last().to_vec();
                altered[at] ^= by;
                assert!(scram.verify(&proof, &altered).is_err(), "{altered:?}");
            }
            assert!(scram.verify(&proof, &example.last()[..at]).is_err());
        }
    }
}

#[test]
fn a_third_challenge_is_one_too_many() {
    let mut exchange = EXAMPLES[1].answered();
    exchange.respond(EXAMPLES[1].last()).unwrap();
    assert_eq!(exchange.respond(b"v=AAAA"), Err(SaslError::Rounds));
    assert!(exchange.finish(None).is_err());
}

#[test]
fn a_nonce_must_begin_with_ours_and_be_longer() {
    for nonce in [
        "fyko+d2lbbFgONRv9qkxdawL",
        "fyko+d2lbbFgONRv9qkxdawK3rf",
        "3rf",
        "",
    ] {
        let challenge = format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096");
        let outcome = EXAMPLES[0].respond(&challenge);
        assert!(matches!(outcome, Err(SaslError::Malformed(_))), "{nonce}");
    }
}

#[test]
fn only_iteration_counts_that_protect_the_password_and_not_the_attacker() {
    let outcome = |count: &str| {
        let challenge = format!("r=fyko+d2lbbFgONRv9qkxdawL3rf,s=QSXCR+Q6sek8bf92,i={count}");
        EXAMPLES[0].respond(&challenge)
    };
    assert!(outcome("4096").is_ok());
    for count in [
        "0",
        "1",
        "4095",
        "04096",
        "+4096",
        "-4096",
        "4096.0",
        " 4096",
        "",
        "2000001",
        "4294967296",
        "99999999999999999999999999",
    ] {
        assert!(
            matches!(outcome(count), Err(SaslError::Malformed(_))),
            "{count}"
        );
    }
}

#[test]
fn it_is_known_before_how_long_an_answer_takes() {
    let takes_long = |count: u32| {
        let challenge = format!("r=fyko+d2lbbFgONRv9qkxdawL3rf,s=QSXCR+Q6sek8bf92,i={count}");
        EXAMPLES[0].begin("pencil").takes_long(challenge.as_bytes())
    };
    assert!(!takes_long(4_096));
    assert!(takes_long(600_000));
    assert!(!takes_long(u32::MAX), "which is refused at once");
    assert!(!EXAMPLES[0].answered().takes_long(EXAMPLES[0].last()));
}

#[test]
fn extensions_are_passed_over_unless_they_are_mandatory() {
    let nonce = "fyko+d2lbbFgONRv9qkxdawL3rf";
    let outcome = |challenge: String| EXAMPLES[0].respond(&challenge).map(|_| ());
    let optional = format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096,x=1,Y=a=b");
    assert_eq!(outcome(optional), Ok(()));
    for challenge in [
        format!("m=x,r={nonce},s=QSXCR+Q6sek8bf92,i=4096"),
        format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096,m=x"),
        format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096,i=4096"),
        format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096,"),
        format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096,x"),
        format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096,x="),
        format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096,1=x"),
        format!("r={nonce},s=QSXCR+Q6sek8bf92"),
        format!("r={nonce},i=4096,s=QSXCR+Q6sek8bf92"),
        format!("r={nonce},s=,i=4096"),
        format!("r={nonce},s=QSX,i=4096"),
        format!("r={nonce}\t,s=QSXCR+Q6sek8bf92,i=4096"),
        format!("r={nonce}ü,s=QSXCR+Q6sek8bf92,i=4096"),
        String::new(),
    ] {
        let told = challenge.clone();
        assert!(
            matches!(outcome(challenge), Err(SaslError::Malformed(_))),
            "{told}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let outcome = EXAMPLES[0]
        .begin("pencil")
        .respond(b"r=\xff,s=QSXCR+Q6sek8bf92,i=4096");
    assert!(matches!(outcome, Err(SaslError::Malformed(_))));
}

#[test]
fn what_the_server_says_against_it_is_told() {
    let finish = |last: &str| EXAMPLES[1].answered().finish(Some(last.as_bytes()));
    assert_eq!(
        finish("e=invalid-proof"),
        Err(SaslError::BadCredentials("invalid-proof"))
    );
    assert_eq!(
        finish("e=unknown-user,x=1"),
        Err(SaslError::BadCredentials("unknown-user"))
    );
    assert_eq!(
        finish("e=no-resources"),
        Err(SaslError::Refused("no-resources"))
    );
    assert_eq!(
        finish("e=\u{1b}[2J"),
        Err(SaslError::Refused("other-error"))
    );
    let outcome = EXAMPLES[1].respond("e=unknown-user").map(|_| ());
    assert_eq!(outcome, Err(SaslError::BadCredentials("unknown-user")));
}

#[test]
fn names_are_escaped() {
    let mut identity = identity("a=b,c", "pencil");
    identity.authorization_id = Some("=,=".to_owned());
    let mut exchange = exchange(Hash::Sha256, identity, EXAMPLES[1].nonce);
    let expected = b"n,a==3D=2C=3D,n=a=3Db=2Cc,r=rOprNGfwEbeRWgbNEkqO";
    assert_eq!(*exchange.initial().unwrap(), expected);
}

/// RFC 4013, section 3
#[test]
fn names_and_passwords_are_prepared() {
    let prepared = |text| username(&identity(text, "")).map_err(|_| ());
    for (text, expected) in [
        ("I\u{ad}X", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u{aa}", "a"),
        ("\u{2168}", "IX"),
        ("a\u{a0}b", "a b"),
    ] {
        assert_eq!(prepared(text).as_deref(), Ok(expected));
        assert_eq!(*password(&identity("", text)).unwrap(), expected);
    }
    for text in ["\u{7}", "\u{627}1", "a\0"] {
        assert_eq!(prepared(text), Err(()));
        assert!(password(&identity("", text)).is_err());
    }
    assert_eq!(prepared("\u{ad}"), Err(()), "nothing is left of it");
    let mut binary = identity("user", "");
    binary.password = crate::Secret::new(&[0xff]);
    assert!(matches!(password(&binary), Err(SaslError::Unfit(_))));
}

/// The other side, from the RFC and with other means: it has only what the RFC has servers store.
struct Server {
    hash: Hash,
    username: String,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Server {
    fn new(hash: Hash, username: &str, password: &str, salt: &[u8]) -> Self {
        let mac = |key: &[u8], message: &[u8]| mac(hash, key, message);
        // Hi() of RFC 5802, section 2.2
        let mut block = mac(password.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
        let mut salted = block.clone();
        for _ in 1..4_096 {
            block = mac(password.as_bytes(), &block);
            xor(&mut salted, &block);
        }
        Self {
            hash,
            username: username.to_owned(),
            salt: salt.to_vec(),
            stored_key: digest::digest(hash.digest(), &mac(&salted, b"Client Key"))
                .as_ref()
                .to_vec(),
            server_key: mac(&salted, b"Server Key"),
        }
    }

    /// Its signature, if the client knows the password.
    fn log_in(&self, client: &mut Mutually<Scram>) -> Result<Vec<u8>, SaslError> {
        let text = |token: Token| String::from_utf8(token.to_vec()).unwrap();
        let first = text(client.initial()?);
        let bare = first.strip_prefix("n,,").unwrap();
        let (name, nonce) = bare.strip_prefix("n=").unwrap().split_once(",r=").unwrap();
        assert_eq!(name.replace("=2C", ",").replace("=3D", "="), self.username);
        let salt = base64::encode(&self.salt);
        let challenge = format!("r={nonce}%hvYDpWUa2RaTCAfuxFIlj,s={salt},i=4096");
        let answer = text(client.respond(challenge.as_bytes())?);
        let (unproven, proof) = answer.rsplit_once(",p=").unwrap();
        let signed = format!("{bare},{challenge},{unproven}");
        let mut key = base64::decode(proof)?;
        xor(
            &mut key,
            &mac(self.hash, &self.stored_key, signed.as_bytes()),
        );
        if digest::digest(self.hash.digest(), &key).as_ref() != self.stored_key {
            return Err(SaslError::BadCredentials("invalid-proof"));
        }
        let signature = mac(self.hash, &self.server_key, signed.as_bytes());
        Ok(format!("v={}", base64::encode(&signature)).into_bytes())
    }
}

fn mac(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
    let algorithm = match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
    };
    let key = hmac::Key::new(algorithm, key);
    hmac::sign(&key, message).as_ref().to_vec()
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes
        .iter_mut()
        .zip(with)
        .for_each(|(byte, with)| *byte ^= with);
}

/// Texts of many scripts, most of which SASLprep lets pass.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{1,30}",
        "[a-zß-öøа-яぁ-ん一-十€ﬀª,= ]{1,20}",
        "[א-ת]{1,20}",
        "\\PC{1,10}",
    ]
}

fn a_client(hash: Hash, username: &str, password: &str) -> Mutually<Scram> {
    let identity = identity(username, password);
    exchange(hash, identity, super::super::random_nonce)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_right_password_is_accepted_and_a_wrong_one_refused(
        hash in prop_oneof![Just(Hash::Sha1), Just(Hash::Sha256)],
        username in texts(),
        password in texts(),
        other in texts(),
        salt in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let (Ok(name), Ok(right)) = (saslprep(&username), saslprep(&password)) else {
            let outcome = a_client(hash, &username, &password).initial();
            prop_assert!(matches!(outcome, Err(SaslError::Unfit(_))));
            return Ok(());
        };
        prop_assume!(!name.is_empty());
        let server = Server::new(hash, &name, &right, &salt);

        let mut client = a_client(hash, &username, &password);
        let signature = server.log_in(&mut client);
        prop_assert_eq!(client.finish(signature.ok().as_deref()), Ok(()));

        let is_other = saslprep(&other).is_ok_and(|prepared| prepared != right);
        if is_other {
            let outcome = server.log_in(&mut a_client(hash, &username, &other));
            prop_assert_eq!(outcome, Err(SaslError::BadCredentials("invalid-proof")));

            // Who plays the server and knows another password, is found out.
            let mut client = a_client(hash, &username, &password);
            let mut impostor = Server::new(hash, &name, &saslprep(&other).unwrap(), &salt);
            impostor.stored_key = server.stored_key;
            let signature = impostor.log_in(&mut client);
            let outcome = client.finish(signature.ok().as_deref());
            prop_assert!(matches!(outcome, Err(SaslError::NotAuthentic(_))));
        }
    }
}
