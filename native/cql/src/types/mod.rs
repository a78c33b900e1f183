//! Column types (section 4.2.5.2, `[option]`).

mod class;

use std::fmt;
use std::sync::Arc;

use crate::wire::Reader;
use crate::DecodeError;

/// How deep types may nest; a deeper one is refused before it can exhaust a stack.
pub const MAX_DEPTH: usize = 64;

/// A CQL type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are CQL's own
pub enum ColumnType {
    /// A server-side class that the protocol has no number for; its values are bytes.
    Custom(Arc<str>),
    Ascii,
    Bigint,
    Blob,
    Boolean,
    Counter,
    Decimal,
    Double,
    Float,
    Int,
    Text,
    Timestamp,
    Uuid,
    Varint,
    Timeuuid,
    Inet,
    Date,
    Time,
    Smallint,
    Tinyint,
    Duration,
    List(Box<ColumnType>),
    Set(Box<ColumnType>),
    Map(Box<(ColumnType, ColumnType)>),
    Tuple(Vec<ColumnType>),
    /// Items of one type, always so many.
    Vector(Box<ColumnType>, usize),
    Udt(Arc<Udt>),
}

/// A user-defined type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udt {
    /// Its keyspace.
    pub keyspace: String,
    /// Its name.
    pub name: String,
    /// Its fields in order. Names are shared, for a value has them all, however short it is.
    pub fields: Vec<(Arc<str>, ColumnType)>,
}

impl ColumnType {
    /// The types without parameters that the protocol has a number for.
    pub const SIMPLE: [Self; 20] = [
        Self::Ascii,
        Self::Bigint,
        Self::Blob,
        Self::Boolean,
        Self::Counter,
        Self::Decimal,
        Self::Double,
        Self::Float,
        Self::Int,
        Self::Text,
        Self::Timestamp,
        Self::Uuid,
        Self::Varint,
        Self::Timeuuid,
        Self::Inet,
        Self::Date,
        Self::Time,
        Self::Smallint,
        Self::Tinyint,
        Self::Duration,
    ];

    /// The length that every value of the type has, for the types that vectors store without
    /// lengths. Not all types of a fixed length are among them: that is the server's choice.
    pub fn fixed_len(&self) -> Option<usize> {
        match self {
            Self::Boolean => Some(1),
            Self::Int | Self::Float => Some(4),
            Self::Bigint | Self::Double | Self::Timestamp => Some(8),
            Self::Uuid | Self::Timeuuid => Some(16),
            Self::Vector(item, dimension) => item.fixed_len()?.checked_mul(*dimension),
            _ => None,
        }
    }

    /// Reads an `[option]`.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::read_nested(reader, 0)
    }

    fn read_nested(reader: &mut Reader<'_>, depth: usize) -> Result<Self, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        let nested = |reader: &mut Reader<'_>| Self::read_nested(reader, depth + 1);
        Ok(match reader.short("type")? {
            0x0000 => class::parse(reader.string("custom type")?, depth)?,
            0x0001 => Self::Ascii,
            0x0002 => Self::Bigint,
            0x0003 => Self::Blob,
            0x0004 => Self::Boolean,
            0x0005 => Self::Counter,
            0x0006 => Self::Decimal,
            0x0007 => Self::Double,
            0x0008 => Self::Float,
            0x0009 => Self::Int,
            0x000A | 0x000D => Self::Text,
            0x000B => Self::Timestamp,
            0x000C => Self::Uuid,
            0x000E => Self::Varint,
            0x000F => Self::Timeuuid,
            0x0010 => Self::Inet,
            0x0011 => Self::Date,
            0x0012 => Self::Time,
            0x0013 => Self::Smallint,
            0x0014 => Self::Tinyint,
            0x0015 => Self::Duration,
            0x0020 => Self::List(Box::new(nested(reader)?)),
            0x0021 => Self::Map(Box::new((nested(reader)?, nested(reader)?))),
            0x0022 => Self::Set(Box::new(nested(reader)?)),
            0x0030 => {
                let keyspace = reader.string("type's keyspace")?.to_owned();
                let name = reader.string("type's name")?.to_owned();
                let n = reader.short("type's fields")?;
                let fields = (0..n)
                    .map(|_| Ok((reader.string("field's name")?.into(), nested(reader)?)))
                    .collect::<Result<_, DecodeError>>()?;
                Self::Udt(Arc::new(Udt {
                    keyspace,
                    name,
                    fields,
                }))
            }
            0x0031 => {
                let n = reader.short("tuple's types")?;
                Self::Tuple((0..n).map(|_| nested(reader)).collect::<Result<_, _>>()?)
            }
            other => {
                return Err(DecodeError::Unknown {
                    what: "type",
                    value: i64::from(other),
                })
            }
        })
    }
}

/// As CQL writes the type, for example `map<text, frozen list>` without the word `frozen`.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(class) => write!(f, "'{class}'"),
            Self::Ascii => f.write_str("ascii"),
            Self::Bigint => f.write_str("bigint"),
            Self::Blob => f.write_str("blob"),
            Self::Boolean => f.write_str("boolean"),
            Self::Counter => f.write_str("counter"),
            Self::Decimal => f.write_str("decimal"),
            Self::Double => f.write_str("double"),
            Self::Float => f.write_str("float"),
            Self::Int => f.write_str("int"),
            Self::Text => f.write_str("text"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Uuid => f.write_str("uuid"),
            Self::Varint => f.write_str("varint"),
            Self::Timeuuid => f.write_str("timeuuid"),
            Self::Inet => f.write_str("inet"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Smallint => f.write_str("smallint"),
            Self::Tinyint => f.write_str("tinyint"),
            Self::Duration => f.write_str("duration"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Set(item) => write!(f, "set<{item}>"),
            Self::Map(pair) => write!(f, "map<{}, {}>", pair.0, pair.1),
            Self::Tuple(items) => {
                f.write_str("tuple<")?;
                for (i, item) in items.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str(">")
            }
            Self::Vector(item, dimension) => write!(f, "vector<{item}, {dimension}>"),
            Self::Udt(udt) => write!(f, "{}.{}", udt.keyspace, udt.name),
        }
    }
}

/// A column of a result, or a bind marker of a prepared statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Keyspace of its table.
    pub keyspace: Arc<str>,
    /// Its table.
    pub table: Arc<str>,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
}
