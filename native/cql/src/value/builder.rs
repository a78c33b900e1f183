//! From bytes to values.

use std::net::IpAddr;

use crate::types::{ColumnType, Udt};
use crate::wire::{ip, Reader};
use crate::DecodeError;

/// Makes values out of what the decoder reads. Collections arrive with their items made.
#[allow(missing_docs)] // a method a CQL type, named like it
pub trait Builder {
    /// A value as its user holds it.
    type Term;

    fn null(&mut self) -> Self::Term;
    /// A value of no bytes at all where its type has some: `0x` cast to an int, for example.
    fn empty(&mut self) -> Self::Term;
    fn boolean(&mut self, value: bool) -> Self::Term;
    /// tinyint, smallint, int, bigint and counter.
    fn int(&mut self, value: i64) -> Self::Term;
    /// varint: two's complement, big-endian, at least one byte.
    fn varint(&mut self, bytes: &[u8]) -> Self::Term;
    /// unscaled · 10^-scale, the unscaled number as in [`Builder::varint`].
    fn decimal(&mut self, scale: i32, unscaled: &[u8]) -> Self::Term;
    /// float and double.
    fn float(&mut self, value: f64) -> Self::Term;
    /// ascii and text.
    fn text(&mut self, value: &str) -> Self::Term;
    /// blob and custom types.
    fn blob(&mut self, value: &[u8]) -> Self::Term;
    /// uuid and timeuuid.
    fn uuid(&mut self, value: &[u8; 16]) -> Self::Term;
    /// Milliseconds since 1970.
    fn timestamp(&mut self, millis: i64) -> Self::Term;
    /// Days since 1970.
    fn date(&mut self, days: i64) -> Self::Term;
    /// Nanoseconds since midnight.
    fn time(&mut self, nanos: i64) -> Self::Term;
    fn duration(&mut self, months: i32, days: i32, nanos: i64) -> Self::Term;
    fn inet(&mut self, value: IpAddr) -> Self::Term;
    fn list(&mut self, items: Vec<Self::Term>) -> Self::Term;
    fn vector(&mut self, items: Vec<Self::Term>) -> Self::Term;
    fn set(&mut self, items: Vec<Self::Term>) -> Self::Term;
    fn map(&mut self, pairs: Vec<(Self::Term, Self::Term)>) -> Self::Term;
    fn tuple(&mut self, items: Vec<Self::Term>) -> Self::Term;
    /// A value for each of the type's fields, in their order.
    fn udt(&mut self, udt: &Udt, fields: Vec<Self::Term>) -> Self::Term;
}

/// Decodes one value; `None` is null.
pub fn decode<B: Builder>(
    builder: &mut B,
    ty: &ColumnType,
    bytes: Option<&[u8]>,
) -> Result<B::Term, DecodeError> {
    let Some(bytes) = bytes else {
        return Ok(builder.null());
    };
    if bytes.is_empty() && !has_empty_values(ty) {
        return Ok(builder.empty());
    }
    Ok(match ty {
        ColumnType::Int => builder.int(i64::from(i32::from_be_bytes(fixed(bytes, "int")?))),
        ColumnType::Bigint | ColumnType::Counter => {
            builder.int(i64::from_be_bytes(fixed(bytes, "bigint")?))
        }
        ColumnType::Smallint => {
            builder.int(i64::from(i16::from_be_bytes(fixed(bytes, "smallint")?)))
        }
        ColumnType::Tinyint => builder.int(i64::from(i8::from_be_bytes(fixed(bytes, "tinyint")?))),
        ColumnType::Ascii | ColumnType::Text => {
            let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8("text"))?;
            builder.text(text)
        }
        ColumnType::Blob | ColumnType::Custom(_) => builder.blob(bytes),
        ColumnType::Boolean => {
            let [byte] = fixed(bytes, "boolean")?;
            builder.boolean(byte != 0)
        }
        ColumnType::Double => builder.float(f64::from_be_bytes(fixed(bytes, "double")?)),
        ColumnType::Float => builder.float(f64::from(f32::from_be_bytes(fixed(bytes, "float")?))),
        ColumnType::Uuid | ColumnType::Timeuuid => builder.uuid(&fixed(bytes, "uuid")?),
        ColumnType::Timestamp => builder.timestamp(i64::from_be_bytes(fixed(bytes, "timestamp")?)),
        ColumnType::Date => {
            // The protocol counts from -2^31, so that dates sort as unsigned numbers.
            let days = u32::from_be_bytes(fixed(bytes, "date")?);
            builder.date(i64::from(days) - (1 << 31))
        }
        ColumnType::Time => builder.time(i64::from_be_bytes(fixed(bytes, "time")?)),
        ColumnType::Duration => {
            let mut reader = Reader::new(bytes);
            let months = narrow(vint(&mut reader)?)?;
            let days = narrow(vint(&mut reader)?)?;
            builder.duration(months, days, vint(&mut reader)?)
        }
        ColumnType::Inet => builder.inet(ip(bytes)?),
        ColumnType::Varint => builder.varint(bytes),
        ColumnType::Decimal => {
            let mut reader = Reader::new(bytes);
            let scale = reader.int("decimal")?;
            if reader.rest().is_empty() {
                return Err(DecodeError::Truncated("decimal"));
            }
            builder.decimal(scale, reader.rest())
        }
        ColumnType::List(item) => {
            let items = items(builder, item, bytes)?;
            builder.list(items)
        }
        ColumnType::Vector(item, dimension) => {
            let items = vector_items(builder, item, *dimension, bytes)?;
            builder.vector(items)
        }
        ColumnType::Set(item) => {
            let items = items(builder, item, bytes)?;
            builder.set(items)
        }
        ColumnType::Map(pair) => {
            let mut reader = Reader::new(bytes);
            let n = reader.count(8, "map")?;
            let mut pairs = Vec::with_capacity(n);
            for _ in 0..n {
                let key = decode(builder, &pair.0, reader.bytes("map's key")?)?;
                pairs.push((key, decode(builder, &pair.1, reader.bytes("map's value")?)?));
            }
            builder.map(pairs)
        }
        ColumnType::Tuple(types) => {
            let items = fields(builder, types.iter(), bytes)?;
            builder.tuple(items)
        }
        ColumnType::Udt(udt) => {
            let values = fields(builder, udt.fields.iter().map(|(_, ty)| ty), bytes)?;
            builder.udt(udt, values)
        }
    })
}

