//! Responses (section 4.2).

use std::sync::Arc;

use bytes::Bytes;

use crate::frame::{flag, Frame, Opcode};
use crate::types::{ColumnSpec, ColumnType};
use crate::value::{decode, Builder};
use crate::wire::{BytesMap, Reader};
use crate::{Consistency, DecodeError};

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
        let mut cells = Vec::with_capacity(columns.len());
        for _ in 0..self.count {
            for column in columns {
                cells.push(decode(builder, &column.ty, reader.bytes("cell")?)?);
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
    /// Which bind markers make up the partition key, in the key's order.
    pub partition_key: Vec<u16>,
    /// The columns of its results; none for a statement without rows.
    pub result: Arc<[ColumnSpec]>,
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

/// ERROR (section 9).
#[derive(Debug, Clone, PartialEq)]
pub struct ServerError {
    /// The error code.
    pub code: i32,
    /// What the server says.
    pub message: String,
    /// The code's own fields.
    pub detail: ErrorDetail,
}

/// The fields that an error code brings along.
#[derive(Debug, Clone, PartialEq)]
pub enum ErrorDetail {
    /// Codes without fields.
    None,
    /// 0x1000: not enough replicas are alive.
    Unavailable {
        /// The request's consistency.
        consistency: Consistency,
        /// Replicas needed.
        required: i32,
        /// Replicas alive.
        alive: i32,
    },
    /// 0x1100 and 0x1500: a write that timed out or failed.
    Write {
        /// The request's consistency.
        consistency: Consistency,
        /// Replicas that answered.
        received: i32,
        /// Replicas needed.
        required: i32,
        /// Replicas that failed (0x1500).
        failures: Option<i32>,
        /// For example `SIMPLE` or `BATCH_LOG`.
        write_type: String,
    },
    /// 0x1200 and 0x1300: a read that timed out or failed.
    Read {
        /// The request's consistency.
        consistency: Consistency,
        /// Replicas that answered.
        received: i32,
        /// Replicas needed.
        required: i32,
        /// Replicas that failed (0x1300).
        failures: Option<i32>,
        /// Whether the replica asked for data was among those that answered.
        data_present: bool,
    },
    /// 0x1400: a function failed.
    Function {
        /// Its keyspace.
        keyspace: String,
        /// Its name.
        function: String,
        /// Its argument types.
        argument_types: Vec<String>,
    },
    /// 0x2400
    AlreadyExists {
        /// The keyspace.
        keyspace: String,
        /// The table; empty for a keyspace.
        table: String,
    },
    /// 0x2500: the statement is not prepared on this node.
    Unprepared {
        /// The id asked for.
        id: Vec<u8>,
    },
}

/// Error codes that a driver acts on.
pub mod code {
    /// The server gave up inside.
    pub const SERVER: i32 = 0x0000;
    /// The server could not make sense of a frame, or does not speak its version.
    pub const PROTOCOL: i32 = 0x000A;
    /// A login failed.
    pub const BAD_CREDENTIALS: i32 = 0x0100;
    /// Not enough replicas are alive.
    pub const UNAVAILABLE: i32 = 0x1000;
    /// The coordinator is overloaded.
    pub const OVERLOADED: i32 = 0x1001;
    /// The coordinator is still starting.
    pub const IS_BOOTSTRAPPING: i32 = 0x1002;
    /// A truncation failed.
    pub const TRUNCATE: i32 = 0x1003;
    /// A write timed out.
    pub const WRITE_TIMEOUT: i32 = 0x1100;
    /// A read timed out.
    pub const READ_TIMEOUT: i32 = 0x1200;
    /// A read failed.
    pub const READ_FAILURE: i32 = 0x1300;
    /// A function failed.
    pub const FUNCTION_FAILURE: i32 = 0x1400;
    /// A write failed.
    pub const WRITE_FAILURE: i32 = 0x1500;
    /// Syntax error.
    pub const SYNTAX: i32 = 0x2000;
    /// The role may not do that.
    pub const UNAUTHORIZED: i32 = 0x2100;
    /// A valid statement that can't be carried out.
    pub const INVALID: i32 = 0x2200;
    /// A configuration problem.
    pub const CONFIG: i32 = 0x2300;
    /// The keyspace or table exists.
    pub const ALREADY_EXISTS: i32 = 0x2400;
    /// The statement is not prepared on this node.
    pub const UNPREPARED: i32 = 0x2500;
}

impl Response {
    /// Reads a response frame.
    pub fn parse(frame: &Frame) -> Result<Self, DecodeError> {
        let flags = frame.header.flags;
        if flags & flag::COMPRESSION != 0 {
            return Err(DecodeError::Unknown {
                what: "compression, none was agreed on: flags",
                value: i64::from(flags),
            });
        }
        let mut reader = Reader::new(&frame.body);
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
            message: Message::read(frame.header.opcode, &mut reader, &frame.body)?,
        })
    }
}

