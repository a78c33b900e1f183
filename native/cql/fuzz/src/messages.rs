//! Messages of every kind, for seeds: requests by our own encoders, responses by hand.

use bytes::Bytes;
use palladion_cql::frame::{flag, Header, Opcode, Sender};
use palladion_cql::request::{
    auth_response, execute, options, prepare, query, register, startup, Batch, BatchKind,
    Parameters, StatementId, Unsendable,
};
use palladion_cql::value::encode;
use palladion_cql::{ColumnType, Consistency, Dialect, Frame, Version};

use super::body::{body, Body};
use super::input::RATE_LIMIT;
use super::samples::{option, types, value_of};

/// A response: what it is, its flags, and its body.
pub type Message = (Opcode, u8, Vec<u8>);

/// A server's frame as a reader gives it out.
pub fn parsed(dialect: Dialect, opcode: Opcode, flags: u8, body: Bytes) -> Frame {
    let header = Header {
        sender: Sender::Server,
        version: dialect.version.number(),
        flags,
        stream: 1,
        opcode,
        length: body.len() as u32,
    };
    Frame {
        header,
        body,
        dialect,
    }
}

/// A server's frame as it is sent.
pub fn frame(dialect: &Dialect, opcode: Opcode, flags: u8, body: &[u8]) -> Vec<u8> {
    let frame = parsed(*dialect, opcode, flags, Bytes::copy_from_slice(body));
    [&frame.header.to_bytes()[..], &frame.body].concat()
}

/// A message of each kind.
pub fn responses(dialect: &Dialect) -> Vec<Message> {
    let mut all: Vec<Message> = errors(dialect)
        .map(|body| (Opcode::Error, 0, body.0))
        .into();
    let results = results(dialect);
    let annotated = body()
        .raw(&[7; 16])
        .strings(&["one", "two"])
        .short(2)
        .string("a")
        .bytes(b"payload")
        .string("b")
        .int(-1);
    for (i, result) in results.iter().enumerate() {
        all.push((Opcode::Result, 0, result.0.clone()));
        if i < 2 {
            let flags = flag::TRACING | flag::WARNING | flag::CUSTOM_PAYLOAD;
            all.push((Opcode::Result, flags, annotated.clone().raw(&result.0).0));
        }
    }
    let compressions = body()
        .short(2)
        .string("COMPRESSION")
        .strings(&["lz4", "snappy"]);
    let supported = compressions.string("CQL_VERSION").strings(&["3.4.7"]);
    all.extend([
        (Opcode::Ready, 0, Vec::new()),
        (Opcode::Supported, 0, supported.0),
        (Opcode::Authenticate, 0, body().string("org.example.Auth").0),
        (Opcode::AuthChallenge, 0, body().bytes(b"challenge").0),
        (Opcode::AuthSuccess, 0, body().int(-1).0),
    ]);
    all.extend(events().map(|body| (Opcode::Event, 0, body.0)));
    all
}

fn events() -> [Body; 4] {
    let kind = |kind| body().string(kind);
    let v6 = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    [
        kind("TOPOLOGY_CHANGE")
            .string("NEW_NODE")
            .raw(&[4, 10, 0, 0, 1])
            .int(9042),
        kind("STATUS_CHANGE")
            .string("DOWN")
            .raw(&[16])
            .raw(&v6)
            .int(9042),
        kind("SCHEMA_CHANGE").raw(&schema_change().0),
        kind("CLIENT_ROUTES_CHANGE").raw(&[1, 2]),
    ]
}

fn schema_change() -> Body {
    ["UPDATED", "TABLE", "ks", "t"]
        .iter()
        .fold(body(), |body, text| body.string(text))
}

fn errors(dialect: &Dialect) -> [Body; 14] {
    let v5 = dialect.version >= Version::V5;
    let error = |code: i32| body().int(code).string("told");
    let quorum = |code: i32| error(code).short(Consistency::Quorum as u16);
    let failures = |body: Body| match v5 {
        true => body.int(1).raw(&[4, 10, 0, 0, 2]).short(1),
        false => body.int(1),
    };
    [
        error(0x0000),
        error(0x000A),
        quorum(0x1000).int(3).int(1),
        quorum(0x1100).int(1).int(2).string("SIMPLE"),
        quorum(0x1100)
            .int(1)
            .int(2)
            .string("CAS")
            .when(v5, |body| body.short(7)),
        quorum(0x1200).int(1).int(2).raw(&[1]),
        failures(quorum(0x1300).int(1).int(2)).raw(&[0]),
        error(0x1400)
            .string("ks")
            .string("f")
            .strings(&["int", "text"]),
        failures(quorum(0x1500).int(1).int(2)).string("BATCH"),
        error(0x1600),
        quorum(0x1700).int(1).int(2),
        error(0x2400).string("ks").string("t"),
        error(0x2500).short_bytes(&[1, 2, 3]),
        error(RATE_LIMIT).raw(&[1, 0]),
    ]
}

