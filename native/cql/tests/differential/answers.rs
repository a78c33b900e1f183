//! Responses of the other implementation, with what they mean to us.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use cassandra_protocol::frame::events as their_events;
use cassandra_protocol::frame::events::{SchemaChangeOptions, SchemaChangeTarget};
use cassandra_protocol::frame::message_auth_challenge::BodyResAuthChallenge;
use cassandra_protocol::frame::message_auth_success::BodyReqAuthSuccess;
use cassandra_protocol::frame::message_authenticate::BodyResAuthenticate;
use cassandra_protocol::frame::message_event::BodyResEvent;
use cassandra_protocol::frame::message_result::{
    BodyResResultPrepared, BodyResResultRows, BodyResResultSetKeyspace, ColSpec, PreparedMetadata,
    ResResultBody, RowsMetadata, RowsMetadataFlags, TableSpec,
};
use cassandra_protocol::frame::message_supported::BodyResSupported;
use cassandra_protocol::frame::{Opcode, Serialize};
use cassandra_protocol::types::{CBytes, CBytesShort};
use palladion_cql::response::{Message, Prepared, ResultBody, SchemaChange};
use palladion_cql::value::Value;
use palladion_cql::{ColumnSpec, ColumnType, Dialect, ServerEvent, Version};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::convert::{content_by_us, their_type};
use crate::errors::any_error;
use crate::other;
use crate::support::{any_type, value_or_null};

/// A response's message.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) opcode: Opcode,
    pub(crate) body: Vec<u8>,
    pub(crate) meant: Meant,
}

/// What it should be to us.
#[derive(Debug, Clone)]
pub(crate) enum Meant {
    Message(Message),
    Supported(Vec<(String, Vec<String>)>),
    Event(ServerEvent),
    Rows(MeantRows),
}

/// Rows with their values.
#[derive(Debug, Clone)]
pub(crate) struct MeantRows {
    pub(crate) columns: Vec<ColumnSpec>,
    pub(crate) has_metadata: bool,
    pub(crate) paging_state: Option<Vec<u8>>,
    pub(crate) metadata_id: Option<Vec<u8>>,
    pub(crate) rows: Vec<Vec<Value>>,
}

pub(crate) fn any_answer(dialect: Dialect) -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => any_error(dialect),
        2 => any_handshake(dialect),
        2 => any_event(dialect),
        1 => any_small_result(dialect),
        4 => any_rows(dialect),
        3 => any_prepared(dialect),
    ]
}

