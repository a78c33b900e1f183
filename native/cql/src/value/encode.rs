//! From values to bytes.

use std::fmt;

use super::builder::has_empty_values;
use super::source::{Answer, Source};
use crate::types::ColumnType;

/// Why a value can't be encoded. Says where and what was expected, never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError {
    /// What is wrong.
    pub problem: Problem,
    /// The CQL type at the place where it is wrong.
    pub expected: String,
    /// The way from the bound value to that place, outermost first.
    pub path: Vec<Step>,
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Another kind of value.
    WrongType,
    /// The right kind, but more than the type holds.
    OutOfRange,
    /// A tuple with too many elements, or a vector of the wrong size.
    WrongSize,
    /// A field that the user-defined type does not have.
    UnknownField,
    /// Null inside a collection, which CQL does not have.
    NullInCollection,
    /// A value longer than the protocol can say.
    TooLong,
    /// The frame is longer than the budget: not the value's fault, encode it elsewhere.
    Budget,
}

/// A step into a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The item with this index, of a list, set or tuple.
    Item(usize),
    /// The key of the pair with this index.
    Key(usize),
    /// The value of the pair with this index.
    Value(usize),
    /// The field with this name.
    Field(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(i) => write!(f, "item {i}"),
            Self::Key(i) => write!(f, "key {i}"),
            Self::Value(i) => write!(f, "value {i}"),
            Self::Field(name) => write!(f, "field {name}"),
        }
    }
}

impl EncodeError {
    fn new(problem: Problem, ty: &ColumnType) -> Self {
        Self {
            problem,
            expected: ty.to_string(),
            path: Vec::new(),
        }
    }

    fn under(mut self, step: Step) -> Self {
        self.path.insert(0, step);
        self
    }
}

/// Appends `[value]`: a length and the bytes, -1 for null, -2 for unset.
///
/// Stops with [`Problem::Budget`] before `out` grows beyond `budget` bytes.
pub fn encode<'a, S: Source<'a>>(
    source: S,
    ty: &ColumnType,
    out: &mut Vec<u8>,
    budget: usize,
) -> Result<(), EncodeError> {
    if source.is_null() {
        return put(out, &(-1i32).to_be_bytes(), budget, ty);
    }
    if source.is_unset() {
        return put(out, &(-2i32).to_be_bytes(), budget, ty);
    }
    content_with_length(source, ty, out, budget)
}

