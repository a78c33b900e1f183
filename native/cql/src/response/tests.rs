//! Responses: what their bytes mean, and that no bytes do harm.

mod errors;

use proptest::prelude::*;

use super::*;
use crate::frame::{Header, Sender};
use crate::value::{Value, Values};
use crate::Consistency;

/// Puts the protocol's notations one after another.
#[derive(Debug, Default, Clone)]
struct Body(Vec<u8>);

impl Body {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    fn short(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }
    fn int(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }
    fn string(self, text: &str) -> Self {
        self.short(text.len() as u16).raw(text.as_bytes())
    }
    fn strings(self, texts: &[&str]) -> Self {
        let start = self.short(texts.len() as u16);
        texts.iter().fold(start, |body, text| body.string(text))
    }
    fn bytes(self, bytes: &[u8]) -> Self {
        self.int(bytes.len() as i32).raw(bytes)
    }
}

fn body() -> Body {
    Body::default()
}

fn error(code: i32) -> Body {
    body().int(code).string("told")
}

fn parse_with(opcode: Opcode, flags: u8, body: &[u8]) -> Result<Response, DecodeError> {
    parse_in(Dialect::plain(Version::V4), opcode, flags, body)
}

fn parse_in(
    dialect: Dialect,
    opcode: Opcode,
    flags: u8,
    body: &[u8],
) -> Result<Response, DecodeError> {
    let header = Header {
        sender: Sender::Server,
        version: dialect.version.number(),
        flags,
        stream: 1,
        opcode,
        length: body.len() as u32,
    };
    Response::parse(&Frame {
        header,
        body: Bytes::copy_from_slice(body),
        dialect,
    })
}

fn parse(opcode: Opcode, body: &Body) -> Message {
    parse_with(opcode, 0, &body.0).unwrap().message
}

fn error_detail(body: &Body) -> ErrorDetail {
    let Message::Error(error) = parse(Opcode::Error, body) else {
        panic!("no error");
    };
    assert_eq!(error.message, "told");
    error.detail
}

/// Two rows of an int and a text column, the table named once.
fn rows() -> Body {
    rows_with(0x01, body().string("ks").string("t"))
        .string("a")
        .short(0x0009)
        .string("b")
        .short(0x000D)
        .int(2)
        .bytes(&[0, 0, 0, 1])
        .bytes(b"one")
        .int(-1)
        .bytes(b"")
}

fn rows_with(flags: i32, rest: Body) -> Body {
    body().int(2).int(flags).int(2).raw(&rest.0)
}

fn prepared() -> Body {
    body()
        .int(4)
        .short(2)
        .raw(&[0xAB, 0xCD])
        .int(0x01)
        .int(2)
        .int(1)
        .short(1)
        .string("ks")
        .string("t")
        .string("a")
        .short(0x0009)
        .string("b")
        .short(0x000D)
        .int(0x04)
        .int(0)
}

fn schema_change() -> Body {
    body()
        .int(5)
        .string("CREATED")
        .string("TABLE")
        .string("ks")
        .string("t")
}

fn error_bodies() -> Vec<Body> {
    let quorum = |code| error(code).short(0x0004);
    vec![
        error(code::SERVER),
        quorum(code::UNAVAILABLE).int(3).int(1),
        quorum(code::WRITE_TIMEOUT).int(1).int(2).string("SIMPLE"),
        quorum(code::WRITE_FAILURE)
            .int(1)
            .int(2)
            .int(1)
            .string("BATCH"),
        quorum(code::READ_TIMEOUT).int(1).int(2).raw(&[1]),
        quorum(code::READ_FAILURE).int(1).int(2).int(1).raw(&[0]),
        error(code::FUNCTION_FAILURE)
            .string("ks")
            .string("f")
            .strings(&["int", "text"]),
        error(code::ALREADY_EXISTS).string("ks").string("t"),
        error(code::UNPREPARED).short(3).raw(&[1, 2, 3]),
    ]
}

