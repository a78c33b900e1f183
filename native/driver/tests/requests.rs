//! Requests and their answers: each to its own, late ones to nobody, lost ones told of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use palladion_cql::response::{Message, ResultBody};
use palladion_cql::value::Values;
use palladion_cql::Opcode;
use palladion_driver::{Cancelled, ClusterConfig, Event, Failure, Phase, RequestError};
use palladion_testkit::{Options, Reaction, Rule, Server};
use support::*;

async fn quiet_house(change: impl FnOnce(&mut ClusterConfig)) -> (Server, Started) {
    let server = Server::start(Options::default()).unwrap();
    let mut config = plain(&server);
    change(&mut config);
    let started = start(config);
    started.ready().await.unwrap();
    (server, started)
}

/// The rows of a `numbers(n)` statement must be 0 to n - 1.
fn check_numbers(message: &Message, n: i64) {
    let Message::Result(ResultBody::Rows(rows)) = message else {
        panic!("{message:?}");
    };
    let columns = rows.columns.clone().unwrap();
    let mut seen = 0;
    rows.decode(&columns, &mut Values, |_, cells| {
        assert_eq!(cells[0], palladion_cql::value::Value::Int(seen));
        seen += 1;
    })
    .unwrap();
    assert_eq!(seen, n);
}

#[tokio::test]
async fn many_at_once_each_get_their_own_answer() {
    let (_server, started) = quiet_house(|config| config.pool_size = 2).await;
    let asked: Vec<_> = (0..500)
        .map(|n| (n % 40, started.send(&format!("SELECT numbers({})", n % 40))))
        .collect();
    for (n, sent) in asked {
        check_numbers(&sent.answer().await.unwrap(), n);
    }
    let status = started.cluster.status();
    assert_eq!((status.in_flight, status.orphans), (0, 0));
}

#[tokio::test]
async fn a_late_answer_reaches_nobody_and_frees_its_stream() {
    let (server, started) = quiet_house(|config| config.connection.max_in_flight = 2).await;
    let late = Reaction::Delay(Duration::from_millis(200), Box::new(Reaction::Builtin));
    server.rule(Rule::contains("late", late)).unwrap();
    let slow = started.send("SELECT numbers(7) -- late");
    until("it was sent", || server.counters().query == 1).await;
    assert_eq!(slow.state.cancel(), Cancelled::Sent);
    assert_eq!(started.cluster.status().orphans, 1);
    for n in 0..50 {
        let message = started.ask(&format!("SELECT numbers({n})")).await.unwrap();
        check_numbers(&message, n);
    }
    assert!(slow.outcome.await.is_err(), "no answer after cancel");
    until("the late answer has come", || {
        started.cluster.stats().late_responses.get() == 1
    })
    .await;
    let status = started.cluster.status();
    assert_eq!((status.in_flight, status.orphans), (0, 0));
}

#[tokio::test]
async fn what_is_cancelled_in_the_queue_is_never_sent() {
    let (server, started) = quiet_house(|config| config.connection.max_in_flight = 1).await;
    server
        .rule(Rule::contains("never", Reaction::Never))
        .unwrap();
    let first = started.send("SELECT never");
    until("it was sent", || server.counters().query == 1).await;
    let queued = started.send("SELECT numbers(1)");
    assert_eq!(queued.state.cancel(), Cancelled::Unsent);
    started.cluster.close(Duration::from_millis(50)).await;
    assert!(first.answer().await.is_err());
    assert_eq!(server.counters().query, 1);
}

#[tokio::test]
async fn a_full_queue_says_so_at_once() {
    let (server, started) = quiet_house(|config| {
        config.connection.max_in_flight = 1;
        config.connection.max_queue = 4;
    })
    .await;
    server
        .rule(Rule::contains("never", Reaction::Never))
        .unwrap();
    let sent: Vec<_> = (0..20).map(|_| started.send("SELECT never")).collect();
    let mut overloaded = 0;
    for one in sent {
        let refused = tokio::time::timeout(Duration::from_millis(50), one.outcome).await;
        if let Ok(Ok(Err(RequestError::Overloaded))) = refused {
            overloaded += 1;
        }
    }
    assert!((14..=16).contains(&overloaded), "{overloaded}");
}

