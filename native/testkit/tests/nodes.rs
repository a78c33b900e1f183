//! One server as a cluster: what its nodes say about themselves and the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use std::net::Ipv4Addr;

use client::{own_cells, rows_of, v4, Client};
use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{code, Message, Rows, ServerError};
use palladion_cql::value::Value;
use palladion_testkit::{numbered_uuid, ClusterOptions, Node, Options, Reaction, Rule, Server};
use tokio::net::TcpStream;

fn node(n: u32) -> Ipv4Addr {
    Node::numbered(n).address
}

fn cluster(nodes: u32) -> Server {
    Server::start(Options::default().cluster(ClusterOptions::of(nodes))).unwrap()
}

async fn started(server: &Server, node: Ipv4Addr) -> Client<TcpStream> {
    let mut client = Client::to(server, node).await;
    assert_eq!(client.start().await, Message::Ready);
    client
}

async fn rows(client: &mut Client<TcpStream>, text: &str) -> Vec<Vec<Value>> {
    own_cells(&rows_of(client.query(text).await))
}

fn names_and_types(rows: &Rows) -> String {
    let columns = rows.columns.as_ref().unwrap().iter();
    let columns: Vec<_> = columns.map(|c| format!("{} {}", c.name, c.ty)).collect();
    columns.join(", ")
}

