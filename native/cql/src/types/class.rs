//! Types by the names of the server's classes: how protocols 3 and 4 say those that they have no
//! number for, a vector above all.

use std::fmt::Write;
use std::sync::Arc;

use super::{ColumnType, Udt, MAX_DEPTH};
use crate::DecodeError;

const PACKAGE: &str = "org.apache.cassandra.db.marshal.";

/// Classes without parameters.
const SIMPLE: [(&str, ColumnType); 23] = [
    ("AsciiType", ColumnType::Ascii),
    ("LongType", ColumnType::Bigint),
    ("BytesType", ColumnType::Blob),
    ("BooleanType", ColumnType::Boolean),
    ("CounterColumnType", ColumnType::Counter),
    ("DecimalType", ColumnType::Decimal),
    ("DoubleType", ColumnType::Double),
    ("FloatType", ColumnType::Float),
    ("Int32Type", ColumnType::Int),
    ("UTF8Type", ColumnType::Text),
    ("TimestampType", ColumnType::Timestamp),
    ("UUIDType", ColumnType::Uuid),
    ("IntegerType", ColumnType::Varint),
    ("TimeUUIDType", ColumnType::Timeuuid),
    ("InetAddressType", ColumnType::Inet),
    ("SimpleDateType", ColumnType::Date),
    ("TimeType", ColumnType::Time),
    ("ShortType", ColumnType::Smallint),
    ("ByteType", ColumnType::Tinyint),
    ("DurationType", ColumnType::Duration),
    // Older names of the same.
    ("DateType", ColumnType::Timestamp),
    ("LexicalUUIDType", ColumnType::Uuid),
    ("EmptyType", ColumnType::Blob),
];

/// The type of a class's name; one that is not known has bytes as its values.
pub(super) fn parse(class: &str, depth: usize) -> Result<ColumnType, DecodeError> {
    let mut parser = Parser { rest: class };
    match parser.class(depth) {
        Ok(ty) if parser.rest.trim().is_empty() => Ok(ty),
        Err(Unreadable::TooDeep) => Err(DecodeError::TooDeep),
        Ok(_) | Err(Unreadable::Unknown) => Ok(ColumnType::Custom(class.into())),
    }
}

enum Unreadable {
    Unknown,
    TooDeep,
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn class(&mut self, depth: usize) -> Result<ColumnType, Unreadable> {
        if depth > MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        let start = self.rest;
        let name = self.word();
        let name = name.strip_prefix(PACKAGE).unwrap_or(name);
        if !self.eat('(') {
            let known = SIMPLE.iter().find(|(known, _)| *known == name);
            return match known {
                Some((_, ty)) => Ok(ty.clone()),
                None if name.is_empty() => Err(Unreadable::Unknown),
                None => Ok(self.custom_since(start)),
            };
        }
        let inner = depth + 1;
        let ty = match name {
            // How a value is stored and sorted, not what it is.
            "FrozenType" | "ReversedType" => self.class(inner)?,
            "ListType" => ColumnType::List(Box::new(self.class(inner)?)),
            "SetType" => ColumnType::Set(Box::new(self.class(inner)?)),
            "MapType" => {
                let key = self.class(inner)?;
                self.need(',')?;
                ColumnType::Map(Box::new((key, self.class(inner)?)))
            }
            "TupleType" if self.eat(')') => return Ok(ColumnType::Tuple(Vec::new())),
            "TupleType" => {
                let mut items = vec![self.class(inner)?];
                while self.eat(',') {
                    items.push(self.class(inner)?);
                }
                ColumnType::Tuple(items)
            }
            "VectorType" => {
                let item = self.class(inner)?;
                self.need(',')?;
                let dimension = self.word().parse().map_err(|_| Unreadable::Unknown)?;
                ColumnType::Vector(Box::new(item), dimension)
            }
            "UserType" => self.user_type(inner)?,
            _ => {
                self.close()?;
                return Ok(self.custom_since(start));
            }
        };
        self.need(')')?;
        Ok(ty)
    }

    /// Everything up to where the bracket that is open closes.
    fn close(&mut self) -> Result<(), Unreadable> {
        let mut open = 1usize;
        for (at, mark) in self.rest.char_indices() {
            match mark {
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            if open == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(());
            }
        }
        Err(Unreadable::Unknown)
    }

    /// A class that is not known, with its parameters.
    fn custom_since(&self, start: &str) -> ColumnType {
        let class = &start[..start.len() - self.rest.len()];
        ColumnType::Custom(class.trim().into())
    }

    /// `keyspace, hex of the name, hex of a field's name:class, …`
    fn user_type(&mut self, depth: usize) -> Result<ColumnType, Unreadable> {
        let keyspace = self.word().to_owned();
        self.need(',')?;
        let name = self.hex()?;
        let mut fields = Vec::new();
        while self.eat(',') {
            let field = self.hex()?;
            self.need(':')?;
            fields.push((field.into(), self.class(depth)?));
        }
        Ok(ColumnType::Udt(Arc::new(Udt {
            keyspace,
            name,
            fields,
        })))
    }

