//! A cluster's state and counters as terms.

use palladion_cql::Compression;
use palladion_driver::connection::{ConnectionInfo, HandshakeKind, Role, TlsInfo};
use palladion_driver::{Cluster, Distance, NodeStatus, Phase};
use rustler::types::map::map_new;
use rustler::{Atom, Encoder, Env, NewBinary, Term};

use crate::atoms;
use crate::errors::{atom, node_term, put, NativeError};

pub(crate) fn status<'a>(env: Env<'a>, cluster: &Cluster) -> Term<'a> {
    let status = cluster.status();
    let phase = match status.phase {
        Phase::Connecting => "connecting",
        Phase::Ready => "ready",
        Phase::Disconnected => "disconnected",
        Phase::Closed => "closed",
    };
    let endpoints: Vec<_> = status.nodes.iter().map(|n| node(env, n)).collect();
    let map = put(map_new(env), "phase", atom(env, phase));
    let map = put(map, "endpoints", endpoints);
    let control = status.control.as_deref().map(|info| connection(env, info));
    let map = put(map, "control", control);
    let map = put(map, "in_flight", status.in_flight);
    let map = put(map, "orphans", status.orphans);
    let last_error = status.last_error.as_deref().map(NativeError::from);
    put(map, "last_error", last_error)
}

fn node<'a>(env: Env<'a>, node: &NodeStatus) -> Term<'a> {
    let connections = node.connections.iter();
    let connections: Vec<_> = connections.map(|info| connection(env, info)).collect();
    let chain = node.connections.iter().find_map(|c| c.tls.as_ref());
    let chain = chain.map_or(&[][..], |tls| &tls.chain.certificates);
    let chain: Vec<_> = chain.iter().map(|der| binary(env, der)).collect();
    let distance = match node.distance {
        Distance::Local => atoms::local(),
        Distance::Remote => atoms::remote(),
    };
    let map = put(map_new(env), "endpoint", node.endpoint.as_str());
    let map = put(map, "node", node_term(env, node.id));
    let map = put(map, "distance", distance);
    let map = put(map, "connections", connections);
    let map = put(map, "in_flight", node.in_flight);
    let last_error = node.last_error.as_deref().map(NativeError::from);
    let map = put(map, "last_error", last_error);
    put(map, "certificates", chain)
}

pub(crate) fn stats<'a>(env: Env<'a>, cluster: &Cluster) -> Term<'a> {
    let counters = cluster.stats().all();
    counters
        .into_iter()
        .fold(map_new(env), |map, (name, value)| put(map, name, value))
}

pub(crate) fn connection<'a>(env: Env<'a>, info: &ConnectionInfo) -> Term<'a> {
    let tls = info.tls.as_ref().map(|tls| self::tls(env, tls));
    let map = put(map_new(env), "endpoint", &*info.endpoint);
    let map = put_role(map, info.role);
    let map = put(map, "address", info.address.to_string());
    let map = put(map, "tls", tls);
    let map = put(map, "protocol_version", info.dialect.version.number());
    let compression = info.dialect.compression.map(Compression::name);
    let map = put(map, "compression", compression);
    let map = put(map, "authenticator", info.authenticator.as_deref());
    let map = put(map, "mechanism", info.mechanism);
    let map = put(map, "cql_versions", &info.cql_versions);
    put(map, "duration_us", info.duration.as_micros() as u64)
}

/// What a connection is for: `role` and `node`.
pub(crate) fn put_role(map: Term<'_>, role: Role) -> Term<'_> {
    let env = map.get_env();
    match role {
        Role::Pool(node) => put(
            put(map, "role", atoms::pool()),
            "node",
            node_term(env, node),
        ),
        Role::Control => put(put(map, "role", atoms::control()), "node", atoms::nil()),
    }
}

/// What is known of a TLS session.
pub(crate) fn tls<'a>(env: Env<'a>, tls: &TlsInfo) -> Term<'a> {
    let map = put(map_new(env), "version", tls_version(tls.version));
    let map = put(map, "cipher", tls.cipher.as_str());
    let map = put(map, "group", tls.group.as_deref());
    let map = put(map, "handshake", handshake(tls.handshake));
    let map = put(map, "verified_name", tls.verified_name.as_deref());
    let map = put(map, "not_after", tls.chain.not_after);
    let map = put(map, "generation", tls.generation);
    put(map, "duration_us", tls.duration.as_micros() as u64)
}

pub(crate) fn handshake(kind: HandshakeKind) -> Atom {
    match kind {
        HandshakeKind::Full => atoms::full(),
        HandshakeKind::HelloRetry => atoms::full_with_hello_retry_request(),
        HandshakeKind::Resumed => atoms::resumed(),
    }
}

/// rustls' name as `:ssl` writes it.
fn tls_version(name: &str) -> impl Encoder {
    match name {
        "TLSv1_2" => atoms::tls12(),
        "TLSv1_3" => atoms::tls13(),
        _ => atoms::none(),
    }
}

pub(crate) fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}
