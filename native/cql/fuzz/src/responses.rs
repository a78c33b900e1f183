//! What must hold of any frame that is read as a response.

use std::sync::Arc;

use palladion_cql::response::{ErrorDetail, Message, Prepared, Response, ResultBody, Rows};
use palladion_cql::value::{decode, encode, Value, Values};
use palladion_cql::{ColumnSpec, ColumnType, DecodeError, Frame, ServerEvent, Version};

use super::types;

/// How many values rows of so many bytes may become: one a byte, the vectors that hold them, and eight
/// for which nothing was sent, as fields that are missing at the end of a tuple.
const VALUES_A_BYTE: usize = 16;
const MOST_FREE_VALUES: usize = 1 << 20;

/// Reads a frame, and all that is in it.
pub fn check(frame: &Frame) {
    if let Ok(content) = frame.content() {
        assert_eq!(frame.content_len(), Ok(content.len()));
    }
    let read = Response::parse(frame);
    assert_eq!(read, Response::parse(frame), "parsed twice");
    let Ok(response) = read else {
        return;
    };
    match &response.message {
        Message::Result(ResultBody::Rows(rows)) => check_rows(rows),
        Message::Result(ResultBody::Prepared(prepared)) => check_prepared(prepared, frame),
        Message::Event(body) => {
            assert_eq!(ServerEvent::read(body), ServerEvent::read(body));
        }
        Message::Error(error) => check_error(&error.detail, frame),
        _ => {}
    }
}

fn check_error(detail: &ErrorDetail, frame: &Frame) {
    match detail {
        ErrorDetail::RateLimit { .. } => assert!(frame.dialect.rate_limit_error.is_some()),
        ErrorDetail::Write {
            failures, reasons, ..
        }
        | ErrorDetail::Read {
            failures, reasons, ..
        } if frame.dialect.version >= Version::V5 => {
            assert_eq!(failures.unwrap_or(0) as usize, reasons.len());
        }
        ErrorDetail::Write { reasons, .. } | ErrorDetail::Read { reasons, .. } => {
            assert!(reasons.is_empty());
        }
        _ => {}
    }
}

fn check_prepared(prepared: &Prepared, frame: &Frame) {
    let markers = prepared.bind.len();
    assert!(prepared
        .partition_key
        .iter()
        .all(|index| usize::from(*index) < markers));
    assert_eq!(
        prepared.result_id.is_some(),
        frame.dialect.has_metadata_ids()
    );
    for column in prepared.bind.iter().chain(prepared.result.iter()) {
        types::check_type(&column.ty);
    }
}

fn check_rows(rows: &Rows) {
    assert!(rows.count == 0 || rows.column_count > 0);
    assert!(rows.count <= rows.data_len());
    let columns = match &rows.columns {
        Some(columns) => columns.clone(),
        None => remembered(rows.column_count),
    };
    assert!(rows.columns.is_none() || columns.len() == rows.column_count);
    for column in columns.iter() {
        types::check_type(&column.ty);
    }
    let (mut seen, mut values) = (0, 0);
    let end = rows.decode(&columns, &mut Values, |_, cells| {
        assert_eq!(cells.len(), columns.len());
        for (column, cell) in columns.iter().zip(cells.iter()) {
            values += count(cell);
            check_comes_back(&column.ty, cell);
        }
        seen += 1;
    });
    assert!(values <= rows.data_len() * VALUES_A_BYTE + MOST_FREE_VALUES);
    if columns.len() != rows.column_count {
        assert!(end.is_err());
    } else {
        assert!(seen <= rows.count && (end.is_err() || seen == rows.count));
    }
}

/// The columns that a driver knows from when the statement was prepared.
fn remembered(count: usize) -> Arc<[ColumnSpec]> {
    let list = ColumnType::List(Box::new(ColumnType::Tuple(vec![ColumnType::Int; 2])));
    let vector = ColumnType::Vector(Box::new(ColumnType::Varint), 2);
    let types = [
        ColumnType::Int,
        ColumnType::Text,
        ColumnType::Duration,
        ColumnType::Decimal,
        list,
        vector,
    ];
    let types = types.iter().cycle().take(count.min(64));
    types
        .map(|ty| ColumnSpec {
            keyspace: "ks".into(),
            table: "t".into(),
            name: "c".to_owned(),
            ty: ty.clone(),
        })
        .collect()
}

/// Whatever was decoded and is no error to encode decodes to what encodes to the same.
fn check_comes_back(ty: &ColumnType, value: &Value) {
    let Some(bytes) = encoded(ty, value) else {
        return;
    };
    let again = decoded(ty, &bytes);
    assert!(again.is_ok(), "{again:?}");
    let again = again.ok().and_then(|value| encoded(ty, &value));
    assert_eq!(again, Some(bytes));
}

fn encoded(ty: &ColumnType, value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    encode(value, ty, &mut out, usize::MAX).ok()?;
    Some(out)
}

fn decoded(ty: &ColumnType, bytes: &[u8]) -> Result<Value, DecodeError> {
    let bytes = palladion_cql::wire::Reader::new(bytes).bytes("value")?;
    decode(&mut Values, ty, bytes)
}

/// Of how many values a value is made.
pub fn count(value: &Value) -> usize {
    let inside: usize = match value {
        Value::List(items) | Value::Set(items) | Value::Tuple(items) => {
            items.iter().map(count).sum()
        }
        Value::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| count(key) + count(value))
            .sum(),
        Value::Udt(fields) => fields.iter().map(|(_, value)| count(value)).sum(),
        _ => 0,
    };
    1 + inside
}
