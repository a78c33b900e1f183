//! Responses (section 4.2).

mod error;

use std::sync::Arc;

use bytes::Bytes;

use crate::frame::{flag, Frame, Opcode};
use crate::types::{ColumnSpec, ColumnType};
use crate::value::{decode_one, Builder, Unpaid};
use crate::wire::{BytesMap, Reader};
use crate::{DecodeError, Dialect, Version};

pub use error::{code, ErrorDetail, LimitedOperation, ServerError};

/// A response with what any message may carry in front of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The trace's id, if one was asked for.
    pub tracing_id: Option<[u8; 16]>,
    /// The server's warnings.
    pub warnings: Vec<String>,
    /// The custom payload.
    pub payload: BytesMap,
    /// The message itself.
    pub message: Message,
}

/// What the server said.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// ERROR
    Error(ServerError),
    /// READY
    Ready,
    /// AUTHENTICATE, with the authenticator's class.
    Authenticate(String),
    /// AUTH_CHALLENGE
    AuthChallenge(Option<Bytes>),
    /// AUTH_SUCCESS
    AuthSuccess(Option<Bytes>),
    /// SUPPORTED
    Supported(Vec<(String, Vec<String>)>),
    /// RESULT
    Result(ResultBody),
    /// EVENT; its content is read where events are used.
    Event(Bytes),
}

/// The kinds of RESULT (section 4.2.5).
#[derive(Debug, Clone, PartialEq)]
pub enum ResultBody {
    /// Nothing to say.
    Void,
    /// Rows.
    Rows(Rows),
    /// The keyspace now in use.
    SetKeyspace(String),
    /// A prepared statement.
    Prepared(Prepared),
    /// What a schema statement changed.
    SchemaChange(SchemaChange),
}

/// Rows, not decoded yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The columns, unless the request said to leave them out.
    pub columns: Option<Arc<[ColumnSpec]>>,
    /// How many columns a row has.
    pub column_count: usize,
    /// Where the next page starts, if there is one.
    pub paging_state: Option<Bytes>,
    /// The id of `columns`, where it is another than the request said.
    pub metadata_id: Option<Bytes>,
    /// How many rows follow.
    pub count: usize,
    data: Bytes,
}

impl Rows {
    /// Decodes row by row: `row` is handed the cells of each, in the order of `columns`, and may
    /// take them out of the vector, which is cleared after it.
    pub fn decode<B: Builder>(
        &self,
        columns: &[ColumnSpec],
        builder: &mut B,
        mut row: impl FnMut(&mut B, &mut Vec<B::Term>),
    ) -> Result<(), DecodeError> {
        if columns.len() != self.column_count {
            return Err(DecodeError::Unknown {
                what: "number of columns",
                value: self.column_count as i64,
            });
        }
        let mut reader = Reader::new(&self.data);
        let mut unpaid = Unpaid::in_bytes(self.data.len());
        let mut cells = Vec::with_capacity(columns.len());
        for _ in 0..self.count {
            for column in columns {
                let cell = reader.bytes("cell")?;
                cells.push(decode_one(builder, &column.ty, cell, &mut unpaid)?);
            }
            row(builder, &mut cells);
            cells.clear();
        }
        Ok(())
    }

    /// Length of the rows' bytes.
    pub fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// A statement that the server has prepared.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The server's name for it.
    pub id: Bytes,
    /// Its bind markers.
    pub bind: Arc<[ColumnSpec]>,
    /// Which bind markers make up the partition key, in the key's order; protocol 3 doesn't tell.
    pub partition_key: Vec<u16>,
    /// The columns of its results; none for a statement without rows.
    pub result: Arc<[ColumnSpec]>,
    /// Their id, where the dialect has such.
    pub result_id: Option<Bytes>,
}

/// What a schema statement changed (section 4.2.5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    /// `CREATED`, `UPDATED` or `DROPPED`.
    pub change: String,
    /// `KEYSPACE`, `TABLE`, `TYPE`, `FUNCTION` or `AGGREGATE`.
    pub target: String,
    /// The keyspace.
    pub keyspace: String,
    /// The object in it, unless it is the keyspace itself.
    pub name: Option<String>,
}

