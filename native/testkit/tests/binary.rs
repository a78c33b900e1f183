//! The binary: lines in, lines out, an end when nobody is there any more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use palladion_cql::request::{self, Parameters};
use palladion_cql::{Dialect, Version};

struct Testkit {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Testkit {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_palladion-testkit"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: process.stdin.take(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    fn send(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn receive(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.receive()
    }
}

fn value<'a>(answer: &'a str, key: &str) -> &'a str {
    let pair = answer.split(' ').find_map(|pair| pair.strip_prefix(key));
    pair.unwrap().strip_prefix('=').unwrap()
}

#[test]
fn servers_are_started_driven_and_stopped() {
    let mut testkit = Testkit::start();
    let started = testkit.ask("a start");
    assert!(started.starts_with("a ok id=1 "), "{started}");
    let port: u16 = value(&started, "port").parse().unwrap();
    let second = testkit.ask("b start");
    assert_ne!(value(&second, "port"), value(&started, "port"));

    // An answer that has to wait does not hold up the others.
    testkit.send("c wait id=1 connections=1 open.min=1");
    assert_eq!(testkit.ask("d rule id=1 contains=x reaction=void"), "d ok");
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let waited = testkit.receive();
    assert!(waited.starts_with("c ok connections=1 open=1 "), "{waited}");
    let connections = testkit.ask("e connections id=1");
    assert!(
        connections.starts_with("e ok 1=peer%3D127.0.0.1:"),
        "{connections}"
    );
    drop(client);

    assert_eq!(testkit.ask("f stop id=1"), "f ok");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(
        testkit.ask("g counters id=1"),
        "g error there%20is%20no%20server%201"
    );
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let mut testkit = Testkit::start();
    let port = value(&testkit.ask("1 start"), "port").to_owned();
    for line in [
        "2 refuse everything=1",
        "2 nothing",
        "2 start tls=1.3",
        "2 start tls=1.1 dir=/",
        "2 rule reaction=rows",
        "2 rule reaction=error code=x",
        "2 rule reaction=void opcode=result",
        "2 wait nothing=1",
        "2 forget_tickets",
    ] {
        let answer = testkit.ask(line);
        assert!(answer.starts_with("2 error "), "{line}: {answer}");
    }
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
}

/// What was sent to the server as protocol 4, and the bytes of its answer to the last of it.
fn converse(port: &str, requests: &[Vec<u8>]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let mut body = Vec::new();
    for request in requests {
        tcp.write_all(request).unwrap();
        let mut header = [0; 9];
        tcp.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes(header[5..].try_into().unwrap());
        body = vec![0; length as usize];
        tcp.read_exact(&mut body).unwrap();
    }
    body
}

#[test]
fn requests_are_told_as_they_came() {
    let mut testkit = Testkit::start();
    let started = testkit.ask("1 start versions=4,3 compression= segments=split:7 refusal=v2");
    let port = value(&started, "port").to_owned();
    let v4 = Dialect::plain(Version::V4);
    let startup = request::startup(&v4, &[("CQL_VERSION", "3.0.0")]).unwrap();
    let rule =
        "2 rule contains=hello reaction=frame body=00000001 warning=a%2Cb warning=c payload.k=00ff";
    assert_eq!(testkit.ask(rule), "2 ok");
    let parameters = Parameters {
        timestamp: Some(12),
        payload: vec![("k".to_owned(), vec![1])],
        ..Parameters::default()
    };
    let query = request::query(&v4, "hello", &parameters).unwrap();
    let answer = converse(&port, &[startup.clone(), query]);
    let warnings = b"\0\x02\0\x03a,b\0\x01c".as_slice();
    let payload = b"\0\x01\0\x01k\0\0\0\x02\x00\xFF";
    assert_eq!(answer, [warnings, payload, &[0, 0, 0, 1]].concat());
    let pairs = "opcode=query connection=1 version=4 compressed=false count=1 tracing=false \
                 skip_metadata=false consistency=local_one timestamp=12 payload.k=01 \
                 statement=hello values=0";
    let pairs = pairs.replace('=', "%3D").replace(' ', "%20");
    assert_eq!(testkit.ask("3 requests"), format!("3 ok 2={pairs}"));
    let connections = testkit.ask("4 connections");
    assert!(connections.contains("version%3D4"), "{connections}");

    let v5 = request::options(&Dialect::plain(Version::V5));
    let mut tcp = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    tcp.write_all(&v5).unwrap();
    let mut refusal = Vec::new();
    tcp.read_to_end(&mut refusal).unwrap();
    assert_eq!(refusal.first(), Some(&0x82));

    let alter = "5 alter contains=hello reaction=rows columns=a%20int";
    assert_eq!(testkit.ask(alter), "5 ok");
    let query = request::query(&v4, "hello", &Parameters::default()).unwrap();
    assert_eq!(converse(&port, &[startup, query])[..4], [0, 0, 0, 2]);
}

