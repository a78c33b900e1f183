//! Hostile answers: that each is as bad as it says, in every version and compression.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use client::{cells, own_cells, rows_of, Client};
use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{Message, Response, ResultBody};
use palladion_cql::value::{Value, Values};
use palladion_cql::{Compression, DecodeError, Dialect, Opcode, Version};
use palladion_testkit::{Cut, Hostile, HostileKind as Kind, Options, Reaction, Rule, Server};
use tokio::net::TcpStream;

fn dialects() -> [Dialect; 6] {
    let with = |version, compression| Dialect {
        compression,
        ..Dialect::plain(version)
    };
    [
        with(Version::V3, None),
        with(Version::V3, Some(Compression::Snappy)),
        with(Version::V4, None),
        with(Version::V4, Some(Compression::Lz4)),
        with(Version::V5, None),
        with(Version::V5, Some(Compression::Lz4)),
    ]
}

/// A client of a server that answers in this way to everything with `bad` in it.
async fn house(dialect: Dialect, hostile: Hostile) -> (Server, Client<TcpStream>) {
    house_that(dialect, hostile, Cut::Whole).await
}

async fn house_that(
    dialect: Dialect,
    hostile: Hostile,
    segments: Cut,
) -> (Server, Client<TcpStream>) {
    let options = Options {
        segments,
        ..Options::default()
    };
    let server = Server::start(options).unwrap();
    server
        .rule(Rule::contains("bad", Reaction::Hostile(hostile)))
        .unwrap();
    let mut client = Client::speaking(&server, dialect).await;
    assert_eq!(client.start().await, Message::Ready);
    let frame = request::query(&dialect, "bad", &Parameters::default()).unwrap();
    client.send(frame, 7).await;
    (server, client)
}

/// What the codec makes of the answer.
async fn answer(client: &mut Client<TcpStream>) -> Result<(i16, Response), DecodeError> {
    let frame = client.next().await?.expect("the connection is closed");
    Ok((frame.header.stream, Response::parse(&frame)?))
}

/// The error of reading it, down to the cells.
async fn wrong(client: &mut Client<TcpStream>) -> DecodeError {
    match answer(client).await {
        Err(error) => error,
        Ok((_, response)) => {
            let rows = rows_of(response.message);
            let columns = rows.columns.clone().unwrap();
            rows.decode(&columns, &mut Values, |_, _| {}).unwrap_err()
        }
    }
}

#[tokio::test]
async fn counts_and_lengths_that_cannot_be() {
    let truncated = DecodeError::Truncated;
    let columns = DecodeError::Unknown {
        what: "number of columns",
        value: i32::MAX.into(),
    };
    for dialect in dialects() {
        for (kind, expected) in [
            (Kind::NegativeRows, DecodeError::Negative("row count")),
            (Kind::NegativeColumns, DecodeError::Negative("column count")),
            (Kind::HugeRows, truncated("row count")),
            (Kind::HugeColumns, columns.clone()),
            (Kind::DeepTypes, DecodeError::TooDeep),
            (Kind::Truncated, truncated("column count")),
        ] {
            let (_server, mut client) = house(dialect, Hostile::new(kind)).await;
            assert_eq!(wrong(&mut client).await, expected, "{kind:?} {dialect:?}");
        }
        for kind in [Kind::NegativeCollection, Kind::HugeCollection] {
            let (_server, mut client) = house(dialect, Hostile::new(kind)).await;
            let found = answer(&mut client).await;
            let rows = rows_of(found.unwrap().1.message);
            let columns = rows.columns.clone().unwrap();
            let decoded = rows.decode(&columns, &mut Values, |_, _| {});
            match kind {
                // Cassandra reads it as an empty one.
                Kind::NegativeCollection => {
                    assert!(decoded.is_err() || cells(&rows, &columns) == [[Value::List(vec![])]]);
                }
                _ => assert!(decoded.is_err(), "{dialect:?}"),
            }
        }
    }
}

#[tokio::test]
async fn frames_that_cannot_be() {
    for dialect in dialects() {
        let (_server, mut client) = house(dialect, Hostile::new(Kind::HugeFrame)).await;
        let found = wrong(&mut client).await;
        let too_large = matches!(
            found,
            DecodeError::FrameTooLarge {
                len: 0x7FFF_FFFF,
                ..
            }
        );
        assert!(too_large, "{found:?}");

        let (_server, mut client) = house(dialect, Hostile::new(Kind::UnknownOpcode)).await;
        let expected = DecodeError::Unknown {
            what: "opcode",
            value: 0x7F,
        };
        assert_eq!(wrong(&mut client).await, expected);

        let (_server, mut client) = house(dialect, Hostile::new(Kind::OtherVersion)).await;
        let found = wrong(&mut client).await;
        assert!(matches!(found, DecodeError::Version(_)), "{found:?}");

        for (kind, stream) in [
            (Kind::UnknownStream, 7 + 0x4000),
            (Kind::NegativeStream, -2),
        ] {
            let (_server, mut client) = house(dialect, Hostile::new(kind)).await;
            assert_eq!(answer(&mut client).await.unwrap().0, stream);
        }
    }
}

