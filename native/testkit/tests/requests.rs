//! What requests carry in each version, and what answers carry beside their message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use std::sync::Arc;

use client::{execute_in, rows_of, Client};
use palladion_cql::request::{self, Batch, BatchKind, Parameters, StatementId, Unsendable};
use palladion_cql::response::{
    code, ErrorDetail, LimitedOperation, Message, Prepared, ResultBody, Rows as Found, ServerError,
};
use palladion_cql::value::Value;
use palladion_cql::{ColumnType, Compression, Consistency, Dialect, Opcode, Version};
use palladion_testkit::{Extras, Options, Reaction, Rows, Rule, Server, StatementInfo, Text};
use tokio::net::TcpStream;

async fn connected(server: &Server, dialect: Dialect) -> Client<TcpStream> {
    let mut client = Client::speaking(server, dialect).await;
    assert_eq!(client.start().await, Message::Ready);
    client
}

const VOID: Message = Message::Result(ResultBody::Void);

/// Everything that the version has.
fn all_of(version: Version) -> Parameters {
    let since = |needs| version >= needs;
    Parameters {
        consistency: Consistency::Quorum,
        page_size: Some(77),
        paging_state: Some(vec![1, 2]),
        serial_consistency: Some(Consistency::LocalSerial),
        timestamp: Some(-5),
        skip_metadata: true,
        keyspace: since(Version::V5).then(|| "shop".to_owned()),
        now_in_seconds: since(Version::V5).then_some(1_700_000_000),
        payload: if since(Version::V4) {
            vec![("key".to_owned(), vec![0xCA, 0xFE])]
        } else {
            Vec::new()
        },
        tracing: true,
    }
}

#[tokio::test]
async fn everything_that_a_request_carries_is_seen() {
    let server = Server::start(Options::default()).unwrap();
    for version in Version::ALL {
        let mut client = connected(&server, Dialect::plain(version)).await;
        let prepared = client.prepare("INSERT void(int)").await;
        let parameters = all_of(version);
        let dialect = client.dialect;
        let query = request::query(&dialect, "SELECT x", &parameters).unwrap();
        let execute = execute_in(&dialect, &prepared, &[Value::Int(1)], &parameters);
        let batch = batch(&dialect, &prepared, &parameters);
        for frame in [query, execute, batch] {
            assert_eq!(client.ask(frame).await, VOID);
        }
        let requests = server.requests();
        let [query, execute, batch] = &requests[requests.len() - 3..] else {
            panic!("too few");
        };
        for seen in [query, execute, batch] {
            assert_eq!(seen.version, version.number());
            assert_eq!(seen.consistency, Some(Consistency::Quorum));
            assert_eq!(seen.serial_consistency, Some(Consistency::LocalSerial));
            assert_eq!(seen.timestamp, Some(-5));
            assert_eq!(seen.keyspace, parameters.keyspace);
            assert_eq!(seen.now_in_seconds, parameters.now_in_seconds);
            let payload = parameters.payload.iter().cloned();
            let payload: Vec<_> = payload.map(|(name, bytes)| (name, Some(bytes))).collect();
            assert_eq!(seen.payload, payload);
            assert!(seen.tracing);
        }
        for seen in [query, execute] {
            assert_eq!((seen.page_size, seen.skip_metadata), (Some(77), true));
            assert_eq!(seen.paging_state, Some(vec![1, 2]));
        }
        let by_text = |text: &str| StatementInfo {
            text: Some(text.to_owned()),
            id: None,
            values: 0,
        };
        let by_id = StatementInfo {
            id: Some(prepared.id.to_vec()),
            values: 1,
            ..by_text("INSERT void(int)")
        };
        assert_eq!(query.statements, [by_text("SELECT x")]);
        assert_eq!(execute.statements, std::slice::from_ref(&by_id));
        let result_id = prepared.result_id.map(|id| id.to_vec());
        assert_eq!(execute.result_id, result_id);
        assert_eq!(batch.statements, [by_text("UPDATE a"), by_id]);
        assert_eq!(batch.batch, Some(BatchKind::Counter));
        assert_eq!(batch.page_size, None);
    }
}

fn batch(dialect: &Dialect, prepared: &Prepared, parameters: &Parameters) -> Vec<u8> {
    let mut batch = Batch::new(dialect, BatchKind::Counter, parameters).unwrap();
    batch.query("UPDATE a").unwrap();
    let statement = StatementId {
        id: &prepared.id,
        result_id: None,
    };
    let values = |out: &mut Vec<u8>| {
        out.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 9]);
        Ok::<(), Unsendable>(())
    };
    batch.prepared(statement, 1, values).unwrap();
    batch.finish(parameters).unwrap()
}

