//! Logins as Amazon Keyspaces has them, and the stand-ins that give out what they are made with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use std::io::{Read, Write};
use std::net::TcpStream as Tcp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::{refusal, Client, PATIENCE};
use palladion_cql::response::Message;
use palladion_testkit::aws::{AccessKey, AccessKeys, Fault, Service, StandIn, StandInOptions};
use palladion_testkit::login::sigv4::{amzdate, signature, Signing};
use palladion_testkit::login::{Faults, Method};
use palladion_testkit::{Login, Options, Server};
use tokio::net::TcpStream;

const SUCCESS: Message = Message::AuthSuccess(None);

fn server(login: Login) -> Server {
    let options = Options {
        login: Some(login),
        ..Options::default()
    };
    Server::start(options).unwrap()
}

async fn asked(server: &Server) -> Client<TcpStream> {
    let mut client = Client::plain(server).await;
    let class = "com.amazon.helenus.auth.HelenusAuthenticator";
    assert_eq!(
        client.start().await,
        Message::Authenticate(class.to_owned())
    );
    client
}

/// In milliseconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

/// What a client answers to the challenge.
fn response(challenge: &str, key: &AccessKey, region: &str, later: i64) -> String {
    let amzdate = amzdate(now() + later);
    let nonce = challenge.strip_prefix("nonce=").unwrap();
    assert!(nonce.len() >= 32);
    let signature = signature(&Signing {
        access_key_id: &key.id,
        secret: &key.secret,
        region,
        amzdate: &amzdate,
        nonce: &nonce[..32],
    });
    let mut response = format!(
        "signature={signature},access_key={},amzdate={amzdate}",
        key.id
    );
    if let Some(token) = &key.session_token {
        response += &format!(",session_token={token}");
    }
    response
}

async fn log_in(server: &Server, key: &AccessKey) -> Message {
    let mut client = asked(server).await;
    let challenge = client.challenged(b"SigV4\0\0").await;
    client
        .respond(response(&challenge, key, "eu-west-1", 0))
        .await
}

fn keys() -> (AccessKeys, AccessKey) {
    let mut key = AccessKey::new("AKIA1", "secret");
    key.session_token = Some("to+k/en==".to_owned());
    let keys = AccessKeys::default();
    keys.add(key.clone()).unwrap();
    (keys, key)
}

#[tokio::test]
async fn good_signatures_are_accepted_and_others_refused() {
    let (keys, key) = keys();
    let server = server(Login::sigv4("eu-west-1", keys.clone()));
    assert_eq!(log_in(&server, &key).await, SUCCESS);
    let connection = &server.connections()[0];
    assert_eq!(connection.user.as_deref(), Some("AKIA1"));
    assert_eq!(connection.login.mechanism, Some("SigV4"));
    assert_eq!(connection.login.access_key_id.as_deref(), Some("AKIA1"));
    assert_eq!(connection.login.session_token.as_deref(), Some("to+k/en=="));

    refusal(asked(&server).await.respond("SigV4").await);
    let mut texts = Vec::new();
    for (region, later) in [
        ("us-east-2", 0),
        ("eu-west-1", -901_000),
        ("eu-west-1", 901_000),
    ] {
        let mut client = asked(&server).await;
        let challenge = client.challenged(b"SigV4\0\0").await;
        texts.push(refusal(
            client
                .respond(response(&challenge, &key, region, later))
                .await,
        ));
    }
    let stolen = AccessKey {
        session_token: None,
        ..key.clone()
    };
    texts.push(refusal(log_in(&server, &stolen).await));
    let guessed = AccessKey {
        secret: "guess".to_owned(),
        ..key.clone()
    };
    texts.push(refusal(log_in(&server, &guessed).await));
    assert!(keys.expire("AKIA1", 1));
    texts.push(refusal(log_in(&server, &key).await));
    keys.forget("AKIA1");
    texts.push(refusal(log_in(&server, &key).await));
    assert_eq!(
        texts,
        [
            "The signature is for us-east-2, and not for eu-west-1",
            "The signature has expired",
            "The signature is not yet current",
            "The session token is missing",
            "The signature does not match",
            "The credentials have expired",
            "The access key is unknown",
        ]
    );
}