impl Response {
    /// Reads a response frame.
    pub fn parse(frame: &Frame) -> Result<Self, DecodeError> {
        let flags = frame.header.flags;
        let body = frame.content()?;
        let mut reader = Reader::new(&body);
        let tracing_id = (flags & flag::TRACING != 0)
            .then(|| reader.uuid("tracing id"))
            .transpose()?;
        let warnings = if flags & flag::WARNING != 0 {
            reader.string_list("warnings")?
        } else {
            Vec::new()
        };
        let payload = if flags & flag::CUSTOM_PAYLOAD != 0 {
            reader.bytes_map("custom payload")?
        } else {
            Vec::new()
        };
        Ok(Self {
            tracing_id,
            warnings,
            payload,
            message: Message::read(frame.header.opcode, &mut reader, &body, &frame.dialect)?,
        })
    }
}

impl Message {
    fn read(
        opcode: Opcode,
        reader: &mut Reader<'_>,
        body: &Bytes,
        dialect: &Dialect,
    ) -> Result<Self, DecodeError> {
        Ok(match opcode {
            Opcode::Error => Self::Error(ServerError::read(reader, dialect)?),
            Opcode::Ready => Self::Ready,
            Opcode::Authenticate => {
                Self::Authenticate(reader.string("authenticator class")?.to_owned())
            }
            Opcode::AuthChallenge => Self::AuthChallenge(token(reader, body)?),
            Opcode::AuthSuccess => Self::AuthSuccess(token(reader, body)?),
            Opcode::Supported => Self::Supported(reader.string_multimap("supported options")?),
            Opcode::Result => Self::Result(ResultBody::read(reader, body, dialect)?),
            Opcode::Event => Self::Event(body.slice_ref(reader.rest())),
            request => {
                return Err(DecodeError::Unknown {
                    what: "response opcode",
                    value: request as i64,
                })
            }
        })
    }
}

fn token(reader: &mut Reader<'_>, body: &Bytes) -> Result<Option<Bytes>, DecodeError> {
    Ok(reader
        .bytes("authentication token")?
        .map(|bytes| body.slice_ref(bytes)))
}

impl ResultBody {
    fn read(reader: &mut Reader<'_>, body: &Bytes, dialect: &Dialect) -> Result<Self, DecodeError> {
        Ok(match reader.int("result kind")? {
            1 => Self::Void,
            2 => Self::Rows(read_rows(reader, body, dialect)?),
            3 => Self::SetKeyspace(reader.string("keyspace")?.to_owned()),
            4 => Self::Prepared(read_prepared(reader, body, dialect)?),
            5 => Self::SchemaChange(SchemaChange::read(reader)?),
            other => {
                return Err(DecodeError::Unknown {
                    what: "result kind",
                    value: i64::from(other.cast_unsigned()),
                })
            }
        })
    }
}

/// Bits of a result metadata's flags.
mod metadata {
    pub(super) const GLOBAL_TABLE: i32 = 0x01;
    pub(super) const MORE_PAGES: i32 = 0x02;
    pub(super) const NO_METADATA: i32 = 0x04;
    pub(super) const CHANGED: i32 = 0x08;
}

/// The least that a column's specification takes: its name's length and its type.
const COLUMN_LEN: usize = 4;
/// A request counts its values in a `[short]`, and no table has more columns. A column takes twenty
/// times as much memory as it has bytes.
const MOST_COLUMNS: usize = u16::MAX as usize;