/// A message of every kind; all of its bytes are needed.
fn messages() -> Vec<(Opcode, Body)> {
    let mut all: Vec<_> = error_bodies()
        .into_iter()
        .map(|body| (Opcode::Error, body))
        .collect();
    all.extend([
        (
            Opcode::Authenticate,
            body().string("org.example.Authenticator"),
        ),
        (Opcode::AuthChallenge, body().bytes(b"challenge")),
        (Opcode::AuthSuccess, body().int(-1)),
        (
            Opcode::Supported,
            body()
                .short(1)
                .string("COMPRESSION")
                .strings(&["lz4", "snappy"]),
        ),
        (Opcode::Result, body().int(1)),
        (Opcode::Result, rows()),
        (Opcode::Result, body().int(3).string("ks")),
        (Opcode::Result, prepared()),
        (Opcode::Result, schema_change()),
    ]);
    all
}

/// Parses, and decodes the rows if there are some.
fn read_all(opcode: Opcode, flags: u8, body: &[u8]) -> Result<(), DecodeError> {
    let response = parse_with(opcode, flags, body)?;
    let Message::Result(ResultBody::Rows(rows)) = response.message else {
        return Ok(());
    };
    match rows.columns.clone() {
        Some(columns) => rows.decode(&columns, &mut Values, |_, _| {}),
        None => Ok(()),
    }
}

#[test]
fn the_login_messages_are_read() {
    assert_eq!(parse(Opcode::Ready, &body()), Message::Ready);
    let authenticate = parse(Opcode::Authenticate, &body().string("a.B"));
    assert_eq!(authenticate, Message::Authenticate("a.B".into()));
    let challenge = parse(Opcode::AuthChallenge, &body().bytes(b"x"));
    assert_eq!(challenge, Message::AuthChallenge(Some(Bytes::from("x"))));
    let success = parse(Opcode::AuthSuccess, &body().int(-1));
    assert_eq!(success, Message::AuthSuccess(None));
    let supported = body()
        .short(2)
        .string("A")
        .strings(&["x", "y"])
        .string("B")
        .strings(&[]);
    let expected = vec![
        ("A".to_owned(), vec!["x".to_owned(), "y".to_owned()]),
        ("B".to_owned(), vec![]),
    ];
    assert_eq!(
        parse(Opcode::Supported, &supported),
        Message::Supported(expected)
    );
}

fn rows_of(body: &Body) -> Rows {
    match parse(Opcode::Result, body) {
        Message::Result(ResultBody::Rows(rows)) => rows,
        other => panic!("no rows: {other:?}"),
    }
}

fn cells(rows: &Rows, columns: &[ColumnSpec]) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    rows.decode(columns, &mut Values, |_, cells| {
        all.push(std::mem::take(cells))
    })
    .unwrap();
    all
}

#[test]
fn rows_with_metadata_describe_themselves() {
    let rows = rows_of(&rows());
    let columns = rows.columns.clone().unwrap();
    let described: Vec<_> = columns
        .iter()
        .map(|c| (&*c.keyspace, &*c.table, c.name.as_str(), c.ty.to_string()))
        .collect();
    let expected = [
        ("ks", "t", "a", "int".to_owned()),
        ("ks", "t", "b", "text".to_owned()),
    ];
    assert_eq!(described, expected);
    let text = |text: &str| Value::Text(text.into());
    let expected = [
        vec![Value::Int(1), text("one")],
        vec![Value::Null, text("")],
    ];
    assert_eq!(cells(&rows, &columns), expected);
    assert_eq!((rows.count, rows.column_count), (2, 2));
    assert_eq!(rows.paging_state, None);
}

#[test]
fn each_column_may_name_its_own_table() {
    let own_tables = rows_with(0, body())
        .string("k1")
        .string("t1")
        .string("a")
        .short(0x0009)
        .string("k2")
        .string("t2")
        .string("b")
        .short(0x0020)
        .short(0x0009)
        .int(0);
    let columns = rows_of(&own_tables).columns.unwrap();
    let tables: Vec<_> = columns.iter().map(|c| (&*c.keyspace, &*c.table)).collect();
    assert_eq!(tables, [("k1", "t1"), ("k2", "t2")]);
    assert_eq!(columns[1].ty, ColumnType::List(Box::new(ColumnType::Int)));
}

