//! Errors of the other implementation, with what they mean to us.

use std::collections::HashMap;
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};

use cassandra_protocol::frame::message_error::{
    AlreadyExistsError, ErrorBody, ErrorType, FailureInfo, FunctionFailureError, ReadFailureError,
    ReadTimeoutError, UnavailableError, UnpreparedError, WriteFailureError, WriteTimeoutError,
    WriteType,
};
use cassandra_protocol::frame::{FromCursor, Opcode, Serialize, Version as OtherVersion};
use cassandra_protocol::types::CBytesShort;
use palladion_cql::response::{ErrorDetail, Message, ServerError};
use palladion_cql::{Consistency, Dialect, Version};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::answers::{Answer, Meant};
use crate::other::{self, any_consistency};

pub(crate) fn any_error(dialect: Dialect) -> BoxedStrategy<Answer> {
    let details = prop_oneof![
        any_simple(),
        any_of_replicas(),
        any_timeout(dialect),
        any_failure(dialect),
        any_about_a_name(),
    ];
    ("\\PC{0,40}", details)
        .prop_map(move |(message, (ty, detail))| {
            let code = ty.to_error_code();
            let reasons = match &detail {
                ErrorDetail::Write { reasons, .. } | ErrorDetail::Read { reasons, .. } => {
                    reasons.clone()
                }
                _ => Vec::new(),
            };
            let theirs = ErrorBody {
                message: message.clone(),
                ty,
            };
            let mut body = theirs.serialize_to_vec(other::version(&dialect));
            drop_ports(&mut body, message.len(), &reasons);
            let error = ServerError {
                code,
                message,
                detail,
            };
            Answer {
                opcode: Opcode::Error,
                body,
                meant: Meant::Message(Message::Error(error)),
            }
        })
        .boxed()
}

/// The specification has an `[inetaddr]` for each replica that failed, an address alone; the other
/// implementation writes and reads an `[inet]`, which has a port.
fn drop_ports(body: &mut Vec<u8>, message_len: usize, reasons: &[(IpAddr, u16)]) {
    // Code, message, consistency, received, required, number of failures.
    let mut at = 4 + 2 + message_len + 2 + 4 + 4 + 4;
    for _ in reasons {
        at += 1 + usize::from(body[at]);
        assert_eq!(body.drain(at..at + 4).sum::<u8>(), 0);
        at += 2;
    }
}

fn any_simple() -> BoxedStrategy<(ErrorType, ErrorDetail)> {
    prop::sample::select(vec![
        ErrorType::Server,
        ErrorType::Protocol,
        ErrorType::Authentication,
        ErrorType::Overloaded,
        ErrorType::IsBootstrapping,
        ErrorType::Truncate,
        ErrorType::Syntax,
        ErrorType::Unauthorized,
        ErrorType::Invalid,
        ErrorType::Config,
    ])
    .prop_map(|ty| (ty, ErrorDetail::None))
    .boxed()
}

fn any_of_replicas() -> BoxedStrategy<(ErrorType, ErrorDetail)> {
    (any_consistency(), any::<i32>(), any::<i32>())
        .prop_map(|(consistency, required, alive)| {
            let theirs = UnavailableError {
                cl: other::consistency(consistency),
                required,
                alive,
            };
            let ours = ErrorDetail::Unavailable {
                consistency,
                required,
                alive,
            };
            (ErrorType::Unavailable(theirs), ours)
        })
        .boxed()
}

fn any_write_type() -> impl Strategy<Value = (WriteType, String)> {
    let known = prop::sample::select(vec![
        (WriteType::Simple, "SIMPLE"),
        (WriteType::Batch, "BATCH"),
        (WriteType::UnloggedBatch, "UNLOGGED_BATCH"),
        (WriteType::Counter, "COUNTER"),
        (WriteType::BatchLog, "BATCH_LOG"),
        (WriteType::Cas, "CAS"),
        (WriteType::View, "VIEW"),
        (WriteType::Cdc, "CDC"),
    ]);
    prop_oneof![
        8 => known.prop_map(|(ty, name)| (ty, name.to_owned())),
        1 => "[A-Z]{4,9}".prop_map(|name| (WriteType::Unknown(name.clone()), name)),
    ]
}

/// Consistency, received, required.
fn any_replicas() -> impl Strategy<Value = (Consistency, i32, i32)> {
    (any_consistency(), any::<i32>(), any::<i32>())
}

fn any_timeout(dialect: Dialect) -> BoxedStrategy<(ErrorType, ErrorDetail)> {
    let write = (any_replicas(), any_write_type(), any::<i16>());
    let write = write.prop_map(move |(replicas, (write_type, name), contentions)| {
        let (consistency, received, required) = replicas;
        // How often is told of conditional writes, from protocol 5 on.
        let is_told = dialect.version >= Version::V5 && name == "CAS";
        let theirs = WriteTimeoutError {
            cl: other::consistency(consistency),
            received,
            block_for: required,
            write_type,
            contentions: is_told.then_some(contentions),
        };
        let ours = ErrorDetail::Write {
            consistency,
            received,
            required,
            failures: None,
            reasons: Vec::new(),
            write_type: name,
            contentions: is_told.then_some(contentions as u16),
        };
        (ErrorType::WriteTimeout(theirs), ours)
    });
    let read = (any_replicas(), any::<bool>()).prop_map(move |(replicas, data_present)| {
        let version = other::version(&dialect);
        let bytes = read_fields(replicas, None, data_present, version);
        let theirs = ReadTimeoutError::from_cursor(&mut Cursor::new(&bytes), version).unwrap();
        assert_eq!(theirs.replica_has_responded(), data_present);
        let (consistency, received, required) = replicas;
        let ours = ErrorDetail::Read {
            consistency,
            received,
            required,
            failures: None,
            reasons: Vec::new(),
            data_present,
        };
        (ErrorType::ReadTimeout(theirs), ours)
    });
    prop_oneof![write, read].boxed()
}

