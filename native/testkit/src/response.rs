//! Responses as bytes.

use bytes::Bytes;
use palladion_cql::frame::{Header, Sender, HEADER_LEN, VERSION};
use palladion_cql::response::{ErrorDetail, SchemaChange, ServerError};
use palladion_cql::value::{encode, Value};
use palladion_cql::{ColumnType, Opcode};

use crate::literal::{between, values};
use crate::types::{put_string, put_type, split_top_level, NamedTypes};
use crate::Error;

/// Appends a frame whose body is what `body` appends.
pub(crate) fn put_frame(
    out: &mut Vec<u8>,
    stream: i16,
    opcode: Opcode,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    body(out);
    let header = Header {
        sender: Sender::Server,
        version: VERSION,
        flags: 0,
        stream,
        opcode,
        length: (out.len() - start - HEADER_LEN) as u32,
    };
    out[start..start + HEADER_LEN].copy_from_slice(&header.to_bytes());
}

/// The columns of a result, or bind markers, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    pub(crate) count: usize,
    /// Keyspace, table, and each column's name and type.
    bytes: Bytes,
}

mod metadata {
    pub(super) const GLOBAL_TABLE: i32 = 0x01;
    pub(super) const MORE_PAGES: i32 = 0x02;
    pub(super) const NO_METADATA: i32 = 0x04;
}

/// Keyspace and table of every column that no rule says otherwise about.
pub(crate) const TABLE: (&str, &str) = ("testkit", "canned");

impl Columns {
    pub(crate) fn new(
        table: (&str, &str),
        columns: &[(String, ColumnType)],
    ) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        if !columns.is_empty() {
            put_string(&mut bytes, table.0)?;
            put_string(&mut bytes, table.1)?;
        }
        for (name, ty) in columns {
            put_string(&mut bytes, name)?;
            put_type(&mut bytes, ty)?;
        }
        Ok(Self {
            count: columns.len(),
            bytes: bytes.into(),
        })
    }

    fn flags(&self) -> i32 {
        if self.count == 0 {
            0
        } else {
            metadata::GLOBAL_TABLE
        }
    }
}

/// Rows to answer with.
#[derive(Debug, Clone)]
pub struct Rows {
    pub(crate) names: NamedTypes,
    pub(crate) columns: Columns,
    count: u32,
    data: Vec<u8>,
    paging_state: Option<Vec<u8>>,
}

impl Rows {
    /// No rows yet, of these columns.
    pub fn new<N: Into<String>>(
        columns: impl IntoIterator<Item = (N, ColumnType)>,
    ) -> Result<Self, Error> {
        Self::of_table(TABLE, columns)
    }

    /// No rows yet, of these columns of this keyspace and table.
    pub fn of_table<N: Into<String>>(
        table: (&str, &str),
        columns: impl IntoIterator<Item = (N, ColumnType)>,
    ) -> Result<Self, Error> {
        let columns = columns.into_iter().map(|(name, ty)| (name.into(), ty));
        let names: NamedTypes = columns.collect();
        Ok(Self {
            columns: Columns::new(table, &names)?,
            names,
            count: 0,
            data: Vec::new(),
            paging_state: None,
        })
    }

    /// One row more.
    pub fn row(mut self, cells: &[Value]) -> Result<Self, Error> {
        self.push(cells)?;
        Ok(self)
    }

    /// More rows, as text: `(1, 'ann'), (2, null)`.
    pub fn parse_rows(mut self, text: &str) -> Result<Self, Error> {
        for row in split_top_level(text, ',') {
            let row = row.trim();
            let cells = between(row, '(', ')')
                .ok_or_else(|| Error::usage(format!("{row} is no row in brackets")))?;
            let cells = values(cells, |at| self.names.get(at).map(|(_, ty)| ty))?;
            self.push(&cells)?;
        }
        Ok(self)
    }

    pub(crate) fn push(&mut self, cells: &[Value]) -> Result<(), Error> {
        if cells.len() != self.names.len() {
            return Err(Error::usage(format!(
                "{} cells in a row of {} columns",
                cells.len(),
                self.names.len()
            )));
        }
        for (cell, (name, ty)) in cells.iter().zip(&self.names) {
            encode(cell, ty, &mut self.data, MAX_DATA)
                .map_err(|e| Error::usage(format!("column {name}: {e:?}")))?;
        }
        self.count += 1;
        Ok(())
    }

    /// Says that another page follows, from this state on.
    pub fn paging_state(mut self, state: &[u8]) -> Self {
        self.paging_state = Some(state.to_vec());
        self
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>, stream: i16, skip_metadata: bool) {
        put_frame(out, stream, Opcode::Result, |out| {
            let paging = self.paging_state.as_deref();
            put_rows(
                out,
                &self.columns,
                paging,
                skip_metadata,
                self.count,
                &self.data,
            );
        });
    }
}

/// Bytes of rows in one answer, at most.
pub(crate) const MAX_DATA: usize = 1 << 28;

/// Appends the body of a RESULT with rows whose cells are `data`.
pub(crate) fn put_rows(
    out: &mut Vec<u8>,
    columns: &Columns,
    paging_state: Option<&[u8]>,
    skip_metadata: bool,
    count: u32,
    data: &[u8],
) {
    let mut flags = if skip_metadata {
        metadata::NO_METADATA
    } else {
        columns.flags()
    };
    if paging_state.is_some() {
        flags |= metadata::MORE_PAGES;
    }
    out.reserve(64 + columns.bytes.len() + data.len());
    put_int(out, 2);
    put_int(out, flags);
    put_int(out, columns.count as i32);
    if let Some(state) = paging_state {
        put_bytes(out, state);
    }
    if !skip_metadata {
        out.extend_from_slice(&columns.bytes);
    }
    put_int(out, count as i32);
    out.extend_from_slice(data);
}