#[test]
fn rows_without_metadata_are_decoded_by_the_prepared_columns() {
    let columns = rows_of(&rows()).columns.unwrap();
    let bare = rows_with(0x04 | 0x02, body().bytes(b"next"))
        .int(1)
        .bytes(&[0, 0, 0, 7])
        .bytes(b"x");
    let rows = rows_of(&bare);
    assert_eq!(rows.columns, None);
    assert_eq!(rows.paging_state.as_deref(), Some(&b"next"[..]));
    let expected = [vec![Value::Int(7), Value::Text("x".into())]];
    assert_eq!(cells(&rows, &columns), expected);
    let too_few = rows.decode(&columns[..1], &mut Values, |_, _| {});
    assert!(too_few.is_err());
}

#[test]
fn counts_beyond_the_body_are_refused() {
    for body in [
        rows_with(0x04, body().int(i32::MAX)),
        rows_with(0x04, body().int(-1)),
        body().int(2).int(0x04).int(i32::MAX).int(1),
        body().int(2).int(0x00).int(i32::MAX).int(0),
        body().int(2).int(0x04).int(-1).int(0),
        body().int(2).int(0x04).int(0).int(i32::MAX), // rows of no columns
        body().int(4).short(0).int(0).int(i32::MAX),
        body().int(4).short(0).int(0).int(0).int(i32::MAX),
    ] {
        assert!(
            parse_with(Opcode::Result, 0, &body.0).is_err(),
            "{:?}",
            body.0
        );
    }
}

#[test]
fn a_prepared_statement_has_markers_keys_and_columns() {
    let Message::Result(ResultBody::Prepared(statement)) = parse(Opcode::Result, &prepared())
    else {
        panic!("not prepared");
    };
    assert_eq!(statement.id, &[0xAB, 0xCD][..]);
    let markers: Vec<_> = statement.bind.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(markers, ["a", "b"]);
    assert_eq!(statement.partition_key, [1]);
    assert!(statement.result.is_empty());
}

#[test]
fn a_partition_key_is_made_of_markers_that_are_there() {
    let mut body = prepared().0;
    let key = 4 + 2 + 2 + 4 + 4 + 4;
    assert_eq!(body[key..key + 2], [0, 1]);
    body[key + 1] = 2;
    let error = parse_with(Opcode::Result, 0, &body).unwrap_err();
    assert!(matches!(error, DecodeError::Unknown { value: 2, .. }));
}

#[test]
fn the_other_results_are_read() {
    let result = |body: &Body| match parse(Opcode::Result, body) {
        Message::Result(result) => result,
        other => panic!("no result: {other:?}"),
    };
    assert_eq!(result(&body().int(1)), ResultBody::Void);
    let keyspace = result(&body().int(3).string("ks"));
    assert_eq!(keyspace, ResultBody::SetKeyspace("ks".into()));
    let change = |target: &str, name: Option<&str>| SchemaChange {
        change: "CREATED".into(),
        target: target.into(),
        keyspace: "ks".into(),
        name: name.map(str::to_owned),
    };
    let table = ResultBody::SchemaChange(change("TABLE", Some("t")));
    assert_eq!(result(&schema_change()), table);
    let keyspace = body()
        .int(5)
        .string("CREATED")
        .string("KEYSPACE")
        .string("ks");
    let expected = ResultBody::SchemaChange(change("KEYSPACE", None));
    assert_eq!(result(&keyspace), expected);
    assert!(parse_with(Opcode::Result, 0, &body().int(6).0).is_err());
}

#[test]
fn what_stands_in_front_of_a_message_is_read_in_its_order() {
    let front = body()
        .raw(&[9; 16])
        .strings(&["careful"])
        .short(2)
        .string("key")
        .bytes(b"value")
        .string("none")
        .int(-1)
        .int(1);
    let flags = flag::TRACING | flag::WARNING | flag::CUSTOM_PAYLOAD;
    let response = parse_with(Opcode::Result, flags, &front.0).unwrap();
    let expected = Response {
        tracing_id: Some([9; 16]),
        warnings: vec!["careful".into()],
        payload: vec![
            ("key".into(), Some(b"value".to_vec())),
            ("none".into(), None),
        ],
        message: Message::Result(ResultBody::Void),
    };
    assert_eq!(response, expected);
    for len in 0..front.0.len() {
        assert!(parse_with(Opcode::Result, flags, &front.0[..len]).is_err());
    }
    let compressed = parse_with(Opcode::Result, flag::COMPRESSION, &front.0);
    assert!(compressed.is_err());
}