    fn hex(&mut self) -> Result<String, Unreadable> {
        let digits = self.word().as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        };
        let bytes: Option<Vec<u8>> = digits.map(byte).collect();
        bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(Unreadable::Unknown)
    }

    /// Up to the next mark.
    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(['(', ')', ',', ':'])
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.trim()
    }

    fn eat(&mut self, mark: char) -> bool {
        match self.rest.trim_start().strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, mark: char) -> Result<(), Unreadable> {
        if self.eat(mark) {
            Ok(())
        } else {
            Err(Unreadable::Unknown)
        }
    }
}

impl ColumnType {
    /// The name of the server's class for this type.
    pub fn class_name(&self) -> String {
        let mut name = String::new();
        self.put_class(&mut name);
        name
    }

    fn put_class(&self, out: &mut String) {
        let parameters: &[&ColumnType] = match self {
            Self::Custom(class) => return out.push_str(class),
            Self::List(item) => &[item],
            Self::Set(item) => &[item],
            Self::Map(pair) => &[&pair.0, &pair.1],
            Self::Tuple(items) => return put_call(out, "TupleType", items.iter(), ""),
            Self::Vector(item, dimension) => {
                let dimension = format!(" , {dimension}");
                return put_call(out, "VectorType", [&**item].into_iter(), &dimension);
            }
            Self::Udt(udt) => return put_user_type(out, udt),
            simple => {
                let class = SIMPLE.iter().find(|(_, ty)| ty == simple);
                out.push_str(PACKAGE);
                return out.push_str(class.map_or("BytesType", |(class, _)| class));
            }
        };
        let class = match self {
            Self::List(_) => "ListType",
            Self::Set(_) => "SetType",
            _ => "MapType",
        };
        put_call(out, class, parameters.iter().copied(), "");
    }
}

fn put_call<'t>(
    out: &mut String,
    class: &str,
    parameters: impl Iterator<Item = &'t ColumnType>,
    after: &str,
) {
    out.push_str(PACKAGE);
    out.push_str(class);
    out.push('(');
    for (i, parameter) in parameters.enumerate() {
        if i > 0 {
            out.push(',');
        }
        parameter.put_class(out);
    }
    out.push_str(after);
    out.push(')');
}

fn put_user_type(out: &mut String, udt: &Udt) {
    let hex = |out: &mut String, text: &str| {
        for byte in text.bytes() {
            let _ = write!(out, "{byte:02x}");
        }
    };
    out.push_str(PACKAGE);
    out.push_str("UserType(");
    out.push_str(&udt.keyspace);
    out.push(',');
    hex(out, &udt.name);
    for (name, ty) in &udt.fields {
        out.push(',');
        hex(out, name);
        out.push(':');
        ty.put_class(out);
    }
    out.push(')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(class: &str) -> ColumnType {
        parse(class, 0).unwrap()
    }

    #[test]
    fn a_vector_as_cassandra_says_it() {
        let class = "org.apache.cassandra.db.marshal.VectorType(\
                     org.apache.cassandra.db.marshal.FloatType , 3)";
        let vector = ColumnType::Vector(Box::new(ColumnType::Float), 3);
        assert_eq!(parsed(class), vector);
        assert_eq!(vector.class_name(), class);
        assert_eq!(vector.to_string(), "vector<float, 3>");
    }

    #[test]
    fn whatever_is_not_known_is_bytes() {
        for class in [
            "com.example.Thing",
            "org.apache.cassandra.db.marshal.DynamicCompositeType(a=>b)",
            "VectorType(FloatType, many)",
            "ListType(Int32Type",
            "ListType(Int32Type))",
            "MapType(Int32Type)",
            "ListType()",
            "CompositeType(Int32Type,ListType(Int32Type)",
            "UserType(ks,xyz)",
            "",
        ] {
            assert_eq!(parsed(class), ColumnType::Custom(class.into()), "{class}");
        }
    }

    #[test]
    fn of_a_type_only_the_part_that_is_not_known_is_bytes() {
        let custom = |class: &str| Box::new(ColumnType::Custom(class.into()));
        for class in [
            "com.example.Thing",
            "DynamicCompositeType(a=>Int32Type,b=>ListType(Int32Type))",
        ] {
            let list = ColumnType::List(custom(class));
            assert_eq!(parsed(&format!("ListType({class})")), list);
            let vector = ColumnType::Vector(custom(class), 2);
            assert_eq!(parsed(&format!("VectorType({class} , 2)")), vector);
        }
    }

    #[test]
    fn names_nested_too_deep_are_refused() {
        let deep = "ListType(".repeat(100_000);
        assert_eq!(parse(&deep, 0), Err(DecodeError::TooDeep));
    }

    #[test]
    fn a_tuple_of_nothing() {
        let class = "org.apache.cassandra.db.marshal.TupleType()";
        assert_eq!(parsed(class), ColumnType::Tuple(Vec::new()));
        assert_eq!(ColumnType::Tuple(Vec::new()).class_name(), class);
    }

    #[test]
    fn a_user_type_with_names_of_any_case() {
        let udt = ColumnType::Udt(Arc::new(Udt {
            keyspace: "ks".to_owned(),
            name: "Address Of".to_owned(),
            fields: vec![
                ("Street".into(), ColumnType::Text),
                ("no".into(), ColumnType::Set(Box::new(ColumnType::Int))),
            ],
        }));
        assert_eq!(parsed(&udt.class_name()), udt);
    }
}
