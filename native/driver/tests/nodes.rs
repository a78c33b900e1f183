//! Nodes that come, go, move and fail, and the control connection that tells of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use palladion_cql::ServerEvent;
use palladion_driver::connection::Role;
use palladion_driver::{
    ClusterConfig, Distance, Event, NodeId, NodeSpec, Phase, RequestError, Route,
};
use palladion_testkit::{Options, Reaction, Rule, Server};
use support::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn server() -> Server {
    Server::start(Options::default()).unwrap()
}

fn remote(id: NodeId, server: &Server) -> NodeSpec {
    NodeSpec {
        distance: Distance::Remote,
        size: 1,
        ..node(id, server)
    }
}

/// A cluster that asks its contact point for nothing but events.
fn discovering(server: &Server, change: impl FnOnce(&mut ClusterConfig)) -> Started {
    let mut config = plain(server);
    config.discover = true;
    change(&mut config);
    start(config)
}

/// The nodes that so many requests go to.
async fn answered_by(started: &Started, route: Route, n: usize) -> HashSet<NodeId> {
    let mut nodes = HashSet::new();
    for _ in 0..n {
        let sent = started.send_to(route, "SELECT numbers(1)");
        let state = sent.state.clone();
        sent.answer().await.unwrap();
        nodes.extend(state.node());
    }
    nodes
}

fn open(started: &Started) -> Vec<(NodeId, usize)> {
    let nodes = started.cluster.status().nodes;
    nodes.iter().map(|n| (n.id, n.connections.len())).collect()
}

/// Connections that the server has open.
fn connected(server: &Server) -> usize {
    server.connections().iter().filter(|c| c.open).count()
}

async fn wait_for(started: &Started, expected: &[(NodeId, usize)]) {
    until(&format!("{expected:?}"), || {
        let mut open = open(started);
        open.sort_by_key(|(id, _)| id.0);
        open == expected
    })
    .await;
}

#[tokio::test]
async fn nodes_take_turns_and_one_can_be_named_or_avoided() {
    let (a, b) = (server(), server());
    let started = discovering(&a, |_| {});
    started
        .cluster
        .set_nodes(vec![node(A, &a), node(B, &b)])
        .unwrap();
    wait_for(&started, &[(A, 2), (B, 2)]).await;
    assert_eq!(answered_by(&started, Route::Any, 4).await.len(), 2);
    let only = |id| HashSet::from([id]);
    assert_eq!(answered_by(&started, Route::First(B), 4).await, only(B));
    assert_eq!(answered_by(&started, Route::Avoid(B), 4).await, only(A));
    started.cluster.set_nodes(vec![node(A, &a)]).unwrap();
    wait_for(&started, &[(A, 2)]).await;
    let last = answered_by(&started, Route::Avoid(A), 2).await;
    assert_eq!(last, only(A), "better than none");
}

#[tokio::test]
async fn a_remote_node_is_used_only_while_there_is_no_local_one() {
    let (a, b) = (server(), server());
    let started = discovering(&b, |config| config.connection.max_queue = 1);
    started
        .cluster
        .set_nodes(vec![remote(B, &b), node(A, &a)])
        .unwrap();
    wait_for(&started, &[(A, 2), (B, 1)]).await;
    assert_eq!(answered_by(&started, Route::Any, 8).await, [A].into());
    a.refuse().unwrap();
    a.close_connections();
    wait_for(&started, &[(A, 0), (B, 1)]).await;
    assert_eq!(answered_by(&started, Route::Any, 4).await, [B].into());
    a.listen().unwrap();
    wait_for(&started, &[(A, 2), (B, 1)]).await;
    assert_eq!(answered_by(&started, Route::Any, 4).await, [A].into());
}

#[tokio::test]
async fn a_removed_node_answers_what_it_has_and_gets_no_more() {
    let (a, b) = (server(), server());
    let started = discovering(&a, |_| {});
    started
        .cluster
        .set_nodes(vec![node(A, &a), node(B, &b)])
        .unwrap();
    wait_for(&started, &[(A, 2), (B, 2)]).await;
    let late = Reaction::Delay(Duration::from_millis(300), Box::new(Reaction::Builtin));
    b.rule(Rule::contains("late", late)).unwrap();
    let slow = started.send_to(Route::First(B), "SELECT numbers(3) -- late");
    until("it was sent", || b.counters().query == 1).await;
    started.cluster.set_nodes(vec![node(A, &a)]).unwrap();
    wait_for(&started, &[(A, 2)]).await;
    assert_eq!(answered_by(&started, Route::First(B), 4).await, [A].into());
    assert_eq!(row_count(&slow.answer().await.unwrap()), 3);
    until("the server has lost them", || connected(&b) == 0).await;
}

