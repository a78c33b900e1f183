//! One look at a server, for `Palladion.Doctor`.

use std::sync::Arc;

use palladion_driver::network::System;
use palladion_driver::probe as driver;
use palladion_driver::probe::{CqlProbe, Probe, Resumption, TlsProbe};
use palladion_driver::{Failure, RequestState};
use rustler::types::map::map_new;
use rustler::{Encoder, Env, ResourceArc, Term};

use crate::atoms;
use crate::config::probe_config;
use crate::errors::{put, reply, NativeError};
use crate::reply::{failure, ReplyTo};
use crate::request::RequestResource;
use crate::runtime;
use crate::status;

/// Connects step by step. `{ref, report}` follows, or `{ref, error}` for what can't work at all.
#[rustler::nif(schedule = "DirtyCpu")]
fn probe<'a>(env: Env<'a>, request: Term<'a>, reference: Term<'a>) -> Term<'a> {
    reply(env, start(env, request, reference))
}

fn start(
    env: Env<'_>,
    request: Term<'_>,
    reference: Term<'_>,
) -> Result<ResourceArc<RequestResource>, NativeError> {
    let (config, threads) = probe_config(request)?;
    let access =
        runtime::access(threads).map_err(|e| NativeError::bad_config("runtime_threads", e))?;
    let state = Arc::new(RequestState::default());
    let to = ReplyTo::new(env.pid(), reference, Arc::clone(&state));
    access.handle.spawn(async move {
        match driver::probe(&System, &config).await {
            Ok(probe) => to.send(|env| report(env, &probe)),
            Err(error) => to.send(|env| failure(env, &NativeError::bad_config("tls", error))),
        }
    });
    Ok(ResourceArc::new(RequestResource::new(state)))
}

fn report<'a>(env: Env<'a>, probe: &Probe) -> Term<'a> {
    let connect = probe.connect.map(|took| took.as_micros() as u64);
    let map = put(map_new(env), "connect_us", connect);
    let map = put(map, "tls", probe.tls.as_ref().map(|seen| tls(env, seen)));
    let resumption = probe.resumption.as_ref();
    let map = put(map, "resumption", resumption.map(|r| resumed(env, r)));
    let map = put(map, "cql", probe.cql.as_ref().map(|seen| cql(env, seen)));
    put(map, "error", probe.failure.as_ref().map(NativeError::from))
}

fn tls<'a>(env: Env<'a>, seen: &TlsProbe) -> Term<'a> {
    let map = match &seen.info {
        Some(info) => status::tls(env, info),
        // The server ended the handshake, but not before it had shown itself.
        None => ["version", "cipher", "group", "handshake", "duration_us"]
            .into_iter()
            .fold(map_new(env), |map, key| put(map, key, atoms::nil())),
    };
    let chain: Vec<Term<'a>> = seen
        .chain
        .iter()
        .map(|der| status::binary(env, der))
        .collect();
    let map = put(map, "certificates", chain);
    let map = put(map, "sni", seen.sni.as_deref());
    let map = put(map, "verified_name", seen.verified_name.as_deref());
    let map = put(map, "verdict", outcome(env, &seen.verdict));
    let map = put(map, "client_certificate_requested", seen.certificate_asked);
    put(map, "client_certificate_sent", seen.certificate_shown)
}

fn resumed<'a>(env: Env<'a>, seen: &Resumption) -> Term<'a> {
    let kind = seen
        .second
        .as_ref()
        .ok()
        .map(|kind| status::handshake(*kind));
    let error = seen.second.as_ref().err().map(NativeError::from);
    let map = put(map_new(env), "tickets", seen.tickets);
    put(put(map, "handshake", kind), "error", error)
}

fn cql<'a>(env: Env<'a>, seen: &CqlProbe) -> Term<'a> {
    let supported = seen
        .supported
        .iter()
        .fold(map_new(env), |map, (key, values)| {
            map.map_put(key, values).unwrap_or(map)
        });
    let login = match (&seen.login, &seen.authenticator) {
        (Some(login), Some(_)) => outcome(env, login),
        (Some(Err(failure)), None) => NativeError::from(failure).encode(env),
        (_, None) => atoms::not_needed().to_term(env),
        (None, Some(_)) => atoms::not_tried().to_term(env),
    };
    let map = put(map_new(env), "supported", supported);
    let map = put(map, "authenticator", seen.authenticator.as_deref());
    let map = put(map, "mechanism", seen.mechanism);
    put(map, "login", login)
}

fn outcome<'a>(env: Env<'a>, outcome: &Result<(), Failure>) -> Term<'a> {
    match outcome {
        Ok(()) => atoms::ok().to_term(env),
        Err(failure) => NativeError::from(failure).encode(env),
    }
}
