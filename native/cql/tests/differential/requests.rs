//! Requests: ours are read by the other implementation as they were meant, and its are ours.

use cassandra_protocol::frame::events::SimpleServerEvent;
use cassandra_protocol::frame::message_auth_response::BodyReqAuthResponse;
use cassandra_protocol::frame::message_batch::{
    BatchQuery, BatchQuerySubj, BatchType, BodyReqBatch,
};
use cassandra_protocol::frame::message_execute::BodyReqExecuteOwned;
use cassandra_protocol::frame::message_options::BodyReqOptions;
use cassandra_protocol::frame::message_prepare::BodyReqPrepare;
use cassandra_protocol::frame::message_query::BodyReqQuery;
use cassandra_protocol::frame::message_register::BodyReqRegister;
use cassandra_protocol::frame::message_request::RequestBody;
use cassandra_protocol::frame::message_startup::BodyReqStartup;
use cassandra_protocol::frame::{Direction, Envelope, Flags, Serialize};
use cassandra_protocol::query::{QueryFlags, QueryParams, QueryValues};
use cassandra_protocol::types::value::Value as Bound;
use cassandra_protocol::types::{CBytes, CBytesShort};
use palladion_cql::frame::{set_stream, Sender};
use palladion_cql::request::{self, Batch, Parameters, StatementId, Unsendable};
use palladion_cql::{Dialect, Version};
use proptest::prelude::*;

use crate::asked::{any_conversation, Execution, Request, Statement};
use crate::other::{self, read_by_them, read_by_us, sent_by_them, sent_by_us};
use crate::support::{content, DIALECTS};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn requests_mean_the_same(
        (dialect, requests) in any_conversation(),
        piece in prop_oneof![1..40usize, Just(usize::MAX)],
    ) {
        check(&dialect, &requests, piece);
    }
}

#[test]
fn requests_longer_than_a_segment_mean_the_same() {
    for dialect in DIALECTS {
        let statement = |len: usize| "SELECT ".repeat(len / 7);
        let noise = Bound::Some(content(300_000, 7));
        let requests = [
            Request::Options,
            Request::Query(statement(131_000), Parameters::default()),
            Request::Prepare(statement(140_000), None),
            Request::Execute(
                Execution {
                    id: vec![1; 16],
                    result_id: None,
                    values: vec![noise.clone(), Bound::Null],
                },
                Parameters::default(),
            ),
            Request::Options,
        ];
        check(&dialect, &requests, 10_000);
    }
}

/// What we write is read as it was meant, and what the other writes is what we do.
fn check(dialect: &Dialect, requests: &[Request], piece: usize) {
    let streams = || 1i16..;
    let ours: Vec<_> = streams()
        .zip(requests)
        .map(|(stream, request)| {
            let mut frame = request.ours(dialect);
            set_stream(&mut frame, stream);
            frame
        })
        .collect();
    let read = read_by_them(dialect, &sent_by_us(dialect, &ours), piece);
    assert_eq!(read.len(), requests.len());
    for ((stream, request), envelope) in streams().zip(requests).zip(&read) {
        request.assert_meant(dialect, stream, envelope);
    }
    let envelopes: Vec<_> = streams()
        .zip(requests)
        .map(|(stream, request)| request.theirs(dialect, stream))
        .collect();
    let bytes = sent_by_them(dialect, &envelopes);
    let read = read_by_us(dialect, Sender::Client, &bytes, piece);
    assert_eq!(read.len(), requests.len());
    for ((frame, ours), request) in read.iter().zip(&ours).zip(requests) {
        request.assert_same(dialect, ours, frame);
    }
}

impl Request {
    fn parameters(&self) -> Parameters {
        match self {
            Self::Query(_, parameters)
            | Self::Execute(_, parameters)
            | Self::Batch(_, _, parameters) => parameters.clone(),
            _ => Parameters::default(),
        }
    }

