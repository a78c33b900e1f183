//! Types as text (`map<text, frozen<list<int>>>`) and on the wire.

use std::sync::Arc;

use palladion_cql::types::{Udt, MAX_DEPTH};
use palladion_cql::wire::put_short_bytes;
use palladion_cql::ColumnType;

use crate::Error;

/// Columns or bind markers.
pub(crate) type NamedTypes = Vec<(String, ColumnType)>;

/// Reads a type as CQL writes it. User-defined types are spelled out, since the server has no
/// schema to look them up in: `udt<keyspace.name, field type, …>`. A custom type is its class in
/// single quotes.
pub fn parse_type(text: &str) -> Result<ColumnType, Error> {
    nested(text, 0)
}

/// Columns out of `int, name text`: without a name they are `c0`, `c1` and so on.
pub fn parse_columns(text: &str) -> Result<Vec<(String, ColumnType)>, Error> {
    columns_and_key(text).map(|(columns, _)| columns)
}

/// The same, and the partition key: the positions of those with `key` after the type.
pub(crate) fn columns_and_key(arguments: &str) -> Result<(NamedTypes, Vec<u16>), Error> {
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    for (i, argument) in split_top_level(arguments, ',').into_iter().enumerate() {
        let argument = argument.trim();
        let argument = match argument.strip_suffix(" key") {
            Some(rest) => {
                key.push(i as u16);
                rest
            }
            None => argument,
        };
        let (name, ty) = named(argument);
        let name = name.map_or_else(|| format!("c{i}"), str::to_owned);
        columns.push((name, parse_type(ty)?));
    }
    Ok((columns, key))
}

fn nested(text: &str, depth: usize) -> Result<ColumnType, Error> {
    let text = text.trim();
    if depth > MAX_DEPTH {
        return Err(Error::usage("type nested too deeply"));
    }
    if let Some(class) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return Ok(ColumnType::Custom(class.into()));
    }
    let Some((name, arguments)) = text.strip_suffix('>').and_then(|t| t.split_once('<')) else {
        return simple(text).ok_or_else(|| Error::usage(format!("unknown type {text:?}")));
    };
    let arguments = split_top_level(arguments, ',');
    let wrong = || Error::usage(format!("wrong number of types in {text:?}"));
    let type_at = |at: usize| nested(arguments.get(at).ok_or_else(wrong)?, depth + 1);
    let only = |n: usize| {
        if arguments.len() == n {
            Ok(())
        } else {
            Err(wrong())
        }
    };
    Ok(match name.trim() {
        "frozen" => {
            only(1)?;
            type_at(0)?
        }
        "list" => {
            only(1)?;
            ColumnType::List(Box::new(type_at(0)?))
        }
        "set" => {
            only(1)?;
            ColumnType::Set(Box::new(type_at(0)?))
        }
        "map" => {
            only(2)?;
            ColumnType::Map(Box::new((type_at(0)?, type_at(1)?)))
        }
        "vector" => {
            only(2)?;
            let dimension = arguments.get(1).and_then(|text| text.trim().parse().ok());
            ColumnType::Vector(Box::new(type_at(0)?), dimension.ok_or_else(wrong)?)
        }
        "tuple" => {
            let types = (0..arguments.len()).map(type_at);
            ColumnType::Tuple(types.collect::<Result<_, _>>()?)
        }
        "udt" => {
            let name = arguments.first().ok_or_else(wrong)?.trim();
            let (keyspace, name) = name
                .split_once('.')
                .ok_or_else(|| Error::usage("a udt's first argument is its keyspace.name"))?;
            let fields = arguments.iter().skip(1).map(|field| {
                let (name, ty) = named(field);
                let name = name.ok_or_else(|| Error::usage(format!("no name in {field:?}")))?;
                Ok((name.into(), nested(ty, depth + 1)?))
            });
            ColumnType::Udt(Arc::new(Udt {
                keyspace: keyspace.to_owned(),
                name: name.to_owned(),
                fields: fields.collect::<Result<_, Error>>()?,
            }))
        }
        other => return Err(Error::usage(format!("unknown type {other:?}"))),
    })
}

fn simple(name: &str) -> Option<ColumnType> {
    Some(match name {
        "ascii" => ColumnType::Ascii,
        "bigint" => ColumnType::Bigint,
        "blob" => ColumnType::Blob,
        "boolean" => ColumnType::Boolean,
        "counter" => ColumnType::Counter,
        "decimal" => ColumnType::Decimal,
        "double" => ColumnType::Double,
        "float" => ColumnType::Float,
        "int" => ColumnType::Int,
        "text" | "varchar" => ColumnType::Text,
        "timestamp" => ColumnType::Timestamp,
        "uuid" => ColumnType::Uuid,
        "varint" => ColumnType::Varint,
        "timeuuid" => ColumnType::Timeuuid,
        "inet" => ColumnType::Inet,
        "date" => ColumnType::Date,
        "time" => ColumnType::Time,
        "smallint" => ColumnType::Smallint,
        "tinyint" => ColumnType::Tinyint,
        "duration" => ColumnType::Duration,
        _ => return None,
    })
}

