//! Where commands are carried out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use palladion_cql::response::SchemaChange;
use palladion_testkit::certs::Authority;
use palladion_testkit::{
    parse_hex, Counters, Error, Event, NodeCounters, Options, Server, TlsOptions, Versions,
};

use rustls::crypto::aws_lc_rs;
use rustls::{CipherSuite, NamedGroup};

use crate::aws::Aws;
use crate::bounds::Bounds;
use crate::cluster::{carry_out, cluster};
use crate::connections::connections;
use crate::line::{Command, Pairs};
use crate::login::login;
use crate::paper::{cert_options, identity, write_crl, write_identity, write_papers, Issuer};
use crate::protocol::protocol;
use crate::requests::requests;
use crate::rule::{list, rule};

/// The servers, and the authorities that all of them share.
pub(crate) struct Desk {
    servers: HashMap<u64, Arc<Server>>,
    last_id: u64,
    authority: Authority,
    unrelated: Authority,
    aws: Aws,
}

/// Servers at a time, at most.
const MAX_SERVERS: usize = 256;

/// What a command leads to.
pub(crate) enum Reply {
    Now(Pairs),
    /// Known only once something has happened: to be asked for on a thread of its own.
    Later(Box<dyn FnOnce() -> Result<Pairs, String> + Send>),
}

impl From<Pairs> for Reply {
    fn from(pairs: Pairs) -> Self {
        Self::Now(pairs)
    }
}

