//! What servers refuse requests with.

use std::net::IpAddr;

use palladion_cql::response::{ErrorDetail, LimitedOperation, ServerError};

use super::{optional, Field, NativeError};
use crate::atoms;

/// A server's ERROR as `{:server, map}`.
pub(crate) fn server_error(error: &ServerError) -> NativeError {
    let ours = NativeError::new(atoms::server())
        .with("code", i64::from(error.code))
        .with("message", error.message.as_str());
    match &error.detail {
        ErrorDetail::None => ours,
        ErrorDetail::Unavailable {
            consistency,
            required,
            alive,
        } => ours
            .with("consistency", consistency.name())
            .with("required", i64::from(*required))
            .with("alive", i64::from(*alive)),
        ErrorDetail::Write {
            consistency,
            received,
            required,
            failures,
            reasons,
            write_type,
            contentions,
        } => optional(
            failed(ours, *failures, reasons),
            "contentions",
            *contentions,
        )
        .with("consistency", consistency.name())
        .with("received", i64::from(*received))
        .with("required", i64::from(*required))
        .with("write_type", write_type.as_str()),
        ErrorDetail::Read {
            consistency,
            received,
            required,
            failures,
            reasons,
            data_present,
        } => failed(ours, *failures, reasons)
            .with("consistency", consistency.name())
            .with("received", i64::from(*received))
            .with("required", i64::from(*required))
            .with("data_present", *data_present),
        ErrorDetail::Function {
            keyspace,
            function,
            argument_types,
        } => ours
            .with("keyspace", keyspace.as_str())
            .with("function", function.as_str())
            .with("argument_types", Field::Texts(argument_types.clone())),
        ErrorDetail::AlreadyExists { keyspace, table } => ours
            .with("keyspace", keyspace.as_str())
            .with("table", table.as_str()),
        ErrorDetail::CasWriteUnknown {
            consistency,
            received,
            required,
        } => ours
            .with("consistency", consistency.name())
            .with("received", i64::from(*received))
            .with("required", i64::from(*required)),
        ErrorDetail::RateLimit {
            operation,
            by_coordinator,
        } => ours
            .with("rate_limit", true)
            .with("operation", operation_name(*operation))
            .with("by_coordinator", *by_coordinator),
        ErrorDetail::Unprepared { .. } => ours,
    }
}

/// How many replicas failed, and which, where the server says so.
fn failed(error: NativeError, failures: Option<i32>, reasons: &[(IpAddr, u16)]) -> NativeError {
    let error = optional(error, "failures", failures);
    if reasons.is_empty() {
        return error;
    }
    error.with("reasons", Field::Replicas(reasons.to_vec()))
}

fn operation_name(operation: LimitedOperation) -> &'static str {
    match operation {
        LimitedOperation::Read => "read",
        LimitedOperation::Write => "write",
        LimitedOperation::Unknown => "unknown",
    }
}
