//! Values as plain Rust data, for the driver's own queries and for tests.

use std::net::IpAddr;
use std::sync::Arc;

use super::builder::Builder;
use super::source::{Answer, Source};
use crate::types::Udt;

/// A CQL value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are CQL's own
pub enum Value {
    Null,
    Unset,
    /// A value of no bytes where its type has some.
    Empty,
    Boolean(bool),
    Int(i64),
    Varint(Vec<u8>),
    Decimal(i32, Vec<u8>),
    Float(f64),
    Text(String),
    Blob(Vec<u8>),
    Uuid([u8; 16]),
    Timestamp(i64),
    Date(i64),
    Time(i64),
    Duration(i32, i32, i64),
    Inet(IpAddr),
    List(Vec<Value>),
    Set(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Tuple(Vec<Value>),
    Udt(Vec<(Arc<str>, Value)>),
}

/// Builds [`Value`]s.
#[derive(Debug, Clone, Copy, Default)]
pub struct Values;

impl Builder for Values {
    type Term = Value;

    fn null(&mut self) -> Value {
        Value::Null
    }
    fn empty(&mut self) -> Value {
        Value::Empty
    }
    fn boolean(&mut self, value: bool) -> Value {
        Value::Boolean(value)
    }
    fn int(&mut self, value: i64) -> Value {
        Value::Int(value)
    }
    fn varint(&mut self, bytes: &[u8]) -> Value {
        Value::Varint(bytes.to_vec())
    }
    fn decimal(&mut self, scale: i32, unscaled: &[u8]) -> Value {
        Value::Decimal(scale, unscaled.to_vec())
    }
    fn float(&mut self, value: f64) -> Value {
        Value::Float(value)
    }
    fn text(&mut self, value: &str) -> Value {
        Value::Text(value.to_owned())
    }
    fn blob(&mut self, value: &[u8]) -> Value {
        Value::Blob(value.to_vec())
    }
    fn uuid(&mut self, value: &[u8; 16]) -> Value {
        Value::Uuid(*value)
    }
    fn timestamp(&mut self, millis: i64) -> Value {
        Value::Timestamp(millis)
    }
    fn date(&mut self, days: i64) -> Value {
        Value::Date(days)
    }
    fn time(&mut self, nanos: i64) -> Value {
        Value::Time(nanos)
    }
    fn duration(&mut self, months: i32, days: i32, nanos: i64) -> Value {
        Value::Duration(months, days, nanos)
    }
    fn inet(&mut self, value: IpAddr) -> Value {
        Value::Inet(value)
    }
    fn list(&mut self, items: Vec<Value>) -> Value {
        Value::List(items)
    }
    fn vector(&mut self, items: Vec<Value>) -> Value {
        Value::List(items)
    }
    fn set(&mut self, items: Vec<Value>) -> Value {
        Value::Set(items)
    }
    fn map(&mut self, pairs: Vec<(Value, Value)>) -> Value {
        Value::Map(pairs)
    }
    fn tuple(&mut self, items: Vec<Value>) -> Value {
        Value::Tuple(items)
    }
    fn udt(&mut self, udt: &Udt, fields: Vec<Value>) -> Value {
        let names = udt.fields.iter().map(|(name, _)| Arc::clone(name));
        Value::Udt(names.zip(fields).collect())
    }
}

/// Answers with the variant's content.
macro_rules! answer {
    ($value:expr, $($pattern:pat => $content:expr),+) => {
        match $value {
            $($pattern => Answer::Yes($content),)+
            _ => Answer::No,
        }
    };
}

impl<'a> Source<'a> for &'a Value {
    fn is_null(self) -> bool {
        matches!(self, Value::Null)
    }
    fn is_unset(self) -> bool {
        matches!(self, Value::Unset)
    }
    fn is_empty(self) -> bool {
        matches!(self, Value::Empty)
    }
    fn boolean(self) -> Answer<bool> {
        answer!(self, Value::Boolean(v) => *v)
    }
    fn int(self) -> Answer<i64> {
        answer!(self, Value::Int(v) => *v)
    }
    fn varint(self) -> Answer<Vec<u8>> {
        answer!(self, Value::Varint(v) => v.clone())
    }
    fn decimal(self) -> Answer<(i32, Vec<u8>)> {
        answer!(self, Value::Decimal(scale, v) => (*scale, v.clone()))
    }
    fn float(self) -> Answer<f64> {
        answer!(self, Value::Float(v) => *v)
    }
    fn text(self) -> Answer<&'a str> {
        answer!(self, Value::Text(v) => v.as_str())
    }
    fn blob(self) -> Answer<&'a [u8]> {
        answer!(self, Value::Blob(v) => v.as_slice())
    }
    fn uuid(self) -> Answer<[u8; 16]> {
        answer!(self, Value::Uuid(v) => *v)
    }
    fn timestamp(self) -> Answer<i64> {
        answer!(self, Value::Timestamp(v) => *v)
    }
    fn date(self) -> Answer<i64> {
        answer!(self, Value::Date(v) => *v)
    }
    fn time(self) -> Answer<i64> {
        answer!(self, Value::Time(v) => *v)
    }
    fn duration(self) -> Answer<(i32, i32, i64)> {
        answer!(self, Value::Duration(months, days, nanos) => (*months, *days, *nanos))
    }
    fn inet(self) -> Answer<IpAddr> {
        answer!(self, Value::Inet(v) => *v)
    }
    fn items(self) -> Answer<impl Iterator<Item = Self>> {
        answer!(self, Value::List(v) => v.iter())
    }
    fn members(self) -> Answer<impl Iterator<Item = Self>> {
        answer!(self, Value::Set(v) => v.iter())
    }
    fn pairs(self) -> Answer<impl Iterator<Item = (Self, Self)>> {
        answer!(self, Value::Map(v) => v.iter().map(|(key, value)| (key, value)))
    }
    fn elements(self) -> Answer<impl ExactSizeIterator<Item = Self>> {
        answer!(self, Value::Tuple(v) => v.iter())
    }
    fn field_count(self) -> usize {
        match self {
            Value::Udt(fields) => fields.len(),
            _ => 0,
        }
    }
    fn field(self, name: &str) -> Answer<Option<Self>> {
        answer!(self, Value::Udt(v) => v.iter().find(|(n, _)| **n == *name).map(|(_, value)| value))
    }
}