#[tokio::test]
async fn compressed_bytes_that_cannot_be() {
    for dialect in dialects() {
        for kind in [Kind::Bomb, Kind::BadOffset] {
            let (_server, mut client) = house(dialect, Hostile::new(kind)).await;
            if dialect.compression.is_none() {
                let told = answer(&mut client).await.unwrap().1.message;
                assert!(matches!(told, Message::Error(error) if error.message.contains("needs")));
                continue;
            }
            match (kind, wrong(&mut client).await) {
                (Kind::Bomb, DecodeError::Bomb { len, .. }) => {
                    let most = if dialect.version < Version::V5 {
                        0x7FFF_FFFF
                    } else {
                        0x1_FFFF
                    };
                    assert_eq!(len, most);
                }
                (Kind::BadOffset, DecodeError::Compression) => {}
                (_, other) => panic!("{kind:?} {dialect:?}: {other:?}"),
            }
        }
    }
    let (_server, mut client) = house(dialects()[2], Hostile::new(Kind::CompressedFlag)).await;
    assert_eq!(wrong(&mut client).await, DecodeError::Compression);
}

#[tokio::test]
async fn what_compresses_best_is_legal() {
    let size = 3 << 20;
    let zeros = Hostile {
        size: Some(size),
        ..Hostile::new(Kind::Zeros)
    };
    for dialect in dialects() {
        let (_server, mut client) = house(dialect, zeros).await;
        let (_, response) = answer(&mut client).await.unwrap();
        let rows = own_cells(&rows_of(response.message));
        assert_eq!(rows, [[Value::Blob(vec![0; size])]]);
    }
}

#[tokio::test]
async fn segments_that_cannot_be() {
    for dialect in dialects() {
        for (kind, expected) in [
            (
                Kind::SegmentHeaderCrc,
                DecodeError::Checksum("a segment's header"),
            ),
            (
                Kind::SegmentPayloadCrc,
                DecodeError::Checksum("a segment's payload"),
            ),
            (Kind::HalfFrame, DecodeError::Segment),
        ] {
            let (_server, mut client) = house(dialect, Hostile::new(kind)).await;
            if dialect.version < Version::V5 {
                let told = answer(&mut client).await.unwrap().1.message;
                assert!(matches!(told, Message::Error(error) if error.message.contains("needs")));
            } else {
                assert_eq!(wrong(&mut client).await, expected, "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_never_ends_goes_on_until_the_client_leaves() {
    for dialect in dialects() {
        for kind in [Kind::PartialFrame, Kind::PartialSegment] {
            if kind == Kind::PartialSegment && dialect.version < Version::V5 {
                continue;
            }
            let (server, mut client) = house(dialect, Hostile::new(kind)).await;
            // The header, and something after it.
            let announced = client.arrived(4).await;
            assert!(client.arrived(announced + 3).await > announced);
            drop(client);
            let closed = server.until(client::PATIENCE, |c| c.open == 0).await;
            assert!(closed.is_ok(), "{kind:?}");
        }
        // One that is not so long is whole in the end.
        let short = Hostile {
            size: Some(4),
            ..Hostile::new(Kind::PartialFrame)
        };
        let (_server, mut client) = house(dialect, short).await;
        let frame = client.next().await.unwrap().unwrap();
        assert_eq!((frame.header.stream, frame.body.len()), (7, 4));
    }
}

#[tokio::test]
async fn events_come_in_floods() {
    for dialect in dialects() {
        let flood = Hostile {
            size: Some(2_000),
            ..Hostile::new(Kind::EventFlood)
        };
        let (_server, mut client) = house_that(dialect, flood, Cut::Mixed).await;
        for _ in 0..2_000 {
            let frame = client.next().await.unwrap().unwrap();
            assert_eq!(
                (frame.header.stream, frame.header.opcode),
                (-1, Opcode::Event)
            );
        }
        let (stream, response) = answer(&mut client).await.unwrap();
        assert_eq!(stream, 7);
        assert_eq!(response.message, Message::Result(ResultBody::Void));
    }
}

#[tokio::test]
async fn random_answers_are_frames_all_the_same() {
    for dialect in dialects() {
        let random = Hostile::new(Kind::Random);
        let (_server, mut client) = house_that(dialect, random, Cut::Split(5)).await;
        for _ in 0..50 {
            let frame = client.next().await.unwrap().unwrap();
            assert_eq!(frame.content().unwrap().len(), 64);
            // An error or not: what matters is that reading it ends.
            let _ = Response::parse(&frame);
            let again = request::query(&dialect, "bad", &Parameters::default()).unwrap();
            client.send(again, 7).await;
        }
    }
}
