//! What the server reads out of requests.

mod parameters;

use palladion_cql::frame::flag;
use palladion_cql::request::BatchKind;
use palladion_cql::wire::{BytesMap, Reader};
use palladion_cql::{DecodeError, Dialect, Frame, Opcode, Version};

pub(crate) use parameters::{Parameters, Values};

/// A request, read.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) opcode: Opcode,
    /// Whether a trace is asked for.
    pub(crate) tracing: bool,
    /// The custom payload.
    pub(crate) payload: BytesMap,
    pub(crate) body: Body<'a>,
}

/// A request's message.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    Query {
        text: &'a str,
        parameters: Parameters<'a>,
    },
    Prepare {
        text: &'a str,
        keyspace: Option<&'a str>,
    },
    Execute {
        id: &'a [u8],
        /// The id of the result's metadata, as the client knows it.
        result_id: Option<&'a [u8]>,
        parameters: Parameters<'a>,
    },
    Batch(Batch<'a>),
    /// Not about statements; read where it is answered.
    Other(Reader<'a>),
}

const PREPARE_KEYSPACE: i32 = 0x01;

impl<'a> Request<'a> {
    /// Reads a frame, of which `content` is what is in its body.
    pub(crate) fn read(frame: &Frame, content: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, dialect) = (frame.header, &frame.dialect);
        let mut reader = Reader::new(content);
        let has_payload = header.flags & flag::CUSTOM_PAYLOAD != 0;
        let payload = if has_payload && dialect.version >= Version::V4 {
            reader.bytes_map("custom payload")?
        } else {
            Vec::new()
        };
        Ok(Self {
            opcode: header.opcode,
            tracing: header.flags & flag::TRACING != 0,
            payload,
            body: Body::read(header.opcode, reader, dialect)?,
        })
    }
}

impl<'a> Body<'a> {
    fn read(
        opcode: Opcode,
        mut reader: Reader<'a>,
        dialect: &Dialect,
    ) -> Result<Self, DecodeError> {
        Ok(match opcode {
            Opcode::Query => Self::Query {
                text: text(&mut reader)?,
                parameters: Parameters::read(&mut reader, dialect)?,
            },
            Opcode::Prepare => {
                let text = text(&mut reader)?;
                let is_new = dialect.version >= Version::V5;
                let flags = if is_new {
                    reader.int("prepare's flags")?
                } else {
                    0
                };
                let keyspace = if flags & PREPARE_KEYSPACE != 0 {
                    Some(reader.string("keyspace")?)
                } else {
                    None
                };
                Self::Prepare { text, keyspace }
            }
            Opcode::Execute => Self::Execute {
                id: reader.short_bytes("prepared statement's id")?,
                result_id: if dialect.has_metadata_ids() {
                    Some(reader.short_bytes("metadata's id")?)
                } else {
                    None
                },
                parameters: Parameters::read(&mut reader, dialect)?,
            },
            Opcode::Batch => Self::Batch(Batch::read(&mut reader, dialect)?),
            _ => Self::Other(reader),
        })
    }

    /// QUERY's, EXECUTE's and BATCH's.
    pub(crate) fn parameters(&self) -> Option<&Parameters<'a>> {
        match self {
            Self::Query { parameters, .. } | Self::Execute { parameters, .. } => Some(parameters),
            Self::Batch(batch) => Some(&batch.parameters),
            Self::Prepare { .. } | Self::Other(_) => None,
        }
    }
}

/// A `[long string]`.
fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let bytes = reader.bytes("statement")?.unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8("statement"))
}

/// What a BATCH is made of.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) kind: BatchKind,
    pub(crate) statements: Vec<(BatchStatement<'a>, Values<'a>)>,
    pub(crate) parameters: Parameters<'a>,
}

/// How a BATCH names one of its statements.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BatchStatement<'a> {
    Text(&'a str),
    Id(&'a [u8]),
}

impl<'a> Batch<'a> {
    fn read(reader: &mut Reader<'a>, dialect: &Dialect) -> Result<Self, DecodeError> {
        let kind = reader.byte("batch type")?;
        let unknown = |what, value: u8| DecodeError::Unknown {
            what,
            value: i64::from(value),
        };
        let kind = BatchKind::from_wire(kind).ok_or_else(|| unknown("batch type", kind))?;
        let n = reader.short("batch")?;
        let mut statements = Vec::new();
        for _ in 0..n {
            let statement = match reader.byte("statement's kind")? {
                0 => BatchStatement::Text(text(reader)?),
                1 => BatchStatement::Id(reader.short_bytes("prepared statement's id")?),
                other => return Err(unknown("statement's kind", other)),
            };
            statements.push((statement, Values::read(reader, false)?));
        }
        Ok(Self {
            kind,
            statements,
            parameters: Parameters::read_of_batch(reader, dialect)?,
        })
    }
}
