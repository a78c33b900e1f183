//! Rules: each condition and each reaction.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{own_cells, rows_of, v4, Client, PATIENCE};
use palladion_cql::frame::set_stream;
use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{code, ErrorDetail, Message, ResultBody, ServerError};
use palladion_cql::value::Value;
use palladion_cql::{ColumnType, Consistency, DecodeError, Opcode};
use palladion_testkit::{Options, Reaction, Rows, Rule, Server, Text};

async fn house() -> (Server, Client<tokio::net::TcpStream>) {
    let server = Server::start(Options::default()).unwrap();
    let mut client = Client::plain(&server).await;
    assert_eq!(client.start().await, Message::Ready);
    (server, client)
}

fn refusal() -> ServerError {
    ServerError {
        code: code::OVERLOADED,
        message: "no".to_owned(),
        detail: ErrorDetail::None,
    }
}

fn refuse() -> Reaction {
    Reaction::Error(refusal())
}

fn refused() -> Message {
    Message::Error(refusal())
}

fn query(text: &str) -> Vec<u8> {
    request::query(&v4(), text, &Parameters::default()).unwrap()
}

const VOID: Message = Message::Result(ResultBody::Void);

#[tokio::test]
async fn conditions_look_at_the_text() {
    let (server, mut client) = house().await;
    let texts = [
        Text::Equals("a = b".into()),
        Text::StartsWith("START".into()),
        Text::Contains("part".into()),
    ];
    for text in texts {
        server.rule(Rule::on(text, None, refuse())).unwrap();
    }
    for (text, answer) in [
        ("a = b", refused()),
        ("a = b c", VOID),
        ("START x", refused()),
        ("x START", VOID),
        ("a part of", refused()),
    ] {
        assert_eq!(client.query(text).await, answer, "{text}");
    }
    assert_eq!(server.counters().matched, 3);
    server.clear_rules();
    assert_eq!(client.query("a part of").await, VOID);
}

#[tokio::test]
async fn conditions_look_at_the_kind_and_the_count() {
    let (server, mut client) = house().await;
    server.rule(Rule::any(refuse()).nth(2)).unwrap();
    assert_eq!(client.query("x").await, VOID);
    assert_eq!(client.query("x").await, refused());
    assert_eq!(client.query("x").await, VOID);

    server
        .rule(Rule::opcode(Opcode::Prepare, refuse()).times(1))
        .unwrap();
    assert_eq!(client.query("SELECT echo(int)").await.clone(), {
        let message = "Invalid amount of bind variables: 0 given, 1 expected".to_owned();
        Message::Error(ServerError {
            code: code::INVALID,
            message,
            detail: ErrorDetail::None,
        })
    });
    assert_eq!(
        client
            .ask(request::prepare(&v4(), "SELECT echo(int)", None).unwrap())
            .await,
        refused()
    );
    let prepared = client.prepare("SELECT echo(int)").await;

    server
        .rule(Rule::contains("echo", refuse()).skip(1).times(1))
        .unwrap();
    let row = [[Value::Int(1)]];
    let bound = [Value::Int(1)];
    assert_eq!(
        own_cells(&rows_of(client.execute(&prepared, &bound).await)),
        row
    );
    assert_eq!(client.execute(&prepared, &bound).await, refused());
    assert_eq!(
        own_cells(&rows_of(client.execute(&prepared, &bound).await)),
        row
    );
}

#[tokio::test]
async fn chance_meets_about_its_share() {
    let (server, mut client) = house().await;
    server.rule(Rule::any(refuse()).probability(0.05)).unwrap();
    let all: Vec<u8> = (0..2000).flat_map(|_| query("x")).collect();
    client.send_raw(&all).await;
    for _ in 0..2000 {
        client.receive().await;
    }
    let matched = server.counters().matched;
    assert!((60..140).contains(&matched), "{matched} of 2000");
}