fn read_rows(
    reader: &mut Reader<'_>,
    body: &Bytes,
    dialect: &Dialect,
) -> Result<Rows, DecodeError> {
    let flags = reader.int("result flags")?;
    let column_count = reader.int("column count")?;
    let column_count =
        usize::try_from(column_count).map_err(|_| DecodeError::Negative("column count"))?;
    let paging_state = if flags & metadata::MORE_PAGES != 0 {
        reader
            .bytes("paging state")?
            .map(|state| body.slice_ref(state))
    } else {
        None
    };
    let metadata_id = if dialect.has_metadata_ids() && flags & metadata::CHANGED != 0 {
        Some(body.slice_ref(reader.short_bytes("metadata's id")?))
    } else {
        None
    };
    let columns = if flags & metadata::NO_METADATA != 0 {
        None
    } else {
        Some(read_columns(reader, flags, column_count)?)
    };
    // Rows without columns take no bytes: nothing would bound their count.
    let count = reader.count(column_count.saturating_mul(4), "row count")?;
    if column_count == 0 && count > 0 {
        return Err(DecodeError::Unknown {
            what: "rows without columns, count",
            value: count as i64,
        });
    }
    Ok(Rows {
        columns,
        column_count,
        paging_state,
        metadata_id,
        count,
        data: body.slice_ref(reader.rest()),
    })
}

fn read_columns(
    reader: &mut Reader<'_>,
    flags: i32,
    count: usize,
) -> Result<Arc<[ColumnSpec]>, DecodeError> {
    let table_of = |reader: &mut Reader<'_>| -> Result<(Arc<str>, Arc<str>), DecodeError> {
        let keyspace = reader.string("column's keyspace")?.into();
        Ok((keyspace, reader.string("column's table")?.into()))
    };
    let global = if flags & metadata::GLOBAL_TABLE != 0 && count > 0 {
        Some(table_of(reader)?)
    } else {
        None
    };
    if count > MOST_COLUMNS {
        return Err(DecodeError::Unknown {
            what: "number of columns",
            value: count as i64,
        });
    }
    if count.saturating_mul(COLUMN_LEN) > reader.rest().len() {
        return Err(DecodeError::Truncated("columns"));
    }
    (0..count)
        .map(|_| {
            let (keyspace, table) = match &global {
                Some(both) => both.clone(),
                None => table_of(reader)?,
            };
            Ok(ColumnSpec {
                keyspace,
                table,
                name: reader.string("column's name")?.to_owned(),
                ty: ColumnType::read(reader)?,
            })
        })
        .collect()
}

fn read_prepared(
    reader: &mut Reader<'_>,
    body: &Bytes,
    dialect: &Dialect,
) -> Result<Prepared, DecodeError> {
    let id = body.slice_ref(reader.short_bytes("prepared statement's id")?);
    let result_id = if dialect.has_metadata_ids() {
        Some(body.slice_ref(reader.short_bytes("metadata's id")?))
    } else {
        None
    };
    let flags = reader.int("bind flags")?;
    let columns = reader.count(COLUMN_LEN, "bind markers")?;
    let keys = if dialect.version >= Version::V4 {
        reader.count(2, "partition key")?
    } else {
        0
    };
    let partition_key = (0..keys)
        .map(|_| match reader.short("partition key")? {
            index if usize::from(index) < columns => Ok(index),
            index => Err(DecodeError::Unknown {
                what: "bind marker in the partition key",
                value: i64::from(index),
            }),
        })
        .collect::<Result<_, _>>()?;
    let bind = read_columns(reader, flags, columns)?;
    let flags = reader.int("result flags")?;
    let columns = reader.int("column count")?;
    let columns = usize::try_from(columns).map_err(|_| DecodeError::Negative("column count"))?;
    let result = if flags & metadata::NO_METADATA != 0 {
        Arc::from([])
    } else {
        read_columns(reader, flags, columns)?
    };
    Ok(Prepared {
        id,
        bind,
        partition_key,
        result,
        result_id,
    })
}

impl SchemaChange {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let change = reader.string("schema change")?.to_owned();
        let target = reader.string("schema target")?.to_owned();
        let keyspace = reader.string("keyspace")?.to_owned();
        let name = if target == "KEYSPACE" {
            None
        } else {
            Some(reader.string("schema object")?.to_owned())
        };
        Ok(Self {
            change,
            target,
            keyspace,
            name,
        })
    }
}

#[cfg(test)]
mod tests;