fn content_with_length<'a, S: Source<'a>>(
    source: S,
    ty: &ColumnType,
    out: &mut Vec<u8>,
    budget: usize,
) -> Result<(), EncodeError> {
    let start = out.len();
    put(out, &[0; 4], budget, ty)?;
    content(source, ty, out, budget)?;
    let len =
        i32::try_from(out.len() - start - 4).map_err(|_| EncodeError::new(Problem::TooLong, ty))?;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

fn content<'a, S: Source<'a>>(
    source: S,
    ty: &ColumnType,
    out: &mut Vec<u8>,
    budget: usize,
) -> Result<(), EncodeError> {
    let problem = |problem| EncodeError::new(problem, ty);
    macro_rules! need {
        ($answer:expr) => {
            match $answer {
                Answer::Yes(value) => value,
                Answer::No => return Err(problem(Problem::WrongType)),
                Answer::OutOfRange => return Err(problem(Problem::OutOfRange)),
            }
        };
    }
    macro_rules! int {
        ($width:ty) => {
            <$width>::try_from(need!(source.int()))
                .map_err(|_| problem(Problem::OutOfRange))?
                .to_be_bytes()
        };
    }
    if source.is_empty() {
        // Where no bytes are a value like any other, that value has a form of its own.
        return if has_empty_values(ty) {
            Err(problem(Problem::WrongType))
        } else {
            Ok(())
        };
    }
    match ty {
        ColumnType::Int => put(out, &int!(i32), budget, ty),
        ColumnType::Bigint | ColumnType::Counter => put(out, &int!(i64), budget, ty),
        ColumnType::Smallint => put(out, &int!(i16), budget, ty),
        ColumnType::Tinyint => put(out, &int!(i8), budget, ty),
        // Looked at only where it will be written: that it's UTF-8 takes a look at every byte.
        ColumnType::Ascii | ColumnType::Text if matches!(source.blob(), Answer::Yes(bytes) if out.len() + bytes.len() > budget) => {
            Err(problem(Problem::Budget))
        }
        ColumnType::Ascii => {
            let text = need!(source.text());
            if !text.is_ascii() {
                return Err(problem(Problem::OutOfRange));
            }
            put(out, text.as_bytes(), budget, ty)
        }
        ColumnType::Text => put(out, need!(source.text()).as_bytes(), budget, ty),
        ColumnType::Blob | ColumnType::Custom(_) => put(out, need!(source.blob()), budget, ty),
        ColumnType::Boolean => put(out, &[u8::from(need!(source.boolean()))], budget, ty),
        ColumnType::Double => put(out, &need!(source.float()).to_be_bytes(), budget, ty),
        ColumnType::Float => {
            let wide = need!(source.float());
            let narrow = wide as f32;
            if wide.is_finite() && narrow.is_infinite() {
                return Err(problem(Problem::OutOfRange));
            }
            put(out, &narrow.to_be_bytes(), budget, ty)
        }
        ColumnType::Uuid => put(out, &need!(source.uuid()), budget, ty),
        ColumnType::Timeuuid => {
            let uuid = need!(source.uuid());
            // Of version 1, which has a time.
            if uuid[6] & 0xF0 != 0x10 {
                return Err(problem(Problem::OutOfRange));
            }
            put(out, &uuid, budget, ty)
        }
        ColumnType::Timestamp => put(out, &need!(source.timestamp()).to_be_bytes(), budget, ty),
        ColumnType::Date => {
            let days = need!(source.date()).checked_add(1 << 31);
            let days = days
                .and_then(|days| u32::try_from(days).ok())
                .ok_or_else(|| problem(Problem::OutOfRange))?;
            put(out, &days.to_be_bytes(), budget, ty)
        }
        ColumnType::Time => {
            let nanos = need!(source.time());
            if !(0..NANOS_A_DAY).contains(&nanos) {
                return Err(problem(Problem::OutOfRange));
            }
            put(out, &nanos.to_be_bytes(), budget, ty)
        }
        ColumnType::Duration => {
            let (months, days, nanos) = need!(source.duration());
            let mixed = [i64::from(months), i64::from(days), nanos];
            // CQL knows no duration with parts of both signs.
            if mixed.iter().any(|part| *part < 0) && mixed.iter().any(|part| *part > 0) {
                return Err(problem(Problem::OutOfRange));
            }
            let mut bytes = Vec::with_capacity(12);
            mixed.iter().for_each(|part| put_vint(&mut bytes, *part));
            put(out, &bytes, budget, ty)
        }
        ColumnType::Inet => match need!(source.inet()) {
            std::net::IpAddr::V4(ip) => put(out, &ip.octets(), budget, ty),
            std::net::IpAddr::V6(ip) => put(out, &ip.octets(), budget, ty),
        },
        ColumnType::Varint => put(out, &need!(source.varint()), budget, ty),
        ColumnType::Decimal => {
            let (scale, unscaled) = need!(source.decimal());
            put(out, &scale.to_be_bytes(), budget, ty)?;
            put(out, &unscaled, budget, ty)
        }
        ColumnType::List(item) => collection(need!(source.items()), item, ty, out, budget),
        ColumnType::Vector(item, dimension) => {
            let n = vector_items(need!(source.items()), item, out, budget)?;
            if n == *dimension {
                Ok(())
            } else {
                Err(problem(Problem::WrongSize))
            }
        }
        ColumnType::Set(item) => collection(need!(source.members()), item, ty, out, budget),
        ColumnType::Map(pair) => {
            let count = start_collection(out, budget, ty)?;
            let mut n = 0usize;
            for (key, value) in need!(source.pairs()) {
                inside(key, &pair.0, out, budget).map_err(|e| e.under(Step::Key(n)))?;
                inside(value, &pair.1, out, budget).map_err(|e| e.under(Step::Value(n)))?;
                n += 1;
            }
            end_collection(out, count, n, ty)
        }
        ColumnType::Tuple(types) => {
            let elements = need!(source.elements());
            if elements.len() > types.len() {
                return Err(problem(Problem::WrongSize));
            }
            let given = elements.len();
            for (i, (element, ty)) in elements.zip(types).enumerate() {
                field(element, ty, out, budget).map_err(|e| e.under(Step::Item(i)))?;
            }
            // Said, since other clients take a value of no bytes for null.
            for ty in &types[given..] {
                put(out, &(-1i32).to_be_bytes(), budget, ty)?;
            }
            Ok(())
        }
        ColumnType::Udt(udt) => {
            let mut known = 0;
            for (name, ty) in &udt.fields {
                match need!(source.field(name)) {
                    Some(value) => {
                        known += 1;
                        field(value, ty, out, budget)
                            .map_err(|e| e.under(Step::Field(name.to_string())))?;
                    }
                    None => put(out, &(-1i32).to_be_bytes(), budget, ty)?,
                }
            }
            // A misspelt field would otherwise be written as null.
            if known < source.field_count() {
                return Err(problem(Problem::UnknownField));
            }
            Ok(())
        }
    }
}

const NANOS_A_DAY: i64 = 86_400_000_000_000;

fn collection<'a, S: Source<'a>>(
    items: impl Iterator<Item = S>,
    item_type: &ColumnType,
    ty: &ColumnType,
    out: &mut Vec<u8>,
    budget: usize,
) -> Result<(), EncodeError> {
    let count = start_collection(out, budget, ty)?;
    let mut n = 0usize;
    for item in items {
        inside(item, item_type, out, budget).map_err(|e| e.under(Step::Item(n)))?;
        n += 1;
    }
    end_collection(out, count, n, ty)
}

/// Items one after another, with lengths only where they differ; how many there were.
fn vector_items<'a, S: Source<'a>>(
    items: impl Iterator<Item = S>,
    ty: &ColumnType,
    out: &mut Vec<u8>,
    budget: usize,
) -> Result<usize, EncodeError> {
    let mut n = 0usize;
    let (mut bytes, mut length) = (Vec::new(), Vec::new());
    for item in items {
        let under = |e: EncodeError| e.under(Step::Item(n));
        if item.is_null() || item.is_unset() {
            return Err(under(EncodeError::new(Problem::NullInCollection, ty)));
        }
        // A fixed length has to be that: no value of no bytes.
        if item.is_empty() && ty.fixed_len().is_some() {
            return Err(under(EncodeError::new(Problem::WrongType, ty)));
        }
        bytes.clear();
        content(item, ty, &mut bytes, budget.saturating_sub(out.len())).map_err(under)?;
        if ty.fixed_len().is_none() {
            length.clear();
            put_unsigned_vint(&mut length, bytes.len() as u64);
            put(out, &length, budget, ty)?;
        }
        put(out, &bytes, budget, ty)?;
        n += 1;
    }
    Ok(n)
}

/// A value inside a collection, which can't be null.
fn inside<'a, S: Source<'a>>(
    source: S,
    ty: &ColumnType,
    out: &mut Vec<u8>,
    budget: usize,
) -> Result<(), EncodeError> {
    if source.is_null() || source.is_unset() {
        return Err(EncodeError::new(Problem::NullInCollection, ty));
    }
    content_with_length(source, ty, out, budget)
}

/// A tuple's or user-defined type's field, which may be null, but has nothing stored to leave.
fn field<'a, S: Source<'a>>(
    source: S,
    ty: &ColumnType,
    out: &mut Vec<u8>,
    budget: usize,
) -> Result<(), EncodeError> {
    if source.is_unset() {
        return Err(EncodeError::new(Problem::WrongType, ty));
    }
    encode(source, ty, out, budget)
}

/// Leaves room for a collection's count and says where.
fn start_collection(
    out: &mut Vec<u8>,
    budget: usize,
    ty: &ColumnType,
) -> Result<usize, EncodeError> {
    let at = out.len();
    put(out, &[0; 4], budget, ty)?;
    Ok(at)
}

fn end_collection(out: &mut [u8], at: usize, n: usize, ty: &ColumnType) -> Result<(), EncodeError> {
    let n = i32::try_from(n).map_err(|_| EncodeError::new(Problem::TooLong, ty))?;
    out[at..at + 4].copy_from_slice(&n.to_be_bytes());
    Ok(())
}

#[inline]
fn put(out: &mut Vec<u8>, bytes: &[u8], budget: usize, ty: &ColumnType) -> Result<(), EncodeError> {
    if out.len() + bytes.len() > budget {
        return Err(EncodeError::new(Problem::Budget, ty));
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// `[vint]` in zigzag form.
fn put_vint(out: &mut Vec<u8>, value: i64) {
    put_unsigned_vint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// `[unsigned vint]`
fn put_unsigned_vint(out: &mut Vec<u8>, value: u64) {
    let bits = 64 - (value | 1).leading_zeros();
    // n more bytes hold 7 (n + 1) bits, and nine bytes hold 64.
    let more = if bits > 56 { 8 } else { (bits - 1) / 7 };
    let bytes = value.to_be_bytes();
    if more == 8 {
        out.push(0xFF);
        out.extend_from_slice(&bytes);
        return;
    }
    let start = out.len();
    out.extend_from_slice(&bytes[7 - more as usize..]);
    out[start] |= !(0xFFu32 >> more) as u8;
}