#[tokio::test]
async fn challenges_differ_and_are_as_the_test_wants() {
    let (keys, key) = keys();
    let mut login = Login::sigv4("eu-west-1", keys);
    if let Method::SigV4(options) = &mut login.method {
        options.suffix = ",,".to_owned();
        options.skew = 3_600_000;
    }
    let server = server(login.clone());
    let mut client = asked(&server).await;
    let challenge = client.challenged(b"SigV4\0\0").await;
    assert_eq!(challenge.len(), "nonce=".len() + 32 + 2);
    let slow = client
        .respond(response(&challenge, &key, "eu-west-1", 0))
        .await;
    assert_eq!(refusal(slow), "The signature has expired");
    let challenge = client.challenged(b"SigV4\0\0").await;
    let right = response(&challenge, &key, "eu-west-1", 3_600_000);
    assert_eq!(client.respond(right).await, SUCCESS);
    let other = asked(&server).await.challenged(b"SigV4\0\0").await;
    assert_ne!(challenge, other);

    login.faults = Faults {
        challenge: Some((1, Some(b"nonce=short".to_vec()))),
        ..Faults::default()
    };
    server.set_login(Some(login));
    let malformed = asked(&server).await.challenged(b"SigV4\0\0").await;
    assert_eq!(malformed, "nonce=short");
}

// Stand-ins

/// How long no answer is one that never comes.
const HANGS: Duration = Duration::from_secs(1);

