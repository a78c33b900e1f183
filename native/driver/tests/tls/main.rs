//! Who is accepted and who is refused, and for which reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod parameters;
mod revocation;
#[path = "../support/mod.rs"]
mod support;
mod trust;

use palladion_driver::tls::TlsConfig;
use palladion_driver::{CertificateProblem, ClusterConfig, Event, Failure};
use palladion_testkit::certs::{Authority, CertOptions, Identity};
use support::*;

/// What becomes of a connection to `localhost` with this certificate, and this change to a
/// configuration that trusts `authority` alone.
pub(crate) async fn outcome(
    authority: &Authority,
    server: &Identity,
    change: impl FnOnce(&mut TlsConfig),
) -> Result<(), Failure> {
    let house = house();
    house.server.set_identity(server.clone()).unwrap();
    let mut config = house.config();
    let tls = config.tls.insert(trusting(authority));
    change(tls);
    let mut started = start(config);
    match started.event().await {
        Event::Handshake { outcome, .. } => outcome.map(|_| ()),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn failure(config: ClusterConfig) -> Failure {
    start(config).connect_error().await.failure.clone()
}

pub(crate) async fn problem(
    authority: &Authority,
    server: &Identity,
    change: impl FnOnce(&mut TlsConfig),
) -> CertificateProblem {
    match outcome(authority, server, change).await {
        Err(Failure::Certificate(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn sha256(certificate: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().try_into().unwrap()
}

pub(crate) fn ca() -> Authority {
    Authority::new("the CA").unwrap()
}

pub(crate) fn localhost() -> CertOptions {
    CertOptions::server(&["localhost"])
}
