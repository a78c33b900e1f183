//! ERROR (section 9).

use std::net::IpAddr;

use crate::wire::{ip, Reader};
use crate::{Consistency, DecodeError, Dialect, Version};

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
        /// Which they are and why, where the server says so.
        reasons: Vec<(IpAddr, u16)>,
        /// For example `SIMPLE` or `BATCH_LOG`.
        write_type: String,
        /// How often a conditional update met another, where the server says so.
        contentions: Option<u16>,
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
        /// Which they are and why, where the server says so.
        reasons: Vec<(IpAddr, u16)>,
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
    /// 0x1700: it is not known whether a conditional update was applied.
    CasWriteUnknown {
        /// The request's consistency.
        consistency: Consistency,
        /// Replicas that answered.
        received: i32,
        /// Replicas needed.
        required: i32,
    },
    /// ScyllaDB's limit of requests to a partition was exceeded.
    RateLimit {
        /// What was.
        operation: LimitedOperation,
        /// Whether the coordinator noticed it, and not a replica.
        by_coordinator: bool,
    },
    /// 0x2500: the statement is not prepared on this node.
    Unprepared {
        /// The id asked for.
        id: Vec<u8>,
    },
}

/// What a rate is limited of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedOperation {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Something that was added later.
    Unknown,
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
    /// The log for change data capture is full.
    pub const CDC_WRITE_FAILURE: i32 = 0x1600;
    /// It is not known whether a conditional update was applied.
    pub const CAS_WRITE_UNKNOWN: i32 = 0x1700;
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

impl ServerError {
    pub(super) fn read(reader: &mut Reader<'_>, dialect: &Dialect) -> Result<Self, DecodeError> {
        let code = reader.int("error code")?;
        // A server may quote bytes that were sent to it.
        let len = usize::from(reader.short("error message")?);
        let message = String::from_utf8_lossy(reader.take(len, "error message")?).into_owned();
        let detail = match dialect.rate_limit_error {
            Some(limit) if limit == code => rate_limit(reader),
            _ => detail(code, reader, dialect.version),
        };
        // What the server says is worth more than its fields, which some leave out or add to. Only
        // which statement is to be prepared must be known.
        let detail = match detail {
            Err(error) if code == code::UNPREPARED => return Err(error),
            detail => detail.unwrap_or(ErrorDetail::None),
        };
        Ok(Self {
            code,
            message,
            detail,
        })
    }
}

fn detail(
    code: i32,
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<ErrorDetail, DecodeError> {
    Ok(match code {
        code::UNAVAILABLE => ErrorDetail::Unavailable {
            consistency: consistency(reader)?,
            required: reader.int("required")?,
            alive: reader.int("alive")?,
        },
        code::WRITE_TIMEOUT | code::WRITE_FAILURE => {
            let (consistency, received, required) = replicas(reader)?;
            let (failures, reasons) = failures(code == code::WRITE_FAILURE, reader, version)?;
            let write_type = reader.string("write type")?.to_owned();
            let has_contentions = version >= Version::V5
                && code == code::WRITE_TIMEOUT
                && write_type == "CAS"
                && !reader.rest().is_empty();
            ErrorDetail::Write {
                consistency,
                received,
                required,
                failures,
                reasons,
                write_type,
                contentions: has_contentions
                    .then(|| reader.short("contentions"))
                    .transpose()?,
            }
        }
        code::READ_TIMEOUT | code::READ_FAILURE => {
            let (consistency, received, required) = replicas(reader)?;
            let (failures, reasons) = failures(code == code::READ_FAILURE, reader, version)?;
            ErrorDetail::Read {
                consistency,
                received,
                required,
                failures,
                reasons,
                data_present: reader.byte("data present")? != 0,
            }
        }
        code::CAS_WRITE_UNKNOWN => {
            let (consistency, received, required) = replicas(reader)?;
            ErrorDetail::CasWriteUnknown {
                consistency,
                received,
                required,
            }
        }
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
    })
}

fn consistency(reader: &mut Reader<'_>) -> Result<Consistency, DecodeError> {
    Consistency::from_wire(reader.short("consistency")?)
}

/// Consistency, replicas that answered, replicas needed.
fn replicas(reader: &mut Reader<'_>) -> Result<(Consistency, i32, i32), DecodeError> {
    Ok((
        consistency(reader)?,
        reader.int("received")?,
        reader.int("required")?,
    ))
}

type Failures = (Option<i32>, Vec<(IpAddr, u16)>);

/// What failed, where the error is about that: their number, or from protocol 5 on each of them.
fn failures(
    are_told: bool,
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<Failures, DecodeError> {
    if !are_told {
        return Ok((None, Vec::new()));
    }
    if version < Version::V5 {
        return Ok((Some(reader.int("failures")?), Vec::new()));
    }
    // An address of four bytes with its length, and a code.
    let count = reader.count(7, "failures")?;
    let reasons = (0..count)
        .map(|_| {
            let len = usize::from(reader.byte("failed replica")?);
            let address = ip(reader.take(len, "failed replica")?)?;
            Ok((address, reader.short("failure's code")?))
        })
        .collect::<Result<Vec<_>, DecodeError>>()?;
    Ok((i32::try_from(count).ok(), reasons))
}

fn rate_limit(reader: &mut Reader<'_>) -> Result<ErrorDetail, DecodeError> {
    let operation = match reader.byte("limited operation")? {
        0 => LimitedOperation::Read,
        1 => LimitedOperation::Write,
        _ => LimitedOperation::Unknown,
    };
    Ok(ErrorDetail::RateLimit {
        operation,
        by_coordinator: reader.byte("who limits")? != 0,
    })
}