#[tokio::test]
async fn rows_are_answered_and_prepared() {
    let (server, mut client) = house().await;
    let columns = [("id", ColumnType::Int), ("name", ColumnType::Text)];
    let rows = Rows::new(columns).unwrap();
    let rows = rows
        .row(&[Value::Int(1), Value::Text("ann".into())])
        .unwrap();
    let rows = rows
        .row(&[Value::Int(2), Value::Null])
        .unwrap()
        .paging_state(b"more");
    let rule = Rule::contains("FROM users", Reaction::Rows(Arc::new(rows)));
    server.rule(rule.bind([("id", ColumnType::Int)])).unwrap();

    let answer = rows_of(client.query("SELECT * FROM users").await);
    let expected = [
        [Value::Int(1), Value::Text("ann".into())],
        [Value::Int(2), Value::Null],
    ];
    assert_eq!(own_cells(&answer), expected);
    assert_eq!(answer.paging_state.as_deref(), Some(&b"more"[..]));

    let prepared = client.prepare("SELECT * FROM users WHERE id = ?").await;
    assert_eq!(prepared.bind[0].ty, ColumnType::Int);
    assert_eq!(prepared.result.len(), 2);
    let answer = rows_of(client.execute(&prepared, &[Value::Int(1)]).await);
    assert_eq!(own_cells(&answer), expected);
}

#[tokio::test]
async fn an_error_carries_its_fields() {
    let (server, mut client) = house().await;
    let detail = ErrorDetail::Write {
        reasons: Vec::new(),
        contentions: None,
        consistency: Consistency::Quorum,
        received: 1,
        required: 2,
        failures: Some(1),
        write_type: "BATCH".to_owned(),
    };
    let error = ServerError {
        code: code::WRITE_FAILURE,
        message: "failed".to_owned(),
        detail,
    };
    server
        .rule(Rule::any(Reaction::Error(error.clone())))
        .unwrap();
    assert_eq!(client.query("x").await, Message::Error(error));
}

/// A query on a stream.
fn on(stream: i16, text: &str) -> Vec<u8> {
    let mut frame = query(text);
    set_stream(&mut frame, stream);
    frame
}

fn later(delay: Duration, then: Reaction) -> Reaction {
    Reaction::Delay(delay, Box::new(then))
}

#[tokio::test]
async fn late_answers_let_others_pass() {
    let (server, mut client) = house().await;
    let delay = Duration::from_millis(80);
    for (text, then) in [("late", Reaction::Builtin), ("end", Reaction::Close)] {
        server
            .rule(Rule::contains(text, later(delay, then)))
            .unwrap();
    }
    let start = Instant::now();
    let both = [on(1, "SELECT numbers(3) late"), on(2, "soon")];
    client.send_raw(&both.concat()).await;
    assert_eq!(client.receive().await, (2, VOID));
    let (stream, message) = client.receive().await;
    assert_eq!((stream, rows_of(message).count), (1, 3));
    assert!(start.elapsed() >= delay);
    client.send(query("end"), 3).await;
    assert_eq!(client.next().await, Ok(None));
}

#[tokio::test]
async fn what_is_still_delayed_at_the_end_is_never_answered() {
    let (server, mut client) = house().await;
    let day = Duration::from_secs(86_400);
    server
        .rule(Rule::contains("late", later(day, Reaction::Void)))
        .unwrap();
    client
        .send_raw(&[on(1, "late"), on(2, "soon")].concat())
        .await;
    assert_eq!(client.receive().await, (2, VOID));
    assert_eq!(server.counters().delayed, 1);
    drop(client);
    let counters = server.until(PATIENCE, |c| c.open == 0).await.unwrap();
    assert_eq!((counters.delayed, counters.unanswered), (0, 1));
}

#[tokio::test]
async fn a_request_without_an_answer_leaves_the_others_alone() {
    let (server, mut client) = house().await;
    server
        .rule(Rule::contains("never", Reaction::Never))
        .unwrap();
    client.send(query("never"), 1).await;
    client.send(query("x"), 2).await;
    assert_eq!(client.receive().await, (2, VOID));
    assert_eq!(server.counters().unanswered, 1);
}