impl Desk {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            servers: HashMap::new(),
            last_id: 0,
            authority: Authority::new("testkit CA")?,
            unrelated: Authority::new("unrelated CA")?,
            aws: Aws::default(),
        })
    }

    pub(crate) fn carry_out(&mut self, command: &mut Command) -> Result<Reply, String> {
        match command.name.as_str() {
            "start" => return self.start(command).map(Reply::from),
            "issue" => return self.issue(command).map(Reply::from),
            _ => {}
        }
        if let Some(done) = self.aws.carry_out(command) {
            return done;
        }
        let id = command.parsed("id")?.unwrap_or(self.last_id);
        let server = self.servers.get(&id).cloned();
        let server = server.ok_or_else(|| format!("there is no server {id}"))?;
        if let Some(done) = carry_out(&server, command) {
            return done.map(Reply::from);
        }
        match command.name.as_str() {
            "wait" => return wait(server, command),
            "counters" => {
                let node = command.parsed("node")?;
                command.finish()?;
                return seen(&server, node).map(Reply::from);
            }
            "certificate" => {
                let nodes = server.nodes().unwrap_or_default();
                let nodes: Vec<_> = nodes.iter().map(|info| info.node.address).collect();
                let options = cert_options(command, &nodes)?;
                let issuer = Issuer::take(command)?;
                command.finish()?;
                let identity = identity(issuer, &options, &self.authority, &self.unrelated);
                told(server.set_identity(told(identity)?))?;
            }
            "crl" => {
                let identity = told(server.identity())?;
                let crl = write_crl(command, &identity, &self.authority, &self.unrelated)?;
                command.finish()?;
                return Ok(Pairs::default().with("crl", crl).into());
            }
            "rule" => {
                let rule = rule(command)?;
                command.finish()?;
                told(server.rule(rule))?;
            }
            "alter" => {
                let rule = rule(command)?;
                command.finish()?;
                told(server.alter(rule))?;
            }
            "set_password" => {
                let password = command.need("password")?;
                command.finish()?;
                server.set_password(&password);
            }
            "set_login" => {
                let login = login(command, &self.aws.keys)?;
                command.finish()?;
                server.set_login(login);
            }
            "event" => {
                let event = event(command)?;
                command.finish()?;
                server.push_event(event);
            }
            _ => {
                command.finish()?;
                return self.bare(id, &server, &command.name).map(Reply::from);
            }
        }
        Ok(Pairs::default().into())
    }

    /// Commands that take nothing but a server.
    fn bare(&mut self, id: u64, server: &Server, command: &str) -> Result<Pairs, String> {
        match command {
            "connections" => return Ok(connections(&server.connections())),
            "requests" => return Ok(requests(&server.requests())),
            "reset_counters" => server.reset_counters(),
            "clear_rules" => server.clear_rules(),
            "forget_prepared" => server.forget_prepared(),
            "forget_tickets" => told(server.forget_tickets())?,
            "pause" => server.pause(),
            "resume" => server.resume(),
            "refuse" => told(server.refuse())?,
            "listen" => told(server.listen())?,
            "close_connections" => server.close_connections(),
            "stop" => {
                server.stop();
                self.servers.remove(&id);
            }
            other => return Err(format!("unknown command {other}")),
        }
        Ok(Pairs::default())
    }

    fn start(&mut self, command: &mut Command) -> Result<Pairs, String> {
        if self.servers.len() >= MAX_SERVERS {
            return Err("too many servers".to_owned());
        }
        let id = self.last_id + 1;
        let address: Option<IpAddr> = command.parsed("address")?;
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let defaults = Options::default();
        let mut options = Options {
            address: SocketAddr::new(address, command.parsed("port")?.unwrap_or(0)),
            login: login(command, &self.aws.keys)?,
            max_frame: command.parsed("max_frame")?.unwrap_or(defaults.max_frame),
            max_connections: command
                .parsed("max_connections")?
                .unwrap_or(defaults.max_connections),
            threads: command.parsed("threads")?.unwrap_or(defaults.threads),
            seed: command.parsed("seed")?.unwrap_or(defaults.seed),
            handshake_delay: millis(command, "handshake_delay")?.unwrap_or_default(),
            cluster: cluster(command)?,
            ..protocol(command, defaults)?
        };
        for (key, value) in command.take_all("supported.") {
            let name = key.trim_start_matches("supported.").to_owned();
            options.supported.push((name, list(Some(value))));
        }
        let mut answer = Pairs::default().with("id", id);
        let versions = command.take("tls");
        let dir = command.take("dir");
        if let Some(versions) = versions.filter(|versions| versions != "off") {
            let dir = dir.ok_or("dir= is missing")?;
            let nodes = options.cluster.iter().flat_map(|cluster| &cluster.nodes);
            let nodes: Vec<_> = nodes.map(|node| node.address).collect();
            let tls = self.tls(&versions, &nodes, command)?;
            let papers = write_papers(&dir, id, &tls.identity, &self.authority, &self.unrelated);
            answer = told(papers)?
                .into_iter()
                .fold(answer, |answer, (key, path)| answer.with(key, path));
            options.tls = Some(tls);
        }
        command.finish()?;
        let server = Server::start(options).map_err(to_text)?;
        let address = server.address();
        self.servers.insert(id, Arc::new(server));
        self.last_id = id;
        Ok(answer
            .with("address", address.ip())
            .with("port", address.port()))
    }

    fn tls(
        &self,
        versions: &str,
        nodes: &[Ipv4Addr],
        command: &mut Command,
    ) -> Result<TlsOptions, String> {
        let options = cert_options(command, nodes)?;
        let issuer = Issuer::take(command)?;
        let identity = told(identity(issuer, &options, &self.authority, &self.unrelated))?;
        let mut tls = TlsOptions::new(identity);
        tls.versions = match versions {
            "1.2" => Versions::Tls12,
            "1.3" => Versions::Tls13,
            "1.2,1.3" | "1.3,1.2" | "true" => Versions::Both,
            other => return Err(format!("tls={other} is none of 1.2, 1.3, 1.2,1.3 and off")),
        };
        if let Some(tickets) = command.parsed("tickets")? {
            tls.tls13_tickets = tickets;
        }
        if let Some(ways) = command.take("tls12") {
            let ways = list(Some(ways));
            tls.tls12_tickets = ways.iter().any(|way| way == "tickets");
            tls.tls12_session_ids = ways.iter().any(|way| way == "ids");
        }
        if let Some(ciphers) = command.take("ciphers") {
            let ciphers = list(Some(ciphers)).into_iter().map(|name| cipher(&name));
            tls.cipher_suites = Some(ciphers.collect::<Result<_, _>>()?);
        }
        if let Some(groups) = command.take("groups") {
            let groups = list(Some(groups)).into_iter().map(|name| group(&name));
            tls.groups = Some(groups.collect::<Result<_, _>>()?);
        }
        let own = Some(vec![self.authority.der().clone()]);
        (tls.client_authorities, tls.client_cert_optional) =
            match command.take("client_auth").as_deref() {
                None | Some("none") => (None, false),
                Some("required") => (own, false),
                Some("optional") => (own, true),
                Some(other) => {
                    return Err(format!(
                        "client_auth={other} is none of none, required, optional"
                    ));
                }
            };
        Ok(tls)
    }

    fn issue(&mut self, command: &mut Command) -> Result<Pairs, String> {
        let (dir, name) = (command.need("dir")?, command.need("name")?);
        let options = cert_options(command, &[])?;
        let issuer = Issuer::take(command)?;
        command.finish()?;
        let identity = told(identity(issuer, &options, &self.authority, &self.unrelated))?;
        let (cert, key) = told(write_identity(dir.as_ref(), &name, &identity))?;
        Ok(Pairs::default().with("cert", cert).with("key", key))
    }
}

