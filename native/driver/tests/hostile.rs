//! A server that means harm: what it says ends its connection with an error, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use palladion_cql::response::{Message, Response, ResultBody};
use palladion_cql::segment::SegmentWriter;
use palladion_cql::value::Values;
use palladion_cql::{Compression, DecodeError, Opcode, Version};
use palladion_driver::config::ProtocolConfig;
use palladion_driver::{Answer, ClusterConfig, Event, Failure, RequestError};
use palladion_testkit::{Hostile, HostileKind as Kind, Options, Reaction, Rule, Server};
use support::scripted::{count_turns, event, frame, pinned, ready, supported, void, Scripted};
use support::*;

const DIALECTS: [(Version, Option<Compression>); 8] = [
    (Version::V3, None),
    (Version::V3, Some(Compression::Lz4)),
    (Version::V3, Some(Compression::Snappy)),
    (Version::V4, None),
    (Version::V4, Some(Compression::Lz4)),
    (Version::V4, Some(Compression::Snappy)),
    (Version::V5, None),
    (Version::V5, Some(Compression::Lz4)),
];

/// Reads an answer to its end, as the library does.
fn read(answer: &Answer) {
    let read = Response::parse(&answer.frame).and_then(|response| match response.message {
        Message::Result(ResultBody::Rows(rows)) => {
            let columns = rows.columns.clone().unwrap_or_default();
            rows.decode(&columns, &mut Values, |_, _| {})
        }
        _ => Ok(()),
    });
    if let Err(error) = read {
        answer.malformed(&error);
    }
}

/// Whether the testkit has such an answer for this dialect, or answers with an error that says so.
fn is_for(kind: Kind, version: Version, compression: Option<Compression>) -> bool {
    let v5 = version == Version::V5;
    match kind {
        Kind::PartialSegment | Kind::HalfFrame => v5,
        Kind::SegmentHeaderCrc | Kind::SegmentPayloadCrc => v5,
        Kind::CompressedFlag => !v5 && compression.is_none(),
        Kind::Bomb | Kind::BadOffset => compression.is_some(),
        // By chance they may mean something; and what is no attack.
        Kind::Random | Kind::Zeros | Kind::EventFlood => false,
        _ => true,
    }
}

#[tokio::test]
async fn what_it_says_ends_its_connection_with_an_error_and_the_rest_goes_on() {
    for (version, compression) in DIALECTS {
        for kind in Kind::ALL.iter().copied() {
            if is_for(kind, version, compression) {
                attack(kind, version, compression).await;
            }
        }
    }
}

async fn attack(kind: Kind, version: Version, compression: Option<Compression>) {
    let what = format!("{} in {version} with {compression:?}", kind.name());
    let server = Server::start(Options::default()).unwrap();
    let rule = Rule::contains("attack", Reaction::Hostile(Hostile::new(kind)));
    server.rule(rule).unwrap();
    let mut config = ClusterConfig {
        protocol: ProtocolConfig {
            version: Some(version),
            compression,
        },
        pool_size: 2,
        ..plain(&server)
    };
    // What never becomes complete is found out by the heartbeat.
    let partial = matches!(kind, Kind::PartialFrame | Kind::PartialSegment);
    if partial {
        config.timeouts.heartbeat_interval = Duration::from_millis(50);
        config.timeouts.heartbeat = Duration::from_millis(400);
    }
    let mut started = start(config);
    started.ready().await.unwrap();
    started.opened(2).await;
    let sent = started.send("SELECT attack()");
    let outcome = patiently(sent.outcome).await.unwrap();
    match &outcome {
        Ok(answer) => read(answer),
        Err(RequestError::ConnectionLost { sent: true, .. }) => {}
        Err(other) => panic!("{what}: {other:?}"),
    }
    let failure = loop {
        if let Event::Closed { failure, .. } = started.event().await {
            break failure;
        }
    };
    match failure {
        Some(Failure::Protocol(_)) if !partial => {}
        Some(Failure::Heartbeat(_)) if partial => {}
        other => panic!("{what}: {other:?}"),
    }
    // The other connection answers, and the lost one comes back.
    assert_eq!(
        row_count(&started.ask("SELECT numbers(5)").await.unwrap()),
        5
    );
    started.opened(1).await;
}