#[test]
fn what_is_said_about_the_protocol_is_checked() {
    let mut testkit = Testkit::start();
    for option in [
        "versions= refusal=close",
        "versions=3 refusal=server_error",
        "versions=5 segments=mixed segment_compression=false compression=lz4",
        "metadata_ids rate_limit_error=0xF000",
    ] {
        let answer = testkit.ask(&format!("1 start {option}"));
        assert!(answer.starts_with("1 ok "), "{option}: {answer}");
    }
    for rule in [
        "reaction=error code=0x1500 failures=2 reasons=10.0.0.1/1,::1/2",
        "reaction=error code=0x1100 write_type=CAS contentions=3",
        "reaction=error code=0x1700 consistency=serial",
        "reaction=error code=61440 operation=read by_coordinator",
        "reaction=hostile kind=bomb",
        "reaction=hostile kind=zeros size=5 delay=3",
        "reaction=void payload.a=null tracing_id=7",
        "reaction=frame answer=event body=00",
    ] {
        assert_eq!(testkit.ask(&format!("2 rule {rule}")), "2 ok", "{rule}");
    }
    for mistake in [
        "start versions=2",
        "start versions=",
        "start versions= refusal=server_error",
        "start refusal=no",
        "start compression=zip",
        "start segments=split:0",
        "start segments=some",
        "start rate_limit_error=x",
        "rule reaction=hostile",
        "rule reaction=hostile kind=friendly",
        "rule reaction=frame answer=query",
        "rule reaction=error code=0x1500 reasons=10.0.0.1",
        "rule reaction=error code=1 operation=sleep",
        "rule reaction=void payload.a=x",
        "requests of=nobody",
    ] {
        let answer = testkit.ask(&format!("3 {mistake}"));
        assert!(answer.starts_with("3 error "), "{mistake}: {answer}");
    }
}

#[test]
fn a_cluster_is_started_and_changed() {
    let mut testkit = Testkit::start();
    let line = "1 start nodes=3 datacenter=a,b tokens=16 node.2=address%3D127.0.0.9%20rack%3Dr%252";
    let port = value(&testkit.ask(line), "port").to_owned();
    let nodes = testkit.ask("2 nodes");
    assert!(nodes.contains(" 127.0.0.9=address%3D127.0.0.9"), "{nodes}");
    let added = testkit.ask("3 add_node rack=r1 event=false");
    assert_eq!(
        added,
        "3 ok address=127.0.0.4 host_id=00000000-0000-4000-8000-000000000004"
    );
    let client = TcpStream::connect(format!("127.0.0.9:{port}")).unwrap();
    let waited = testkit.ask("4 wait node=127.0.0.9 open=1 handshaking_peak=1");
    assert!(waited.starts_with("4 ok connections=1 open=1 "), "{waited}");
    for order in [
        "node_down node=127.0.0.9",
        "node_up node=127.0.0.9",
        "hang_node node=127.0.0.9",
        "resume_node node=127.0.0.9",
        "move_node node=127.0.0.9 to=127.0.0.10",
        "schema_version version=3",
        "schema_version node=127.0.0.10 version=4",
        "remove_node node=127.0.0.10",
        "handshake_delay ms=5",
        "reset_counters",
        "event kind=raw body=00ff",
        "rule node=127.0.0.1 reaction=void",
    ] {
        assert_eq!(testkit.ask(&format!("5 {order}")), "5 ok", "{order}");
    }
    for mistake in [
        "node_down node=127.0.0.10",
        "node_down",
        "add_node address=10.0.0.1",
        "add_node null=peer",
        "schema_version version=x",
        "event kind=raw body=0",
        "counters node=127.0.0.77",
        "start nodes=1 node.2=rack%3Dr",
        "start nodes=1 tokens=1000000",
    ] {
        let answer = testkit.ask(&format!("6 {mistake}"));
        assert!(answer.starts_with("6 error "), "{mistake}: {answer}");
    }
    drop(client);
}

