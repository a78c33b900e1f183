//! Values: what we write the other implementation reads as the same, and the other way round.

use std::collections::HashMap;

use cassandra_protocol::frame::Version as OtherVersion;
use cassandra_protocol::types::blob::Blob;
use cassandra_protocol::types::cassandra_type::{wrapper_fn, CassandraType};
use cassandra_protocol::types::data_serialization_types::{decode_timeuuid, decode_varint};
use cassandra_protocol::types::decimal::Decimal;
use cassandra_protocol::types::duration::Duration;
use cassandra_protocol::types::value::Bytes as TheirBytes;
use cassandra_protocol::types::CBytes;
use palladion_cql::value::{decode, Value, Values};
use palladion_cql::ColumnType;
use proptest::prelude::*;

use crate::convert::{content_by_us, their_type};
use crate::support::{any_type, value_of, value_or_null};

/// The value to the other implementation.
fn their_value(value: &Value, ty: &ColumnType) -> CassandraType {
    let all = |values: &[Value], ty: &ColumnType| -> Vec<_> {
        values.iter().map(|value| their_value(value, ty)).collect()
    };
    match (ty, value) {
        (_, Value::Null) => CassandraType::Null,
        (ColumnType::Ascii, Value::Text(text)) => CassandraType::Ascii(text.clone()),
        (ColumnType::Text, Value::Text(text)) => CassandraType::Varchar(text.clone()),
        (ColumnType::Blob, Value::Blob(bytes)) => CassandraType::Blob(Blob::new(bytes.clone())),
        (ColumnType::Bigint, Value::Int(n)) => CassandraType::Bigint(*n),
        (ColumnType::Counter, Value::Int(n)) => CassandraType::Counter(*n),
        (ColumnType::Int, Value::Int(n)) => CassandraType::Int(*n as i32),
        (ColumnType::Smallint, Value::Int(n)) => CassandraType::Smallint(*n as i16),
        (ColumnType::Tinyint, Value::Int(n)) => CassandraType::Tinyint(*n as i8),
        (ColumnType::Boolean, Value::Boolean(is)) => CassandraType::Boolean(*is),
        (ColumnType::Double, Value::Float(n)) => CassandraType::Double(*n),
        (ColumnType::Float, Value::Float(n)) => CassandraType::Float(*n as f32),
        (ColumnType::Timestamp, Value::Timestamp(ms)) => CassandraType::Timestamp(*ms),
        (ColumnType::Uuid, Value::Uuid(id)) => CassandraType::Uuid(decode_timeuuid(id).unwrap()),
        (ColumnType::Timeuuid, Value::Uuid(id)) => {
            CassandraType::Timeuuid(decode_timeuuid(id).unwrap())
        }
        (ColumnType::Varint, Value::Varint(n)) => CassandraType::Varint(decode_varint(n).unwrap()),
        (ColumnType::Decimal, Value::Decimal(scale, unscaled)) => {
            CassandraType::Decimal(Decimal::new(decode_varint(unscaled).unwrap(), *scale))
        }
        (ColumnType::Inet, Value::Inet(ip)) => CassandraType::Inet(*ip),
        // The other implementation leaves a date as it is on the wire, counted from -2^31.
        (ColumnType::Date, Value::Date(days)) => {
            CassandraType::Date((*days as i32).wrapping_add(i32::MIN))
        }
        (ColumnType::Time, Value::Time(nanos)) => CassandraType::Time(*nanos),
        (ColumnType::Duration, Value::Duration(months, days, nanos)) => {
            CassandraType::Duration(Duration::new(*months, *days, *nanos).unwrap())
        }
        (ColumnType::List(ty), Value::List(items)) => CassandraType::List(all(items, ty)),
        (ColumnType::Vector(ty, _), Value::List(items)) => CassandraType::Vector(all(items, ty)),
        // A list to it.
        (ColumnType::Set(ty), Value::Set(items)) => CassandraType::List(all(items, ty)),
        (ColumnType::Map(types), Value::Map(pairs)) => {
            let pair = |(key, value): &(Value, Value)| {
                (their_value(key, &types.0), their_value(value, &types.1))
            };
            CassandraType::Map(pairs.iter().map(pair).collect())
        }
        (ColumnType::Tuple(types), Value::Tuple(items)) => {
            let items = items.iter().zip(types);
            CassandraType::Tuple(items.map(|(item, ty)| their_value(item, ty)).collect())
        }
        (ColumnType::Udt(udt), Value::Udt(fields)) => {
            let fields = fields.iter().zip(&udt.fields);
            let fields: HashMap<_, _> = fields
                .map(|((name, value), (_, ty))| (name.to_string(), their_value(value, ty)))
                .collect();
            CassandraType::Udt(fields)
        }
        (ty, value) => panic!("{value:?} is no {ty}"),
    }
}