#[tokio::test]
async fn what_is_only_odd_does_no_harm() {
    for (version, compression) in DIALECTS {
        let server = Server::start(Options::default()).unwrap();
        let flood = Hostile::new(Kind::EventFlood);
        let rule = Rule::contains("event_flood", Reaction::Hostile(flood));
        server.rule(rule).unwrap();
        let zeros = Hostile {
            kind: Kind::Zeros,
            size: Some(4 << 20),
        };
        let rule = Rule::contains("zeros", Reaction::Hostile(zeros));
        server.rule(rule).unwrap();
        let mut config = ClusterConfig {
            protocol: ProtocolConfig {
                version: Some(version),
                compression,
            },
            ..plain(&server)
        };
        config.connection.max_response_size = 1 << 20;
        let started = start(config);
        started.ready().await.unwrap();
        started.ask("SELECT event_flood()").await.unwrap();
        // More than is kept, however few bytes it came in: it costs its request alone.
        let large = started.ask("SELECT zeros()").await;
        assert!(
            matches!(large, Err(RequestError::ResponseTooLarge { len, .. }) if len >= 4 << 20),
            "{version} {compression:?}: {large:?}"
        );
        assert_eq!(
            row_count(&started.ask("SELECT numbers(5)").await.unwrap()),
            5
        );
        assert_eq!(server.connections().len(), 1);
    }
}

#[tokio::test]
async fn nothing_but_an_event_comes_unasked() {
    let v4 = Version::V4;
    let too_long = vec![0; 9 << 20];
    for (unasked, expected) in [
        (event(v4, -1), None),
        (frame(v4, -1, Opcode::Event, &too_long), None),
        (event(v4, -2), Some(-2)),
        (void(v4, -1), Some(-1)),
        (void(v4, -2), Some(-2)),
        (void(v4, i16::MIN), Some(i64::from(i16::MIN))),
        (frame(v4, -1, Opcode::Result, &too_long), Some(-1)),
        (void(v4, 7), Some(7)),
    ] {
        let answer = [unasked, void(v4, 0)].concat();
        let script = vec![supported(v4, 0), ready(v4), answer];
        let started = start_on(Scripted(script), pinned(v4, None));
        started.ready().await.unwrap();
        let outcome = started.ask("SELECT 1").await;
        let Some(stream) = expected else {
            assert_eq!(outcome.unwrap(), Message::Result(ResultBody::Void));
            continue;
        };
        let Err(RequestError::ConnectionLost { failure, .. }) = outcome else {
            panic!("{stream}: {outcome:?}");
        };
        assert!(
            matches!(*failure, Failure::Protocol(DecodeError::Unknown { value, .. }) if value == stream),
            "{stream}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn a_flood_out_of_a_few_bytes_leaves_the_thread_to_others_between() {
    let (v5, lz4) = (Version::V5, Some(Compression::Lz4));
    let mut flood = Vec::new();
    let mut segments = SegmentWriter::new(lz4);
    for _ in 0..400_000 {
        segments.put(&frame(v5, -1, Opcode::Event, &[]), &mut flood);
    }
    segments.put(&void(v5, 0), &mut flood);
    segments.seal(&mut flood);
    // In a single read.
    assert!(flood.len() < 32 << 10, "{}", flood.len());
    let mut second = Vec::new();
    segments.put(&void(v5, 0), &mut second);
    segments.seal(&mut second);
    let script = vec![supported(v5, 0), ready(v5), flood, second];
    let flooded = start_on(Scripted(script), pinned(v5, lz4));
    flooded.ready().await.unwrap();
    let server = Server::start(Options::default()).unwrap();
    let other = start(plain(&server));
    other.ready().await.unwrap();
    let turns = count_turns();
    let before = turns.load(Ordering::Relaxed);
    let drowned = flooded.send("SELECT 1");
    let (drowned, beside) = tokio::join!(
        async {
            let answer = drowned.answer().await.unwrap();
            (answer, turns.load(Ordering::Relaxed) - before)
        },
        other.ask("SELECT numbers(5)")
    );
    assert_eq!(row_count(&beside.unwrap()), 5);
    assert_eq!(drowned.0, Message::Result(ResultBody::Void));
    assert!(drowned.1 > 100, "{}", drowned.1);
    // Nothing is left over that would need another read to be seen.
    let answer = flooded.ask("SELECT 1").await.unwrap();
    assert_eq!(answer, Message::Result(ResultBody::Void));
}