impl Message {
    fn read(opcode: Opcode, reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        Ok(match opcode {
            Opcode::Error => Self::Error(ServerError::read(reader)?),
            Opcode::Ready => Self::Ready,
            Opcode::Authenticate => {
                Self::Authenticate(reader.string("authenticator class")?.to_owned())
            }
            Opcode::AuthChallenge => Self::AuthChallenge(token(reader, body)?),
            Opcode::AuthSuccess => Self::AuthSuccess(token(reader, body)?),
            Opcode::Supported => Self::Supported(reader.string_multimap("supported options")?),
            Opcode::Result => Self::Result(ResultBody::read(reader, body)?),
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
    fn read(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        Ok(match reader.int("result kind")? {
            1 => Self::Void,
            2 => Self::Rows(read_rows(reader, body)?),
            3 => Self::SetKeyspace(reader.string("keyspace")?.to_owned()),
            4 => Self::Prepared(read_prepared(reader, body)?),
            5 => Self::SchemaChange(SchemaChange::read(reader)?),
            other => {
                return Err(DecodeError::Unknown {
                    what: "result kind",
                    value: i64::from(other),
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
}

/// The least that a column's specification takes: its name's length and its type.
const COLUMN_LEN: usize = 4;

fn read_rows(reader: &mut Reader<'_>, body: &Bytes) -> Result<Rows, DecodeError> {
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

fn read_prepared(reader: &mut Reader<'_>, body: &Bytes) -> Result<Prepared, DecodeError> {
    let id = body.slice_ref(reader.short_bytes("prepared statement's id")?);
    let flags = reader.int("bind flags")?;
    let columns = reader.count(COLUMN_LEN, "bind markers")?;
    let keys = reader.count(2, "partition key")?;
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

impl ServerError {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.int("error code")?;
        // A server may quote bytes that were sent to it.
        let len = usize::from(reader.short("error message")?);
        let message = String::from_utf8_lossy(reader.take(len, "error message")?).into_owned();
        let consistency =
            |reader: &mut Reader<'_>| Consistency::from_wire(reader.short("consistency")?);
        let detail = match code {
            code::UNAVAILABLE => ErrorDetail::Unavailable {
                consistency: consistency(reader)?,
                required: reader.int("required")?,
                alive: reader.int("alive")?,
            },
            code::WRITE_TIMEOUT | code::WRITE_FAILURE => ErrorDetail::Write {
                consistency: consistency(reader)?,
                received: reader.int("received")?,
                required: reader.int("required")?,
                failures: (code == code::WRITE_FAILURE)
                    .then(|| reader.int("failures"))
                    .transpose()?,
                write_type: reader.string("write type")?.to_owned(),
            },
            code::READ_TIMEOUT | code::READ_FAILURE => ErrorDetail::Read {
                consistency: consistency(reader)?,
                received: reader.int("received")?,
                required: reader.int("required")?,
                failures: (code == code::READ_FAILURE)
                    .then(|| reader.int("failures"))
                    .transpose()?,
                data_present: reader.byte("data present")? != 0,
            },
            code::FUNCTION_FAILURE => ErrorDetail::Function {
                keyspace: reader.string("keyspace")?.to_owned(),
                function: reader.string("function")?.to_owned(),
                argument_types: reader.string_list("argument types")?,
            },
            code::ALREADY_EXISTS => ErrorDetail::AlreadyExists {
                keyspace: reader.string("keyspace")?.to_owned(),
                table: reader.string("table")?.to_owned(),
            },
            code::UNPREPARED => ErrorDetail::Unprepared {
                id: reader.short_bytes("prepared statement's id")?.to_vec(),
            },
            _ => ErrorDetail::None,
        };
        Ok(Self {
            code,
            message,
            detail,
        })
    }
}

#[cfg(test)]
mod tests;
