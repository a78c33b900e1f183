//! The last requests about statements, as the server saw them.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use palladion_cql::frame::flag;
use palladion_cql::request::BatchKind;
use palladion_cql::{Consistency, Frame, Opcode};

use crate::request::{Batch, BatchStatement, Body, Parameters, Request};
use crate::statement::PreparedStatements;

/// A QUERY, PREPARE, EXECUTE or BATCH.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestInfo {
    /// Counts from 1 over all connections.
    pub number: u64,
    /// The connection that it came on.
    pub connection: u64,
    /// The node that it was sent to, of a simulated cluster.
    pub node: Option<Ipv4Addr>,
    /// Its kind.
    pub opcode: Opcode,
    /// The protocol's version.
    pub version: u8,
    /// Whether its body was compressed. In protocol 5 segments are, which is not told.
    pub compressed: bool,
    /// Whether a trace was asked for.
    pub tracing: bool,
    /// The custom payload.
    pub payload: Vec<(String, Option<Vec<u8>>)>,
    /// What was to be run or prepared; several only in a BATCH.
    pub statements: Vec<StatementInfo>,
    /// Of a BATCH.
    pub batch: Option<BatchKind>,
    /// The keyspace that it named.
    pub keyspace: Option<String>,
    /// Of EXECUTE, where metadata have ids.
    pub result_id: Option<Vec<u8>>,
    /// Not of PREPARE.
    pub consistency: Option<Consistency>,
    /// For conditional updates.
    pub serial_consistency: Option<Consistency>,
    /// In µs.
    pub timestamp: Option<i64>,
    /// The time that a time to live counts from.
    pub now_in_seconds: Option<i32>,
    /// Rows a page.
    pub page_size: Option<i32>,
    /// Where the page starts.
    pub paging_state: Option<Vec<u8>>,
    /// Whether it asked for no metadata.
    pub skip_metadata: bool,
}

/// A statement of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementInfo {
    /// Its text, if the server knows it.
    pub text: Option<String>,
    /// The id of a prepared one.
    pub id: Option<Vec<u8>>,
    /// How many values were bound.
    pub values: usize,
}

/// Requests kept, and the bytes of their bodies, at most.
const KEPT: usize = 256;
const KEPT_LEN: usize = 16 << 20;

/// Keeps requests as they came: they are read only when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Tape>);

#[derive(Debug, Default)]
struct Tape {
    last: u64,
    kept: VecDeque<Recorded>,
    len: usize,
}

#[derive(Debug)]
struct Recorded {
    number: u64,
    connection: u64,
    node: Option<Ipv4Addr>,
    frame: Frame,
    content: Bytes,
    prepared: Arc<PreparedStatements>,
}

impl Recorder {
    /// Gives it a number, and keeps it if it is about statements.
    pub(crate) fn record(
        &self,
        connection: u64,
        node: Option<Ipv4Addr>,
        frame: &Frame,
        content: &Bytes,
        prepared: &Arc<PreparedStatements>,
    ) -> u64 {
        use Opcode::{Batch, Execute, Prepare, Query};
        let mut tape = self.lock();
        tape.last += 1;
        let number = tape.last;
        if !matches!(frame.header.opcode, Query | Prepare | Execute | Batch) {
            return number;
        }
        tape.len += content.len();
        tape.kept.push_back(Recorded {
            number,
            connection,
            node,
            frame: frame.clone(),
            content: content.clone(),
            prepared: prepared.clone(),
        });
        while tape.kept.len() > KEPT || tape.len > KEPT_LEN {
            match tape.kept.pop_front() {
                Some(oldest) => tape.len -= oldest.content.len(),
                None => break,
            }
        }
        number
    }

    /// Those that are kept and can be read, the oldest first.
    pub(crate) fn requests(&self) -> Vec<RequestInfo> {
        self.lock().kept.iter().filter_map(Recorded::info).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tape> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorded {
    fn info(&self) -> Option<RequestInfo> {
        let request = Request::read(&self.frame, &self.content).ok()?;
        let header = self.frame.header;
        let mut info = RequestInfo {
            number: self.number,
            connection: self.connection,
            node: self.node,
            opcode: header.opcode,
            version: header.version,
            compressed: header.flags & flag::COMPRESSION != 0,
            tracing: request.tracing,
            payload: request.payload,
            statements: Vec::new(),
            batch: None,
            keyspace: None,
            result_id: None,
            consistency: None,
            serial_consistency: None,
            timestamp: None,
            now_in_seconds: None,
            page_size: None,
            paging_state: None,
            skip_metadata: false,
        };
        if let Some(parameters) = request.body.parameters() {
            info.parameters(parameters);
        }
        match request.body {
            Body::Query { text, parameters } => {
                info.statements = vec![by_text(text, parameters.values.count)];
            }
            Body::Prepare { text, keyspace } => {
                info.statements = vec![by_text(text, 0)];
                info.keyspace = keyspace.map(str::to_owned);
            }
            Body::Execute {
                id,
                result_id,
                parameters,
            } => {
                info.statements = vec![self.by_id(id, parameters.values.count)];
                info.result_id = result_id.map(<[u8]>::to_vec);
            }
            Body::Batch(batch) => {
                info.statements = self.statements(&batch);
                info.batch = Some(batch.kind);
            }
            Body::Other(_) => {}
        }
        Some(info)
    }

    fn statements(&self, batch: &Batch<'_>) -> Vec<StatementInfo> {
        let statements = batch.statements.iter();
        let infos = statements.map(|(statement, values)| match statement {
            BatchStatement::Text(text) => by_text(text, values.count),
            BatchStatement::Id(id) => self.by_id(id, values.count),
        });
        infos.collect()
    }

    fn by_id(&self, id: &[u8], values: usize) -> StatementInfo {
        let statement = self.prepared.get(id);
        StatementInfo {
            text: statement.map(|statement| statement.text.clone()),
            id: Some(id.to_vec()),
            values,
        }
    }
}

fn by_text(text: &str, values: usize) -> StatementInfo {
    StatementInfo {
        text: Some(text.to_owned()),
        id: None,
        values,
    }
}

impl RequestInfo {
    fn parameters(&mut self, parameters: &Parameters<'_>) {
        self.keyspace = parameters.keyspace.map(str::to_owned);
        self.consistency = Some(parameters.consistency);
        self.serial_consistency = parameters.serial_consistency;
        self.timestamp = parameters.timestamp;
        self.now_in_seconds = parameters.now_in_seconds;
        self.page_size = parameters.page_size;
        self.paging_state = parameters.paging_state.map(<[u8]>::to_vec);
        self.skip_metadata = parameters.skip_metadata;
    }
}
