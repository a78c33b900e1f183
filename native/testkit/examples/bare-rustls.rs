//! What a connection costs a program that has nothing but rustls and the standard library's sockets, for `bin/bench tls`
//! to compare with. It opens one after another, asks OPTIONS and STARTUP on each, closes it, and prints its figures as JSON.
//!
//! ```text
//! bare-rustls address=IP:PORT seconds=10 warmup=1 sessions=none
//! bare-rustls … sessions=full|resumed|verified version=1.2|1.3 ca=PEM name=HOST
//! ```
//!
//! `none` speaks no TLS. `full` has no session store, `resumed` rustls' own; `verified` also verifies the certificates of
//! each resumed session again, which rustls doesn't do by itself.

use std::collections::HashMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use palladion_cql::frame::{Frame, FrameReader, Sender};
use palladion_cql::{request, Dialect, Opcode, Version};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MAX_FRAME: u32 = 1 << 20;
/// What Linux counts processor time in, as seen from programs.
const TICK: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    match measure() {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bare-rustls: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Outcome<String> {
    let arguments = Arguments::new()?;
    let client = Client {
        address: arguments.get("address")?.parse()?,
        tls: match arguments.get("sessions")? {
            "none" => None,
            sessions => Some(Tls::new(&arguments, sessions)?),
        },
    };
    run(&client, arguments.duration("warmup")?)?;
    let before = cpu_time()?;
    let counts = run(&client, arguments.duration("seconds")?)?;
    let cpu = cpu_time()?.saturating_sub(before).as_micros();
    let Counts {
        connections,
        resumed,
    } = counts;
    Ok(format!(
        r#"{{"connections": {connections}, "resumed": {resumed}, "client_cpu_us": {cpu}}}"#
    ))
}

/// `KEY=VALUE` each.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn new() -> Outcome<Self> {
        let pair = |argument: String| {
            let (key, value) = argument.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        let pairs: Option<_> = std::env::args().skip(1).map(pair).collect();
        Ok(Self(pairs.ok_or("takes KEY=VALUE")?))
    }

    fn get(&self, key: &str) -> Outcome<&str> {
        let value = self.0.get(key).map(String::as_str);
        value.ok_or_else(|| format!("{key}= is missing").into())
    }

    fn duration(&self, key: &str) -> Outcome<Duration> {
        Ok(Duration::try_from_secs_f64(self.get(key)?.parse()?)?)
    }
}

struct Counts {
    connections: u64,
    resumed: u64,
}

/// Connects for so long, at least once.
fn run(client: &Client, time: Duration) -> Outcome<Counts> {
    let end = Instant::now() + time;
    let mut counts = Counts {
        connections: 0,
        resumed: 0,
    };
    loop {
        let kind = client.connect()?;
        counts.connections += 1;
        counts.resumed += u64::from(kind == Some(HandshakeKind::Resumed));
        if Instant::now() >= end {
            return Ok(counts);
        }
    }
}

struct Client {
    address: SocketAddr,
    tls: Option<Tls>,
}

impl Client {
    fn connect(&self) -> Outcome<Option<HandshakeKind>> {
        let mut tcp = TcpStream::connect(self.address)?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => start_up(&mut tcp).map(|()| None),
            Some(tls) => tls.connect(tcp).map(Some),
        }
    }
}

struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
    verify_again: bool,
}

impl Tls {
    fn new(arguments: &Arguments, sessions: &str) -> Outcome<Self> {
        let version = match arguments.get("version")? {
            "1.2" => &TLS12,
            "1.3" => &TLS13,
            _ => return Err("version= is 1.2 or 1.3".into()),
        };
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(arguments.get("ca")?)? {
            roots.add(root?)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let verifier = verifier.build()?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .with_webpki_verifier(Arc::clone(&verifier))
            .with_no_client_auth();
        match sessions {
            "full" => config.resumption = Resumption::disabled(),
            "resumed" | "verified" => {}
            _ => return Err("sessions= is none, full, resumed or verified".into()),
        }
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::try_from(arguments.get("name")?.to_owned())?,
            verifier,
            verify_again: sessions == "verified",
        })
    }

    fn connect(&self, tcp: TcpStream) -> Outcome<HandshakeKind> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        let mut stream = StreamOwned::new(session, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let kind = stream.conn.handshake_kind().ok_or("no handshake")?;
        if self.verify_again && kind == HandshakeKind::Resumed {
            self.verify(stream.conn.peer_certificates().unwrap_or_default())?;
        }
        start_up(&mut stream)?;
        stream.conn.send_close_notify();
        stream.flush()?;
        Ok(kind)
    }

    fn verify(&self, chain: &[CertificateDer<'_>]) -> Outcome<()> {
        let (leaf, rest) = chain.split_first().ok_or("no certificate")?;
        let now = UnixTime::now();
        self.verifier
            .verify_server_cert(leaf, rest, &self.name, &[], now)?;
        Ok(())
    }
}

/// What every client of Cassandra asks first. TLS 1.3 tickets arrive before the answers do.
fn start_up(stream: &mut (impl Read + Write)) -> Outcome<()> {
    let dialect = Dialect::plain(Version::V4);
    let supported = ask(stream, &request::options(&dialect))?;
    if supported.header.opcode != Opcode::Supported {
        return Err("no answer to OPTIONS".into());
    }
    let startup = [("CQL_VERSION", "3.0.0"), ("DRIVER_NAME", "bare rustls")];
    let startup = request::startup(&dialect, &startup).map_err(|_| "the options are too long")?;
    match ask(stream, &startup)?.header.opcode {
        Opcode::Ready => Ok(()),
        _ => Err("no answer to STARTUP".into()),
    }
}

fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> Outcome<Frame> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut frames = FrameReader::new(Sender::Server, Version::V4, MAX_FRAME);
    let mut input = BytesMut::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            return Err("the server closed the connection".into());
        }
        input.extend_from_slice(chunk.get(..n).unwrap_or_default());
        if let Some(frame) = frames.next(&mut input)? {
            return Ok(frame);
        }
    }
}

/// Of the whole process, user and system, as the other clients' is read.
fn cpu_time() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/self/stat")?;
    let ticks: Result<Vec<u32>, _> = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse())
        .collect();
    Ok(TICK * ticks?.iter().sum())
}
