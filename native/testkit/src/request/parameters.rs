//! `<query_parameters>` and bound values.

use std::borrow::Cow;
use std::ops::Range;

use palladion_cql::wire::Reader;
use palladion_cql::{Consistency, DecodeError, Dialect, Version};

/// `<query_parameters>`.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    pub(crate) consistency: Consistency,
    pub(crate) skip_metadata: bool,
    pub(crate) values: Values<'a>,
    pub(crate) page_size: Option<i32>,
    pub(crate) paging_state: Option<&'a [u8]>,
    pub(crate) serial_consistency: Option<Consistency>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) keyspace: Option<&'a str>,
    pub(crate) now_in_seconds: Option<i32>,
}

const VALUES: u32 = 0x01;
const SKIP_METADATA: u32 = 0x02;
const PAGE_SIZE: u32 = 0x04;
const PAGING_STATE: u32 = 0x08;
const SERIAL_CONSISTENCY: u32 = 0x10;
const TIMESTAMP: u32 = 0x20;
const NAMES: u32 = 0x40;
const KEYSPACE: u32 = 0x80;
const NOW: u32 = 0x100;

impl<'a> Parameters<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, dialect: &Dialect) -> Result<Self, DecodeError> {
        Self::read_known(reader, dialect, u32::MAX)
    }

    /// Those of a BATCH, where each statement has its own values and there are no pages.
    pub(crate) fn read_of_batch(
        reader: &mut Reader<'a>,
        dialect: &Dialect,
    ) -> Result<Self, DecodeError> {
        let known = SERIAL_CONSISTENCY | TIMESTAMP | KEYSPACE | NOW;
        Self::read_known(reader, dialect, known)
    }

    fn read_known(
        reader: &mut Reader<'a>,
        dialect: &Dialect,
        known: u32,
    ) -> Result<Self, DecodeError> {
        let consistency = consistency(reader)?;
        let flags = if dialect.version >= Version::V5 {
            reader.int("parameters' flags")? as u32
        } else {
            // Before protocol 5 these two do not exist.
            u32::from(reader.byte("parameters' flags")?) & !(KEYSPACE | NOW)
        };
        let has = |flag: u32| flags & known & flag != 0;
        Ok(Self {
            consistency,
            skip_metadata: has(SKIP_METADATA),
            values: if has(VALUES) {
                Values::read(reader, has(NAMES))?
            } else {
                Values::default()
            },
            page_size: has(PAGE_SIZE)
                .then(|| reader.int("page size"))
                .transpose()?,
            paging_state: if has(PAGING_STATE) {
                reader.bytes("paging state")?
            } else {
                None
            },
            serial_consistency: has(SERIAL_CONSISTENCY)
                .then(|| self::consistency(reader))
                .transpose()?,
            timestamp: has(TIMESTAMP)
                .then(|| reader.long("timestamp"))
                .transpose()?,
            keyspace: has(KEYSPACE)
                .then(|| reader.string("keyspace"))
                .transpose()?,
            now_in_seconds: has(NOW).then(|| reader.int("now")).transpose()?,
        })
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

fn consistency(reader: &mut Reader<'_>) -> Result<Consistency, DecodeError> {
    Consistency::from_wire(reader.short("consistency")?)
}

/// What is bound.
#[derive(Debug, Default)]
pub(crate) struct Values<'a> {
    pub(crate) count: usize,
    /// Each as `[value]`, without the names they may have.
    bytes: Cow<'a, [u8]>,
    has_unset: bool,
}

const NULL: [u8; 4] = (-1i32).to_be_bytes();
const UNSET: i32 = -2;

impl<'a> Values<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, named: bool) -> Result<Self, DecodeError> {
        let mut values = Self {
            count: usize::from(reader.short("values")?),
            ..Self::default()
        };
        let all = reader.rest();
        for _ in 0..values.count {
            if named {
                reader.string("value's name")?;
            }
            let value = reader.rest();
            let len = reader.int("value")?;
            values.has_unset |= len == UNSET;
            if let Ok(len) = usize::try_from(len) {
                reader.take(len, "value")?;
            }
            if named {
                let len = value.len() - reader.rest().len();
                values.bytes.to_mut().extend_from_slice(&value[..len]);
            }
        }
        if !named {
            values.bytes = Cow::Borrowed(&all[..all.len() - reader.rest().len()]);
        }
        Ok(values)
    }

    /// The values as cells of a row.
    pub(crate) fn with_null_for_unset(&self) -> Cow<'_, [u8]> {
        if !self.has_unset {
            return Cow::Borrowed(&self.bytes);
        }
        let mut cells = Vec::with_capacity(self.bytes.len());
        let mut reader = Reader::new(&self.bytes);
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
}
