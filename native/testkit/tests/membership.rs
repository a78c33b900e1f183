//! One server as a cluster: what happens to its nodes, and what it counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use client::{own_cells, rows_of, tls, v4, Client, PATIENCE};
use palladion_cql::request;
use palladion_cql::response::Message;
use palladion_cql::value::Value;
use palladion_cql::wire::Reader;
use palladion_cql::Opcode;
use palladion_testkit::certs::{Authority, CertOptions};
use palladion_testkit::{
    numbered_uuid, ClusterOptions, Error, Event, Node, Options, Server, TlsOptions,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Plain = Client<TcpStream>;

fn node(n: u32) -> Ipv4Addr {
    Node::numbered(n).address
}

fn cluster(nodes: u32) -> Server {
    Server::start(Options::default().cluster(ClusterOptions::of(nodes))).unwrap()
}

async fn started(server: &Server, node: Ipv4Addr) -> Plain {
    let mut client = Client::to(server, node).await;
    assert_eq!(client.start().await, Message::Ready);
    client
}

/// Registered for everything.
async fn watching(server: &Server, node: Ipv4Addr) -> Plain {
    let mut client = started(server, node).await;
    let kinds = ["TOPOLOGY_CHANGE", "STATUS_CHANGE", "SCHEMA_CHANGE"];
    let ready = client.ask(request::register(&v4(), &kinds).unwrap()).await;
    assert_eq!(ready, Message::Ready);
    client
}

/// The change and the address of the next events.
async fn events<const N: usize>(client: &mut Plain) -> [(String, SocketAddr); N] {
    let mut events = Vec::new();
    for _ in 0..N {
        let frame = client.next().await.unwrap().unwrap();
        assert_eq!(frame.header.opcode, Opcode::Event);
        let mut reader = Reader::new(&frame.body);
        let kind = reader.string("kind").unwrap();
        let change = reader.string("change").unwrap();
        let is_topology = change.ends_with("_NODE");
        assert_eq!(kind == "TOPOLOGY_CHANGE", is_topology, "{kind} {change}");
        let (ip, port) = reader.inet("node").unwrap();
        events.push((change.to_owned(), (ip, port as u16).into()));
    }
    events.try_into().unwrap()
}

async fn peers(client: &mut Plain) -> Vec<Value> {
    let rows = rows_of(client.query("SELECT peer FROM system.peers").await);
    own_cells(&rows).into_iter().flatten().collect()
}

fn inets(nodes: &[u32]) -> Vec<Value> {
    let nodes = nodes.iter();
    nodes.map(|n| Value::Inet(node(*n).into())).collect()
}

/// Whether nobody answers there: the connection ends before an answer.
async fn is_refused(server: &Server, node: Ipv4Addr) -> bool {
    let Ok(tcp) = TcpStream::connect((node, server.address().port())).await else {
        return true;
    };
    let mut byte = [0];
    tcp.readable().await.unwrap();
    !matches!(tcp.try_read(&mut byte), Ok(1))
}

#[tokio::test]
async fn nodes_come_and_go_and_clients_hear_of_it() {
    let server = cluster(3);
    let at = |n| SocketAddr::from((node(n), server.address().port()));
    let mut client = watching(&server, node(1)).await;
    let mut leaving = started(&server, node(3)).await;

    server.add_node(Node::numbered(4), true).unwrap();
    let heard = events(&mut client).await;
    assert_eq!(heard, [("NEW_NODE".into(), at(4)), ("UP".into(), at(4))]);
    assert_eq!(peers(&mut client).await, inets(&[2, 3, 4]));
    let mut new = started(&server, node(4)).await;
    assert_eq!(peers(&mut new).await, inets(&[1, 2, 3]));

    server.remove_node(node(3), true).unwrap();
    assert_eq!(events(&mut client).await, [("REMOVED_NODE".into(), at(3))]);
    assert_eq!(peers(&mut client).await, inets(&[2, 4]));
    assert_eq!(leaving.next().await, Ok(None));
    assert!(is_refused(&server, node(3)).await);

    server.add_node(Node::numbered(5), false).unwrap();
    assert!(client.is_silent().await);
    assert_eq!(peers(&mut client).await, inets(&[2, 4, 5]));
}

#[tokio::test]
async fn a_node_that_is_down_refuses_but_is_not_forgotten() {
    let server = cluster(3);
    let at = |n| SocketAddr::from((node(n), server.address().port()));
    let mut client = watching(&server, node(1)).await;
    let mut cut = started(&server, node(2)).await;
    server.node_down(node(2), true).unwrap();
    assert_eq!(events(&mut client).await, [("DOWN".into(), at(2))]);
    assert_eq!(cut.next().await, Ok(None));
    assert!(is_refused(&server, node(2)).await);
    assert_eq!(peers(&mut client).await, inets(&[2, 3]));
    let counters = server.node_counters(node(2)).unwrap();
    assert_eq!((counters.open, counters.refused), (0, 1));
    assert!(server.nodes().unwrap()[1].down);

    server.node_up(node(2), true).unwrap();
    assert_eq!(events(&mut client).await, [("UP".into(), at(2))]);
    let mut back = started(&server, node(2)).await;
    assert_eq!(peers(&mut back).await, inets(&[1, 3]));
}

#[tokio::test]
async fn a_node_moves_and_stays_itself() {
    let server = cluster(2);
    let at = |n| SocketAddr::from((node(n), server.address().port()));
    let mut client = watching(&server, node(1)).await;
    let mut cut = started(&server, node(2)).await;
    server.move_node(node(2), node(9), true).unwrap();
    let heard = events(&mut client).await;
    let (down, new, up) = (
        ("DOWN".into(), at(2)),
        ("NEW_NODE".into(), at(9)),
        ("UP".into(), at(9)),
    );
    assert_eq!(heard, [down, new, up]);
    assert_eq!(cut.next().await, Ok(None));
    assert!(is_refused(&server, node(2)).await);
    let mut moved = started(&server, node(9)).await;
    let text = "SELECT host_id, broadcast_address FROM system.local";
    let local = own_cells(&rows_of(moved.query(text).await));
    let id = Value::Uuid(numbered_uuid(2));
    assert_eq!(local, [[id, Value::Inet(node(9).into())]]);
    assert_eq!(peers(&mut client).await, inets(&[9]));
}

#[tokio::test]
async fn a_node_hangs_and_comes_back() {
    let server = cluster(2);
    let mut old = started(&server, node(2)).await;
    server.hang_node(node(2)).unwrap();
    let query = request::query(&v4(), "SELECT key FROM system.local", &Default::default());
    old.send(query.unwrap(), 1).await;
    let mut new = Client::to(&server, node(2)).await;
    new.send(request::options(&v4()), 2).await;
    assert!(old.is_silent().await);
    assert!(new.is_silent().await);
    started(&server, node(1)).await;
    server.resume_node(node(2)).unwrap();
    assert_eq!(old.receive().await.0, 1);
    assert_eq!(new.receive().await.0, 2);
}

#[tokio::test]
async fn schema_versions_differ_until_they_agree() {
    let server = cluster(3);
    let mut client = started(&server, node(1)).await;
    server
        .set_schema_version(Some(node(2)), numbered_uuid(7))
        .unwrap();
    let mut versions = async || {
        let text = "SELECT schema_version FROM system.peers_v2";
        own_cells(&rows_of(client.query(text).await)).concat()
    };
    let uuid = |n| Value::Uuid(numbered_uuid(n));
    assert_eq!(versions().await, [uuid(7), uuid(0)]);
    server.set_schema_version(None, numbered_uuid(8)).unwrap();
    assert_eq!(versions().await, [uuid(8), uuid(8)]);
}

#[tokio::test]
async fn any_bytes_are_pushed_as_an_event() {
    let server = cluster(1);
    let mut client = watching(&server, node(1)).await;
    let mut other = started(&server, node(1)).await;
    server.push_event(Event::Raw(b"\x00\x03NEW\xFF".to_vec()));
    let frame = client.next().await.unwrap().unwrap();
    assert_eq!(
        (frame.header.stream, &frame.body[..]),
        (-1, &b"\x00\x03NEW\xFF"[..])
    );
    assert!(other.is_silent().await);
}

#[tokio::test]
async fn counters_tell_nodes_apart_and_handshakes_add_up() {
    let server = Server::start(Options {
        handshake_delay: Duration::from_millis(200),
        ..Options::default().cluster(ClusterOptions::of(3))
    })
    .unwrap();
    let mut clients = JoinSet::new();
    for n in [1, 1, 1, 2] {
        let mut client = Client::to(&server, node(n)).await;
        clients.spawn(async move {
            client.start().await;
            client
        });
    }
    let under_way = server.until(PATIENCE, |c| c.handshaking == 4).await;
    assert_eq!(under_way.unwrap().handshaking_peak, 4);
    let clients = clients.join_all().await;
    let done = server
        .until(PATIENCE, |c| c.handshaking == 0)
        .await
        .unwrap();
    assert_eq!(
        (done.open, done.handshaking_peak, done.responses),
        (4, 4, 4)
    );
    let first = server.node_counters(node(1)).unwrap();
    assert_eq!((first.open, first.connections, first.responses), (3, 3, 3));
    assert_eq!((first.handshaking, first.handshaking_peak), (0, 3));
    let second = server.node_counters(node(2)).unwrap();
    assert_eq!((second.open, second.handshaking_peak), (1, 1));

    server.reset_counters();
    let (all, first) = (server.counters(), server.node_counters(node(1)).unwrap());
    assert_eq!((all.open, all.handshaking_peak, all.responses), (4, 0, 0));
    assert_eq!((first.open, first.connections, first.responses), (3, 0, 0));
    server.set_handshake_delay(Duration::ZERO);
    started(&server, node(3)).await;
    assert_eq!(server.counters().handshaking_peak, 1);
    drop(clients);
    server
        .wait_node(node(1), PATIENCE, |c| c.open == 0)
        .unwrap();
}

#[tokio::test]
async fn a_handshake_that_waits_for_a_login_is_under_way() {
    let options = Options::default().login("ann", "secret");
    let server = Server::start(options.cluster(ClusterOptions::of(1))).unwrap();
    let mut client = Client::to(&server, node(1)).await;
    assert!(matches!(client.start().await, Message::Authenticate(_)));
    assert_eq!(server.counters().handshaking, 1);
    let token = request::auth_response(&v4(), Some(b"\0ann\0secret")).unwrap();
    assert_eq!(client.ask(token).await, Message::AuthSuccess(None));
    assert_eq!(server.counters().handshaking, 0);
    let other = Client::to(&server, node(1)).await;
    server
        .until(PATIENCE, |c| c.handshaking == 1)
        .await
        .unwrap();
    drop(other);
    server
        .until(PATIENCE, |c| c.handshaking == 0)
        .await
        .unwrap();
}

#[tokio::test]
async fn five_hundred_nodes_are_one_server() {
    let nodes: Vec<_> = (1..=500)
        .map(|n| Node::numbered(n).token_count(16))
        .collect();
    let server = Server::start(Options::default().cluster(ClusterOptions::new(nodes))).unwrap();
    let mut clients = Vec::new();
    for n in 1..=500 {
        clients.push(started(&server, node(n)).await);
    }
    assert_eq!(server.counters().open, 500);
    assert!(server.nodes().unwrap().iter().all(|n| n.counters.open == 1));
    let all = rows_of(clients[7].query("SELECT * FROM system.peers_v2").await);
    assert_eq!(own_cells(&all).len(), 499);
}

#[tokio::test]
async fn one_certificate_is_good_for_every_node() {
    let authority = Authority::new("the CA").unwrap();
    let names = ["db.example", "127.0.0.1", "127.0.0.2"];
    let identity = authority.issue(&CertOptions::server(&names)).unwrap();
    let options = Options::default().tls(TlsOptions::new(identity));
    let server = Server::start(options.cluster(ClusterOptions::of(2))).unwrap();
    let config = Arc::new(tls(&authority, rustls::ALL_VERSIONS));
    let address = (node(2), server.address().port()).into();
    for name in ["db.example", "127.0.0.2"] {
        let mut client = Client::tls_to(address, name, &config).await.unwrap();
        assert_eq!(client.start().await, Message::Ready);
    }
    assert!(Client::tls_to(address, "127.0.0.3", &config).await.is_err());
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let server = cluster(2);
    let usage = |result: Result<(), Error>| assert!(matches!(result, Err(Error::Usage(_))));
    usage(server.add_node(Node::numbered(2), true));
    usage(server.remove_node(node(3), true));
    usage(server.node_down(node(3), true));
    usage(server.move_node(node(1), node(2), true));
    usage(server.move_node(node(1), Ipv4Addr::new(10, 0, 0, 1), true));
    usage(server.hang_node(node(3)));
    let ordinary = Server::start(Options::default()).unwrap();
    usage(ordinary.node_down(node(1), true));
    let twice = vec![Node::numbered(1), Node::numbered(1)];
    let options = Options::default().cluster(ClusterOptions::new(twice));
    usage(Server::start(options).map(|_| ()));
    assert_eq!(server.nodes().unwrap().len(), 2);
}