/// A value's bytes as the other implementation writes them. It has no way to write a tuple, a
/// user-defined type or a vector from values, and a map only from keys of one Rust type.
fn content_by_them(value: &Value, ty: &ColumnType) -> Option<TheirBytes> {
    let all = |values: &[Value], ty: &ColumnType| -> Option<Vec<TheirBytes>> {
        values
            .iter()
            .map(|value| content_by_them(value, ty))
            .collect()
    };
    Some(match (ty, value) {
        (ColumnType::List(ty), Value::List(items)) | (ColumnType::Set(ty), Value::Set(items)) => {
            all(items, ty)?.into()
        }
        (ColumnType::Map(types), Value::Map(pairs)) if types.0 == ColumnType::Text => {
            let [(Value::Text(key), value)] = &pairs[..] else {
                return None;
            };
            HashMap::from([(key.clone(), content_by_them(value, &types.1)?)]).into()
        }
        (ColumnType::Map(_) | ColumnType::Tuple(_), _) => return None,
        (ColumnType::Udt(_) | ColumnType::Vector(..), _) => return None,
        (ty, value) => match their_value(value, ty) {
            CassandraType::Ascii(text) | CassandraType::Varchar(text) => text.into(),
            CassandraType::Bigint(n) | CassandraType::Counter(n) => n.into(),
            CassandraType::Timestamp(n) | CassandraType::Time(n) => n.into(),
            CassandraType::Int(n) | CassandraType::Date(n) => n.into(),
            CassandraType::Smallint(n) => n.into(),
            CassandraType::Tinyint(n) => n.into(),
            CassandraType::Blob(bytes) => bytes.into(),
            CassandraType::Boolean(is) => is.into(),
            CassandraType::Double(n) => n.into(),
            CassandraType::Float(n) => n.into(),
            CassandraType::Uuid(id) | CassandraType::Timeuuid(id) => id.into(),
            CassandraType::Varint(n) => n.into(),
            CassandraType::Decimal(n) => n.into(),
            CassandraType::Inet(ip) => ip.into(),
            CassandraType::Duration(duration) => duration.into(),
            _ => return None,
        },
    })
}

fn any_typed_value() -> impl Strategy<Value = (ColumnType, Value)> {
    any_type().prop_flat_map(|ty| {
        let value = value_or_null(&ty);
        (Just(ty), value)
    })
}

/// Types that the other implementation can write, and values of them.
fn any_writable() -> impl Strategy<Value = (ColumnType, Value)> {
    any_type().prop_flat_map(|ty| {
        let value = value_of(&ty);
        (Just(ty), value)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn values_of_ours_are_read_as_the_same((ty, value) in any_typed_value()) {
        let bytes = content_by_us(&value, &ty).map_or_else(CBytes::new_null, CBytes::new);
        let option = their_type(&ty);
        let read = wrapper_fn(&option.id)(&bytes, &option, OtherVersion::V4).unwrap();
        prop_assert_eq!(read, their_value(&value, &ty));
    }

    #[test]
    fn values_of_theirs_are_read_as_the_same((ty, value) in any_writable()) {
        if let Some(bytes) = content_by_them(&value, &ty) {
            let bytes = bytes.into_inner();
            let read = decode(&mut Values, &ty, Some(&bytes)).unwrap();
            // Numbers of any length are written as short as can be.
            prop_assert_eq!(their_value(&read, &ty), their_value(&value, &ty));
        }
    }
}