fn any_handshake(dialect: Dialect) -> BoxedStrategy<Answer> {
    let version = other::version(&dialect);
    let token = || prop::option::of(vec(any::<u8>(), 0..40));
    let theirs = |token: &Option<Vec<u8>>| token.clone().map_or_else(CBytes::new_null, CBytes::new);
    let ready = Answer {
        opcode: Opcode::Ready,
        body: Vec::new(),
        meant: Meant::Message(Message::Ready),
    };
    let supported = btree_map("[A-Z_]{1,12}", vec("\\PC{0,9}", 0..4), 0..5);
    prop_oneof![
        Just(ready),
        "[a-zA-Z.]{0,60}".prop_map(move |class| Answer {
            opcode: Opcode::Authenticate,
            body: BodyResAuthenticate {
                data: class.clone()
            }
            .serialize_to_vec(version),
            meant: Meant::Message(Message::Authenticate(class)),
        }),
        token().prop_map(move |token| Answer {
            opcode: Opcode::AuthChallenge,
            body: BodyResAuthChallenge {
                data: theirs(&token)
            }
            .serialize_to_vec(version),
            meant: Meant::Message(Message::AuthChallenge(token.map(Bytes::from))),
        }),
        token().prop_map(move |token| Answer {
            opcode: Opcode::AuthSuccess,
            body: BodyReqAuthSuccess {
                data: theirs(&token)
            }
            .serialize_to_vec(version),
            meant: Meant::Message(Message::AuthSuccess(token.map(Bytes::from))),
        }),
        supported.prop_map(move |options| Answer {
            opcode: Opcode::Supported,
            body: BodyResSupported {
                data: options.clone().into_iter().collect()
            }
            .serialize_to_vec(version),
            meant: Meant::Supported(options.into_iter().collect()),
        }),
    ]
    .boxed()
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

/// A change of the schema to both of us.
fn any_change() -> impl Strategy<Value = (their_events::SchemaChange, SchemaChange)> {
    use their_events::SchemaChangeType::{Created, Dropped, Updated};
    let change = prop::sample::select(vec![
        ("CREATED", Created),
        ("UPDATED", Updated),
        ("DROPPED", Dropped),
    ]);
    let target = prop::sample::select(vec![
        ("KEYSPACE", SchemaChangeTarget::Keyspace),
        ("TABLE", SchemaChangeTarget::Table),
        ("TYPE", SchemaChangeTarget::Type),
        ("FUNCTION", SchemaChangeTarget::Function),
        ("AGGREGATE", SchemaChangeTarget::Aggregate),
    ]);
    let name = || "\\PC{0,12}";
    // Of a function's arguments we read nothing: its name alone is what a driver needs.
    let arguments = vec("[a-z<>]{1,9}", 0..3);
    (change, target, name(), name(), arguments).prop_map(
        |((change, change_type), (kind, target), keyspace, name, arguments)| {
            let (ks, name_there) = (keyspace.clone(), name.clone());
            let options = match kind {
                "KEYSPACE" => SchemaChangeOptions::Keyspace(ks),
                "TABLE" | "TYPE" => SchemaChangeOptions::TableType(ks, name_there),
                _ => SchemaChangeOptions::FunctionAggregate(ks, name_there, arguments),
            };
            let theirs = their_events::SchemaChange {
                change_type,
                target,
                options,
            };
            let ours = SchemaChange {
                change: change.to_owned(),
                target: kind.to_owned(),
                keyspace,
                name: (kind != "KEYSPACE").then_some(name),
            };
            (theirs, ours)
        },
    )
}

fn any_event(dialect: Dialect) -> BoxedStrategy<Answer> {
    use their_events::ServerEvent as Theirs;
    use their_events::{StatusChangeType, TopologyChangeType};
    let topology = prop::sample::select(vec![
        ("NEW_NODE", TopologyChangeType::NewNode),
        ("REMOVED_NODE", TopologyChangeType::RemovedNode),
    ]);
    let status = prop::sample::select(vec![
        ("UP", StatusChangeType::Up),
        ("DOWN", StatusChangeType::Down),
    ]);
    let event = prop_oneof![
        (topology, any_address()).prop_map(|((change, change_type), addr)| {
            let ours = ServerEvent::Topology {
                change: change.to_owned(),
                node: addr,
            };
            let theirs = their_events::TopologyChange { change_type, addr };
            (Theirs::TopologyChange(theirs), ours)
        }),
        (status, any_address()).prop_map(|((change, change_type), addr)| {
            let ours = ServerEvent::Status {
                change: change.to_owned(),
                node: addr,
            };
            let theirs = their_events::StatusChange { change_type, addr };
            (Theirs::StatusChange(theirs), ours)
        }),
        any_change()
            .prop_map(|(theirs, ours)| (Theirs::SchemaChange(theirs), ServerEvent::Schema(ours))),
    ];
    event
        .prop_map(move |(event, ours)| Answer {
            opcode: Opcode::Event,
            body: BodyResEvent { event }.serialize_to_vec(other::version(&dialect)),
            meant: Meant::Event(ours),
        })
        .boxed()
}

fn result(dialect: Dialect, body: &ResResultBody, meant: Meant) -> Answer {
    Answer {
        opcode: Opcode::Result,
        body: body.serialize_to_vec(other::version(&dialect)),
        meant,
    }
}

fn any_small_result(dialect: Dialect) -> BoxedStrategy<Answer> {
    let ours = |body| Meant::Message(Message::Result(body));
    prop_oneof![
        Just(result(
            dialect,
            &ResResultBody::Void,
            ours(ResultBody::Void)
        )),
        "\\PC{0,20}".prop_map(move |keyspace| {
            let theirs = BodyResResultSetKeyspace::new(keyspace.clone());
            let ours = ours(ResultBody::SetKeyspace(keyspace));
            result(dialect, &ResResultBody::SetKeyspace(theirs), ours)
        }),
        any_change().prop_map(move |(theirs, change)| {
            let ours = ours(ResultBody::SchemaChange(change));
            result(dialect, &ResResultBody::SchemaChange(theirs), ours)
        }),
    ]
    .boxed()
}

/// Columns, of one table or of several.
fn any_columns(at_most: usize) -> impl Strategy<Value = (bool, Vec<ColumnSpec>)> {
    let ty = prop_oneof![
        9 => any_type(),
        1 => Just(ColumnType::Custom("com.example.Own".into())),
    ];
    let column = ("[a-z]{0,6}", "[a-z]{0,6}", "\\PC{0,12}", ty);
    (any::<bool>(), vec(column, 1..=at_most)).prop_map(|(is_global, columns)| {
        let (keyspace, table, ..) = columns[0].clone();
        let column = |(ks, own_table, name, ty): (String, String, String, ColumnType)| {
            let (keyspace, table) = match is_global {
                true => (keyspace.clone(), table.clone()),
                false => (ks, own_table),
            };
            ColumnSpec {
                keyspace: keyspace.into(),
                table: table.into(),
                name,
                ty,
            }
        };
        (is_global, columns.into_iter().map(column).collect())
    })
}

fn table_spec(column: &ColumnSpec) -> TableSpec {
    TableSpec {
        ks_name: column.keyspace.to_string(),
        table_name: column.table.to_string(),
    }
}

fn col_specs(is_global: bool, columns: &[ColumnSpec]) -> Vec<ColSpec> {
    let spec = |column: &ColumnSpec| ColSpec {
        table_spec: (!is_global).then(|| table_spec(column)),
        name: column.name.clone(),
        col_type: their_type(&column.ty),
    };
    columns.iter().map(spec).collect()
}

fn metadata(is_global: bool, columns: &[ColumnSpec]) -> RowsMetadata {
    let mut flags = RowsMetadataFlags::empty();
    flags.set(RowsMetadataFlags::NO_METADATA, columns.is_empty());
    flags.set(
        RowsMetadataFlags::GLOBAL_TABLE_SPACE,
        is_global && !columns.is_empty(),
    );
    RowsMetadata {
        flags,
        columns_count: columns.len() as i32,
        paging_state: None,
        new_metadata_id: None,
        global_table_spec: columns.first().filter(|_| is_global).map(table_spec),
        col_specs: col_specs(is_global, columns),
    }
}

fn any_rows(dialect: Dialect) -> BoxedStrategy<Answer> {
    let id = match dialect.version {
        Version::V5 => prop::option::of(vec(any::<u8>(), 0..17)).boxed(),
        _ => Just(None).boxed(),
    };
    let rows = |(is_global, columns): (bool, Vec<ColumnSpec>)| {
        let row: Vec<_> = columns
            .iter()
            .map(|column| value_or_null(&column.ty))
            .collect();
        (Just(is_global), Just(columns), vec(row, 0..4))
    };
    let paging_state = prop::option::of(vec(any::<u8>(), 0..30));
    (
        any_columns(4).prop_flat_map(rows),
        paging_state,
        id,
        any::<bool>(),
    )
        .prop_map(
            move |((is_global, columns, rows), paging_state, id, has_metadata)| {
                let meant = MeantRows {
                    columns,
                    has_metadata,
                    paging_state,
                    metadata_id: id.filter(|_| has_metadata),
                    rows,
                };
                let theirs = their_rows(dialect, is_global, &meant);
                result(dialect, &ResResultBody::Rows(theirs), Meant::Rows(meant))
            },
        )
        .boxed()
}

fn their_rows(dialect: Dialect, is_global: bool, meant: &MeantRows) -> BodyResResultRows {
    let mut metadata = match meant.has_metadata {
        true => metadata(is_global, &meant.columns),
        false => RowsMetadata {
            columns_count: meant.columns.len() as i32,
            ..metadata(false, &[])
        },
    };
    let more = meant.paging_state.is_some();
    metadata.flags.set(RowsMetadataFlags::HAS_MORE_PAGES, more);
    metadata.paging_state = meant.paging_state.clone().map(CBytes::new);
    let changed = meant.metadata_id.is_some();
    metadata
        .flags
        .set(RowsMetadataFlags::METADATA_CHANGED, changed);
    metadata.new_metadata_id = meant.metadata_id.clone().map(CBytesShort::new);
    let cell = |(value, column): (&Value, &ColumnSpec)| {
        content_by_us(value, &column.ty).map_or_else(CBytes::new_null, CBytes::new)
    };
    let row = |row: &Vec<Value>| row.iter().zip(&meant.columns).map(cell).collect();
    BodyResResultRows {
        metadata,
        rows_count: meant.rows.len() as i32,
        rows_content: meant.rows.iter().map(row).collect(),
        protocol_version: other::version(&dialect),
    }
}

fn any_prepared(dialect: Dialect) -> BoxedStrategy<Answer> {
    let id = || vec(any::<u8>(), 0..20);
    let columns = || prop_oneof![1 => Just((false, Vec::new())), 3 => any_columns(3)];
    let bind = columns().prop_flat_map(move |(is_global, columns)| {
        let places: Vec<_> = (0..columns.len() as u16).collect();
        let keys = match dialect.version {
            // It doesn't tell.
            Version::V3 => 0..=0,
            _ => 0..=places.len(),
        };
        let key = prop::sample::subsequence(places, keys).prop_shuffle();
        (Just(is_global), Just(columns), key)
    });
    (id(), id(), bind, columns())
        .prop_map(
            move |(id, result_id, (is_global, bind, partition_key), result)| {
                let result_id = (dialect.version >= Version::V5).then_some(result_id);
                let theirs = BodyResResultPrepared {
                    id: CBytesShort::new(id.clone()),
                    result_metadata_id: result_id.clone().map(CBytesShort::new),
                    metadata: PreparedMetadata {
                        pk_indexes: partition_key.iter().map(|place| *place as i16).collect(),
                        global_table_spec: bind.first().filter(|_| is_global).map(table_spec),
                        col_specs: col_specs(is_global, &bind),
                    },
                    result_metadata: metadata(result.0, &result.1),
                };
                let ours = Prepared {
                    id: id.into(),
                    bind: Arc::from(bind),
                    partition_key,
                    result: Arc::from(result.1),
                    result_id: result_id.map(Bytes::from),
                };
                let id_len = ours.id.len();
                let ours = Meant::Message(Message::Result(ResultBody::Prepared(ours)));
                let mut answer = self::result(dialect, &ResResultBody::Prepared(theirs), ours);
                if dialect.version == Version::V3 {
                    // The other implementation writes how many columns the partition key has into
                    // every version, but reads that from protocol 4 on, where it began.
                    let at = 4 + 2 + id_len + 4 + 4;
                    assert_eq!(answer.body.drain(at..at + 4).sum::<u8>(), 0);
                }
                answer
            },
        )
        .boxed()
}
