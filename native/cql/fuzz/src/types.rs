//! Types, by the names of classes and in the protocol's own form.

use palladion_cql::types::MAX_DEPTH;
use palladion_cql::value::{decode, Values};
use palladion_cql::wire::{put_short_bytes, Reader};
use palladion_cql::{ColumnType, DecodeError};

use super::input::Input;
use super::samples;

/// What an input's first byte says: the rest is a class's name, or else an `[option]`.
const CLASS: u8 = 0;
const OPTION: u8 = 1;

/// A byte for the form, and a type in it.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let form = input.byte();
    let bytes = input.rest();
    if form % 2 == OPTION {
        if let Some(ty) = read(bytes) {
            check_type(&ty);
        }
    } else if let Some(ty) = read_class(bytes) {
        check_type(&ty);
        let class = ty.class_name();
        if class.len() <= usize::from(u16::MAX) {
            assert_eq!(read_class(class.as_bytes()), Some(ty), "{class}");
        }
    }
}

/// Reads an `[option]`, twice.
fn read(option: &[u8]) -> Option<ColumnType> {
    let read = ColumnType::read(&mut Reader::new(option));
    assert_eq!(read, ColumnType::read(&mut Reader::new(option)));
    read.ok()
}

fn read_class(class: &[u8]) -> Option<ColumnType> {
    let mut option = vec![0, 0];
    put_short_bytes(&mut option, class, "class").ok()?;
    let is_text = std::str::from_utf8(class).is_ok();
    let read = ColumnType::read(&mut Reader::new(&option));
    // Whatever is not known is a custom type.
    assert!(is_text || matches!(read, Err(DecodeError::Utf8(_))));
    assert!(!is_text || matches!(read, Ok(_) | Err(DecodeError::TooDeep)));
    read.ok()
}

/// What must hold of any type: it can be shown, is not too deep, and reads any bytes.
pub fn check_type(ty: &ColumnType) {
    assert!(!ty.to_string().is_empty());
    assert!(depth(ty) <= MAX_DEPTH + 1);
    for bytes in [&[][..], &[0; 4], &[0xFF; 9], &[0, 0, 0, 1, 0, 0, 0, 0]] {
        let _ = decode(&mut Values, ty, Some(bytes));
    }
    if is_nameable(ty) {
        let class = ty.class_name();
        if class.len() <= usize::from(u16::MAX) {
            assert_eq!(read_class(class.as_bytes()).as_ref(), Some(ty), "{class}");
        }
    }
}

fn depth(ty: &ColumnType) -> usize {
    1 + inside(ty).into_iter().map(depth).max().unwrap_or(0)
}

fn inside(ty: &ColumnType) -> Vec<&ColumnType> {
    match ty {
        ColumnType::List(item) | ColumnType::Set(item) | ColumnType::Vector(item, _) => vec![item],
        ColumnType::Map(pair) => vec![&pair.0, &pair.1],
        ColumnType::Tuple(items) => items.iter().collect(),
        ColumnType::Udt(udt) => udt.fields.iter().map(|(_, ty)| ty).collect(),
        _ => Vec::new(),
    }
}

/// Whether a class's name can say all of a type: in an `[option]` a keyspace, and a class that is
/// not known, may have the marks of class names in them.
fn is_nameable(ty: &ColumnType) -> bool {
    let plain = |text: &str| text.trim() == text && !text.contains(['(', ')', ',', ':']);
    let itself = match ty {
        ColumnType::Custom(class) => plain(class) && !class.is_empty(),
        ColumnType::Udt(udt) => plain(&udt.keyspace),
        _ => true,
    };
    itself && inside(ty).into_iter().all(is_nameable)
}

/// Every kind of type in both forms, and classes as servers write them or nearly so.
pub fn seeds() -> Vec<Vec<u8>> {
    let classes = [
        "org.apache.cassandra.db.marshal.VectorType(org.apache.cassandra.db.marshal.FloatType , 3)",
        "org.apache.cassandra.db.marshal.FrozenType(org.apache.cassandra.db.marshal.ListType(\
         org.apache.cassandra.db.marshal.Int32Type))",
        "ReversedType(TimestampType)",
        "MapType(UTF8Type,SetType(UUIDType))",
        "TupleType(Int32Type,DurationType,com.example.Thing)",
        "TupleType()",
        "UserType(ks,6e616d65,61:Int32Type,62:ListType(UTF8Type))",
        "CompositeType(Int32Type,UTF8Type)",
        "DynamicCompositeType(a=>BytesType,b=>ListType(Int32Type))",
        "VectorType(VectorType(UTF8Type, 2), 99999999999)",
        "ListType(Int32Type))",
        "com.example.Thing",
        "",
    ];
    let types = samples::types();
    let named = classes.iter().map(|class| class.as_bytes().to_vec());
    let classes = named.chain(types.iter().map(|ty| ty.class_name().into_bytes()));
    let classes = classes.map(|class| (CLASS, class));
    let options = types.iter().map(|ty| (OPTION, samples::option(ty)));
    classes
        .chain(options)
        .map(|(form, bytes)| [&[form], &bytes[..]].concat())
        .collect()
}
