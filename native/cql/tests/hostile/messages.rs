//! Messages, types and rows of hostile bytes.

use std::sync::Arc;

use bytes::Bytes;
use palladion_cql::frame::Sender;
use palladion_cql::response::{Message, Response, ResultBody};
use palladion_cql::types::Udt;
use palladion_cql::value::{decode, Value, Values};
use palladion_cql::wire::Reader;
use palladion_cql::{
    ColumnType, DecodeError, Dialect, Frame, Header, Opcode, ServerEvent, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::answers::any_answer;
use crate::convert::content_by_us;
use crate::support::{any_dialect, any_type, dialect, value_of, DIALECTS};
use crate::{alone, memory_of};

/// How much a byte of a message becomes at the most: a column takes four bytes and is read into
/// some eighty, in a vector that grows by doubling and is copied once it is whole.
const EACH: usize = 128;
const BASE: usize = 64 << 10;

const RESPONSES: [Opcode; 8] = [
    Opcode::Error,
    Opcode::Ready,
    Opcode::Authenticate,
    Opcode::Supported,
    Opcode::Result,
    Opcode::Event,
    Opcode::AuthChallenge,
    Opcode::AuthSuccess,
];

/// With everything that changes how a response is read.
fn any_reader() -> impl Strategy<Value = Dialect> {
    (any_dialect(), any::<bool>(), prop::option::of(Just(0x4321))).prop_map(
        |(dialect, metadata_ids, rate_limit_error)| Dialect {
            // Bodies are taken as they are: what is in compressed ones is tried without.
            compression: None,
            metadata_ids,
            rate_limit_error,
            ..dialect
        },
    )
}

fn frame(dialect: Dialect, opcode: Opcode, flags: u8, body: &[u8]) -> Frame {
    Frame {
        header: Header {
            sender: Sender::Server,
            version: dialect.version.number(),
            flags: flags & 0x0E,
            stream: 1,
            opcode,
            length: body.len() as u32,
        },
        body: Bytes::copy_from_slice(body),
        dialect,
    }
}

/// Reads all of a response that can be read.
fn read(frame: &Frame) -> Result<(), DecodeError> {
    match Response::parse(frame)?.message {
        Message::Event(body) => ServerEvent::read(&body).map(drop),
        Message::Result(ResultBody::Rows(rows)) => match rows.columns.clone() {
            Some(columns) => rows.decode(&columns, &mut Values, |_, _| {}),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Reads it, and tells what was taken more than is allowed.
fn read_within_bounds(frame: &Frame) -> Result<(), TestCaseError> {
    let (_, taken) = memory_of(|| read(frame));
    let len = frame.body.len();
    prop_assert!(taken <= EACH * len + BASE, "{taken} of {len}");
    Ok(())
}

#[test]
fn any_body_is_a_response_or_an_error() {
    let _alone = alone();
    proptest!(ProptestConfig::with_cases(2_000), |(
        dialect in any_reader(),
        flags in any::<u8>(),
        kind in 0..6u8,
        bytes in vec(prop_oneof![Just(0), any::<u8>()], 0..500),
    )| {
        for opcode in RESPONSES {
            read_within_bounds(&frame(dialect, opcode, flags, &bytes))?;
        }
        // Most numbers are no kind of result: bytes behind one that is.
        let result = [&[0, 0, 0, kind][..], &bytes].concat();
        read_within_bounds(&frame(dialect, Opcode::Result, 0, &result))?;
    });
}

#[test]
fn no_request_is_a_response() {
    let _alone = alone();
    for dialect in DIALECTS {
        for opcode in [Opcode::Startup, Opcode::Query, Opcode::Batch] {
            let found = read(&frame(dialect, opcode, 0, &[0; 40]));
            assert!(matches!(found, Err(DecodeError::Unknown { .. })));
        }
    }
}

/// Messages that are nearly right get further than random bytes.
#[test]
fn a_response_that_was_changed_anywhere_does_no_harm() {
    let _alone = alone();
    const CLAIMS: [&[u8]; 6] = [
        &[0xFF],
        &[0x7F, 0xFF],
        &[0xFF, 0xFF],
        &[0x7F, 0xFF, 0xFF, 0xFF],
        &[0x00, 0xFF, 0xFF, 0xFF],
        &[0x80, 0, 0, 0],
    ];
    let answer = any_reader().prop_flat_map(|dialect| (Just(dialect), any_answer(dialect)));
    proptest!(ProptestConfig::with_cases(80), |(
        (dialect, answer) in answer,
        flags in prop_oneof![4 => Just(0), 1 => any::<u8>()],
        byte in any::<u8>(),
    )| {
        let opcode = Opcode::from_wire(answer.opcode.into()).unwrap();
        for at in 0..answer.body.len() {
            let (head, tail) = answer.body.split_at(at);
            read_within_bounds(&frame(dialect, opcode, flags, head))?;
            for change in CLAIMS.into_iter().chain([&[byte][..]]) {
                let rest = tail.get(change.len()..).unwrap_or_default();
                let body = [head, change, rest].concat();
                read_within_bounds(&frame(dialect, opcode, flags, &body))?;
            }
            // One byte more, one byte less.
            let more = [head, &[byte], tail].concat();
            let less = [head, &tail[1..]].concat();
            for body in [more, less] {
                read_within_bounds(&frame(dialect, opcode, flags, &body))?;
            }
        }
    });
}

#[test]
fn a_value_that_was_changed_anywhere_does_no_harm() {
    let _alone = alone();
    let typed = any_type().prop_flat_map(|ty| (Just(ty.clone()), value_of(&ty)));
    proptest!(ProptestConfig::with_cases(1_000), |((ty, value) in typed, byte in any::<u8>())| {
        let bytes = content_by_us(&value, &ty).unwrap();
        for at in 0..bytes.len() {
            for change in [&[byte][..], &[0x7F, 0xFF, 0xFF, 0xFF], &[0xFF; 9]] {
                let rest = bytes.get(at + change.len()..).unwrap_or_default();
                let changed = [&bytes[..at], change, rest].concat();
                let decoded = || decode(&mut Values, &ty, Some(&changed)).is_ok();
                let (_, taken) = memory_of(decoded);
                prop_assert!(taken <= EACH * changed.len() + BASE, "{taken}");
            }
        }
    });
}

#[test]
fn any_event_and_any_type_is_one_or_an_error() {
    let _alone = alone();
    let bytes = vec(prop_oneof![Just(0), 0x20..0x32u8, any::<u8>()], 0..300);
    proptest!(ProptestConfig::with_cases(2_000), |(bytes in bytes)| {
        let (_, taken) = memory_of(|| {
            drop(ServerEvent::read(&bytes));
            drop(ColumnType::read(&mut Reader::new(&bytes)));
        });
        prop_assert!(taken <= EACH * bytes.len() + BASE, "{taken}");
    });
}

/// PREPARED with a single bind marker of this type.
fn prepared_of(dialect: Dialect, ty: &[u8]) -> Frame {
    let mut body = [0, 0, 0, 4, 0, 1, 7].to_vec();
    if dialect.has_metadata_ids() {
        body.extend([0, 1, 8]);
    }
    body.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    if dialect.version >= Version::V4 {
        body.extend([0, 0, 0, 0]);
    }
    // Keyspace, table, name.
    body.extend([0, 1, b'k', 0, 1, b't', 0, 1, b'n']);
    body.extend(ty);
    // No columns in its results.
    body.extend([0; 8]);
    frame(dialect, Opcode::Result, 0, &body)
}

#[test]
fn a_type_nested_ten_thousand_deep_is_refused() {
    let _alone = alone();
    let tuple = [0, 0x31, 0, 1].repeat(10_000);
    let map = [[0, 0x21], [0, 0x09]].concat().repeat(10_000);
    let udt = [&[0, 0x30, 0, 0, 0, 0, 0, 1, 0, 0][..]; 10_000].concat();
    let class = format!("{}X", "ListType(".repeat(7_000));
    let class = [
        &[0, 0][..],
        &(class.len() as u16).to_be_bytes(),
        class.as_bytes(),
    ]
    .concat();
    for dialect in DIALECTS {
        for ty in [
            &[0, 0x20].repeat(10_000),
            &[0, 0x22].repeat(10_000),
            &tuple,
            &map,
            &udt,
            &class,
        ] {
            let frame = prepared_of(dialect, ty);
            let (found, taken) = memory_of(|| Response::parse(&frame).map(drop));
            assert_eq!(found, Err(DecodeError::TooDeep));
            assert!(taken <= EACH * frame.body.len() + BASE, "{taken}");
        }
    }
}

/// Rows of so many columns of one table, all without a name and of type text; none of them.
fn rows_of_columns(dialect: Dialect, count: u32) -> Frame {
    let column = [0, 0, 0, 0x0D];
    let body = [
        &[0, 0, 0, 2, 0, 0, 0, 1][..],
        &count.to_be_bytes(),
        &[0, 0, 0, 0],
        &column.repeat(count as usize),
        &[0; 4],
    ];
    frame(dialect, Opcode::Result, 0, &body.concat())
}

#[test]
fn more_columns_than_there_can_be_are_refused_before_they_are_read() {
    let _alone = alone();
    let frame = rows_of_columns(dialect(Version::V4, None), 65_536);
    let (found, taken) = memory_of(|| Response::parse(&frame).map(drop));
    assert!(
        matches!(found, Err(DecodeError::Unknown { .. })),
        "{found:?}"
    );
    assert!(taken <= BASE, "{taken}");
}

/// A message whose counts are the most that its bytes allow is what takes the most memory.
#[test]
fn many_of_the_smallest_things_take_memory_in_proportion() {
    let _alone = alone();
    let strings =
        |count: u16| [&count.to_be_bytes()[..], &vec![0; usize::from(count) * 2]].concat();
    let multimap = [&[0xFF, 0xFF][..], &[0; 4 * 65_535]].concat();
    let tuple = [&[0, 0x31, 0xFF, 0xFF][..], &[0, 9].repeat(65_535)].concat();
    let v4 = dialect(Version::V4, None);
    for frame in [
        frame(v4, Opcode::Ready, 0x08, &strings(65_535)),
        frame(v4, Opcode::Supported, 0, &multimap),
        rows_of_columns(v4, 65_535),
        prepared_of(v4, &tuple),
    ] {
        let (found, taken) = memory_of(|| Response::parse(&frame).map(drop));
        assert_eq!(found, Ok(()));
        let len = frame.body.len();
        assert!(taken <= EACH * len + BASE, "{taken} of {len}");
    }
}

/// A tuple's value may end early. Fields that aren't there take no bytes, but a null each.
#[test]
fn fields_that_are_not_there_are_limited() {
    let _alone = alone();
    let wide = ColumnType::Tuple(vec![ColumnType::Int; 1_000]);
    let list = |count: u32| [&count.to_be_bytes()[..], &vec![0; count as usize * 4]].concat();
    let of_tuples = ColumnType::List(Box::new(wide.clone()));
    let in_vector = ColumnType::Vector(Box::new(wide), 100_000);
    let few = decode(&mut Values, &of_tuples, Some(&list(1_000)));
    assert!(matches!(few, Ok(Value::List(items)) if items.len() == 1_000));
    for (ty, bytes) in [(of_tuples, list(100_000)), (in_vector, vec![0; 100_000])] {
        let (found, taken) = memory_of(|| decode(&mut Values, &ty, Some(&bytes)).map(drop));
        assert!(
            matches!(found, Err(DecodeError::BadLength { .. })),
            "{found:?}"
        );
        // What is free, and what each byte may have.
        let nulls = 1_000_000 + 8 * bytes.len();
        assert!(taken <= 64 * nulls + EACH * bytes.len(), "{taken}");
    }
}

/// A vector of one item takes no bytes beside the item's: 63 around each byte.
#[test]
fn vectors_in_vectors_are_limited() {
    let _alone = alone();
    let vector = |item, dimension| ColumnType::Vector(Box::new(item), dimension);
    let nested = (0..63).fold(ColumnType::Boolean, |item, _| vector(item, 1));
    let bytes = vec![1; 100_000];
    let few = decode(
        &mut Values,
        &vector(nested.clone(), 100),
        Some(&bytes[..100]),
    );
    assert!(matches!(few, Ok(Value::List(items)) if items.len() == 100));
    let many = vector(nested, bytes.len());
    let (found, taken) = memory_of(|| decode(&mut Values, &many, Some(&bytes)).map(drop));
    assert!(
        matches!(found, Err(DecodeError::BadLength { .. })),
        "{found:?}"
    );
    let vectors = 1_000_000 + 8 * bytes.len();
    assert!(taken <= EACH * vectors, "{taken}");
}

/// Each value of a type has the names of its fields, however long they are and short it is.
#[test]
fn long_names_of_fields_are_there_once() {
    let _alone = alone();
    let udt = ColumnType::Udt(Arc::new(Udt {
        keyspace: "ks".to_owned(),
        name: "t".to_owned(),
        fields: vec![("n".repeat(65_535).into(), ColumnType::Int)],
    }));
    let list = ColumnType::List(Box::new(udt));
    let bytes = [&10_000u32.to_be_bytes()[..], &[0; 4 * 10_000]].concat();
    let (found, taken) = memory_of(|| decode(&mut Values, &list, Some(&bytes)).map(drop));
    assert_eq!(found, Ok(()));
    assert!(taken <= EACH * bytes.len() + BASE, "{taken}");
}