fn error_of(message: Message) -> ServerError {
    match message {
        Message::Error(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

fn inet(n: u32) -> Value {
    Value::Inet(node(n).into())
}

fn host_id(n: u64) -> Value {
    Value::Uuid(numbered_uuid(n))
}

#[tokio::test]
async fn each_node_answers_as_itself_and_knows_the_others() {
    let server = cluster(3);
    assert_eq!(server.address().ip(), node(1));
    for n in 1..=3 {
        let mut client = started(&server, node(n)).await;
        let own = "SELECT host_id, rpc_address, rpc_port FROM system.local WHERE key='local'";
        let port = Value::Int(server.address().port().into());
        let expected = vec![host_id(n.into()), inet(n), port];
        assert_eq!(rows(&mut client, own).await, [expected]);
        let others: Vec<_> = (1..=3).filter(|other| *other != n).collect();
        for (table, address) in [("peers", "rpc_address"), ("peers_v2", "native_address")] {
            let text = format!("SELECT peer, {address}, host_id FROM system.{table}");
            let others = others.iter();
            let expected: Vec<_> = others
                .map(|other| vec![inet(*other), inet(*other), host_id((*other).into())])
                .collect();
            assert_eq!(rows(&mut client, &text).await, expected);
        }
    }
}

#[tokio::test]
async fn the_tables_have_the_columns_of_cassandra() {
    let server = cluster(2);
    let mut client = started(&server, node(1)).await;
    for (table, expected) in [
        (
            "local",
            "key text, bootstrapped text, broadcast_address inet, broadcast_port int, \
             cluster_name text, cql_version text, data_center text, gossip_generation int, \
             host_id uuid, listen_address inet, listen_port int, native_protocol_version text, \
             partitioner text, rack text, release_version text, rpc_address inet, rpc_port int, \
             schema_version uuid, tokens set<text>",
        ),
        (
            "peers",
            "peer inet, data_center text, host_id uuid, preferred_ip inet, rack text, \
             release_version text, rpc_address inet, schema_version uuid, tokens set<text>",
        ),
        (
            "peers_v2",
            "peer inet, peer_port int, data_center text, host_id uuid, native_address inet, \
             native_port int, preferred_ip inet, preferred_port int, rack text, \
             release_version text, schema_version uuid, tokens set<text>",
        ),
    ] {
        let text = format!("SELECT * FROM system.{table};");
        let all = rows_of(client.query(&text).await);
        assert_eq!(names_and_types(&all), expected);
        assert_eq!(own_cells(&all).len(), 1, "{table}");
    }
    let unknown = error_of(client.query("SELECT nonsense FROM system.peers").await);
    assert_eq!(unknown.code, code::INVALID);
    assert_eq!(
        unknown.message,
        "Undefined column name nonsense in table system.peers"
    );
}

#[tokio::test]
async fn an_old_cluster_knows_neither_peers_v2_nor_ports() {
    let server = Server::start(Options::default().cluster(ClusterOptions {
        peers_v2: false,
        ..ClusterOptions::of(2)
    }))
    .unwrap();
    let mut client = started(&server, node(1)).await;
    for refused in [
        error_of(client.query("SELECT * FROM system.peers_v2").await),
        error_of(
            client
                .ask(request::prepare(&v4(), "SELECT * FROM system.peers_v2", None).unwrap())
                .await,
        ),
    ] {
        assert_eq!(refused.code, code::INVALID);
        assert_eq!(refused.message, "unconfigured table peers_v2");
    }
    let local = rows_of(client.query("SELECT * FROM system.local").await);
    assert!(!names_and_types(&local).contains("_port"));
    assert_eq!(
        rows(&mut client, "SELECT peer FROM system.peers").await,
        [[inet(2)]]
    );
}

#[tokio::test]
async fn a_node_announces_what_it_is_told_to() {
    let odd = Node {
        rpc_address: Some(Ipv4Addr::UNSPECIFIED.into()),
        null_columns: vec!["data_center".to_owned(), "tokens".to_owned()],
        release_version: "5.0.4".to_owned(),
        ..Node::numbered(2).location("dc2", "r7")
    };
    let many = Node::numbered(3).token_count(256);
    let nodes = vec![Node::numbered(1), odd, many];
    let server = Server::start(Options::default().cluster(ClusterOptions::new(nodes))).unwrap();
    let mut client = started(&server, node(1)).await;
    let text = "SELECT rpc_address, data_center, rack, release_version, tokens FROM system.peers";
    let peers = rows(&mut client, text).await;
    assert_eq!(
        peers[0],
        [
            Value::Inet(Ipv4Addr::UNSPECIFIED.into()),
            Value::Null,
            Value::Text("r7".into()),
            Value::Text("5.0.4".into()),
            Value::Null
        ]
    );
    assert!(matches!(&peers[1][4], Value::Set(tokens) if tokens.len() == 256));
    let mut itself = started(&server, node(2)).await;
    let text = "SELECT rpc_address, data_center FROM system.local";
    assert_eq!(
        rows(&mut itself, text).await,
        [[
            Value::Inet(Ipv4Addr::UNSPECIFIED.into()),
            Value::Text("dc2".into())
        ]]
    );
}

#[tokio::test]
async fn peers_come_in_pages_and_one_by_one() {
    let server = cluster(6);
    let mut client = started(&server, node(1)).await;
    let text = "SELECT peer FROM system.peers_v2";
    let (mut state, mut peers) = (None, Vec::new());
    loop {
        let parameters = Parameters {
            page_size: Some(2),
            paging_state: state,
            ..Parameters::default()
        };
        let page = rows_of(
            client
                .ask(request::query(&v4(), text, &parameters).unwrap())
                .await,
        );
        peers.push(own_cells(&page).len());
        state = page.paging_state.clone().map(|state| state.to_vec());
        if state.is_none() {
            break;
        }
    }
    assert_eq!(peers, [2, 2, 1]);
    let one = format!("{text} WHERE peer = '127.0.0.4' AND peer_port = 7000");
    assert_eq!(rows(&mut client, &one).await, [[inet(4)]]);
    let wrong = error_of(client.query(&format!("{text} WHERE rack = 'r'")).await);
    assert_eq!(wrong.code, code::INVALID);
}

#[tokio::test]
async fn what_is_prepared_is_prepared_on_one_node_and_stays_current() {
    let server = cluster(2);
    let mut first = started(&server, node(1)).await;
    let prepared = first.prepare("SELECT peer FROM system.peers").await;
    server
        .add_node(server.fresh_node().unwrap(), false)
        .unwrap();
    let peers = rows_of(first.execute(&prepared, &[]).await);
    assert_eq!(own_cells(&peers), [[inet(2)], [inet(3)]]);
    let mut second = started(&server, node(2)).await;
    let unknown = error_of(second.execute(&prepared, &[]).await);
    assert_eq!(unknown.code, code::UNPREPARED);
    server.forget_prepared();
    let forgotten = error_of(first.execute(&prepared, &[]).await);
    assert_eq!(forgotten.code, code::UNPREPARED);
}

#[tokio::test]
async fn a_rule_is_about_one_node() {
    let server = cluster(2);
    let rule = Rule::any(Reaction::Never).node(node(2));
    server.rule(rule).unwrap();
    let mut first = started(&server, node(1)).await;
    assert_eq!(
        rows(&mut first, "SELECT key FROM system.local").await.len(),
        1
    );
    let mut second = started(&server, node(2)).await;
    let query = request::query(
        &v4(),
        "SELECT key FROM system.local",
        &Parameters::default(),
    );
    second.send(query.unwrap(), 1).await;
    assert!(second.is_silent().await);
}
