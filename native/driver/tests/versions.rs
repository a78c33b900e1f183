//! Versions of the protocol: which one is spoken, with what, and what becomes of a cluster whose
//! nodes don't all speak the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use palladion_cql::{Compression, Version};
use palladion_driver::config::{ContactPoint, ProtocolConfig};
use palladion_driver::{ClusterConfig, Distance, Event, Failure, NodeId, NodeSpec, RequestError};
use palladion_testkit::{Cut, Options, Refusal, Server};
use support::scripted::Several;
use support::*;

fn speaking(versions: &[Version]) -> Server {
    server(|options| options.versions = versions.to_vec())
}

fn server(change: impl FnOnce(&mut Options)) -> Server {
    let mut options = Options::default();
    change(&mut options);
    Server::start(options).unwrap()
}

fn config(
    server: &Server,
    version: Option<Version>,
    compression: Option<Compression>,
) -> ClusterConfig {
    ClusterConfig {
        protocol: ProtocolConfig {
            version,
            compression,
        },
        ..plain(server)
    }
}

/// Versions and compressions of all open connections.
fn spoken(started: &Started) -> Vec<(Version, Option<Compression>)> {
    let nodes = started.cluster.status().nodes;
    let connections = nodes.iter().flat_map(|node| &node.connections);
    connections
        .map(|info| (info.dialect.version, info.dialect.compression))
        .collect()
}

async fn rows(started: &Started, n: usize) {
    let answer = started.ask(&format!("SELECT page({n})")).await.unwrap();
    assert_eq!(row_count(&answer), n);
}

#[tokio::test]
async fn the_newest_that_the_server_takes_is_spoken() {
    use Version::{V3, V4, V5};
    for (versions, expected, asked) in [
        (&[V3, V4, V5][..], V5, 1),
        (&[V3, V4], V4, 2),
        // It says so at once, so nobody asks for version 4.
        (&[V3], V3, 2),
        (&[V5], V5, 1),
    ] {
        let server = speaking(versions);
        let started = start(config(&server, None, None));
        started.ready().await.unwrap();
        assert_eq!(spoken(&started), [(expected, None)]);
        assert_eq!(server.connections().len(), asked);
        rows(&started, 100).await;
        // The next connection asks for nothing else.
        started.reconnect().await.unwrap();
        assert_eq!(server.connections().len(), asked + 1);
    }
}

#[tokio::test]
async fn a_pinned_version_is_the_only_one_that_is_asked_for() {
    for version in Version::ALL {
        let server = speaking(&Version::ALL);
        let started = start(config(&server, Some(version), None));
        started.ready().await.unwrap();
        assert_eq!(spoken(&started), [(version, None)]);
        rows(&started, 100).await;
    }
    let server = speaking(&[Version::V3, Version::V4]);
    let (message, newest) = refused(&server, Version::V5).await;
    assert!(message.contains("unsupported protocol version (5)"));
    assert_eq!(newest, Some(4));
}

/// What a server says that is asked for a version that it doesn't speak, and in which one.
async fn refused(server: &Server, version: Version) -> (String, Option<u8>) {
    let mut started = start(config(server, Some(version), None));
    let error = started.connect_error().await;
    let Failure::UnsupportedProtocol { message, server } = &error.failure else {
        panic!("{error:?}");
    };
    (message.clone(), *server)
}

#[tokio::test]
async fn a_refusal_that_only_its_text_tells_of_is_one() {
    let server_of = |versions: &[Version]| {
        server(|options| {
            options.versions = versions.to_vec();
            options.refusal = Refusal::ServerError;
        })
    };
    for (versions, expected) in [
        (&[Version::V3][..], Version::V3),
        (&[Version::V3, Version::V4], Version::V4),
    ] {
        let server = server_of(versions);
        let started = start(config(&server, None, None));
        started.ready().await.unwrap();
        assert_eq!(spoken(&started), [(expected, None)]);
    }
    let server = server_of(&[Version::V3]);
    let (message, newest) = refused(&server, Version::V4).await;
    assert!(message.ends_with("unsupported protocol version: 4"));
    assert_eq!(newest, Some(3));
}

