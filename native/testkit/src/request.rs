//! What the server reads out of requests.

use std::borrow::Cow;
use std::ops::Range;

use palladion_cql::wire::Reader;
use palladion_cql::DecodeError;

use crate::statement::PreparedStatements;

/// `<query_parameters>`, as far as the server cares.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    pub(crate) skip_metadata: bool,
    /// How many values are bound.
    pub(crate) count: usize,
    /// They, each as `[value]`; without the names they may have.
    values: Cow<'a, [u8]>,
    has_unset: bool,
    page_size: Option<i32>,
    paging_state: Option<&'a [u8]>,
}

const VALUES: u8 = 0x01;
const SKIP_METADATA: u8 = 0x02;
const PAGE_SIZE: u8 = 0x04;
const PAGING_STATE: u8 = 0x08;
const NAMES: u8 = 0x40;

const NULL: [u8; 4] = (-1i32).to_be_bytes();
const UNSET: i32 = -2;

impl<'a> Parameters<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.short("consistency")?;
        let flags = reader.byte("parameters' flags")?;
        let mut parameters = Self {
            skip_metadata: flags & SKIP_METADATA != 0,
            count: 0,
            values: Cow::Borrowed(&[]),
            has_unset: false,
            page_size: None,
            paging_state: None,
        };
        if flags & VALUES != 0 {
            parameters.read_values(reader, flags & NAMES != 0)?;
        }
        if flags & PAGE_SIZE != 0 {
            parameters.page_size = Some(reader.int("page size")?);
        }
        if flags & PAGING_STATE != 0 {
            parameters.paging_state = reader.bytes("paging state")?;
        }
        Ok(parameters)
    }

    fn read_values(&mut self, reader: &mut Reader<'a>, named: bool) -> Result<(), DecodeError> {
        self.count = usize::from(reader.short("values")?);
        let all = reader.rest();
        for _ in 0..self.count {
            if named {
                reader.string("value's name")?;
            }
            let value = reader.rest();
            let len = reader.int("value")?;
            self.has_unset |= len == UNSET;
            if let Ok(len) = usize::try_from(len) {
                reader.take(len, "value")?;
            }
            if named {
                let len = value.len() - reader.rest().len();
                self.values.to_mut().extend_from_slice(&value[..len]);
            }
        }
        if !named {
            self.values = Cow::Borrowed(&all[..all.len() - reader.rest().len()]);
        }
        Ok(())
    }

    /// The values as cells of a row.
    pub(crate) fn values_with_null_for_unset(&self) -> Cow<'_, [u8]> {
        if !self.has_unset {
            return Cow::Borrowed(&self.values);
        }
        let mut cells = Vec::with_capacity(self.values.len());
        let mut reader = Reader::new(&self.values);
        while let Ok(value) = reader.bytes("value") {
            match value {
                Some(bytes) => {
                    cells.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
                    cells.extend_from_slice(bytes);
                }
                None => cells.extend_from_slice(&NULL),
            }
        }
        Cow::Owned(cells)
    }

    /// The page of rows 0 .. `total` that is asked for. A paging state is where it starts.
    pub(crate) fn page_of(&self, total: u32) -> Range<u32> {
        let state = self.paging_state.and_then(|state| state.try_into().ok());
        let start = state.map_or(0, u32::from_be_bytes).min(total);
        let size = self.page_size.and_then(|size| u32::try_from(size).ok());
        let size = size.filter(|size| *size > 0).unwrap_or(u32::MAX);
        start..start.saturating_add(size).min(total)
    }
}

/// What a BATCH is made of.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The statements' texts.
    pub(crate) texts: Vec<String>,
    /// The first id that is not prepared.
    pub(crate) unknown: Option<Vec<u8>>,
}

impl Batch {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        prepared: &PreparedStatements,
    ) -> Result<Self, DecodeError> {
        reader.byte("batch type")?;
        let n = reader.short("batch")?;
        let mut batch = Self {
            texts: Vec::new(),
            unknown: None,
        };
        for _ in 0..n {
            match reader.byte("statement's kind")? {
                0 => {
                    let text = reader.bytes("statement")?.unwrap_or_default();
                    batch.texts.push(String::from_utf8_lossy(text).into_owned());
                }
                1 => {
                    let id = reader.short_bytes("prepared statement's id")?;
                    match prepared.get(id) {
                        Some(statement) => batch.texts.push(statement.text.clone()),
                        None => {
                            batch.unknown.get_or_insert_with(|| id.to_vec());
                        }
                    }
                }
                other => {
                    return Err(DecodeError::Unknown {
                        what: "statement's kind",
                        value: i64::from(other),
                    })
                }
            }
            for _ in 0..reader.short("values")? {
                reader.bytes("value")?;
            }
        }
        Ok(batch)
    }
}
