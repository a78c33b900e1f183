//! Login, the statements that the server knows by itself, and what a test does to it at runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use client::{cells, execute, own_cells, rows_of, v4, Client, PATIENCE};
use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{code, ErrorDetail, Message, ResultBody, ServerError};
use palladion_cql::value::Value;
use palladion_cql::Opcode;
use palladion_testkit::{Event, Options, Server};

fn server() -> Server {
    Server::start(Options::default()).unwrap()
}

async fn started(server: &Server) -> Client<tokio::net::TcpStream> {
    let mut client = Client::plain(server).await;
    assert_eq!(client.start().await, Message::Ready);
    client
}

fn error_of(message: Message) -> ServerError {
    match message {
        Message::Error(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

const VOID: Message = Message::Result(ResultBody::Void);

#[tokio::test]
async fn a_login_works_with_the_right_password_only() {
    let server = Server::start(Options::default().login("ann", "secret")).unwrap();
    let right = Client::plain(&server).await.log_in("ann", "secret").await;
    assert_eq!(right, Message::AuthSuccess(None));
    let wrong = error_of(Client::plain(&server).await.log_in("ann", "guess").await);
    assert_eq!(wrong.code, code::BAD_CREDENTIALS);
    assert_eq!(
        wrong.message,
        "Provided username ann and/or password are incorrect"
    );
    server.set_password("guess");
    let changed = Client::plain(&server).await.log_in("ann", "guess").await;
    assert_eq!(changed, Message::AuthSuccess(None));
    let counters = server.counters();
    assert_eq!((counters.logins, counters.failed_logins), (2, 1));
    let users: Vec<_> = server.connections().into_iter().map(|c| c.user).collect();
    assert_eq!(
        users,
        [Some("ann".to_owned()), None, Some("ann".to_owned())]
    );
}

#[tokio::test]
async fn nothing_is_answered_before_the_login() {
    let server = Server::start(Options::default().login("ann", "secret")).unwrap();
    let mut client = Client::plain(&server).await;
    let early = error_of(client.query("SELECT page(1)").await);
    assert_eq!(
        early.message,
        "Unexpected message QUERY, expecting STARTUP or OPTIONS"
    );
    client.start().await;
    let early = error_of(client.query("SELECT page(1)").await);
    assert_eq!(
        early.message,
        "Unexpected message QUERY, expecting SASL_RESPONSE"
    );
    assert!(matches!(
        client.ask(request::options(&v4())).await,
        Message::Supported(_)
    ));
}

#[tokio::test]
async fn startup_options_and_supported_ones_are_seen() {
    let supported = vec![("SCYLLA_SHARD".to_owned(), vec!["3".to_owned()])];
    let server = Server::start(Options {
        supported,
        ..Options::default()
    })
    .unwrap();
    let mut client = started(&server).await;
    let Message::Supported(options) = client.ask(request::options(&v4())).await else {
        panic!("no SUPPORTED");
    };
    assert!(options.contains(&("SCYLLA_SHARD".to_owned(), vec!["3".to_owned()])));
    let connections = server.connections();
    let driver = ("DRIVER_NAME".to_owned(), "a bare client".to_owned());
    assert!(connections[0].startup.contains(&driver));
}

#[tokio::test]
async fn echo_returns_the_very_bytes_that_were_bound() {
    let server = server();
    let mut client = started(&server).await;
    let text = "SELECT echo(id int key, map<text, frozen<list<int>>>, text)";
    let prepared = client.prepare(text).await;
    assert_eq!(prepared.partition_key, [0]);
    let names: Vec<_> = prepared.bind.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["id", "c1", "c2"]);
    assert_eq!(prepared.bind, prepared.result);
    let map = vec![(Value::Text("a".into()), Value::List(vec![Value::Int(1)]))];
    let bound = [Value::Int(7), Value::Map(map), Value::Unset];
    let rows = rows_of(client.execute(&prepared, &bound).await);
    let [id, map, _] = bound;
    assert_eq!(own_cells(&rows), [[id, map, Value::Null]]);

    let too_few = error_of(client.execute(&prepared, &[Value::Int(1)]).await);
    assert_eq!(too_few.code, code::INVALID);
}

#[tokio::test]
async fn many_requests_in_one_write_are_all_answered() {
    let server = server();
    let mut client = started(&server).await;
    let prepared = client.prepare("SELECT echo(int)").await;
    let all: Vec<u8> = (0..10_000)
        .flat_map(|n| {
            let mut frame = execute(&prepared, &[Value::Int(n)], &Parameters::default());
            palladion_cql::frame::set_stream(&mut frame, n as i16);
            frame
        })
        .collect();
    client.send_raw(&all).await;
    for n in 0..10_000 {
        let (stream, message) = client.receive().await;
        assert_eq!(i64::from(stream), n);
        assert_eq!(own_cells(&rows_of(message)), [[Value::Int(n)]]);
    }
    assert_eq!(server.counters().execute, 10_000);
}

#[tokio::test]
async fn a_page_is_sent_with_and_without_metadata() {
    let server = server();
    let mut client = started(&server).await;
    let prepared = client.prepare("SELECT page(5000)").await;
    assert_eq!(prepared.result.len(), 9);
    let rows = rows_of(client.execute(&prepared, &[]).await);
    assert_eq!((rows.count, rows.column_count), (5000, 9));
    assert_eq!(rows.columns.as_deref(), Some(&*prepared.result));

    let mut frame = execute(&prepared, &[], &Parameters::default());
    let flags = frame.len() - 1;
    frame[flags] |= 0x02; // skip metadata
    let bare = rows_of(client.ask(frame).await);
    assert_eq!(bare.columns, None);
    assert_eq!(cells(&bare, &prepared.result), own_cells(&rows));
}

#[tokio::test]
async fn numbers_come_in_pages() {
    let server = server();
    let mut client = started(&server).await;
    let mut parameters = Parameters {
        page_size: Some(4),
        ..Parameters::default()
    };
    let mut pages = Vec::new();
    loop {
        let frame = request::query(&v4(), "SELECT numbers(10)", &parameters).unwrap();
        let rows = rows_of(client.ask(frame).await);
        pages.push(own_cells(&rows).len());
        parameters.paging_state = rows.paging_state.map(|state| state.to_vec());
        if parameters.paging_state.is_none() {
            break;
        }
    }
    assert_eq!(pages, [4, 4, 2]);
}

#[tokio::test]
async fn other_statements_are_answered_as_documented() {
    let server = server();
    let mut client = started(&server).await;
    let prepared = client.prepare("INSERT void(int, text)").await;
    assert_eq!(prepared.bind.len(), 2);
    assert_eq!(prepared.result.len(), 0);
    let bound = [Value::Int(1), Value::Null];
    assert_eq!(client.execute(&prepared, &bound).await, VOID);
    assert_eq!(
        client.query("CREATE TABLE t (a int PRIMARY KEY)").await,
        VOID
    );
    let keyspace = ResultBody::SetKeyspace("shop".to_owned());
    assert_eq!(client.query("USE shop;").await, Message::Result(keyspace));
    assert_eq!(server.connections()[0].keyspace.as_deref(), Some("shop"));
    let local = rows_of(
        client
            .query("SELECT data_center, rpc_address FROM system.local")
            .await,
    );
    let address = Value::Inet(server.address().ip());
    assert_eq!(
        own_cells(&local),
        [[Value::Text("datacenter1".into()), address]]
    );
    let peers = rows_of(client.query("select * from system.peers").await);
    assert_eq!(peers.count, 0);
    let unknown = client
        .ask(request::prepare(&v4(), "UPDATE t SET a = ?", None).unwrap())
        .await;
    assert_eq!(error_of(unknown).code, code::INVALID);
}

#[tokio::test]
async fn forgotten_statements_are_unprepared() {
    let server = server();
    let mut client = started(&server).await;
    let prepared = client.prepare("SELECT echo(int)").await;
    server.forget_prepared();
    let error = error_of(client.execute(&prepared, &[Value::Int(1)]).await);
    let id = prepared.id.to_vec();
    assert_eq!(error.detail, ErrorDetail::Unprepared { id });
    assert_eq!(client.prepare("SELECT echo(int)").await.id, prepared.id);
    rows_of(client.execute(&prepared, &[Value::Int(1)]).await);
    assert_eq!(server.counters().unprepared, 1);
}

#[tokio::test]
async fn frames_that_are_none_are_answered_with_a_protocol_error() {
    let server = server();
    let mut client = Client::plain(&server).await;
    client.send_raw(b"\x06\0\0\0\x05\0\0\0\0").await;
    let (_, newer) = client.receive().await;
    assert_eq!(error_of(newer).code, code::PROTOCOL);
    assert_eq!(client.next().await, Ok(None));

    let mut client = started(&server).await;
    let mut frame = request::query(&v4(), "x", &Parameters::default()).unwrap();
    frame[9] = 0x7F; // a statement longer than the frame
    let malformed = error_of(client.ask(frame).await);
    assert_eq!(malformed.code, code::PROTOCOL);
    assert_eq!(server.counters().bad_frames, 2);
}

#[tokio::test]
async fn a_paused_server_is_silent_and_then_answers_everything() {
    let server = server();
    let mut client = started(&server).await;
    server.pause();
    client.send(request::options(&v4()), 1).await;
    let mut late = Client::plain(&server).await;
    late.send(request::options(&v4()), 2).await;
    assert!(client.is_silent().await);
    server.resume();
    assert_eq!(client.receive().await.0, 1);
    assert_eq!(late.receive().await.0, 2);
}

#[tokio::test]
async fn a_server_refuses_listens_again_and_closes_connections() {
    let server = server();
    let mut client = started(&server).await;
    server.refuse().unwrap();
    let refused = tokio::net::TcpStream::connect(server.address()).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    assert!(matches!(
        client.ask(request::options(&v4())).await,
        Message::Supported(_)
    ));
    server.close_connections();
    assert_eq!(client.next().await, Ok(None));
    server.listen().unwrap();
    started(&server).await;
    let counters = server.until(PATIENCE, |c| c.open == 0).await.unwrap();
    assert_eq!(counters.connections, 2);
}

#[tokio::test]
async fn stopping_closes_everything() {
    let server = server();
    let address = server.address();
    let mut client = started(&server).await;
    server.stop();
    assert_eq!(client.next().await, Ok(None));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn too_many_connections_are_turned_away() {
    let options = Options {
        max_connections: 1,
        ..Options::default()
    };
    let server = Server::start(options).unwrap();
    let _first = started(&server).await;
    assert_eq!(Client::plain(&server).await.next().await, Ok(None));
    assert_eq!(server.counters().turned_away, 1);
}

#[tokio::test]
async fn events_reach_those_who_registered_for_their_kind() {
    let server = server();
    let (mut registered, mut other) = (started(&server).await, started(&server).await);
    let ready = registered
        .ask(request::register(&v4(), &["STATUS_CHANGE"]).unwrap())
        .await;
    assert_eq!(ready, Message::Ready);
    server.push_event(Event::Topology("NEW_NODE".into(), server.address()));
    server.push_event(Event::Status("DOWN".into(), server.address()));
    let frame = registered.next().await.unwrap().unwrap();
    assert_eq!(
        (frame.header.stream, frame.header.opcode),
        (-1, Opcode::Event)
    );
    let mut reader = palladion_cql::wire::Reader::new(&frame.body);
    assert_eq!(reader.string("kind"), Ok("STATUS_CHANGE"));
    assert_eq!(reader.string("change"), Ok("DOWN"));
    let port = i32::from(server.address().port());
    assert_eq!(reader.inet("node"), Ok((server.address().ip(), port)));
    assert!(other.is_silent().await);
}

#[tokio::test]
async fn a_server_listens_on_ipv6() {
    let address = "[::1]:0".parse().unwrap();
    let Ok(server) = Server::start(Options {
        address,
        ..Options::default()
    }) else {
        return; // a machine without IPv6
    };
    assert!(server.address().is_ipv6());
    started(&server).await;
}

#[test]
fn waiting_gives_up_in_time() {
    let server = server();
    let waited = server.wait(std::time::Duration::from_millis(10), |c| c.query > 0);
    assert!(waited.is_err());
}