    /// What we send.
    fn ours(&self, dialect: &Dialect) -> Vec<u8> {
        match self {
            Self::Options => request::options(dialect),
            Self::Startup(options) => {
                let texts = options.iter().map(|(key, value)| (&key[..], &value[..]));
                let options: Vec<(&str, &str)> = texts.collect();
                request::startup(dialect, &options).unwrap()
            }
            Self::AuthResponse(token) => request::auth_response(dialect, token.as_deref()).unwrap(),
            Self::Register(kinds) => request::register(dialect, kinds).unwrap(),
            Self::Prepare(statement, keyspace) => {
                request::prepare(dialect, statement, keyspace.as_deref()).unwrap()
            }
            Self::Query(statement, parameters) => {
                request::query(dialect, statement, parameters).unwrap()
            }
            Self::Execute(execution, parameters) => {
                let count = execution.values.len() as u16;
                let values = |out: &mut Vec<u8>| execution.put_values(out);
                request::execute(dialect, execution.id(), parameters, count, values).unwrap()
            }
            Self::Batch(kind, statements, parameters) => {
                let mut batch = Batch::new(dialect, *kind, parameters).unwrap();
                for statement in statements {
                    match statement {
                        Statement::Text(text) => batch.query(text).unwrap(),
                        Statement::Prepared(execution) => batch
                            .prepared(execution.id(), execution.values.len() as u16, |out| {
                                execution.put_values(out)
                            })
                            .unwrap(),
                    }
                }
                batch.finish(parameters).unwrap()
            }
        }
    }

    /// The other implementation's view of it.
    fn meant(&self, dialect: &Dialect) -> RequestBody {
        match self {
            Self::Options => RequestBody::Options(BodyReqOptions),
            Self::Startup(options) => RequestBody::Startup(BodyReqStartup {
                map: options.iter().cloned().collect(),
            }),
            Self::AuthResponse(token) => {
                let token = token.clone().map_or_else(CBytes::new_null, CBytes::new);
                RequestBody::AuthResponse(BodyReqAuthResponse::new(token))
            }
            Self::Register(kinds) => {
                let kind = |kind: &&str| SimpleServerEvent::try_from(*kind).unwrap();
                RequestBody::Register(BodyReqRegister::new(kinds.iter().map(kind).collect()))
            }
            Self::Prepare(statement, keyspace) => RequestBody::Prepare(BodyReqPrepare {
                query: statement.clone(),
                keyspace: keyspace.clone(),
            }),
            Self::Query(statement, parameters) => RequestBody::Query(BodyReqQuery {
                query: statement.clone(),
                query_params: query_params(parameters, &[]),
            }),
            Self::Execute(execution, parameters) => {
                // No id at all is one of no bytes.
                let result_id = execution.result_id.clone().unwrap_or_default();
                RequestBody::Execute(BodyReqExecuteOwned {
                    id: CBytesShort::new(execution.id.clone()),
                    result_metadata_id: (dialect.version >= Version::V5)
                        .then(|| CBytesShort::new(result_id)),
                    query_parameters: query_params(parameters, &execution.values),
                })
            }
            Self::Batch(kind, statements, parameters) => RequestBody::Batch(BodyReqBatch {
                batch_type: BatchType::try_from(*kind as u8).unwrap(),
                queries: statements.iter().map(Statement::meant).collect(),
                consistency: other::consistency(parameters.consistency),
                serial_consistency: parameters.serial_consistency.map(other::consistency),
                timestamp: parameters.timestamp,
                keyspace: parameters.keyspace.clone(),
                now_in_seconds: parameters.now_in_seconds,
            }),
        }
    }

    fn flags(&self) -> Flags {
        let parameters = self.parameters();
        let mut flags = Flags::empty();
        flags.set(Flags::TRACING, parameters.tracing);
        flags.set(Flags::CUSTOM_PAYLOAD, !parameters.payload.is_empty());
        flags
    }

    fn payload(&self) -> Vec<u8> {
        let payload = self.parameters().payload;
        if payload.is_empty() {
            return Vec::new();
        }
        let entry = |(name, bytes): (String, Vec<u8>)| (name, Some(bytes));
        other::bytes_map(&payload.into_iter().map(entry).collect::<Vec<_>>())
    }

    /// What the other implementation sends.
    fn theirs(&self, dialect: &Dialect, stream: i16) -> Envelope {
        let version = other::version(dialect);
        let body = self.meant(dialect).serialize_to_vec(version);
        let opcode = self.ours(dialect)[4].try_into().unwrap();
        Envelope::new(
            version,
            Direction::Request,
            self.flags(),
            opcode,
            stream,
            [self.payload(), body].concat(),
            None,
            Vec::new(),
        )
    }