/// A RESULT that says that a statement is prepared.
pub(crate) fn put_prepared(
    out: &mut Vec<u8>,
    stream: i16,
    id: &[u8; 16],
    bind: &Columns,
    partition_key: &[u16],
    result: &Columns,
) {
    put_frame(out, stream, Opcode::Result, |out| {
        put_int(out, 4);
        out.extend_from_slice(&(id.len() as u16).to_be_bytes());
        out.extend_from_slice(id);
        put_int(out, bind.flags());
        put_int(out, bind.count as i32);
        put_int(out, partition_key.len() as i32);
        for index in partition_key {
            out.extend_from_slice(&index.to_be_bytes());
        }
        out.extend_from_slice(&bind.bytes);
        let flags = if result.count == 0 {
            metadata::NO_METADATA
        } else {
            result.flags()
        };
        put_int(out, flags);
        put_int(out, result.count as i32);
        out.extend_from_slice(&result.bytes);
    });
}

/// A RESULT without content.
pub(crate) fn put_void(out: &mut Vec<u8>, stream: i16) {
    put_frame(out, stream, Opcode::Result, |out| put_int(out, 1));
}

/// A RESULT that names the keyspace now in use.
pub(crate) fn put_set_keyspace(out: &mut Vec<u8>, stream: i16, keyspace: &str) {
    put_frame(out, stream, Opcode::Result, |out| {
        put_int(out, 3);
        put_text(out, keyspace);
    });
}

/// A RESULT or EVENT content that says what a schema statement changed.
pub(crate) fn put_schema_change(out: &mut Vec<u8>, change: &SchemaChange) {
    put_text(out, &change.change);
    put_text(out, &change.target);
    put_text(out, &change.keyspace);
    if let Some(name) = &change.name {
        put_text(out, name);
    }
}

/// A SUPPORTED.
pub(crate) fn put_supported(out: &mut Vec<u8>, stream: i16, options: &[(String, Vec<String>)]) {
    put_frame(out, stream, Opcode::Supported, |out| {
        put_len(out, options.len());
        for (name, values) in options {
            put_text(out, name);
            put_len(out, values.len());
            values.iter().for_each(|value| put_text(out, value));
        }
    });
}

/// An AUTHENTICATE.
pub(crate) fn put_authenticate(out: &mut Vec<u8>, stream: i16, class: &str) {
    put_frame(out, stream, Opcode::Authenticate, |out| {
        put_text(out, class)
    });
}

/// An AUTH_SUCCESS or AUTH_CHALLENGE with this token.
pub(crate) fn put_token(out: &mut Vec<u8>, stream: i16, opcode: Opcode, token: Option<&[u8]>) {
    put_frame(out, stream, opcode, |out| match token {
        Some(token) => put_bytes(out, token),
        None => put_int(out, -1),
    });
}

/// An ERROR.
pub(crate) fn put_error(out: &mut Vec<u8>, stream: i16, error: &ServerError) {
    put_frame(out, stream, Opcode::Error, |out| {
        put_int(out, error.code);
        put_text(out, &error.message);
        put_detail(out, &error.detail);
    });
}

/// An ERROR without fields of its own.
pub(crate) fn error(code: i32, message: impl Into<String>) -> ServerError {
    ServerError {
        code,
        message: message.into(),
        detail: ErrorDetail::None,
    }
}

fn put_detail(out: &mut Vec<u8>, detail: &ErrorDetail) {
    match detail {
        ErrorDetail::None => {}
        ErrorDetail::Unavailable {
            consistency,
            required,
            alive,
        } => {
            put_short(out, *consistency as u16);
            put_int(out, *required);
            put_int(out, *alive);
        }
        ErrorDetail::Write {
            consistency,
            received,
            required,
            failures,
            write_type,
        } => {
            put_short(out, *consistency as u16);
            put_int(out, *received);
            put_int(out, *required);
            failures.iter().for_each(|n| put_int(out, *n));
            put_text(out, write_type);
        }
        ErrorDetail::Read {
            consistency,
            received,
            required,
            failures,
            data_present,
        } => {
            put_short(out, *consistency as u16);
            put_int(out, *received);
            put_int(out, *required);
            failures.iter().for_each(|n| put_int(out, *n));
            out.push(u8::from(*data_present));
        }
        ErrorDetail::Function {
            keyspace,
            function,
            argument_types,
        } => {
            put_text(out, keyspace);
            put_text(out, function);
            put_len(out, argument_types.len());
            argument_types.iter().for_each(|ty| put_text(out, ty));
        }
        ErrorDetail::AlreadyExists { keyspace, table } => {
            put_text(out, keyspace);
            put_text(out, table);
        }
        ErrorDetail::Unprepared { id } => {
            put_len(out, id.len());
            out.extend_from_slice(&id[..id.len().min(usize::from(u16::MAX))]);
        }
    }
}

fn put_short(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_int(out, bytes.len() as i32);
    out.extend_from_slice(bytes);
}

/// A `[string]`, cut where its length field ends.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let end = (0..=text.len().min(usize::from(u16::MAX)))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    let text = &text.as_bytes()[..end.unwrap_or(0)];
    put_len(out, text.len());
    out.extend_from_slice(text);
}

/// A `[short]` that counts, at most what it can say.
fn put_len(out: &mut Vec<u8>, len: usize) {
    put_short(out, u16::try_from(len).unwrap_or(u16::MAX));
}