#[tokio::test]
async fn a_moved_node_serves_at_its_old_address_until_it_does_at_the_new_one() {
    let (old, new) = (server(), server());
    new.refuse().unwrap();
    let started = discovering(&old, |_| {});
    started.cluster.set_nodes(vec![node(A, &old)]).unwrap();
    wait_for(&started, &[(A, 2)]).await;
    started.cluster.set_nodes(vec![node(A, &new)]).unwrap();
    until("it was tried", || {
        started.cluster.stats().connect_failures.get() > 0
    })
    .await;
    answered_by(&started, Route::Any, 4).await;
    assert_eq!(old.counters().query, 4);
    new.listen().unwrap();
    until("all are at the new address", || {
        // The control connection stays where it is.
        connected(&old) == 1 && open(&started) == [(A, 2)]
    })
    .await;
    answered_by(&started, Route::Any, 4).await;
    assert_eq!((old.counters().query, new.counters().query), (4, 4));
    // Moved twice before it could be reached: none is left behind.
    old.refuse().unwrap();
    started.cluster.set_nodes(vec![node(A, &old)]).unwrap();
    let third = server();
    started.cluster.set_nodes(vec![node(A, &third)]).unwrap();
    until("all are at the third", || {
        connected(&new) == 0 && connected(&third) == 2
    })
    .await;
}

#[tokio::test]
async fn a_pool_follows_its_size() {
    let a = server();
    let started = discovering(&a, |_| {});
    for size in [3, 1, 2] {
        started
            .cluster
            .set_nodes(vec![NodeSpec {
                size,
                ..node(A, &a)
            }])
            .unwrap();
        wait_for(&started, &[(A, size)]).await;
        until("the server sees so many", || connected(&a) == size + 1).await;
    }
}

#[tokio::test]
async fn a_pool_that_is_made_smaller_while_it_is_opened_anew() {
    let a = server();
    let started = discovering(&a, |_| {});
    let sized = |size| {
        let spec = NodeSpec {
            size,
            ..node(A, &a)
        };
        started.cluster.set_nodes(vec![spec]).unwrap();
    };
    sized(8);
    wait_for(&started, &[(A, 8)]).await;
    let (outcome, ()) = tokio::join!(started.reconnect(), async { sized(2) });
    outcome.unwrap();
    wait_for(&started, &[(A, 2)]).await;
    until("no surplus is left", || connected(&a) == 3).await;
}

#[tokio::test]
async fn connections_that_have_ended_do_not_stay_in_the_table_of_a_node_on_the_move() {
    let (a, b) = (server(), server());
    let (nowhere, elsewhere) = (server(), server());
    nowhere.refuse().unwrap();
    elsewhere.refuse().unwrap();
    let mut started = discovering(&b, |_| {});
    started.cluster.set_nodes(vec![node(A, &a)]).unwrap();
    wait_for(&started, &[(A, 2)]).await;
    assert!(state(&mut started).await);
    for server in [&nowhere, &elsewhere] {
        started.cluster.set_nodes(vec![node(A, server)]).unwrap();
        answered_by(&started, Route::Any, 2).await;
    }
    // Those of the first endpoint serve until they end, and only then the node is down.
    a.close_connections();
    wait_for(&started, &[(A, 0)]).await;
    assert!(!state(&mut started).await);
    assert_eq!(started.cluster.status().phase, Phase::Disconnected);
}

#[tokio::test]
async fn a_refused_login_is_tried_by_one_node_at_a_time() {
    let login = || Server::start(Options::default().login("ada", "secret")).unwrap();
    let servers = [login(), login(), login()];
    let started = discovering(&servers[0], |config| {
        config.auth = password("ada", "secret");
        config.reconnect = doubling(Duration::from_millis(200), Duration::from_millis(400));
    });
    let ids = [NodeId(1), NodeId(2), NodeId(3)];
    let nodes = ids
        .iter()
        .zip(&servers)
        .map(|(id, server)| node(*id, server));
    started.cluster.set_nodes(nodes.collect()).unwrap();
    wait_for(&started, &ids.map(|id| (id, 2))).await;
    let refused = || {
        servers
            .iter()
            .map(|s| s.counters().failed_logins)
            .sum::<u64>()
    };
    for server in &servers {
        server.set_password("another");
        server.close_connections();
    }
    // All see it at once at first; from then on one waits for the other.
    until("it was refused", || refused() > 0).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = refused();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let later = refused() - before;
    assert!(later <= 2_000 / 100 + 1, "{later} attempts within 2 s");
    for server in &servers {
        server.set_password("secret");
    }
    wait_for(&started, &ids.map(|id| (id, 2))).await;
}

#[tokio::test]
async fn a_nudge_ends_a_long_pause() {
    let a = server();
    let b = server();
    a.refuse().unwrap();
    let long = Duration::from_secs(600);
    let started = discovering(&b, |config| config.reconnect = doubling(long, long));
    started.cluster.set_nodes(vec![node(A, &a)]).unwrap();
    until("it was tried", || {
        started.cluster.stats().connect_failures.get() == 1
    })
    .await;
    a.listen().unwrap();
    started.cluster.nudge(A);
    wait_for(&started, &[(A, 2)]).await;
}