/// Types for which no bytes are a value like any other.
pub(super) fn has_empty_values(ty: &ColumnType) -> bool {
    matches!(
        ty,
        ColumnType::Ascii
            | ColumnType::Text
            | ColumnType::Blob
            | ColumnType::Custom(_)
            | ColumnType::Tuple(_)
            | ColumnType::Udt(_)
    )
}

#[inline]
fn fixed<const N: usize>(bytes: &[u8], ty: &'static str) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::BadLength {
        ty,
        len: bytes.len(),
    })
}

fn items<B: Builder>(
    builder: &mut B,
    item: &ColumnType,
    bytes: &[u8],
) -> Result<Vec<B::Term>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let n = reader.count(4, "list")?;
    let mut items = Vec::with_capacity(n);
    for _ in 0..n {
        items.push(decode(builder, item, reader.bytes("list's item")?)?);
    }
    Ok(items)
}

/// A vector's items stand one after another, with lengths only where they differ.
fn vector_items<B: Builder>(
    builder: &mut B,
    item: &ColumnType,
    dimension: usize,
    bytes: &[u8],
) -> Result<Vec<B::Term>, DecodeError> {
    let wrong_length = DecodeError::BadLength {
        ty: "vector",
        len: bytes.len(),
    };
    let mut reader = Reader::new(bytes);
    // An item has at least one byte: no memory is taken for more than there can be.
    let least = item.fixed_len().unwrap_or(1).max(1).checked_mul(dimension);
    if least.is_none_or(|least| least > bytes.len()) {
        return Err(wrong_length);
    }
    let mut items = Vec::with_capacity(dimension);
    for _ in 0..dimension {
        let len = match item.fixed_len() {
            Some(len) => len,
            None => usize::try_from(unsigned_vint(&mut reader, "vector")?)
                .map_err(|_| DecodeError::Truncated("vector"))?,
        };
        items.push(decode(builder, item, Some(reader.take(len, "vector")?))?);
    }
    if reader.rest().is_empty() {
        Ok(items)
    } else {
        Err(wrong_length)
    }
}

/// A tuple's or user-defined type's fields; those missing at the end are null, since a type may
/// have been given fields after the value was written.
fn fields<'t, B: Builder>(
    builder: &mut B,
    types: impl ExactSizeIterator<Item = &'t ColumnType>,
    bytes: &[u8],
) -> Result<Vec<B::Term>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut fields = Vec::with_capacity(types.len());
    for ty in types {
        let field = if reader.rest().is_empty() {
            None
        } else {
            reader.bytes("field")?
        };
        fields.push(decode(builder, ty, field)?);
    }
    Ok(fields)
}

/// A `[vint]` in zigzag form.
fn vint(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    let value = unsigned_vint(reader, "duration")?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// An `[unsigned vint]`: the first byte's leading ones count the bytes after it.
fn unsigned_vint(reader: &mut Reader<'_>, what: &'static str) -> Result<u64, DecodeError> {
    let first = reader.byte(what)?;
    let more = first.leading_ones();
    let mask = 0xFFu32 >> more.min(8);
    let mut value = u64::from(u32::from(first) & if more >= 8 { 0 } else { mask });
    for byte in reader.take(more as usize, what)? {
        value = value << 8 | u64::from(*byte);
    }
    Ok(value)
}

fn narrow(value: i64) -> Result<i32, DecodeError> {
    i32::try_from(value).map_err(|_| DecodeError::Unknown {
        what: "duration's months or days",
        value,
    })
}
