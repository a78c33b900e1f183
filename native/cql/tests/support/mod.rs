//! What several tests need: dialects, types, and values of them.
#![allow(dead_code)] // each test uses some of it

use std::sync::Arc;

use palladion_cql::types::Udt;
use palladion_cql::value::Value;
use palladion_cql::{ColumnType, Compression, Dialect, Version};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) const LZ4: Option<Compression> = Some(Compression::Lz4);
pub(crate) const SNAPPY: Option<Compression> = Some(Compression::Snappy);

/// Every version with every compression that it has.
pub(crate) const DIALECTS: [Dialect; 8] = [
    dialect(Version::V3, None),
    dialect(Version::V3, LZ4),
    dialect(Version::V3, SNAPPY),
    dialect(Version::V4, None),
    dialect(Version::V4, LZ4),
    dialect(Version::V4, SNAPPY),
    dialect(Version::V5, None),
    dialect(Version::V5, LZ4),
];

pub(crate) const fn dialect(version: Version, compression: Option<Compression>) -> Dialect {
    Dialect {
        version,
        compression,
        metadata_ids: false,
        rate_limit_error: None,
    }
}

pub(crate) fn any_dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(DIALECTS.to_vec())
}

/// Bytes, of which an index chooses the content: some can be compressed, some can't.
pub(crate) fn content(len: usize, seed: u8) -> Vec<u8> {
    if seed.is_multiple_of(2) {
        return vec![seed; len];
    }
    let mut state = u64::from(seed);
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as u8
    });
    noise.take(len).collect()
}

/// A type of at most four levels; vectors hold floats.
pub(crate) fn any_type() -> BoxedStrategy<ColumnType> {
    let simple = prop_oneof![
        20 => prop::sample::select(ColumnType::SIMPLE.to_vec()),
        1 => (1..5usize).prop_map(|n| ColumnType::Vector(Box::new(ColumnType::Float), n)),
    ];
    simple
        .prop_recursive(3, 16, 4, |inner| {
            let boxed = inner.clone().prop_map(Box::new);
            prop_oneof![
                boxed.clone().prop_map(ColumnType::List),
                boxed.prop_map(ColumnType::Set),
                (inner.clone(), inner.clone()).prop_map(|pair| ColumnType::Map(Box::new(pair))),
                vec(inner.clone(), 1..4).prop_map(ColumnType::Tuple),
                vec(inner, 1..4).prop_map(|types| {
                    let name = |at: usize| format!("field{at}").into();
                    ColumnType::Udt(Arc::new(Udt {
                        keyspace: "ks".to_owned(),
                        name: "udt".to_owned(),
                        fields: (0..).map(name).zip(types).collect(),
                    }))
                }),
            ]
        })
        .boxed()
}

/// A value of this type that is not null.
pub(crate) fn value_of(ty: &ColumnType) -> BoxedStrategy<Value> {
    let number = |bytes: [u8; 8]| i64::from_be_bytes(bytes);
    let blob = || vec(any::<u8>(), 1..12);
    let wide = any::<[u8; 8]>().prop_map(number);
    match ty {
        ColumnType::Ascii => "[ -~]{1,9}".prop_map(Value::Text).boxed(),
        ColumnType::Text => "\\PC{1,9}".prop_map(Value::Text).boxed(),
        ColumnType::Blob | ColumnType::Custom(_) => blob().prop_map(Value::Blob).boxed(),
        ColumnType::Bigint | ColumnType::Counter => wide.prop_map(Value::Int).boxed(),
        ColumnType::Int => any::<i32>().prop_map(|n| Value::Int(n.into())).boxed(),
        ColumnType::Smallint => any::<i16>().prop_map(|n| Value::Int(n.into())).boxed(),
        ColumnType::Tinyint => any::<i8>().prop_map(|n| Value::Int(n.into())).boxed(),
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ColumnType::Double => (-1e300f64..1e300).prop_map(Value::Float).boxed(),
        ColumnType::Float => (-1e30f32..1e30)
            .prop_map(|n| Value::Float(n.into()))
            .boxed(),
        ColumnType::Timestamp => wide.prop_map(Value::Timestamp).boxed(),
        ColumnType::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        ColumnType::Timeuuid => any::<[u8; 16]>()
            .prop_map(|mut uuid| {
                uuid[6] = 0x10 | uuid[6] & 0x0F;
                Value::Uuid(uuid)
            })
            .boxed(),
        ColumnType::Varint => blob().prop_map(Value::Varint).boxed(),
        ColumnType::Decimal => (any::<i32>(), blob())
            .prop_map(|(scale, unscaled)| Value::Decimal(scale, unscaled))
            .boxed(),
        ColumnType::Inet => any::<std::net::IpAddr>().prop_map(Value::Inet).boxed(),
        ColumnType::Date => any::<i32>().prop_map(|n| Value::Date(n.into())).boxed(),
        ColumnType::Time => (0..86_400_000_000_000i64).prop_map(Value::Time).boxed(),
        // Parts of one byte: longer ones the other implementation writes as another kind of
        // number of variable length than the protocol's.
        ColumnType::Duration => (any::<bool>(), 0..64i32, 0..64i32, 0..64i64)
            .prop_map(|(negative, months, days, nanos)| match negative {
                true => Value::Duration(-months, -days, -nanos),
                false => Value::Duration(months, days, nanos),
            })
            .boxed(),
        ColumnType::List(item) => vec(value_of(item), 0..4).prop_map(Value::List).boxed(),
        ColumnType::Vector(item, n) => vec(value_of(item), *n).prop_map(Value::List).boxed(),
        ColumnType::Set(item) => vec(value_of(item), 0..4).prop_map(Value::Set).boxed(),
        ColumnType::Map(pair) => vec((value_of(&pair.0), value_of(&pair.1)), 0..4)
            .prop_map(Value::Map)
            .boxed(),
        ColumnType::Tuple(types) => {
            let items: Vec<_> = types.iter().map(value_or_null).collect();
            items.prop_map(Value::Tuple).boxed()
        }
        ColumnType::Udt(udt) => {
            let names: Vec<_> = udt.fields.iter().map(|(name, _)| name.clone()).collect();
            let values: Vec<_> = udt.fields.iter().map(|(_, ty)| value_or_null(ty)).collect();
            values
                .prop_map(move |values| Value::Udt(names.iter().cloned().zip(values).collect()))
                .boxed()
        }
    }
}

/// A value of this type, or null.
pub(crate) fn value_or_null(ty: &ColumnType) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 4 => value_of(ty)].boxed()
}