#[test]
fn files_say_what_the_server_shows() {
    let dir = std::env::temp_dir().join(format!("palladion-testkit-{}", std::process::id()));
    let mut testkit = Testkit::start();
    let start = format!("1 start tls=1.2,1.3 dir={}", dir.display());
    let started = testkit.ask(&start);
    for file in [
        "ca",
        "unrelated_ca",
        "cert",
        "client_cert",
        "unrelated_client_cert",
    ] {
        let pem = std::fs::read_to_string(value(&started, file)).unwrap();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{file}");
    }
    for file in ["key", "client_key", "unrelated_client_key"] {
        let pem = std::fs::read_to_string(value(&started, file)).unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"), "{file}");
    }
    assert_eq!(testkit.ask("2 certificate validity=expired"), "2 ok");
    assert_eq!(testkit.ask("3 forget_tickets"), "3 ok");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_end_of_its_input_is_its_own_end() {
    let mut testkit = Testkit::start();
    testkit.ask("1 start");
    drop(testkit.input.take());
    assert!(testkit.process.wait().unwrap().success());
}

#[test]
fn certificates_without_names_and_revocation_lists() {
    let mut testkit = Testkit::start();
    let dir = std::env::temp_dir().join(format!("palladion-testkit-crl-{}", std::process::id()));
    let dir = dir.display();
    let ciphers = "ciphers=TLS_AES_128_GCM_SHA256";
    let started = testkit.ask(&format!(
        "a start tls=1.3 dir={dir} cert= is_ca=true {ciphers}"
    ));
    assert!(started.starts_with("a ok "), "{started}");
    let listed = testkit.ask(&format!("b crl dir={dir} name=revoked"));
    let empty = testkit.ask(&format!("c crl dir={dir} name=empty revoke=false"));
    let read = |answer: &str| std::fs::read_to_string(value(answer, "crl")).unwrap();
    assert!(read(&listed).starts_with("-----BEGIN X509 CRL-----"));
    assert!(read(&listed).len() > read(&empty).len());
    let unknown = testkit.ask(&format!("d start tls=1.3 dir={dir} ciphers=RC4"));
    assert!(unknown.starts_with("d error "), "{unknown}");
    std::fs::remove_dir_all(dir.to_string()).unwrap();
}

/// What stands between two texts.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

#[test]
fn logins_of_all_methods_are_understood() {
    let mut testkit = Testkit::start();
    testkit.ask("0 start");
    for login in [
        "user=ann password=secret may_act_as=bob,eve",
        "method=scram_sha_256 user=ann password=x iterations=5000 salt=00ff final=challenge last_message=wrong",
        "method=digest_md5 user=ann password=x realms=a,b last_message=00 challenge=null challenge_number=2",
        "method=anonymous endless hang_after=3 login_delay=5",
        "method=external user=ann close_after=0 last_message=missing",
        "mechanisms=PLAIN,CRAM-MD5 user=ann password=x authenticator=Own",
        "method=sigv4 region=eu-west-1 skew=-5000 nonce_suffix=%2C%2C challenge=",
        "method=certificate role=ann ready fallback user=bob password=x",
        "method=script challenges=00,ff last=01",
        "",
    ] {
        assert_eq!(testkit.ask(&format!("1 set_login {login}")), "1 ok", "{login}");
    }
    for mistake in [
        "user=ann",
        "method=plain password=x",
        "method=gssapi",
        "mechanisms=GSSAPI user=ann password=x",
        "mechanisms=PLAIN method=plain user=ann password=x",
        "method=anonymous final=never",
        "method=anonymous challenge=0",
        "method=script challenges=x",
        "method=anonymous region=x",
    ] {
        let answer = testkit.ask(&format!("2 set_login {mistake}"));
        assert!(answer.starts_with("2 error "), "{mistake}: {answer}");
    }
}

#[test]
fn stand_ins_and_access_keys_are_managed() {
    let mut testkit = Testkit::start();
    let key = "access_key access_key_id=AKIA1";
    assert!(testkit.ask(&format!("1 {key}")).starts_with("1 error "));
    assert_eq!(
        testkit.ask(&format!("2 {key} secret=x session_token=a%2Bb")),
        "2 ok"
    );
    assert_eq!(testkit.ask(&format!("3 {key} expires_in=0")), "3 ok");
    let keys = testkit.ask("4 access_keys");
    let start = "4 ok AKIA1=secret%3Dx%20session_token%3Da%252Bb%20expires_in%3D";
    assert!(keys.starts_with(start), "{keys}");
    let started = testkit.ask("5 aws_start service=container validity=60000");
    let url = value(&started, "url").to_owned();
    let mut tcp = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    write!(tcp, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(tcp).unwrap();
    let issued = between(&answer, "\"AccessKeyId\":\"", "\"");
    let waited = testkit.ask("6 aws_wait issued=1 timeout=1000");
    assert_eq!(
        waited,
        "6 ok requests=1 tokens=0 asked=1 issued=1 faults=0 refused=0"
    );
    assert_eq!(
        testkit.ask("7 aws_counters aws=1"),
        waited.replace('6', "7")
    );
    assert!(testkit.ask("8 access_keys").contains(issued));
    for order in [
        "aws_set fault=half fault_times=2 validity=5",
        "aws_set",
        &format!("forget_access_key access_key_id={issued}"),
        "aws_start service=imds role=a region=b fault=hang",
        "aws_stop",
        "aws_stop aws=1",
    ] {
        assert!(
            testkit.ask(&format!("9 {order}")).starts_with("9 ok"),
            "{order}"
        );
    }
    assert!(TcpStream::connect(url.trim_start_matches("http://")).is_err());
    for mistake in [
        "aws_start service=s3",
        "aws_start service=sts fault=some",
        "aws_counters",
        "forget_access_key access_key_id=none",
    ] {
        let answer = testkit.ask(&format!("9 {mistake}"));
        assert!(answer.starts_with("9 error "), "{mistake}: {answer}");
    }
}
