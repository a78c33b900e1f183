//! Errors of the server out of commands.

use std::net::IpAddr;

use palladion_cql::response::{code, ErrorDetail, LimitedOperation, ServerError};
use palladion_cql::Consistency;

use crate::line::Command;
use crate::rule::{hex, list};

pub(crate) fn error(command: &mut Command) -> Result<ServerError, String> {
    let code = error_code(command, "code")?.ok_or("code= is missing")?;
    let message = command.take("message");
    Ok(ServerError {
        code,
        message: message.unwrap_or_else(|| "as the test wanted".to_owned()),
        detail: match limited(command)? {
            Some(limited) => limited,
            None => detail(code, command)?,
        },
    })
}

/// A number, decimal or with `0x` before it.
pub(crate) fn error_code(command: &mut Command, key: &str) -> Result<Option<i32>, String> {
    let parse = |text: String| {
        let code = match text.strip_prefix("0x") {
            Some(digits) => i32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        code.map_err(|_| format!("{key}= is no error code"))
    };
    command.take(key).map(parse).transpose()
}

/// ScyllaDB's limits have whatever code the server chose: `operation=` tells that it is about them.
fn limited(command: &mut Command) -> Result<Option<ErrorDetail>, String> {
    let operation = match command.take("operation").as_deref() {
        None => return Ok(None),
        Some("read") => LimitedOperation::Read,
        Some("write") => LimitedOperation::Write,
        Some("unknown") => LimitedOperation::Unknown,
        Some(other) => return Err(format!("operation={other} is none of read, write, unknown")),
    };
    Ok(Some(ErrorDetail::RateLimit {
        operation,
        by_coordinator: command.parsed("by_coordinator")?.unwrap_or(false),
    }))
}

fn detail(code: i32, command: &mut Command) -> Result<ErrorDetail, String> {
    let failed = matches!(code, code::WRITE_FAILURE | code::READ_FAILURE);
    Ok(match code {
        code::UNAVAILABLE => ErrorDetail::Unavailable {
            consistency: consistency(command)?,
            required: command.parsed("required")?.unwrap_or(2),
            alive: command.parsed("alive")?.unwrap_or(1),
        },
        code::WRITE_TIMEOUT | code::WRITE_FAILURE => ErrorDetail::Write {
            consistency: consistency(command)?,
            received: command.parsed("received")?.unwrap_or(1),
            required: command.parsed("required")?.unwrap_or(2),
            reasons: reasons(command)?,
            failures: failures(failed, command)?,
            contentions: command.parsed("contentions")?,
            write_type: command
                .take("write_type")
                .unwrap_or_else(|| "SIMPLE".into()),
        },
        code::READ_TIMEOUT | code::READ_FAILURE => ErrorDetail::Read {
            consistency: consistency(command)?,
            received: command.parsed("received")?.unwrap_or(1),
            required: command.parsed("required")?.unwrap_or(2),
            reasons: reasons(command)?,
            failures: failures(failed, command)?,
            data_present: command.parsed("data_present")?.unwrap_or(false),
        },
        code::CAS_WRITE_UNKNOWN => ErrorDetail::CasWriteUnknown {
            consistency: consistency(command)?,
            received: command.parsed("received")?.unwrap_or(1),
            required: command.parsed("required")?.unwrap_or(2),
        },
        code::FUNCTION_FAILURE => ErrorDetail::Function {
            keyspace: command.take("keyspace").unwrap_or_else(|| "ks".into()),
            function: command.take("function").unwrap_or_else(|| "f".into()),
            argument_types: list(command.take("argument_types")),
        },
        code::ALREADY_EXISTS => ErrorDetail::AlreadyExists {
            keyspace: command.take("keyspace").unwrap_or_else(|| "ks".into()),
            table: command.take("table").unwrap_or_default(),
        },
        code::UNPREPARED => ErrorDetail::Unprepared {
            id: hex(command, "id_bytes")?.unwrap_or_else(|| vec![0; 16]),
        },
        _ => ErrorDetail::None,
    })
}

fn failures(failed: bool, command: &mut Command) -> Result<Option<i32>, String> {
    let failures = command.parsed("failures")?;
    Ok(failed.then(|| failures.unwrap_or(1)))
}

/// `10.0.0.1/0,10.0.0.2/1`: who failed, and the code of why.
fn reasons(command: &mut Command) -> Result<Vec<(IpAddr, u16)>, String> {
    let reasons = list(command.take("reasons")).into_iter().map(|reason| {
        let parsed = reason
            .split_once('/')
            .and_then(|(address, code)| Some((address.parse().ok()?, code.parse().ok()?)));
        parsed.ok_or_else(|| format!("reasons={reason} is no address/code"))
    });
    reasons.collect()
}

fn consistency(command: &mut Command) -> Result<Consistency, String> {
    match command.take("consistency") {
        None => Ok(Consistency::LocalQuorum),
        Some(name) => {
            Consistency::from_name(&name).ok_or_else(|| format!("consistency={name} is unknown"))
        }
    }
}