#[test]
fn a_request_is_no_response() {
    assert!(parse_with(Opcode::Query, 0, &[]).is_err());
}

#[test]
fn a_message_cut_anywhere_is_an_error() {
    for (opcode, body) in messages() {
        assert_eq!(
            read_all(opcode, 0, &body.0),
            Ok(()),
            "{opcode:?} {:?}",
            body.0
        );
        if opcode == Opcode::Error {
            continue;
        }
        for len in 0..body.0.len() {
            let cut = read_all(opcode, 0, &body.0[..len]);
            assert!(cut.is_err(), "{opcode:?} {:?} cut to {len}", body.0);
        }
    }
}

#[test]
fn bytes_after_a_message_are_for_later_versions() {
    for (opcode, body) in messages() {
        assert_eq!(read_all(opcode, 0, &body.raw(&[1, 2, 3]).0), Ok(()));
    }
}

const RESPONSES: [Opcode; 8] = [
    Opcode::Error,
    Opcode::Ready,
    Opcode::Authenticate,
    Opcode::AuthChallenge,
    Opcode::AuthSuccess,
    Opcode::Supported,
    Opcode::Result,
    Opcode::Event,
];

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(
        opcode in prop::sample::select(RESPONSES.to_vec()),
        flags in any::<u8>(),
        body in proptest::collection::vec(prop_oneof![Just(0u8), 0u8..0x40, any::<u8>()], 0..80),
    ) {
        let _ = read_all(opcode, flags, &body);
    }

    /// Bytes that are nearly right get further into the parser than random ones.
    #[test]
    fn a_message_with_changed_bytes_is_a_message_or_an_error(
        (opcode, body) in prop::sample::select(messages()).prop_map(|(o, b)| (o, b.0)),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = body;
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let _ = read_all(opcode, 0, &body);
    }
}

fn dialect(version: Version) -> Dialect {
    Dialect::plain(version)
}

#[test]
fn a_changed_result_brings_its_metadata_and_their_id() {
    let bytes = body()
        .int(2)
        .int(0x01 | 0x08)
        .int(1)
        .short(2)
        .raw(&[7, 7])
        .string("ks")
        .string("t")
        .string("a")
        .short(0x0009)
        .int(0);
    for with_ids in [
        dialect(Version::V5),
        Dialect {
            metadata_ids: true,
            ..dialect(Version::V4)
        },
    ] {
        let parsed = parse_in(with_ids, Opcode::Result, 0, &bytes.0).unwrap();
        let Message::Result(ResultBody::Rows(rows)) = parsed.message else {
            panic!("no rows");
        };
        assert_eq!(rows.metadata_id.as_deref(), Some(&[7, 7][..]));
        assert_eq!(rows.columns.unwrap().len(), 1);
    }
}

#[test]
fn a_prepared_statement_tells_what_its_version_has() {
    let columns = |flags: i32| body().int(flags).int(1);
    let column = |body: Body| body.string("ks").string("t").string("a").short(0x0009);
    let bytes = |version: Version| {
        let id = body().int(4).short(1).raw(&[1]);
        let id = match version {
            Version::V5 => id.short(1).raw(&[2]),
            _ => id,
        };
        let bind = id.raw(&columns(1).0);
        let bind = match version {
            Version::V3 => bind,
            _ => bind.int(1).short(0),
        };
        column(column(bind).raw(&columns(1).0))
    };
    for version in Version::ALL {
        let parsed = parse_in(dialect(version), Opcode::Result, 0, &bytes(version).0).unwrap();
        let Message::Result(ResultBody::Prepared(prepared)) = parsed.message else {
            panic!("not prepared");
        };
        assert_eq!((prepared.bind.len(), prepared.result.len()), (1, 1));
        assert_eq!(prepared.partition_key.is_empty(), version == Version::V3);
        assert_eq!(prepared.result_id.is_some(), version == Version::V5);
    }
}