/// `name type` or only `type`.
fn named(text: &str) -> (Option<&str>, &str) {
    let text = text.trim();
    let name_len = text.find(|c: char| c.is_whitespace() || "<'".contains(c));
    match name_len.map(|len| text.split_at(len)) {
        Some((name, ty)) if ty.starts_with(char::is_whitespace) => (Some(name), ty.trim()),
        _ => (None, text),
    }
}

/// Splits where `separator` stands outside of every kind of bracket and quote.
pub(crate) fn split_top_level(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0usize, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '<' | '(' | '[' | '{' => depth += 1,
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() || !parts.is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

/// Appends the `[option]` of a type.
pub(crate) fn put_type(out: &mut Vec<u8>, ty: &ColumnType) -> Result<(), Error> {
    let id: u16 = match ty {
        ColumnType::Custom(_) | ColumnType::Vector(..) => 0x0000,
        ColumnType::Ascii => 0x0001,
        ColumnType::Bigint => 0x0002,
        ColumnType::Blob => 0x0003,
        ColumnType::Boolean => 0x0004,
        ColumnType::Counter => 0x0005,
        ColumnType::Decimal => 0x0006,
        ColumnType::Double => 0x0007,
        ColumnType::Float => 0x0008,
        ColumnType::Int => 0x0009,
        ColumnType::Text => 0x000D,
        ColumnType::Timestamp => 0x000B,
        ColumnType::Uuid => 0x000C,
        ColumnType::Varint => 0x000E,
        ColumnType::Timeuuid => 0x000F,
        ColumnType::Inet => 0x0010,
        ColumnType::Date => 0x0011,
        ColumnType::Time => 0x0012,
        ColumnType::Smallint => 0x0013,
        ColumnType::Tinyint => 0x0014,
        ColumnType::Duration => 0x0015,
        ColumnType::List(_) => 0x0020,
        ColumnType::Map(_) => 0x0021,
        ColumnType::Set(_) => 0x0022,
        ColumnType::Udt(_) => 0x0030,
        ColumnType::Tuple(_) => 0x0031,
    };
    out.extend_from_slice(&id.to_be_bytes());
    match ty {
        ColumnType::Custom(_) | ColumnType::Vector(..) => put_string(out, &ty.class_name())?,
        ColumnType::List(item) | ColumnType::Set(item) => put_type(out, item)?,
        ColumnType::Map(pair) => {
            put_type(out, &pair.0)?;
            put_type(out, &pair.1)?;
        }
        ColumnType::Udt(udt) => {
            put_string(out, &udt.keyspace)?;
            put_string(out, &udt.name)?;
            put_count(out, udt.fields.len())?;
            for (name, ty) in &udt.fields {
                put_string(out, name)?;
                put_type(out, ty)?;
            }
        }
        ColumnType::Tuple(types) => {
            put_count(out, types.len())?;
            for ty in types {
                put_type(out, ty)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Appends a `[string]`.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    put_short_bytes(out, text.as_bytes(), "string").map_err(|e| Error::usage(e.to_string()))
}

/// Appends a `[short]` that counts.
pub(crate) fn put_count(out: &mut Vec<u8>, n: usize) -> Result<(), Error> {
    let n = u16::try_from(n).map_err(|_| Error::usage("more than 65,535 items"))?;
    out.extend_from_slice(&n.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use palladion_cql::wire::Reader;

    #[test]
    fn types_pass_the_wire() {
        for text in [
            "int",
            "list<int>",
            "map<text, frozen<set<uuid>>>",
            "tuple<int, tuple<text, blob>, 'org.example.Type'>",
            "udt<ks.address, street text, \"No\" int, tags frozen<map<text, int>>>",
        ] {
            let ty = parse_type(text).unwrap();
            let mut bytes = Vec::new();
            put_type(&mut bytes, &ty).unwrap();
            let mut reader = Reader::new(&bytes);
            assert_eq!(ColumnType::read(&mut reader).unwrap(), ty, "{text}");
            assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "list<>",
            "list<int, int>",
            "map<int>",
            "nothing",
            "udt<x>",
        ] {
            assert!(parse_type(text).is_err(), "{text}");
        }
        let deep = "list<".repeat(100) + "int" + &">".repeat(100);
        assert!(parse_type(&deep).is_err());
    }
}
