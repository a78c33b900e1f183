//! ERROR.

use std::net::{IpAddr, Ipv4Addr};

use palladion_cql::response::{ErrorDetail, LimitedOperation, ServerError};
use palladion_cql::{Consistency, Opcode, Version};

use super::{put_int, put_len, put_short, put_text};
use crate::head::{put_frame, Head};

/// An ERROR.
pub(crate) fn put_error(out: &mut Vec<u8>, head: &Head, error: &ServerError) {
    put_frame(out, head, Opcode::Error, |out| {
        put_int(out, error.code);
        put_text(out, &error.message);
        put_detail(out, &error.detail, head.dialect.version);
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

fn put_detail(out: &mut Vec<u8>, detail: &ErrorDetail, version: Version) {
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
            reasons,
            write_type,
            contentions,
        } => {
            put_replicas(out, *consistency, *received, *required);
            put_failures(out, *failures, reasons, version);
            put_text(out, write_type);
            if let Some(contentions) = contentions.filter(|_| version >= Version::V5) {
                put_short(out, contentions);
            }
        }
        ErrorDetail::Read {
            consistency,
            received,
            required,
            failures,
            reasons,
            data_present,
        } => {
            put_replicas(out, *consistency, *received, *required);
            put_failures(out, *failures, reasons, version);
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
        ErrorDetail::CasWriteUnknown {
            consistency,
            received,
            required,
        } => put_replicas(out, *consistency, *received, *required),
        ErrorDetail::RateLimit {
            operation,
            by_coordinator,
        } => {
            out.push(match operation {
                LimitedOperation::Read => 0,
                LimitedOperation::Write => 1,
                LimitedOperation::Unknown => 2,
            });
            out.push(u8::from(*by_coordinator));
        }
        ErrorDetail::Unprepared { id } => {
            put_len(out, id.len());
            out.extend_from_slice(&id[..id.len().min(usize::from(u16::MAX))]);
        }
    }
}

fn put_replicas(out: &mut Vec<u8>, consistency: Consistency, received: i32, required: i32) {
    put_short(out, consistency as u16);
    put_int(out, received);
    put_int(out, required);
}

/// How many replicas failed, where the error is about that, or since protocol 5 which and why. If
/// nobody said which, they are some.
fn put_failures(
    out: &mut Vec<u8>,
    failures: Option<i32>,
    reasons: &[(IpAddr, u16)],
    version: Version,
) {
    let Some(failures) = failures else { return };
    if version < Version::V5 {
        return put_int(out, failures);
    }
    let some = (1..=failures.clamp(0, 255)).map(|n| (Ipv4Addr::new(127, 0, 0, n as u8).into(), 0));
    let all: Vec<_> = if reasons.is_empty() {
        some.collect()
    } else {
        reasons.to_vec()
    };
    put_int(out, all.len() as i32);
    for (address, code) in all {
        put_address(out, address);
        put_short(out, code);
    }
}

/// An `[inetaddr]`.
pub(crate) fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(16);
            out.extend_from_slice(&ip.octets());
        }
    }
}