#[tokio::test]
async fn a_long_request_is_seen_to_be_compressed() {
    let server = Server::start(Options::default()).unwrap();
    let dialect = Dialect {
        compression: Some(Compression::Lz4),
        ..Dialect::plain(Version::V4)
    };
    let mut client = connected(&server, dialect).await;
    let long = "x".repeat(5_000);
    for text in ["short", &long] {
        assert_eq!(client.query(text).await, VOID);
    }
    let compressed: Vec<_> = server.requests().iter().map(|r| r.compressed).collect();
    assert_eq!(compressed, [false, true]);
}

#[tokio::test]
async fn the_keyspace_of_prepare_makes_another_statement() {
    let server = Server::start(Options::default()).unwrap();
    let mut client = connected(&server, Dialect::plain(Version::V5)).await;
    let mut ids = Vec::new();
    for keyspace in [None, Some("a"), Some("b"), Some("a")] {
        let frame = request::prepare(&client.dialect, "SELECT echo(int)", keyspace).unwrap();
        match client.ask(frame).await {
            Message::Result(ResultBody::Prepared(prepared)) => ids.push(prepared.id),
            other => panic!("not prepared: {other:?}"),
        }
    }
    assert_eq!(ids[1], ids[3]);
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    let keyspaces: Vec<_> = server.requests().into_iter().map(|r| r.keyspace).collect();
    assert_eq!(keyspaces[1].as_deref(), Some("a"));
}

#[tokio::test]
async fn answers_carry_what_their_version_has() {
    let server = Server::start(Options::default()).unwrap();
    let extras = Extras {
        tracing_id: Some([9; 16]),
        warnings: vec!["one".to_owned(), "two, 2".to_owned()],
        payload: vec![("a".to_owned(), Some(vec![1])), ("b".to_owned(), None)],
    };
    let with = Reaction::With(Arc::new(extras.clone()), Box::new(Reaction::Void));
    server.rule(Rule::contains("extras", with)).unwrap();
    for version in Version::ALL {
        let mut client = connected(&server, Dialect::plain(version)).await;
        let frame = request::query(&client.dialect, "extras", &Parameters::default()).unwrap();
        client.send(frame, 1).await;
        let (_, response) = client.response().await;
        assert_eq!(response.message, VOID);
        assert_eq!(response.tracing_id, Some([9; 16]));
        if version == Version::V3 {
            assert!(response.warnings.is_empty() && response.payload.is_empty());
        } else {
            assert_eq!(response.warnings, extras.warnings);
            assert_eq!(response.payload, extras.payload);
        }
        // Without a rule a traced request has some trace, and another one nothing.
        for tracing in [true, false] {
            let parameters = Parameters {
                tracing,
                ..Parameters::default()
            };
            let frame = request::query(&client.dialect, "x", &parameters).unwrap();
            client.send(frame, 1).await;
            let (_, response) = client.response().await;
            assert_eq!(response.tracing_id.is_some(), tracing);
        }
    }
}

fn rows(columns: &[&str]) -> Arc<Rows> {
    let types = columns.iter().map(|name| (*name, ColumnType::Int));
    let cells = vec![Value::Int(1); columns.len()];
    Arc::new(Rows::new(types).unwrap().row(&cells).unwrap())
}

fn names(rows: &Found) -> Option<Vec<&str>> {
    let columns = rows.columns.as_deref()?.iter();
    Some(columns.map(|column| column.name.as_str()).collect())
}

async fn run(client: &mut Client<TcpStream>, prepared: &Prepared) -> Found {
    let parameters = Parameters {
        skip_metadata: true,
        ..Parameters::default()
    };
    let frame = execute_in(&client.dialect, prepared, &[], &parameters);
    rows_of(client.ask(frame).await)
}

fn with_ids() -> [Dialect; 2] {
    let scylla = Dialect {
        metadata_ids: true,
        ..Dialect::plain(Version::V4)
    };
    [Dialect::plain(Version::V5), scylla]
}

#[tokio::test]
async fn columns_that_change_are_told_once() {
    for dialect in with_ids() {
        let server = Server::start(Options {
            metadata_ids: true,
            ..Options::default()
        })
        .unwrap();
        let users = |columns: &[&str]| Rule::contains("users", Reaction::Rows(rows(columns)));
        server.rule(users(&["a"])).unwrap();
        let mut client = connected(&server, dialect).await;
        let mut prepared = client.prepare("SELECT * FROM users").await;
        let same = run(&mut client, &prepared).await;
        assert_eq!((names(&same), same.metadata_id.clone()), (None, None));

        server.alter(users(&["a", "b"])).unwrap();
        let changed = run(&mut client, &prepared).await;
        assert_eq!(names(&changed), Some(vec!["a", "b"]));
        let id = changed.metadata_id.expect("an id");
        assert_ne!(Some(&id), prepared.result_id.as_ref());

        let again = client.prepare("SELECT * FROM users").await;
        assert_eq!(
            (again.id, again.result_id),
            (prepared.id.clone(), Some(id.clone()))
        );
        prepared.result_id = Some(id);
        let known = run(&mut client, &prepared).await;
        assert_eq!((names(&known), known.metadata_id.clone()), (None, None));
    }
}