/// The other implementation hides whether there was data, so that it has to read what it writes.
fn read_fields(
    (consistency, received, required): (Consistency, i32, i32),
    failures: Option<&FailureInfo>,
    data_present: bool,
    version: OtherVersion,
) -> Vec<u8> {
    [
        &(consistency as u16).to_be_bytes()[..],
        &received.to_be_bytes(),
        &required.to_be_bytes(),
        &failures.map_or_else(Vec::new, |failures| failures.serialize_to_vec(version)),
        &[u8::from(data_present)],
    ]
    .concat()
}

type Failures = (FailureInfo, Option<i32>, Vec<(IpAddr, u16)>);

/// A number of failures, or from protocol 5 on each of them.
fn any_failures(dialect: Dialect) -> BoxedStrategy<Failures> {
    if dialect.version < Version::V5 {
        return any::<i32>()
            .prop_map(|count| (FailureInfo::NumFailures(count), Some(count), Vec::new()))
            .boxed();
    }
    btree_map(any::<IpAddr>(), any::<i16>(), 0..4)
        .prop_map(|reasons| {
            let with_port = |(ip, code)| (SocketAddr::new(ip, 0), code);
            let theirs: HashMap<_, _> = reasons.into_iter().map(with_port).collect();
            // As they are written: a map has the same order each time it is walked through.
            let ours: Vec<_> = theirs
                .iter()
                .map(|(address, code)| (address.ip(), *code as u16))
                .collect();
            let count = ours.len() as i32;
            (FailureInfo::ReasonMap(theirs), Some(count), ours)
        })
        .boxed()
}

fn any_failure(dialect: Dialect) -> BoxedStrategy<(ErrorType, ErrorDetail)> {
    let write = (any_replicas(), any_write_type(), any_failures(dialect));
    let write = write.prop_map(|(replicas, (write_type, name), failures)| {
        let (consistency, received, required) = replicas;
        let (failure_info, failures, reasons) = failures;
        let theirs = WriteFailureError {
            cl: other::consistency(consistency),
            received,
            block_for: required,
            failure_info,
            write_type,
        };
        let ours = ErrorDetail::Write {
            consistency,
            received,
            required,
            failures,
            reasons,
            write_type: name,
            contentions: None,
        };
        (ErrorType::WriteFailure(theirs), ours)
    });
    let read = (any_replicas(), any::<bool>(), any_failures(dialect));
    let read = read.prop_map(move |(replicas, data_present, failures)| {
        let version = other::version(&dialect);
        let (failure_info, failures, _) = failures;
        let bytes = read_fields(replicas, Some(&failure_info), data_present, version);
        let theirs = ReadFailureError::from_cursor(&mut Cursor::new(&bytes), version).unwrap();
        assert_eq!(theirs.replica_has_responded(), data_present);
        assert_eq!(theirs.failure_info, failure_info);
        // The map that was read has an order of its own.
        let reasons = match &theirs.failure_info {
            FailureInfo::ReasonMap(map) => map
                .iter()
                .map(|(address, code)| (address.ip(), *code as u16))
                .collect(),
            _ => Vec::new(),
        };
        let (consistency, received, required) = replicas;
        let ours = ErrorDetail::Read {
            consistency,
            received,
            required,
            failures,
            reasons,
            data_present,
        };
        (ErrorType::ReadFailure(theirs), ours)
    });
    prop_oneof![write, read].boxed()
}

fn any_about_a_name() -> BoxedStrategy<(ErrorType, ErrorDetail)> {
    let name = || "\\PC{0,12}";
    prop_oneof![
        (name(), name(), vec("[a-z]{1,9}", 0..4)).prop_map(|(keyspace, function, arg_types)| {
            let theirs = FunctionFailureError {
                keyspace: keyspace.clone(),
                function: function.clone(),
                arg_types: arg_types.clone(),
            };
            let ours = ErrorDetail::Function {
                keyspace,
                function,
                argument_types: arg_types,
            };
            (ErrorType::FunctionFailure(theirs), ours)
        }),
        (name(), name()).prop_map(|(keyspace, table)| {
            let theirs = AlreadyExistsError {
                ks: keyspace.clone(),
                table: table.clone(),
            };
            let ours = ErrorDetail::AlreadyExists { keyspace, table };
            (ErrorType::AlreadyExists(theirs), ours)
        }),
        vec(any::<u8>(), 0..20).prop_map(|id| {
            let theirs = UnpreparedError {
                id: CBytesShort::new(id.clone()),
            };
            (
                ErrorType::Unprepared(theirs),
                ErrorDetail::Unprepared { id },
            )
        }),
    ]
    .boxed()
}
