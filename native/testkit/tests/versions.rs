//! The protocol's versions: which are spoken, compressed and in segments, and how others are
//! refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use client::{own_cells, rows_of, Client};
use palladion_cql::request;
use palladion_cql::response::{code, Message};
use palladion_cql::value::Value;
use palladion_cql::{Compression, DecodeError, Dialect, Version};
use palladion_testkit::{Cut, Options, Refusal, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const COMPRESSIONS: [Option<Compression>; 3] =
    [None, Some(Compression::Lz4), Some(Compression::Snappy)];

fn dialects() -> Vec<Dialect> {
    let all = Version::ALL.into_iter().flat_map(|version| {
        COMPRESSIONS.map(|compression| Dialect {
            compression,
            ..Dialect::plain(version)
        })
    });
    // Snappy is not in protocol 5.
    all.filter(|d| d.version < Version::V5 || d.compression != Some(Compression::Snappy))
        .collect()
}

fn error_of(message: Message) -> (i32, String) {
    match message {
        Message::Error(error) => (error.code, error.message),
        other => panic!("no error: {other:?}"),
    }
}

/// A login, values there and back, and so many rows: 3,000 fill several segments.
async fn converse(server: &Server, dialect: Dialect, most: usize) {
    let mut client = Client::speaking(server, dialect).await;
    let logged_in = client.log_in("ann", "secret").await;
    assert_eq!(logged_in, Message::AuthSuccess(None), "{dialect:?}");
    let prepared = client.prepare("SELECT echo(id int key, text)").await;
    let key: &[u16] = if dialect.version >= Version::V4 {
        &[0]
    } else {
        &[]
    };
    assert_eq!(prepared.partition_key, key);
    assert_eq!(prepared.result_id.is_some(), dialect.has_metadata_ids());
    let bound = [Value::Int(7), Value::Text("long ".repeat(1_000))];
    let echoed = rows_of(client.execute(&prepared, &bound).await);
    assert_eq!(own_cells(&echoed), [bound]);
    for rows in [1, most] {
        let page = client.query(&format!("SELECT page({rows})")).await;
        assert_eq!(own_cells(&rows_of(page)).len(), rows);
    }
}

#[tokio::test]
async fn every_version_is_spoken_with_every_compression_it_has() {
    let server = Server::start(Options::default().login("ann", "secret")).unwrap();
    for dialect in dialects() {
        converse(&server, dialect, 3_000).await;
        let connections = server.connections();
        let info = connections.last().unwrap();
        assert_eq!(info.version, Some(dialect.version.number()));
        assert_eq!(info.compression, dialect.compression.map(Compression::name));
    }
}

#[tokio::test]
async fn segments_can_be_cut_in_any_way() {
    let cuts = [
        (Cut::Each, 3_000),
        (Cut::Split(1), 20),
        (Cut::Split(1_000), 3_000),
        (Cut::Mixed, 500),
    ];
    let v5 = dialects()
        .into_iter()
        .filter(|d| d.version == Version::V5)
        .collect::<Vec<_>>();
    for (segments, most) in cuts {
        for segment_compression in [true, false] {
            let options = Options {
                segments,
                segment_compression,
                ..Options::default()
            };
            let server = Server::start(options.login("ann", "secret")).unwrap();
            for dialect in &v5 {
                converse(&server, *dialect, most).await;
            }
        }
    }
}

#[tokio::test]
async fn many_answers_come_in_order_however_they_are_cut() {
    for segments in [Cut::Whole, Cut::Split(999), Cut::Mixed] {
        let options = Options {
            segments,
            ..Options::default()
        };
        let server = Server::start(options).unwrap();
        let mut client = Client::speaking(&server, Dialect::plain(Version::V5)).await;
        assert_eq!(client.start().await, Message::Ready);
        let query = |n: usize| format!("SELECT page({})", n % 90);
        for n in 0..200 {
            let frame = request::query(&client.dialect, &query(n), &Default::default()).unwrap();
            client.send(frame, n as i16).await;
        }
        for n in 0..200 {
            let (stream, message) = client.receive().await;
            assert_eq!((stream as usize, rows_of(message).count), (n, n % 90));
        }
    }
}

#[tokio::test]
async fn a_version_that_is_not_spoken_is_refused_in_the_newest_that_is() {
    for (versions, asked, refused) in [
        (vec![Version::V3, Version::V4], Version::V5, Version::V4),
        (vec![Version::V3], Version::V4, Version::V3),
        (vec![Version::V5, Version::V4], Version::V3, Version::V5),
    ] {
        let server = Server::start(Options {
            versions: versions.clone(),
            ..Options::default()
        })
        .unwrap();
        let mut client = Client::speaking(&server, Dialect::plain(asked)).await;
        let options = request::options(&client.dialect);
        client.send(options, 1).await;
        let frame = client.next().await.unwrap().unwrap();
        assert_eq!(frame.header.version, refused.number());
        let response = palladion_cql::response::Response::parse(&frame).unwrap();
        let (code, message) = error_of(response.message);
        assert_eq!(code, code::PROTOCOL);
        let (oldest, newest) = (versions.iter().min(), versions.iter().max());
        let expected = format!(
            "Invalid or unsupported protocol version ({}); the lowest supported version is {} and \
             the greatest is {}",
            asked.number(),
            oldest.unwrap().number(),
            newest.unwrap().number(),
        );
        assert_eq!(message, expected);
        assert_eq!(client.next().await, Ok(None));
    }
}

#[tokio::test]
async fn older_servers_refuse_in_their_own_ways() {
    let options = |refusal| Options {
        versions: Vec::new(),
        refusal,
        ..Options::default()
    };
    let request = request::options(&Dialect::plain(Version::V4));
    let server = Server::start(options(Refusal::V2)).unwrap();
    let mut tcp = TcpStream::connect(server.address()).await.unwrap();
    tcp.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[..4], [0x82, 0, 0, 0]);
    let length = u32::from_be_bytes(answer[4..8].try_into().unwrap());
    assert_eq!(length as usize, answer.len() - 8);
    assert_eq!(answer[8..12], code::PROTOCOL.to_be_bytes());
    assert!(answer.ends_with(b"Invalid or unsupported protocol version: 4"));

    let server = Server::start(Options {
        versions: vec![Version::V3],
        ..options(Refusal::ServerError)
    })
    .unwrap();
    let mut client = Client::plain(&server).await;
    client.send(request.clone(), 1).await;
    let frame = client.next().await.unwrap().unwrap();
    assert_eq!((frame.header.version, frame.header.stream), (3, 0));
    let response = palladion_cql::response::Response::parse(&frame).unwrap();
    let (code, message) = error_of(response.message);
    assert_eq!(code, code::SERVER);
    assert!(message.ends_with("ProtocolException: Invalid or unsupported protocol version: 4"));
    assert_eq!(client.next().await, Ok(None));

    let server = Server::start(options(Refusal::Close)).unwrap();
    let mut client = Client::plain(&server).await;
    client.send(request, 1).await;
    assert_eq!(client.next().await, Ok(None));
}