#[tokio::test]
async fn connections_end_as_told() {
    let (server, mut client) = house().await;
    server
        .rule(Rule::contains("close", Reaction::Close))
        .unwrap();
    server
        .rule(Rule::contains("reset", Reaction::Reset))
        .unwrap();
    client.send(query("x"), 1).await;
    client.send(query("close"), 2).await;
    assert_eq!(
        client.receive().await,
        (1, VOID),
        "what came before is answered"
    );
    assert_eq!(client.next().await, Ok(None));

    let mut tcp = tokio::net::TcpStream::connect(server.address())
        .await
        .unwrap();
    let startup = request::startup(&v4(), &[("CQL_VERSION", "3.0.0")]).unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    tcp.write_all(&[startup, query("reset")].concat())
        .await
        .unwrap();
    let error = loop {
        match tcp.read(&mut [0; 64]).await {
            Ok(0) => panic!("closed instead of reset"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn nonsense_is_sent_as_told() {
    let (server, mut client) = house().await;
    server
        .rule(Rule::contains("stream", Reaction::WrongStream))
        .unwrap();
    server
        .rule(Rule::contains("large", Reaction::Oversize))
        .unwrap();
    client.send(query("stream"), 5).await;
    assert_eq!(client.receive().await, (5 + 0x4000, VOID));
    client.send(query("large"), 6).await;
    let large = client.next().await;
    assert!(matches!(
        large,
        Err(DecodeError::FrameTooLarge {
            len: 0x7FFF_FFFF,
            ..
        })
    ));

    let (server, mut client) = house().await;
    let garbage = Reaction::Garbage(b"garbage".to_vec());
    server.rule(Rule::any(garbage)).unwrap();
    client.send(query("x"), 1).await;
    assert_eq!(client.next().await, Err(DecodeError::Version(b'g')));
}

#[tokio::test]
async fn a_hanging_connection_stays_open_and_silent() {
    let (server, mut client) = house().await;
    server.rule(Rule::contains("hang", Reaction::Hang)).unwrap();
    client.send(query("hang"), 1).await;
    client.send(query("x"), 2).await;
    assert!(client.is_silent().await);
    assert_eq!(server.counters().open, 1);
    server.close_connections();
    assert!(server.until(PATIENCE, |c| c.open == 0).await.is_ok());
}

#[tokio::test]
async fn a_login_can_go_wrong_by_rule() {
    let server = Server::start(Options::default().login("ann", "secret")).unwrap();
    server
        .rule(Rule::opcode(Opcode::AuthResponse, Reaction::Never).times(1))
        .unwrap();
    server
        .rule(Rule::opcode(Opcode::Options, refuse()))
        .unwrap();
    let mut client = Client::plain(&server).await;
    assert!(matches!(client.start().await, Message::Authenticate(_)));
    client
        .send(
            request::auth_response(&v4(), Some(b"\0ann\0secret")).unwrap(),
            1,
        )
        .await;
    assert!(client.is_silent().await);
    assert_eq!(client.ask(request::options(&v4())).await, refused());
}

#[tokio::test]
async fn batches_are_matched_by_any_of_their_statements() {
    let (server, mut client) = house().await;
    let prepared = client.prepare("INSERT void(int)").await;
    let batch = |id: &[u8]| {
        let mut body = vec![0, 0, 2]; // logged, two statements
        body.extend_from_slice(&[0, 0, 0, 0, 1, b'x', 0, 0]); // by text, no values
        body.extend_from_slice(&[1, 0, id.len() as u8]);
        body.extend_from_slice(id);
        body.extend_from_slice(&[0, 1, 0, 0, 0, 4, 0, 0, 0, 9]); // one value
        body.extend_from_slice(&[0, 1, 0]); // consistency, flags
        let mut frame = vec![4, 0, 0, 0, Opcode::Batch as u8];
        frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
        frame.extend_from_slice(&body);
        frame
    };
    assert_eq!(client.ask(batch(&prepared.id)).await, VOID);
    let Message::Error(unprepared) = client.ask(batch(&[1, 2])).await else {
        panic!("no error");
    };
    assert_eq!(
        unprepared.detail,
        ErrorDetail::Unprepared { id: vec![1, 2] }
    );
    server.rule(Rule::contains("INSERT", refuse())).unwrap();
    assert_eq!(client.ask(batch(&prepared.id)).await, refused());
}