/// What one request is answered with.
fn http(stand_in: &StandIn, request: &str, headers: &str, body: &str) -> (u16, String) {
    let mut tcp = Tcp::connect(stand_in.address()).unwrap();
    tcp.set_read_timeout(Some(HANGS)).unwrap();
    let length = body.len();
    let request =
        format!("{request} HTTP/1.1\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}");
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // An error is a timeout: it hangs.
    let _ = tcp.read_to_string(&mut answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return (0, answer);
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// What stands between two texts.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

fn json(body: &str) -> AccessKey {
    let field = |name: &str| between(body, &format!("\"{name}\":\""), "\"").to_owned();
    AccessKey {
        id: field("AccessKeyId"),
        secret: field("SecretAccessKey"),
        session_token: Some(field("Token")),
        expires_at: None,
    }
}

const IMDS_ROLE: &str = "GET /latest/meta-data/iam/security-credentials/testkit";

fn imds(keys: &AccessKeys) -> (StandIn, String) {
    let service = Service::Imds {
        role: "testkit".to_owned(),
        region: "eu-west-1".to_owned(),
    };
    let stand_in = StandIn::start(service, StandInOptions::default(), keys).unwrap();
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let (status, token) = http(&stand_in, "PUT /latest/api/token", ttl, "");
    assert_eq!(status, 200);
    (stand_in, format!("X-aws-ec2-metadata-token: {token}\r\n"))
}

#[tokio::test]
async fn what_imds_gives_out_is_good_until_it_expires() {
    let keys = AccessKeys::default();
    let server = server(Login::sigv4("eu-west-1", keys.clone()));
    let (imds, token) = imds(&keys);
    assert_eq!(http(&imds, IMDS_ROLE, "", "").0, 401);
    let list = "GET /latest/meta-data/iam/security-credentials/";
    assert_eq!(http(&imds, list, &token, ""), (200, "testkit".to_owned()));
    let region = "GET /latest/meta-data/placement/region";
    assert_eq!(http(&imds, region, &token, "").1, "eu-west-1");
    let (_, body) = http(&imds, IMDS_ROLE, &token, "");
    assert!(body.contains("\"Code\":\"Success\""), "{body}");
    let key = json(&body);
    assert_eq!(key.id, "ASIATESTKIT00000001");
    assert_eq!(log_in(&server, &key).await, SUCCESS);
    imds.set_options(StandInOptions {
        validity: Duration::ZERO,
        ..imds.options()
    });
    let next = json(&http(&imds, IMDS_ROLE, &token, "").1);
    assert_eq!(next.id, "ASIATESTKIT00000002");
    assert_eq!(
        refusal(log_in(&server, &next).await),
        "The credentials have expired"
    );
    assert_eq!(log_in(&server, &key).await, SUCCESS);
    let counters = imds.wait(PATIENCE, |seen| seen.issued == 2).unwrap();
    assert_eq!((counters.tokens, counters.refused), (1, 1));
}

#[test]
fn a_container_asks_for_its_token() {
    let keys = AccessKeys::default();
    let service = Service::Container(Some("Bearer x".to_owned()));
    let stand_in = StandIn::start(service, StandInOptions::default(), &keys).unwrap();
    assert_eq!(http(&stand_in, "GET /v2/credentials/1", "", "").0, 401);
    let (status, body) = http(&stand_in, "GET /any?a=b", "Authorization: Bearer x\r\n", "");
    assert_eq!(status, 200);
    assert_eq!(
        keys.get(&json(&body).id).unwrap().secret,
        json(&body).secret
    );
}

#[test]
fn sts_answers_in_xml() {
    let keys = AccessKeys::default();
    let service = Service::Sts(Some("to+ken".to_owned()));
    let sts = StandIn::start(service, StandInOptions::default(), &keys).unwrap();
    let form = "Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws&WebIdentityToken=to%2Bken";
    let (status, body) = http(&sts, "POST /", "", form);
    assert_eq!(status, 200, "{body}");
    let id = between(&body, "<AccessKeyId>", "</AccessKeyId>");
    let key = keys.get(id).unwrap();
    assert_eq!(
        between(&body, "<SecretAccessKey>", "</SecretAccessKey>"),
        key.secret
    );
    let token = between(&body, "<SessionToken>", "</SessionToken>");
    assert_eq!(Some(token), key.session_token.as_deref());
    assert!(body.contains("</AssumeRoleWithWebIdentityResult>"));

    let wrong = form.replace("ken", "");
    assert!(http(&sts, "POST /", "", &wrong)
        .1
        .contains("InvalidIdentityToken"));
    let form = "Action=AssumeRole&RoleArn=arn%3Aaws";
    assert!(http(&sts, "POST /", "", form)
        .1
        .contains("MissingAuthenticationToken"));
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=AKIA1/x\r\n";
    let (status, body) = http(&sts, "POST /", signed, form);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("</AssumeRoleResult>"));
}

#[test]
fn stand_ins_fail_as_the_test_wants() {
    let keys = AccessKeys::default();
    let service = Service::Container(None);
    let stand_in = StandIn::start(service, StandInOptions::default(), &keys).unwrap();
    let with = |fault: Fault, times: Option<u64>| {
        stand_in.set_options(StandInOptions {
            fault: Some(fault),
            fault_times: times,
            ..stand_in.options()
        });
        http(&stand_in, "GET /", "", "")
    };
    assert_eq!(with(Fault::Hang, None), (0, String::new()));
    assert_eq!(with(Fault::Failure, None).0, 500);
    let (_, half) = with(Fault::Half, None);
    assert!(
        half.contains("AccessKeyId") && !half.contains("Secret"),
        "{half}"
    );
    let (status, garbage) = with(Fault::Garbage, None);
    assert!(status == 200 && !garbage.contains('{'));
    let expired = json(&with(Fault::Expired, Some(1)).1);
    let end = keys.get(&expired.id).unwrap().expires_at.unwrap();
    assert!(end < now());
    let good = json(&http(&stand_in, "GET /", "", "").1);
    assert!(keys.get(&good.id).unwrap().expires_at.unwrap() > end);
    let counters = stand_in.counters();
    assert_eq!(
        (counters.asked, counters.faults, counters.issued),
        (6, 5, 1)
    );
}
