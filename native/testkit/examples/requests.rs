//! What a request costs the server: CPU time of its thread, over TLS.
//! `cargo run --release -p palladion-testkit --example requests` (Linux).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/client/mod.rs"]
mod client;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{execute, tls, Client};
use palladion_cql::frame::set_stream;
use palladion_cql::request::Parameters;
use palladion_cql::value::Value;
use palladion_testkit::certs::{Authority, CertOptions};
use palladion_testkit::{Options, Server, TlsOptions};
use rustls::ClientConfig;
use tokio::task::JoinSet;

const TIME: Duration = Duration::from_secs(3);

fn main() {
    let authority = Authority::new("the CA").unwrap();
    let identity = authority
        .issue(&CertOptions::server(&["localhost"]))
        .unwrap();
    let server = Server::start(Options::default().tls(TlsOptions::new(identity))).unwrap();
    let server = Arc::new(server);
    let config = Arc::new(tls(&authority, rustls::ALL_VERSIONS));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let row = vec![Value::Int(7), Value::Text("a short text".into())];
    println!(
        "{:<40} {:>10} {:>14}",
        "workload", "requests/s", "server µs each"
    );
    for (statement, bound, connections, deep) in [
        ("SELECT echo(bigint, text)", &row, 1, 1),
        ("SELECT echo(bigint, text)", &row, 1, 64),
        ("SELECT echo(bigint, text)", &row, 8, 8),
        ("SELECT echo(bigint, text)", &row, 8, 32),
        ("INSERT void(bigint, text)", &row, 8, 8),
        ("SELECT page(5000)", &vec![], 1, 4),
    ] {
        let (before, start) = (server_cpu(), Instant::now());
        let requests = runtime.block_on(async {
            let mut loads = JoinSet::new();
            for _ in 0..connections {
                let (server, config, bound) = (server.clone(), config.clone(), bound.clone());
                loads.spawn(async move { load(&server, &config, statement, &bound, deep).await });
            }
            loads.join_all().await.into_iter().sum::<u64>()
        });
        let name = format!("{statement}, {connections} x {deep}");
        let each = (server_cpu() - before).as_secs_f64() * 1e6 / requests as f64;
        let rate = requests as f64 / start.elapsed().as_secs_f64();
        println!("{name:<40} {rate:>10.0} {each:>14.2}");
    }
}

/// Keeps so many requests on their way and counts the answers.
async fn load(
    server: &Server,
    config: &Arc<ClientConfig>,
    statement: &str,
    bound: &[Value],
    deep: usize,
) -> u64 {
    let mut client = Client::tls(server, config).await.unwrap();
    client.start().await;
    let prepared = client.prepare(statement).await;
    let frame = execute(&prepared, bound, &Parameters::default());
    let batch = |n: usize| {
        let mut frames = frame.repeat(n);
        let streams = frames.chunks_mut(frame.len()).enumerate();
        streams.for_each(|(i, frame)| set_stream(frame, i as i16));
        frames
    };
    client.send_raw(&batch(deep)).await;
    let (end, mut answers) = (Instant::now() + TIME, 0);
    while Instant::now() < end {
        let n = client.receive_some().await;
        answers += n as u64;
        client.send_raw(&batch(n)).await;
    }
    answers
}

/// CPU time of the server's thread so far.
fn server_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let times = tasks.filter_map(|task| {
        let task = task.ok()?.path();
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let stat = std::fs::read_to_string(task.join("schedstat")).ok()?;
        let nanos = stat.split(' ').next()?.parse().ok()?;
        // The kernel keeps 15 characters of a name.
        "palladion-testkit"
            .starts_with(name.trim_end())
            .then(|| Duration::from_nanos(nanos))
    });
    times.sum()
}