/// By its name in IANA's registry.
fn cipher(name: &str) -> Result<CipherSuite, String> {
    let known = aws_lc_rs::ALL_CIPHER_SUITES.iter();
    known
        .map(|suite| suite.suite())
        .find(|suite| format!("{suite:?}").replacen("TLS13_", "TLS_", 1) == name)
        .ok_or_else(|| format!("ciphers={name} is no cipher suite"))
}

fn group(name: &str) -> Result<NamedGroup, String> {
    Ok(match name {
        "x25519" => NamedGroup::X25519,
        "secp256r1" => NamedGroup::secp256r1,
        "secp384r1" => NamedGroup::secp384r1,
        other => {
            return Err(format!(
                "groups={other} is none of x25519, secp256r1, secp384r1"
            ))
        }
    })
}

fn to_text(error: Error) -> String {
    error.to_string()
}

pub(crate) fn told<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(to_text)
}

pub(crate) fn millis(command: &mut Command, key: &str) -> Result<Option<Duration>, String> {
    Ok(command.parsed(key)?.map(Duration::from_millis))
}

/// What the server, or one of its nodes, has seen.
fn seen(server: &Server, node: Option<Ipv4Addr>) -> Result<Pairs, String> {
    match node {
        None => Ok(counters(&server.counters())),
        Some(node) => Ok(counts(told(server.node_counters(node))?.pairs())),
    }
}

fn counters(counters: &Counters) -> Pairs {
    counts(counters.pairs()).with_some("last_failure", counters.last_failure.as_ref())
}

fn counts(counts: Vec<(&'static str, u64)>) -> Pairs {
    let counts = counts.into_iter();
    counts.fold(Pairs::default(), |pairs, (name, n)| pairs.with(name, n))
}

/// `wait query=3 open.max=0 resumed.min=2 node=127.0.0.2 timeout=5000`
fn wait(server: Arc<Server>, command: &mut Command) -> Result<Reply, String> {
    let timeout = millis(command, "timeout")?.unwrap_or(Duration::from_secs(5));
    let node = command.parsed("node")?;
    let known = match node {
        None => Counters::default().pairs(),
        Some(_) => NodeCounters::default().pairs(),
    };
    let bounds = Bounds::take(command, &known)?;
    Ok(Reply::Later(Box::new(move || {
        let hold = |pairs: Vec<(&str, u64)>| bounds.hold(&pairs);
        match node {
            None => told(server.wait(timeout, |seen| hold(seen.pairs()))).map(|s| counters(&s)),
            Some(node) => {
                let seen = told(server.wait_node(node, timeout, |seen| hold(seen.pairs())))?;
                Ok(counts(seen.pairs()))
            }
        }
    })))
}

fn event(command: &mut Command) -> Result<Event, String> {
    let kind = command.need("kind")?;
    if kind == "raw" {
        let body = parse_hex(&command.need("body")?);
        return body
            .map(Event::Raw)
            .ok_or("body= is no hexadecimal number".to_owned());
    }
    let change = command.need("change")?;
    let node = |command: &mut Command| {
        let node: Option<SocketAddr> = command.parsed("node")?;
        node.ok_or_else(|| "node= is missing".to_owned())
    };
    Ok(match kind.as_str() {
        "topology" => Event::Topology(change, node(command)?),
        "status" => Event::Status(change, node(command)?),
        "schema" => Event::Schema(SchemaChange {
            change,
            target: command.need("target")?,
            keyspace: command.need("keyspace")?,
            name: command.take("name"),
        }),
        other => {
            return Err(format!(
                "kind={other} is none of topology, status, schema, raw"
            ))
        }
    })
}
