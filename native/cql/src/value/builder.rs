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

/// How many values may still come of no bytes of their own: fields that are missing at the end of a
/// value, and vectors inside of a vector, of which 64 may share one byte. Without a limit a list of
/// tuples of no bytes could fill any memory.
#[derive(Debug)]
pub(crate) struct Unpaid(usize);

impl Unpaid {
    /// A page of 5,000 rows, each with a type that was given 200 fields later.
    const FREE: usize = 1_000_000;
    const EACH_BYTE: usize = 8;

    /// For values of so many bytes together.
    pub(crate) fn in_bytes(len: usize) -> Self {
        Self(
            len.saturating_mul(Self::EACH_BYTE)
                .saturating_add(Self::FREE),
        )
    }

    fn take(&mut self, ty: &'static str, values: usize) -> Result<(), DecodeError> {
        let left = self.0.checked_sub(values);
        self.0 = left.ok_or(DecodeError::BadLength { ty, len: values })?;
        Ok(())
    }
}

/// Decodes one value; `None` is null.
pub fn decode<B: Builder>(
    builder: &mut B,
    ty: &ColumnType,
    bytes: Option<&[u8]>,
) -> Result<B::Term, DecodeError> {
    let unpaid = &mut Unpaid::in_bytes(bytes.map_or(0, <[u8]>::len));
    decode_one(builder, ty, bytes, unpaid)
}

/// As [`decode`], of several values that share what may be missing.
pub(crate) fn decode_one<B: Builder>(
    builder: &mut B,
    ty: &ColumnType,
    bytes: Option<&[u8]>,
    unpaid: &mut Unpaid,
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
            let wrong = |_| bad_length("duration", bytes);
            let mut reader = Reader::new(bytes);
            let months = vint(&mut reader).and_then(narrow).map_err(wrong)?;
            let days = vint(&mut reader).and_then(narrow).map_err(wrong)?;
            builder.duration(months, days, vint(&mut reader).map_err(wrong)?)
        }
        ColumnType::Inet => builder.inet(ip(bytes)?),
        ColumnType::Varint => builder.varint(bytes),
        ColumnType::Decimal => {
            let wrong = || bad_length("decimal", bytes);
            let (scale, digits) = bytes.split_first_chunk().ok_or_else(wrong)?;
            if digits.is_empty() {
                return Err(wrong());
            }
            builder.decimal(i32::from_be_bytes(*scale), digits)
        }
        ColumnType::List(item) => {
            let items = items(builder, item, bytes, unpaid)?;
            builder.list(items)
        }
        ColumnType::Vector(item, dimension) => {
            let items = vector_items(builder, item, *dimension, bytes, unpaid)?;
            builder.vector(items)
        }
        ColumnType::Set(item) => {
            let items = items(builder, item, bytes, unpaid)?;
            builder.set(items)
        }
        ColumnType::Map(pair) => {
            let mut reader = Reader::new(bytes);
            let n = reader.count(8, "map")?;
            let mut pairs = Vec::with_capacity(n);
            for _ in 0..n {
                let key = decode_one(builder, &pair.0, reader.bytes("map's key")?, unpaid)?;
                let value = reader.bytes("map's value")?;
                pairs.push((key, decode_one(builder, &pair.1, value, unpaid)?));
            }
            builder.map(pairs)
        }
        ColumnType::Tuple(types) => {
            let items = fields(builder, types.iter(), bytes, unpaid)?;
            builder.tuple(items)
        }
        ColumnType::Udt(udt) => {
            let values = fields(builder, udt.fields.iter().map(|(_, ty)| ty), bytes, unpaid)?;
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
    bytes.try_into().map_err(|_| bad_length(ty, bytes))
}

/// A value that can't be read, though what is around it can: who wrote it need not be the server.
fn bad_length(ty: &'static str, bytes: &[u8]) -> DecodeError {
    DecodeError::BadLength {
        ty,
        len: bytes.len(),
    }
}

fn items<B: Builder>(
    builder: &mut B,
    item: &ColumnType,
    bytes: &[u8],
    unpaid: &mut Unpaid,
) -> Result<Vec<B::Term>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let n = reader.count(4, "list")?;
    let mut items = Vec::with_capacity(n);
    for _ in 0..n {
        items.push(decode_one(
            builder,
            item,
            reader.bytes("list's item")?,
            unpaid,
        )?);
    }
    Ok(items)
}

/// A vector's items stand one after another, with lengths only where they differ.
fn vector_items<B: Builder>(
    builder: &mut B,
    item: &ColumnType,
    dimension: usize,
    bytes: &[u8],
    unpaid: &mut Unpaid,
) -> Result<Vec<B::Term>, DecodeError> {
    let wrong = |_: DecodeError| bad_length("vector", bytes);
    let wrong_length = bad_length("vector", bytes);
    let mut reader = Reader::new(bytes);
    let fixed_len = item.fixed_len();
    // An item has at least one byte: no memory is taken for more than there can be.
    let least = fixed_len.unwrap_or(1).max(1).checked_mul(dimension);
    if least.is_none_or(|least| least > bytes.len()) {
        return Err(wrong_length);
    }
    if matches!(item, ColumnType::Vector(..)) {
        unpaid.take("vectors of so many vectors", dimension)?;
    }
    let mut items = Vec::with_capacity(dimension);
    for _ in 0..dimension {
        let len = match fixed_len {
            Some(len) => len,
            None => {
                let len = unsigned_vint(&mut reader, "vector").map_err(wrong)?;
                usize::try_from(len).map_err(|_| bad_length("vector", bytes))?
            }
        };
        let item_bytes = reader.take(len, "vector").map_err(wrong)?;
        items.push(decode_one(builder, item, Some(item_bytes), unpaid)?);
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
    unpaid: &mut Unpaid,
) -> Result<Vec<B::Term>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut fields = Vec::with_capacity(types.len());
    for ty in types {
        let field = if reader.rest().is_empty() {
            unpaid.take("values without so many of their fields", 1)?;
            None
        } else {
            let wrong = |_| bad_length("tuple or user-defined type", bytes);
            reader.bytes("field").map_err(wrong)?
        };
        fields.push(decode_one(builder, ty, field, unpaid)?);
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