#[tokio::test]
async fn what_overflows_waits_for_room_if_so_many_may() {
    let (server, started) = quiet_house(|config| {
        config.connection.max_in_flight = 2;
        config.connection.max_queue = 2;
        config.max_overflow = 30;
    })
    .await;
    let late = Reaction::Delay(Duration::from_millis(20), Box::new(Reaction::Builtin));
    server.rule(Rule::contains("late", late)).unwrap();
    let sent: Vec<_> = (0..30)
        .map(|_| started.send("SELECT numbers(1) -- late"))
        .collect();
    // One that is given up on while it waits is never sent.
    assert_eq!(sent[20].state.cancel(), Cancelled::Unsent);
    for (n, one) in sent.into_iter().enumerate() {
        if n != 20 {
            check_numbers(&one.answer().await.unwrap(), 1);
        }
    }
    assert_eq!(server.counters().query, 29);
    assert!(started.cluster.stats().overflowed.get() >= 20);
}

#[tokio::test]
async fn a_cluster_with_an_overflow_queue_closes_at_once_and_answers_what_waits() {
    let (server, started) = quiet_house(|config| {
        config.connection.max_in_flight = 1;
        config.connection.max_queue = 1;
        config.max_overflow = 8;
    })
    .await;
    server
        .rule(Rule::contains("never", Reaction::Never))
        .unwrap();
    let stuck: Vec<_> = (0..6).map(|_| started.send("SELECT never")).collect();
    until("it was sent", || server.counters().query == 1).await;
    let closing = Instant::now();
    started.cluster.close(Duration::from_millis(100)).await;
    assert!(closing.elapsed() < Duration::from_secs(5));
    for one in stuck {
        assert!(one.answer().await.is_err());
    }
    let idle = quiet_house(|config| config.max_overflow = 8).await;
    let closing = Instant::now();
    idle.1.cluster.close(PATIENCE).await;
    assert!(closing.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_overflowed_goes_on_when_the_full_connection_is_replaced() {
    let (server, started) = quiet_house(|config| {
        config.connection.max_in_flight = 1;
        config.connection.max_queue = 1;
        config.max_overflow = 8;
    })
    .await;
    server
        .rule(Rule::contains("never", Reaction::Never))
        .unwrap();
    let stuck = started.send("SELECT never");
    until("it was sent", || server.counters().query == 1).await;
    let queued = started.send("SELECT never");
    let waiting = started.send("SELECT numbers(2)");
    server.close_connections();
    assert!(stuck.answer().await.is_err() && queued.answer().await.is_err());
    // Told that there is no connection, or answered by the next one: but not left waiting.
    match waiting.answer().await {
        Ok(message) => check_numbers(&message, 2),
        Err(RequestError::NoConnection { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_too_large_to_keep_costs_its_request_alone() {
    let (server, started) =
        quiet_house(|config| config.connection.max_response_size = 10_000).await;
    let large = started.send("SELECT page(5000)");
    let small: Vec<_> = (0..20)
        .map(|n| started.send(&format!("SELECT numbers({n})")))
        .collect();
    match large.answer().await {
        Err(RequestError::ResponseTooLarge { len, max: 10_000 }) => assert!(len > 10_000),
        other => panic!("{other:?}"),
    }
    for (n, one) in small.into_iter().enumerate() {
        check_numbers(&one.answer().await.unwrap(), n as i64);
    }
    assert_eq!(server.counters().connections, 1);
}

#[tokio::test]
async fn a_lost_connection_costs_what_was_on_it_and_is_replaced() {
    let (server, mut started) = quiet_house(|_| {}).await;
    started.opened(1).await;
    server
        .rule(Rule::contains("never", Reaction::Never))
        .unwrap();
    let lost = started.send("SELECT never");
    until("it was sent", || server.counters().query == 1).await;
    server.close_connections();
    match lost.answer().await {
        Err(RequestError::ConnectionLost { sent: true, .. }) => {}
        other => panic!("{other:?}"),
    }
    started.opened(1).await;
    check_numbers(&started.ask("SELECT numbers(2)").await.unwrap(), 2);
}

#[tokio::test]
async fn nonsense_from_the_server_ends_that_connection_alone() {
    let nonsense = [
        Reaction::Garbage(vec![0xAB; 100]),
        Reaction::WrongStream,
        Reaction::Oversize,
        Reaction::Reset,
        Reaction::Close,
    ];
    for (n, reaction) in nonsense.into_iter().enumerate() {
        let (server, mut started) = quiet_house(|_| {}).await;
        started.opened(1).await;
        server.rule(Rule::contains("nonsense", reaction)).unwrap();
        match started.ask("SELECT nonsense").await {
            Err(RequestError::ConnectionLost { sent: true, .. }) => {}
            other => panic!("{n}: {other:?}"),
        }
        started.opened(1).await;
        check_numbers(&started.ask("SELECT numbers(2)").await.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_silent_server_is_found_out_by_the_heartbeat() {
    let (server, mut started) = quiet_house(|config| {
        config.timeouts.heartbeat_interval = Duration::from_millis(50);
        config.timeouts.heartbeat = Duration::from_millis(100);
        config.timeouts.login = Duration::from_millis(200);
    })
    .await;
    started.opened(1).await;
    // One OPTIONS of the login, and heartbeats that were answered: the connection lives on.
    until("heartbeats were sent", || server.counters().options >= 4).await;
    assert_eq!(server.counters().connections, 1);
    server.pause();
    let waiting = started.send("SELECT numbers(1)");
    match waiting.answer().await {
        Err(RequestError::ConnectionLost { failure, .. })
            if matches!(*failure, Failure::Heartbeat(_)) => {}
        other => panic!("{other:?}"),
    }
    while !matches!(started.event().await, Event::Closed { .. }) {}
    server.resume();
    started.opened(1).await;
    check_numbers(&started.ask("SELECT numbers(2)").await.unwrap(), 2);
}

#[tokio::test]
async fn too_many_overdue_answers_end_a_connection() {
    let (server, mut started) = quiet_house(|config| config.connection.max_orphans = 10).await;
    started.opened(1).await;
    server
        .rule(Rule::contains("never", Reaction::Never))
        .unwrap();
    for n in 1..=11 {
        let sent = started.send("SELECT never");
        until("it was sent", || server.counters().query == n).await;
        sent.state.cancel();
    }
    // The next one wakes the connection, which then counts.
    let witness = started.send("SELECT never");
    match witness.answer().await {
        Err(RequestError::ConnectionLost { failure, .. }) => {
            assert!(matches!(*failure, Failure::Orphans(11)), "{failure}");
        }
        other => panic!("{other:?}"),
    }
    started.opened(1).await;
}

#[tokio::test]
async fn closing_lets_answers_come_and_then_refuses() {
    let (server, started) = quiet_house(|_| {}).await;
    let late = Reaction::Delay(Duration::from_millis(100), Box::new(Reaction::Builtin));
    server.rule(Rule::contains("late", late)).unwrap();
    let sent = started.send("SELECT numbers(3) -- late");
    until("it was sent", || server.counters().query == 1).await;
    started.cluster.close(PATIENCE).await;
    check_numbers(&sent.answer().await.unwrap(), 3);
    assert_eq!(started.cluster.status().phase, Phase::Closed);
    assert!(matches!(
        started.ask("SELECT numbers(1)").await,
        Err(RequestError::Closed)
    ));
    until("the server sees them gone", || server.counters().open == 0).await;
}

#[tokio::test]
async fn closing_does_not_wait_for_ever() {
    let (server, started) = quiet_house(|_| {}).await;
    server
        .rule(Rule::contains("never", Reaction::Never))
        .unwrap();
    let sent = started.send("SELECT never");
    until("it was sent", || server.counters().query == 1).await;
    started.cluster.close(Duration::from_millis(50)).await;
    match sent.answer().await {
        Err(RequestError::ConnectionLost {
            failure,
            sent: true,
            ..
        }) if matches!(*failure, Failure::Closed) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_large_answer_and_a_large_request_arrive_whole() {
    let (server, started) = quiet_house(|_| {}).await;
    assert_eq!(
        row_count(&started.ask("SELECT page(5000)").await.unwrap()),
        5_000
    );
    let long = format!("SELECT numbers(1) -- {}", "x".repeat(3 << 20));
    check_numbers(&started.ask(&long).await.unwrap(), 1);
    assert_eq!(server.counters().query, 2);
}

#[tokio::test]
async fn the_runtime_s_end_leaves_nobody_waiting() {
    let server = Server::start(Options::default()).unwrap();
    server
        .rule(Rule::opcode(Opcode::Query, Reaction::Never))
        .unwrap();
    let config = plain(&server);
    let sent = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let sent = runtime.block_on(async {
            let started = start(config);
            started.ready().await.unwrap();
            let sent = started.send("SELECT never");
            until("it was sent", || server.counters().query == 1).await;
            sent
        });
        runtime.shutdown_timeout(PATIENCE);
        sent
    })
    .join()
    .unwrap();
    assert!(matches!(
        sent.answer().await,
        Err(RequestError::ConnectionLost { .. })
    ));
}