fn results(dialect: &Dialect) -> Vec<Body> {
    let kind = |kind| body().int(kind);
    let ids = dialect.has_metadata_ids();
    let column = |body: Body, ty: &ColumnType| body.string("c").raw(&option(ty));
    let typed = types();
    let rows = |types: &[ColumnType], count: i32, cells: &[u8]| {
        let head = kind(2)
            .int(0x01)
            .int(types.len() as i32)
            .string("ks")
            .string("t");
        types.iter().fold(head, column).int(count).raw(cells)
    };
    let mut cells = Vec::new();
    for ty in &typed {
        // What can't be encoded would make a seed less.
        let _ = encode(&value_of(ty), ty, &mut cells, usize::MAX);
    }
    let nulls = (-1i32).to_be_bytes().repeat(typed.len());
    let two = [ColumnType::Int, ColumnType::Text];
    let cell = [0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 1, b'x'];
    let prepared = kind(4)
        .short_bytes(&[0xAB; 16])
        .when(ids, |body| body.short_bytes(&[0xCD; 16]))
        .int(0x01)
        .int(2)
        .when(dialect.version >= Version::V4, |body| body.int(1).short(1))
        .string("ks")
        .string("t");
    let changed = kind(2)
        .int(if ids { 0x0B } else { 0x03 })
        .int(1)
        .bytes(b"state");
    let mut results = vec![
        kind(1),
        rows(&two, 2, &cell.repeat(2)),
        rows(&typed, 2, &[cells, nulls].concat()),
        // Metadata left out, and a table a column.
        kind(2).int(0x04).int(2).int(1).raw(&cell),
        column(
            kind(2).int(0).int(1).string("ks").string("t"),
            &ColumnType::Int,
        )
        .int(0),
        column(
            changed
                .when(ids, |body| body.short_bytes(&[1; 16]))
                .string("ks")
                .string("t"),
            &ColumnType::Blob,
        )
        .int(1)
        .bytes(b"blob"),
        kind(3).string("ks"),
        two.iter().fold(prepared.clone(), column).int(0x04).int(0),
        column(
            two.iter()
                .fold(prepared, column)
                .int(0x01)
                .int(1)
                .string("ks")
                .string("t"),
            &two[0],
        ),
        kind(5).raw(&schema_change().0),
    ];
    for ty in &typed {
        let mut cell = Vec::new();
        if encode(&value_of(ty), ty, &mut cell, usize::MAX).is_ok() {
            results.push(rows(std::slice::from_ref(ty), 1, &cell));
        }
    }
    results
}

/// A request of each kind that the dialect has.
pub fn requests(dialect: &Dialect) -> Vec<Vec<u8>> {
    let v5 = dialect.version >= Version::V5;
    let parameters = Parameters {
        page_size: Some(100),
        serial_consistency: Some(Consistency::Serial),
        timestamp: Some(1),
        keyspace: v5.then(|| "ks".to_owned()),
        tracing: true,
        ..Parameters::default()
    };
    let value = |out: &mut Vec<u8>| {
        out.extend_from_slice(&[0, 0, 0, 1, 7]);
        Ok::<(), Unsendable>(())
    };
    let id = StatementId {
        id: &[9; 16],
        result_id: Some(&[8; 16]),
    };
    let long = "select ".repeat(200);
    let batch = || {
        let mut batch = Batch::new(dialect, BatchKind::Logged, &parameters)?;
        batch.query("insert")?;
        batch.prepared(id, 1, value)?;
        batch.finish(&parameters)
    };
    let all = [
        Ok(options(dialect)),
        startup(dialect, &[("CQL_VERSION", "3.0.0")]),
        auth_response(dialect, Some(b"token")).map_err(Unsendable::from),
        register(dialect, &["STATUS_CHANGE"]),
        prepare(dialect, "select", parameters.keyspace.as_deref()),
        query(dialect, &long, &parameters),
        execute(dialect, id, &parameters, 1, value),
        batch(),
    ];
    all.into_iter().flatten().collect()
}
