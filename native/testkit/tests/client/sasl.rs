//! The client's side of mechanisms that take more than one message, by other code than the server's.

use base64::prelude::{Engine, BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest as _, Md5};
use palladion_cql::response::Message;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::Client;

fn hmac(key: &[u8], message: &str) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.chain_update(message).finalize().into_bytes().into()
}

fn attribute<'a>(message: &'a str, name: &str) -> &'a str {
    let mut attributes = message.split(',').filter_map(|part| part.split_once('='));
    attributes.find(|(known, _)| *known == name).unwrap().1
}

/// A login by SCRAM-SHA-256: what is answered to the proof, and the last message that would be right.
pub(crate) async fn scram<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    header: &str,
    user: &str,
    password: &str,
) -> (Message, String) {
    let bare = format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL");
    let challenge = client.challenged(format!("{header}{bare}")).await;
    let salt = BASE64_STANDARD.decode(attribute(&challenge, "s")).unwrap();
    let iterations = attribute(&challenge, "i").parse().unwrap();
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, iterations, &mut salted);
    let unproven = format!(
        "c={},r={}",
        BASE64_STANDARD.encode(header),
        attribute(&challenge, "r")
    );
    let said = format!("{bare},{challenge},{unproven}");
    let client_key = hmac(&salted, "Client Key");
    let signature = hmac(&<Sha256 as sha2::Digest>::digest(client_key), &said);
    let proof: Vec<u8> = client_key
        .iter()
        .zip(signature)
        .map(|(a, b)| a ^ b)
        .collect();
    let last = format!("{unproven},p={}", BASE64_STANDARD.encode(proof));
    let expected = hmac(&hmac(&salted, "Server Key"), &said);
    let expected = format!("v={}", BASE64_STANDARD.encode(expected));
    (client.respond(last).await, expected)
}

fn md5(text: &str) -> String {
    let digest = Md5::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The response of DIGEST-MD5 to a challenge, and the last message that is to follow.
pub(crate) fn digest_md5(challenge: &str, user: &str, password: &str) -> (String, String) {
    let nonce = attribute(challenge, "nonce").trim_matches('"');
    let secret = Md5::digest(format!("{user}:testkit:{password}"));
    let mut a1 = secret.to_vec();
    a1.extend_from_slice(format!(":{nonce}:cnonce").as_bytes());
    let a1: String = Md5::digest(a1).iter().map(|b| format!("{b:02x}")).collect();
    let proof = |method: &str| {
        let a2 = md5(&format!("{method}:cassandra/localhost"));
        md5(&format!("{a1}:{nonce}:00000001:cnonce:auth:{a2}"))
    };
    let response = format!(
        "charset=utf-8,username=\"{user}\",realm=\"testkit\",nonce=\"{nonce}\",nc=00000001,cnonce=\"cnonce\",\
         digest-uri=\"cassandra/localhost\",response={},qop=auth",
        proof("AUTHENTICATE")
    );
    (response, format!("rspauth={}", proof("")))
}

/// The response of CRAM-MD5 to a challenge.
pub(crate) fn cram_md5(challenge: &str, user: &str, password: &str) -> String {
    let pad = |with: u8| {
        let mut key = password.as_bytes().to_vec();
        key.resize(64, 0);
        key.iter().map(|byte| byte ^ with).collect::<Vec<u8>>()
    };
    let inner = Md5::digest([&pad(0x36), challenge.as_bytes()].concat());
    let digest = Md5::digest([&pad(0x5C), inner.as_slice()].concat());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{user} {digits}")
}