#[tokio::test]
async fn the_version_of_startup_stays() {
    let server = Server::start(Options::default()).unwrap();
    let mut client = Client::speaking(&server, Dialect::plain(Version::V3)).await;
    // Before it any will do.
    let newer = request::options(&Dialect::plain(Version::V4));
    assert!(matches!(
        client.ask(newer.clone()).await,
        Message::Supported(_)
    ));
    client.start().await;
    client.send(newer, 1).await;
    let (code, message) = error_of(client.receive().await.1);
    assert_eq!(code, code::PROTOCOL);
    assert!(
        message.starts_with("Invalid message version. Got 4/v4"),
        "{message}"
    );
    assert_eq!(client.next().await, Ok(None));
}

#[tokio::test]
async fn what_the_server_does_not_compress_with_is_refused_and_not_offered() {
    let server = Server::start(Options {
        compression: vec![Compression::Lz4],
        versions: vec![Version::V5, Version::V4],
        ..Options::default()
    })
    .unwrap();
    let snappy = |version| Dialect {
        compression: Some(Compression::Snappy),
        ..Dialect::plain(version)
    };
    let mut client = Client::speaking(&server, snappy(Version::V4)).await;
    let Message::Supported(offered) = client.ask(request::options(&client.dialect)).await else {
        panic!("no SUPPORTED");
    };
    let value = |name: &str| {
        let found = offered.iter().find(|(known, _)| known == name);
        found.unwrap().1.join(",")
    };
    assert_eq!(value("COMPRESSION"), "lz4");
    assert_eq!(value("PROTOCOL_VERSIONS"), "4/v4,5/v5");
    let refused = error_of(client.start().await);
    let message = "Unknown compression algorithm: snappy".to_owned();
    assert_eq!(refused, (code::PROTOCOL, message));

    let server = Server::start(Options::default()).unwrap();
    let mut client = Client::speaking(&server, snappy(Version::V5)).await;
    let (_, message) = error_of(client.start().await);
    assert_eq!(
        message,
        "Snappy compression is not supported in protocol V5"
    );
}

#[tokio::test]
async fn a_compressed_request_that_was_not_agreed_on_is_malformed() {
    let server = Server::start(Options::default()).unwrap();
    let mut client = Client::plain(&server).await;
    assert_eq!(client.start().await, Message::Ready);
    let mut frame = request::query(&client.dialect, "x", &Default::default()).unwrap();
    frame[1] |= palladion_cql::frame::flag::COMPRESSION;
    client.send(frame, 1).await;
    let (_, message) = error_of(client.receive().await.1);
    assert_eq!(message, DecodeError::Compression.to_string());
}
