//! Requests as they are meant.

use cassandra_protocol::types::value::Value as Bound;
use palladion_cql::event::KINDS;
use palladion_cql::request::{BatchKind, Parameters};
use palladion_cql::{Consistency, Dialect, Version};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::other::any_consistency;
use crate::support::{any_dialect, content};

/// A request as it is meant.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Options,
    Startup(Vec<(String, String)>),
    AuthResponse(Option<Vec<u8>>),
    Register(Vec<&'static str>),
    Prepare(String, Option<String>),
    Query(String, Parameters),
    Execute(Execution, Parameters),
    Batch(BatchKind, Vec<Statement>, Parameters),
}

/// A prepared statement with its values.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    pub(crate) id: Vec<u8>,
    pub(crate) result_id: Option<Vec<u8>>,
    pub(crate) values: Vec<Bound>,
}

/// A statement of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    Text(String),
    Prepared(Execution),
}

pub(crate) fn any_conversation() -> impl Strategy<Value = (Dialect, Vec<Request>)> {
    any_dialect().prop_flat_map(|dialect| (Just(dialect), vec(any_request(dialect), 1..6)))
}

fn any_request(dialect: Dialect) -> impl Strategy<Value = Request> {
    let text = || prop_oneof![9 => "\\PC{0,40}", 1 => "(SELECT ){80,500}"];
    let keyspace = any_keyspace(dialect);
    let options = btree_map("[A-Z_]{1,12}", "\\PC{0,20}", 0..5);
    let statement = prop_oneof![
        text().prop_map(Statement::Text),
        any_execution().prop_map(Statement::Prepared),
    ];
    let kind = prop::sample::select(vec![
        BatchKind::Logged,
        BatchKind::Unlogged,
        BatchKind::Counter,
    ]);
    let parameters = any_parameters(dialect).boxed();
    prop_oneof![
        1 => Just(Request::Options),
        1 => options.prop_map(|options| Request::Startup(options.into_iter().collect())),
        1 => prop::option::of(vec(any::<u8>(), 0..700)).prop_map(Request::AuthResponse),
        1 => subsequence(KINDS.to_vec(), 0..=3).prop_map(Request::Register),
        2 => (text(), keyspace).prop_map(|(text, keyspace)| Request::Prepare(text, keyspace)),
        3 => (text(), parameters.clone()).prop_map(|(text, with)| Request::Query(text, with)),
        3 => (any_execution(), parameters.clone())
            .prop_map(|(execution, with)| Request::Execute(execution, with)),
        3 => (kind, vec(statement, 0..6), parameters)
            .prop_map(|(kind, statements, with)| Request::Batch(kind, statements, with)),
    ]
}

fn any_execution() -> impl Strategy<Value = Execution> {
    let value = prop_oneof![
        6 => vec(any::<u8>(), 0..12).prop_map(Bound::Some),
        1 => (500..3_000usize, any::<u8>()).prop_map(|(len, seed)| Bound::Some(content(len, seed))),
        1 => Just(Bound::Null),
        1 => Just(Bound::NotSet),
    ];
    let id = || vec(any::<u8>(), 0..20);
    (id(), prop::option::of(id()), vec(value, 0..6)).prop_map(|(id, result_id, values)| Execution {
        id,
        result_id,
        values,
    })
}

fn any_keyspace(dialect: Dialect) -> BoxedStrategy<Option<String>> {
    match dialect.version {
        Version::V5 => prop::option::of("[a-z]{1,9}").boxed(),
        _ => Just(None).boxed(),
    }
}

fn any_parameters(dialect: Dialect) -> impl Strategy<Value = Parameters> {
    let now = match dialect.version {
        Version::V5 => prop::option::of(any::<i32>()).boxed(),
        _ => Just(None).boxed(),
    };
    let entries = match dialect.version {
        Version::V3 => 0..1,
        _ => 0..3,
    };
    let serial = prop::sample::select(vec![Consistency::Serial, Consistency::LocalSerial]);
    let paging = (
        prop::option::of(any::<i32>()),
        prop::option::of(vec(any::<u8>(), 0..30)),
        any::<bool>(),
    );
    let payload = vec(("[a-z]{0,9}", vec(any::<u8>(), 0..20)), entries);
    (
        (any_consistency(), prop::option::of(serial)),
        paging,
        prop::option::of(any::<i64>()),
        (any_keyspace(dialect), now),
        (payload, any::<bool>()),
    )
        .prop_map(
            |(levels, paging, timestamp, (keyspace, now_in_seconds), (payload, tracing))| {
                Parameters {
                    consistency: levels.0,
                    serial_consistency: levels.1,
                    page_size: paging.0,
                    paging_state: paging.1,
                    skip_metadata: paging.2,
                    timestamp,
                    keyspace,
                    now_in_seconds,
                    payload,
                    tracing,
                }
            },
        )
}
