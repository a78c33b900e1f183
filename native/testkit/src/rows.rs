//! Rows, their columns, and what is said about these.

use bytes::Bytes;
use palladion_cql::value::{encode, Value};
use palladion_cql::{ColumnType, Opcode, Version};

use crate::head::{put_frame, Head};
use crate::literal::{between, values};
use crate::response::{put_bytes, put_int, put_len, put_short};
use crate::types::{put_string, put_type, split_top_level, NamedTypes};
use crate::Error;

/// The columns of a result, or bind markers, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    pub(crate) count: usize,
    /// Keyspace, table, and each column's name and type.
    bytes: Bytes,
    /// What stands for them where metadata have ids: other columns have another one.
    pub(crate) id: Hash,
    /// Whether they are those of a conditional update, which may be other ones each time.
    pub(crate) are_conditional: bool,
}

mod metadata {
    pub(super) const GLOBAL_TABLE: i32 = 0x01;
    pub(super) const MORE_PAGES: i32 = 0x02;
    pub(super) const NO_METADATA: i32 = 0x04;
    pub(super) const CHANGED: i32 = 0x08;
}

/// Keyspace and table of every column that no rule says otherwise about.
pub(crate) const TABLE: (&str, &str) = ("testkit", "canned");

pub(crate) type Hash = [u8; 16];

/// Two FNV-1a hashes that start differently.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    let hash = |start: u64| {
        bytes.iter().fold(start, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
    };
    let high = hash(0xCBF2_9CE4_8422_2325);
    let low = hash(high.rotate_left(32) ^ bytes.len() as u64);
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

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
            id: hash(&bytes),
            bytes: bytes.into(),
            are_conditional: columns.first().is_some_and(|(name, _)| name == "[applied]"),
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

/// What a client knows of the columns of the rows that it asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    /// It asks for none of them.
    pub(crate) skip_metadata: bool,
    /// The id of those that it knows, if it runs a prepared statement where these have ids.
    pub(crate) id: Option<&'a [u8]>,
}

/// What is said about columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    All,
    Nothing,
    /// All, and that they are no longer those that the client knows.
    Changed,
}

impl Known<'_> {
    fn say(&self, columns: &Columns) -> Said {
        let has_others = self.id.is_some_and(|id| id != columns.id);
        match (columns.are_conditional, has_others) {
            // Said each time, and never to be remembered.
            (true, _) => Said::All,
            (false, true) => Said::Changed,
            (false, false) if self.skip_metadata => Said::Nothing,
            (false, false) => Said::All,
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

    pub(crate) fn put(&self, out: &mut Vec<u8>, head: &Head, known: Known<'_>) {
        put_frame(out, head, Opcode::Result, |out| {
            let paging = self.paging_state.as_deref();
            put_rows(out, &self.columns, paging, known, self.count, &self.data);
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
    known: Known<'_>,
    count: u32,
    data: &[u8],
) {
    let said = known.say(columns);
    let mut flags = match said {
        Said::All => columns.flags(),
        Said::Nothing => metadata::NO_METADATA,
        Said::Changed => columns.flags() | metadata::CHANGED,
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
    if said == Said::Changed {
        put_id(out, &columns.id);
    }
    if said != Said::Nothing {
        out.extend_from_slice(&columns.bytes);
    }
    put_int(out, count as i32);
    out.extend_from_slice(data);
}

/// A RESULT that says that a statement is prepared.
pub(crate) fn put_prepared(
    out: &mut Vec<u8>,
    head: &Head,
    id: &Hash,
    bind: &Columns,
    partition_key: &[u16],
    result: &Columns,
) {
    put_frame(out, head, Opcode::Result, |out| {
        put_int(out, 4);
        put_id(out, id);
        if head.dialect.has_metadata_ids() {
            put_id(out, &result.id);
        }
        put_int(out, bind.flags());
        put_int(out, bind.count as i32);
        if head.dialect.version >= Version::V4 {
            put_int(out, partition_key.len() as i32);
            partition_key.iter().for_each(|at| put_short(out, *at));
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

fn put_id(out: &mut Vec<u8>, id: &Hash) {
    put_len(out, id.len());
    out.extend_from_slice(id);
}
