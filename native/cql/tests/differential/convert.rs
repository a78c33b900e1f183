//! Types and values of ours for the other implementation.

use cassandra_protocol::frame::message_result::{
    CTuple, CUdt, ColType, ColTypeOption, ColTypeOptionValue,
};
use palladion_cql::value::{encode, Value};
use palladion_cql::wire::Reader;
use palladion_cql::ColumnType;

/// A value's bytes without their length, as we write them; nothing of null.
pub(crate) fn content_by_us(value: &Value, ty: &ColumnType) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(value, ty, &mut bytes, usize::MAX).unwrap();
    let content = Reader::new(&bytes).bytes("value").unwrap();
    content.map(<[u8]>::to_vec)
}

/// The type to the other implementation.
pub(crate) fn their_type(ty: &ColumnType) -> ColTypeOption {
    let boxed = |ty: &ColumnType| Box::new(their_type(ty));
    let (id, value) = match ty {
        ColumnType::Custom(class) => (
            ColType::Custom,
            Some(ColTypeOptionValue::CString(class.to_string())),
        ),
        // The protocol has no number for it.
        ColumnType::Vector(..) => (
            ColType::Custom,
            Some(ColTypeOptionValue::CString(ty.class_name())),
        ),
        ColumnType::List(item) => (ColType::List, Some(ColTypeOptionValue::CList(boxed(item)))),
        ColumnType::Set(item) => (ColType::Set, Some(ColTypeOptionValue::CSet(boxed(item)))),
        ColumnType::Map(pair) => {
            let pair = ColTypeOptionValue::CMap(boxed(&pair.0), boxed(&pair.1));
            (ColType::Map, Some(pair))
        }
        ColumnType::Tuple(types) => {
            let types = types.iter().map(their_type).collect();
            let value = ColTypeOptionValue::TupleType(CTuple { types });
            (ColType::Tuple, Some(value))
        }
        ColumnType::Udt(udt) => {
            let field =
                |(name, ty): &(std::sync::Arc<str>, ColumnType)| (name.to_string(), their_type(ty));
            let value = ColTypeOptionValue::UdtType(CUdt {
                ks: udt.keyspace.clone(),
                udt_name: udt.name.clone(),
                descriptions: udt.fields.iter().map(field).collect(),
            });
            (ColType::Udt, Some(value))
        }
        ColumnType::Ascii => (ColType::Ascii, None),
        ColumnType::Bigint => (ColType::Bigint, None),
        ColumnType::Blob => (ColType::Blob, None),
        ColumnType::Boolean => (ColType::Boolean, None),
        ColumnType::Counter => (ColType::Counter, None),
        ColumnType::Decimal => (ColType::Decimal, None),
        ColumnType::Double => (ColType::Double, None),
        ColumnType::Float => (ColType::Float, None),
        ColumnType::Int => (ColType::Int, None),
        ColumnType::Text => (ColType::Varchar, None),
        ColumnType::Timestamp => (ColType::Timestamp, None),
        ColumnType::Uuid => (ColType::Uuid, None),
        ColumnType::Varint => (ColType::Varint, None),
        ColumnType::Timeuuid => (ColType::Timeuuid, None),
        ColumnType::Inet => (ColType::Inet, None),
        ColumnType::Date => (ColType::Date, None),
        ColumnType::Time => (ColType::Time, None),
        ColumnType::Smallint => (ColType::Smallint, None),
        ColumnType::Tinyint => (ColType::Tinyint, None),
        ColumnType::Duration => (ColType::Duration, None),
    };
    ColTypeOption { id, value }
}