#[tokio::test]
async fn the_addresses_of_a_name_need_not_speak_the_same() {
    let old = server(|options| {
        options.versions = vec![Version::V3, Version::V4];
        options.compression = vec![Compression::Snappy];
    });
    let new = speaking(&Version::ALL);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unused = nobody.local_addr().unwrap();
    drop(nobody);
    for (version, compression) in [(Version::V5, None), (Version::V4, Some(Compression::Lz4))] {
        let config = config(&old, Some(version), compression);
        let several = Several(vec![old.address(), unused, new.address()]);
        let started = start_on(several, config.clone());
        started.ready().await.unwrap();
        assert_eq!(spoken(&started), [(version, compression)]);
        // Where none will do, the reason is what a server said.
        let mut refused = start_on(Several(vec![old.address(), unused]), config);
        let error = refused.connect_error().await;
        assert_eq!(error.address, Some(old.address()));
        assert!(
            matches!(
                error.failure,
                Failure::UnsupportedProtocol { .. } | Failure::UnsupportedCompression { .. }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn servers_too_old_or_silent_are_told_apart() {
    let old = server(|options| {
        options.versions = vec![];
        options.refusal = Refusal::V2;
    });
    let error = start(config(&old, None, None)).connect_error().await;
    assert!(
        matches!(
            &error.failure,
            Failure::UnsupportedProtocol {
                server: Some(2),
                ..
            }
        ),
        "{error:?}"
    );
    let silent = server(|options| {
        options.versions = vec![];
        options.refusal = Refusal::Close;
    });
    let error = start(config(&silent, None, None)).connect_error().await;
    assert!(
        matches!(error.failure, Failure::ClosedByServer),
        "{error:?}"
    );
}

const COMPRESSIONS: [Option<Compression>; 3] =
    [None, Some(Compression::Lz4), Some(Compression::Snappy)];

#[tokio::test]
async fn each_version_with_each_compression() {
    for version in Version::ALL {
        for compression in COMPRESSIONS {
            if version == Version::V5 && compression == Some(Compression::Snappy) {
                continue;
            }
            let server = speaking(&Version::ALL);
            let started = start(config(&server, Some(version), compression));
            started.ready().await.unwrap();
            assert_eq!(spoken(&started), [(version, compression)]);
            for n in [0, 1, 100, 50_000] {
                rows(&started, n).await;
            }
            let long = format!("SELECT page(3) /* {} */", "long ".repeat(100_000));
            assert_eq!(row_count(&started.ask(&long).await.unwrap()), 3);
        }
    }
}

#[tokio::test]
async fn snappy_is_not_asked_for_in_version_5() {
    let server = speaking(&Version::ALL);
    let started = start(config(&server, None, Some(Compression::Snappy)));
    started.ready().await.unwrap();
    assert_eq!(spoken(&started), [(Version::V4, Some(Compression::Snappy))]);
}

#[tokio::test]
async fn a_compression_that_is_not_offered_is_an_error() {
    let server = server(|options| options.compression = vec![Compression::Snappy]);
    let mut started = start(config(&server, None, Some(Compression::Lz4)));
    let error = started.connect_error().await;
    let expected = vec!["snappy".to_owned()];
    assert!(
        matches!(&error.failure, Failure::UnsupportedCompression { wanted: "lz4", offered } if *offered == expected),
        "{error:?}"
    );
}

#[tokio::test]
async fn answers_may_be_cut_into_segments_in_any_way() {
    for cut in [
        Cut::Whole,
        Cut::Each,
        Cut::Split(1),
        Cut::Split(1_000),
        Cut::Mixed,
    ] {
        for compression in [None, Some(Compression::Lz4)] {
            let server = server(|options| options.segments = cut);
            let started = start(config(&server, Some(Version::V5), compression));
            started.ready().await.unwrap();
            // At once, so that there are several in a segment.
            let step = if cut == Cut::Split(1) { 1 } else { 7 };
            let sent: Vec<_> = (0..60)
                .map(|n| n * step)
                .map(|n| (n, started.send(&format!("SELECT page({n})"))))
                .collect();
            for (n, sent) in sent {
                assert_eq!(row_count(&sent.answer().await.unwrap()), n);
            }
            rows(&started, step * 1_000).await;
        }
    }
}

/// Asks without pause until told to stop: how often, and how often it failed for good.
async fn ask_on(started: Arc<Started>, stop: Arc<AtomicBool>) -> (u64, u64) {
    let (asked, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    while asked.load(Ordering::Relaxed) < 20 || !stop.load(Ordering::Relaxed) {
        asked.fetch_add(1, Ordering::Relaxed);
        // As the library's callers do: what was not sent for want of a listener is written again.
        loop {
            match started.ask("SELECT page(10)").await {
                Err(RequestError::ProtocolChanged)
                | Err(RequestError::ConnectionLost { sent: false, .. }) => {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                Ok(answer) => break assert_eq!(row_count(&answer), 10),
                Err(_) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
    (asked.into_inner(), failed.into_inner())
}

/// A cluster whose only node speaks version 5, with its two connections.
async fn of_version_5(server: &Server) -> Started {
    let started = start(ClusterConfig {
        discover: true,
        ..config(server, None, None)
    });
    let nodes = vec![node(NodeId(1), server)];
    started.cluster.set_nodes(nodes).unwrap();
    started.ready().await.unwrap();
    until("two connections", || spoken(&started).len() == 2).await;
    assert!(spoken(&started).iter().all(|s| s.0 == Version::V5));
    started
}

#[tokio::test]
async fn a_node_that_can_do_less_lowers_the_cluster_without_a_lost_request() {
    let new = speaking(&Version::ALL);
    let old = speaking(&[Version::V3, Version::V4]);
    let mut started = of_version_5(&new).await;
    let (_, none) = tokio::sync::mpsc::unbounded_channel();
    let mut events = std::mem::replace(&mut started.events, none);
    let started = Arc::new(started);
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..16)
        .map(|_| tokio::spawn(ask_on(Arc::clone(&started), Arc::clone(&stop))))
        .collect();
    let nodes = vec![node(NodeId(1), &new), node(NodeId(2), &old)];
    started.cluster.set_nodes(nodes).unwrap();
    until("all speak version 4", || {
        let spoken = spoken(&started);
        spoken.len() == 4 && spoken.iter().all(|s| s.0 == Version::V4)
    })
    .await;
    until("the control connection, too", || {
        let control = started.cluster.status().control;
        control.is_some_and(|info| info.dialect.version == Version::V4)
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        let (asked, failed) = caller.await.unwrap();
        assert!(failed == 0, "{failed} of {asked} failed");
    }
    let mut lowered = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::ProtocolLowered { from, to, .. } = event {
            lowered.push((from, to));
        }
    }
    assert_eq!(lowered, [(Version::V5, Version::V4)]);
}

#[tokio::test]
async fn a_remote_node_that_can_do_less_gets_no_request_meanwhile() {
    let new = speaking(&Version::ALL);
    let old = speaking(&[Version::V4]);
    let started = of_version_5(&new).await;
    let remote = NodeSpec {
        distance: Distance::Remote,
        ..node(NodeId(2), &old)
    };
    let nodes = vec![node(NodeId(1), &new), remote];
    started.cluster.set_nodes(nodes).unwrap();
    let lowered = || {
        let spoken = spoken(&started);
        spoken.len() == 4 && spoken.iter().all(|s| s.0 == Version::V4)
    };
    while !lowered() {
        match started.ask("SELECT page(10)").await {
            Ok(answer) => assert_eq!(row_count(&answer), 10),
            Err(RequestError::ProtocolChanged) => {}
            Err(other) => panic!("{other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(old.counters().query, 0);
    assert!(new.counters().query > 0);
}

#[tokio::test]
async fn what_nobody_speaks_any_more_is_forgotten() {
    let old = speaking(&[Version::V4]);
    let new = speaking(&[Version::V5]);
    let started = start(ClusterConfig {
        discover: true,
        contact_points: vec![contact_point(&old), contact_point(&new)],
        ..config(&old, None, None)
    });
    started
        .cluster
        .set_nodes(vec![node(NodeId(1), &old)])
        .unwrap();
    started.ready().await.unwrap();
    assert_eq!(spoken(&started)[0].0, Version::V4);
    // The last of the old nodes goes, and those that came in its place don't speak its version.
    old.stop();
    started
        .cluster
        .set_nodes(vec![node(NodeId(2), &new)])
        .unwrap();
    until("connections of version 5", || {
        let spoken = spoken(&started);
        spoken.len() == 2 && spoken.iter().all(|s| s.0 == Version::V5)
    })
    .await;
    rows(&started, 10).await;
}

fn contact_point(server: &Server) -> ContactPoint {
    ContactPoint {
        host: "127.0.0.1".to_owned(),
        port: server.address().port(),
        verified_name: None,
    }
}

#[tokio::test]
async fn a_node_that_refuses_everything_lowers_nobody() {
    let new = speaking(&Version::ALL);
    let broken = server(|options| options.versions = vec![]);
    let mut started = start(ClusterConfig {
        discover: true,
        ..config(&new, None, None)
    });
    let nodes = vec![node(NodeId(1), &new), node(NodeId(2), &broken)];
    started.cluster.set_nodes(nodes).unwrap();
    started.ready().await.unwrap();
    let error = started.connect_error().await;
    assert!(matches!(error.failure, Failure::UnsupportedProtocol { .. }));
    until("two connections", || spoken(&started).len() == 2).await;
    assert!(spoken(&started).iter().all(|s| s.0 == Version::V5));
    rows(&started, 10).await;
}