#[tokio::test]
async fn the_users_pause_replaces_ours() {
    let a = server();
    let b = server();
    a.refuse().unwrap();
    let started = discovering(&b, |config| {
        config.reconnect.policy = palladion_driver::config::ReconnectPolicy::Custom;
        config.reconnect.max = Duration::from_secs(600);
    });
    started.cluster.set_nodes(vec![node(A, &a)]).unwrap();
    let tried = |n| move |started: &Started| started.cluster.stats().connect_failures.get() == n;
    until("it was tried", || tried(1)(&started)).await;
    started.cluster.retry_in(A, Duration::from_millis(10));
    until("it was tried again", || tried(2)(&started)).await;
    a.listen().unwrap();
    started.cluster.retry_in(A, Duration::ZERO);
    wait_for(&started, &[(A, 2)]).await;
}

#[tokio::test]
async fn events_arrive_over_the_control_connection_alone() {
    let a = server();
    let mut started = discovering(&a, |_| {});
    let control = control(&mut started).await;
    assert!(control.contact_point);
    assert_eq!(control.connection.role, Role::Control);
    let name = ("127.0.0.1".parse().unwrap(), "localhost".to_owned());
    assert!(control.names.contains(&name), "{:?}", control.names);
    assert_eq!(started.cluster.status().phase, Phase::Connecting);
    started.cluster.set_nodes(vec![node(A, &a)]).unwrap();
    wait_for(&started, &[(A, 2)]).await;
    let address = a.address();
    a.push_event(palladion_testkit::Event::Status("UP".to_owned(), address));
    let expected = ServerEvent::Status {
        change: "UP".to_owned(),
        node: address,
    };
    loop {
        if let Event::Server(event) = started.event().await {
            assert_eq!(event, expected);
            break;
        }
    }
}

/// The list of nodes takes several requests at once, even where each connection may take only one.
#[tokio::test]
async fn bounds_of_connections_to_nodes_do_not_bind_the_control_connection() {
    let a = server();
    let mut started = discovering(&a, |config| {
        config.connection.max_queue = 1;
        config.connection.max_in_flight = 1;
    });
    control(&mut started).await;
    let asked: Vec<_> = (0..16)
        .map(|_| started.send_to_control("SELECT numbers(1)"))
        .collect();
    for sent in asked {
        assert_eq!(row_count(&sent.answer().await.unwrap()), 1);
    }
}

#[tokio::test]
async fn a_lost_control_connection_is_found_again_elsewhere() {
    let (a, b) = (server(), server());
    let mut started = discovering(&a, |_| {});
    control(&mut started).await;
    started
        .cluster
        .set_nodes(vec![node(A, &a), node(B, &b)])
        .unwrap();
    wait_for(&started, &[(A, 2), (B, 2)]).await;
    a.refuse().unwrap();
    a.close_connections();
    let port = b.address().port();
    let second = control(&mut started).await;
    assert_eq!(second.connection.address.port(), port);
    assert!(!second.contact_point);
    assert_eq!(answered_by(&started, Route::Any, 4).await, [B].into());
    // All gone, and only the contact point comes back.
    b.stop();
    wait_for(&started, &[(A, 0), (B, 0)]).await;
    assert_eq!(started.cluster.status().phase, Phase::Disconnected);
    let refused = started
        .send("SELECT numbers(1)")
        .answer()
        .await
        .unwrap_err();
    assert!(matches!(refused, RequestError::NoConnection { .. }));
    a.listen().unwrap();
    control(&mut started).await;
    wait_for(&started, &[(A, 2), (B, 0)]).await;
}

#[tokio::test]
async fn a_node_is_up_with_its_first_connection_and_down_without_any() {
    let (a, b) = (server(), server());
    let mut started = discovering(&b, |_| {});
    started.cluster.set_nodes(vec![node(A, &a)]).unwrap();
    assert!(state(&mut started).await);
    a.refuse().unwrap();
    a.close_connections();
    assert!(!state(&mut started).await);
    a.listen().unwrap();
    assert!(state(&mut started).await);
}

#[tokio::test]
async fn closing_ends_the_control_connection_too() {
    let a = server();
    let mut started = discovering(&a, |_| {});
    control(&mut started).await;
    started.cluster.set_nodes(vec![node(A, &a)]).unwrap();
    wait_for(&started, &[(A, 2)]).await;
    started.cluster.close(Duration::from_secs(5)).await;
    until("the server has lost them", || connected(&a) == 0).await;
    let refused = started.cluster.set_nodes(Vec::new());
    assert!(matches!(refused, Err(RequestError::Closed)));
}

async fn control(started: &mut Started) -> std::sync::Arc<palladion_driver::ControlInfo> {
    loop {
        if let Event::ControlOpened(info) = started.event().await {
            return info;
        }
    }
}

async fn state(started: &mut Started) -> bool {
    loop {
        if let Event::Node { id, up, .. } = started.event().await {
            assert_eq!(id, A);
            return up;
        }
    }
}