#[tokio::test]
async fn without_ids_a_change_is_not_told() {
    let server = Server::start(Options::default()).unwrap();
    let users = |columns: &[&str]| Rule::contains("users", Reaction::Rows(rows(columns)));
    server.rule(users(&["a"])).unwrap();
    let mut client = connected(&server, Dialect::plain(Version::V4)).await;
    let prepared = client.prepare("SELECT * FROM users").await;
    server.alter(users(&["a", "b"])).unwrap();
    let changed = run(&mut client, &prepared).await;
    assert_eq!((names(&changed), changed.column_count), (None, 2));
}

#[tokio::test]
async fn the_columns_of_conditional_updates_are_told_each_time() {
    let server = Server::start(Options::default()).unwrap();
    let refused = rows(&["[applied]", "a"]);
    let rule = Rule::contains("IF", Reaction::Rows(refused)).bind([("x", ColumnType::Int)]);
    server.rule(rule).unwrap();
    for version in Version::ALL {
        let mut client = connected(&server, Dialect::plain(version)).await;
        let prepared = client.prepare("UPDATE t SET a = ? IF b = 1").await;
        assert_eq!((prepared.bind.len(), prepared.result.len()), (1, 0));
        for _ in 0..2 {
            let found = run(&mut client, &prepared).await;
            assert_eq!(names(&found), Some(vec!["[applied]", "a"]));
            assert_eq!(found.metadata_id, None);
        }
        let frame = batch(&client.dialect, &prepared, &Parameters::default());
        server
            .alter(Rule::on(
                Text::Any,
                Some(Opcode::Batch),
                Reaction::Rows(rows(&["[applied]"])),
            ))
            .unwrap();
        let found = rows_of(client.ask(frame).await);
        assert_eq!(names(&found), Some(vec!["[applied]"]));
    }
}

#[tokio::test]
async fn errors_have_the_fields_of_their_version() {
    let server = Server::start(Options {
        rate_limit_error: Some(0xF000),
        ..Options::default()
    })
    .unwrap();
    let error = |code, detail| ServerError {
        code,
        message: "as told".to_owned(),
        detail,
    };
    let write = |failures, reasons, write_type: &str, contentions| ErrorDetail::Write {
        consistency: Consistency::All,
        received: 1,
        required: 3,
        failures,
        reasons,
        write_type: write_type.to_owned(),
        contentions,
    };
    let reasons = vec![
        ("10.0.0.1".parse().unwrap(), 1),
        ("::1".parse().unwrap(), 0x0102),
    ];
    let failed = write(Some(2), reasons.clone(), "SIMPLE", None);
    let timed_out = write(None, Vec::new(), "CAS", Some(3));
    let unknown = ErrorDetail::CasWriteUnknown {
        consistency: Consistency::Serial,
        received: 1,
        required: 2,
    };
    let limited = ErrorDetail::RateLimit {
        operation: LimitedOperation::Write,
        by_coordinator: true,
    };
    for (text, told) in [
        ("failed", error(code::WRITE_FAILURE, failed.clone())),
        ("late", error(code::WRITE_TIMEOUT, timed_out.clone())),
        ("unknown", error(code::CAS_WRITE_UNKNOWN, unknown.clone())),
        ("limited", error(0xF000, limited.clone())),
    ] {
        server
            .rule(Rule::contains(text, Reaction::Error(told)))
            .unwrap();
    }
    for version in [Version::V4, Version::V5] {
        let dialect = Dialect {
            rate_limit_error: Some(0xF000),
            ..Dialect::plain(version)
        };
        let mut client = connected(&server, dialect).await;
        let (failed, timed_out) = if version == Version::V5 {
            (failed.clone(), timed_out.clone())
        } else {
            (
                write(Some(2), Vec::new(), "SIMPLE", None),
                write(None, Vec::new(), "CAS", None),
            )
        };
        for (text, detail) in [
            ("failed", failed),
            ("late", timed_out),
            ("unknown", unknown.clone()),
            ("limited", limited.clone()),
        ] {
            match client.query(text).await {
                Message::Error(error) => assert_eq!(error.detail, detail, "{text} {version}"),
                other => panic!("no error: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_frame_can_be_told_byte_by_byte() {
    let server = Server::start(Options::default()).unwrap();
    let keyspace = [&[0, 0, 0, 3, 0, 2][..], b"ks"].concat();
    let frame = Reaction::Frame(Opcode::Result, keyspace);
    server.rule(Rule::contains("frame", frame)).unwrap();
    for version in Version::ALL {
        let mut client = connected(&server, Dialect::plain(version)).await;
        let answer = client.query("frame").await;
        let expected = Message::Result(ResultBody::SetKeyspace("ks".to_owned()));
        assert_eq!(answer, expected);
    }
}