    /// Whether the other implementation has read what we meant.
    fn assert_meant(&self, dialect: &Dialect, stream: i16, envelope: &Envelope) {
        assert_eq!(envelope.version, other::version(dialect));
        assert_eq!(envelope.direction, Direction::Request);
        assert_eq!(envelope.stream_id, stream);
        assert_eq!(envelope.flags - Flags::COMPRESSION, self.flags());
        let payload = self.payload();
        assert!(envelope.body.starts_with(&payload));
        let body = &envelope.body[payload.len()..];
        let read = RequestBody::try_from(body, envelope.opcode, envelope.version).unwrap();
        assert_eq!(read, self.meant(dialect));
    }

    /// Whether a frame of the other implementation says what ours does.
    fn assert_same(&self, dialect: &Dialect, ours: &[u8], theirs: &palladion_cql::Frame) {
        let ours = &read_by_us(
            dialect,
            Sender::Client,
            &sent_by_us(dialect, &[ours.to_vec()]),
            usize::MAX,
        )[0];
        let compression = palladion_cql::frame::flag::COMPRESSION;
        assert_eq!(
            theirs.header.flags & !compression,
            ours.header.flags & !compression
        );
        assert_eq!(theirs.header.stream, ours.header.stream);
        assert_eq!(theirs.header.opcode, ours.header.opcode);
        assert_eq!(theirs.header.sender, Sender::Client);
        let (theirs, ours) = (theirs.content().unwrap(), ours.content().unwrap());
        match self {
            // The other implementation sends them in any order.
            Self::Startup(options) if options.len() > 1 => assert_eq!(theirs.len(), ours.len()),
            Self::Query(_, parameters) | Self::Execute(_, parameters)
                if parameters.skip_metadata =>
            {
                assert_only_metadata_is_skipped(&ours, &theirs);
            }
            _ => assert_eq!(theirs, ours),
        }
    }
}

/// The other implementation never asks for that, but knows its flag.
fn assert_only_metadata_is_skipped(ours: &[u8], theirs: &[u8]) {
    let flags = |byte: u8| QueryFlags::from_bits_retain(u32::from(byte));
    assert_eq!(ours.len(), theirs.len());
    let differences: Vec<_> = ours
        .iter()
        .zip(theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| flags(*ours) ^ flags(*theirs))
        .collect();
    assert_eq!(differences, [QueryFlags::SKIP_METADATA]);
}

impl Execution {
    fn id(&self) -> StatementId<'_> {
        StatementId {
            id: &self.id,
            result_id: self.result_id.as_deref(),
        }
    }

    fn put_values(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        for value in &self.values {
            let (len, bytes) = match value {
                Bound::Some(bytes) => (bytes.len() as i32, &bytes[..]),
                Bound::Null => (-1, &[][..]),
                Bound::NotSet => (-2, &[][..]),
            };
            out.extend(len.to_be_bytes());
            out.extend(bytes);
        }
        Ok(())
    }
}

impl Statement {
    fn meant(&self) -> BatchQuery {
        let (subject, values) = match self {
            Self::Text(text) => (BatchQuerySubj::QueryString(text.clone()), Vec::new()),
            Self::Prepared(execution) => {
                let id = CBytesShort::new(execution.id.clone());
                (BatchQuerySubj::PreparedId(id), execution.values.clone())
            }
        };
        BatchQuery::new(subject, QueryValues::SimpleValues(values))
    }
}

fn query_params(parameters: &Parameters, values: &[Bound]) -> QueryParams {
    QueryParams {
        consistency: other::consistency(parameters.consistency),
        with_names: false,
        values: (!values.is_empty()).then(|| QueryValues::SimpleValues(values.to_vec())),
        page_size: parameters.page_size,
        paging_state: parameters.paging_state.clone().map(CBytes::new),
        serial_consistency: parameters.serial_consistency.map(other::consistency),
        timestamp: parameters.timestamp,
        keyspace: parameters.keyspace.clone(),
        now_in_seconds: parameters.now_in_seconds,
    }
}
