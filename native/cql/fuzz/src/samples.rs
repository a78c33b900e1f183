//! Every kind of type, and a value of each.

use std::sync::Arc;

use palladion_cql::types::Udt;
use palladion_cql::value::Value;
use palladion_cql::ColumnType;

use super::body::body;

/// Every kind of type.
pub fn types() -> Vec<ColumnType> {
    let custom = ColumnType::Custom("com.example.Thing".into());
    let list = |item| ColumnType::List(Box::new(item));
    let udt = Udt {
        keyspace: "ks".to_owned(),
        name: "address".to_owned(),
        fields: vec![
            ("street".into(), ColumnType::Text),
            ("numbers".into(), list(ColumnType::Int)),
        ],
    };
    let nested = [
        list(ColumnType::Int),
        ColumnType::Set(Box::new(ColumnType::Text)),
        ColumnType::Map(Box::new((ColumnType::Text, list(ColumnType::Duration)))),
        ColumnType::Tuple(vec![ColumnType::Int, ColumnType::Text, ColumnType::Boolean]),
        ColumnType::Tuple(Vec::new()),
        ColumnType::Vector(Box::new(ColumnType::Float), 3),
        ColumnType::Vector(Box::new(ColumnType::Text), 2),
        ColumnType::Vector(
            Box::new(ColumnType::Vector(Box::new(ColumnType::Int), 2)),
            2,
        ),
        (0..6).fold(ColumnType::Boolean, |item, _| {
            ColumnType::Vector(Box::new(item), 1)
        }),
        list(ColumnType::Udt(Arc::new(udt.clone()))),
        ColumnType::Udt(Arc::new(udt)),
    ];
    let simple = ColumnType::SIMPLE.into_iter().chain([custom]);
    simple.chain(nested).collect()
}

/// A type as `[option]`.
pub fn option(ty: &ColumnType) -> Vec<u8> {
    let with = |id: u16, parts: &[&ColumnType]| {
        let start = body().short(id);
        parts
            .iter()
            .fold(start, |body, part| body.raw(&option(part)))
    };
    let body = match ty {
        ColumnType::List(item) => with(0x20, &[item]),
        ColumnType::Map(pair) => with(0x21, &[&pair.0, &pair.1]),
        ColumnType::Set(item) => with(0x22, &[item]),
        ColumnType::Tuple(items) => {
            let start = body().short(0x31).short(items.len() as u16);
            items
                .iter()
                .fold(start, |body, item| body.raw(&option(item)))
        }
        ColumnType::Udt(udt) => {
            let start = body().short(0x30).string(&udt.keyspace).string(&udt.name);
            let start = start.short(udt.fields.len() as u16);
            udt.fields
                .iter()
                .fold(start, |body, (name, ty)| body.string(name).raw(&option(ty)))
        }
        _ => match SIMPLE.iter().find(|(_, known)| known == ty) {
            Some((id, _)) => body().short(*id),
            None => body().short(0).string(&ty.class_name()),
        },
    };
    body.0
}

const SIMPLE: [(u16, ColumnType); 20] = [
    (0x01, ColumnType::Ascii),
    (0x02, ColumnType::Bigint),
    (0x03, ColumnType::Blob),
    (0x04, ColumnType::Boolean),
    (0x05, ColumnType::Counter),
    (0x06, ColumnType::Decimal),
    (0x07, ColumnType::Double),
    (0x08, ColumnType::Float),
    (0x09, ColumnType::Int),
    (0x0B, ColumnType::Timestamp),
    (0x0C, ColumnType::Uuid),
    (0x0D, ColumnType::Text),
    (0x0E, ColumnType::Varint),
    (0x0F, ColumnType::Timeuuid),
    (0x10, ColumnType::Inet),
    (0x11, ColumnType::Date),
    (0x12, ColumnType::Time),
    (0x13, ColumnType::Smallint),
    (0x14, ColumnType::Tinyint),
    (0x15, ColumnType::Duration),
];

/// A value that the type can have.
pub fn value_of(ty: &ColumnType) -> Value {
    match ty {
        ColumnType::Custom(_) | ColumnType::Blob => Value::Blob(vec![1, 2]),
        ColumnType::Ascii | ColumnType::Text => Value::Text("text".to_owned()),
        ColumnType::Boolean => Value::Boolean(true),
        ColumnType::Decimal => Value::Decimal(2, vec![1, 2]),
        ColumnType::Double | ColumnType::Float => Value::Float(1.5),
        ColumnType::Timestamp => Value::Timestamp(1),
        ColumnType::Uuid | ColumnType::Timeuuid => Value::Uuid([0x11; 16]),
        ColumnType::Varint => Value::Varint(vec![0x7F]),
        ColumnType::Inet => Value::Inet([127, 0, 0, 1].into()),
        ColumnType::Date => Value::Date(1),
        ColumnType::Time => Value::Time(1),
        ColumnType::Duration => Value::Duration(1, 2, 1_000_000_000_000),
        ColumnType::List(item) => Value::List(vec![value_of(item); 2]),
        ColumnType::Vector(item, n) => Value::List(vec![value_of(item); *n]),
        ColumnType::Set(item) => Value::Set(vec![value_of(item)]),
        ColumnType::Map(pair) => Value::Map(vec![(value_of(&pair.0), value_of(&pair.1))]),
        ColumnType::Tuple(items) => Value::Tuple(items.iter().map(value_of).collect()),
        ColumnType::Udt(udt) => {
            let fields = udt.fields.iter();
            Value::Udt(
                fields
                    .map(|(name, ty)| (name.clone(), value_of(ty)))
                    .collect(),
            )
        }
        _ => Value::Int(7),
    }
}
