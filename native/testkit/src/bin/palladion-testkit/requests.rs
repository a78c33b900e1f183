//! What is known of requests, as pairs.

use palladion_cql::request::BatchKind;
use palladion_cql::Opcode;
use palladion_testkit::{RequestInfo, StatementInfo};

use crate::line::Pairs;

/// One pair a request: its number, and its own pairs encoded once more.
pub(crate) fn requests(requests: &[RequestInfo]) -> Pairs {
    requests.iter().fold(Pairs::default(), |pairs, info| {
        pairs.with(&info.number.to_string(), own_pairs(info).into_text())
    })
}

fn own_pairs(info: &RequestInfo) -> Pairs {
    let opcode = match info.opcode {
        Opcode::Prepare => "prepare",
        Opcode::Execute => "execute",
        Opcode::Batch => "batch",
        _ => "query",
    };
    let batch = info.batch.map(|kind| match kind {
        BatchKind::Logged => "logged",
        BatchKind::Unlogged => "unlogged",
        BatchKind::Counter => "counter",
    });
    let pairs = Pairs::default()
        .with("opcode", opcode)
        .with("connection", info.connection)
        .with_some("node", info.node)
        .with("version", info.version)
        .with("compressed", info.compressed)
        .with_some("batch", batch)
        .with("count", info.statements.len())
        .with("tracing", info.tracing)
        .with("skip_metadata", info.skip_metadata)
        .with_some("consistency", info.consistency.map(|c| c.name()))
        .with_some(
            "serial_consistency",
            info.serial_consistency.map(|c| c.name()),
        )
        .with_some("timestamp", info.timestamp)
        .with_some("keyspace", info.keyspace.as_ref())
        .with_some("now_in_seconds", info.now_in_seconds)
        .with_some("page_size", info.page_size)
        .with_some("paging_state", info.paging_state.as_deref().map(hex))
        .with_some("result_id", info.result_id.as_deref().map(hex));
    let pairs = info.payload.iter().fold(pairs, |pairs, (name, bytes)| {
        let bytes = bytes.as_deref().map_or("null".to_owned(), hex);
        pairs.with(&format!("payload.{name}"), bytes)
    });
    // Of the only statement without a number.
    if let ([only], None) = (info.statements.as_slice(), info.batch) {
        return statement(pairs, only, "");
    }
    let statements = info.statements.iter().enumerate();
    statements.fold(pairs, |pairs, (at, each)| {
        statement(pairs, each, &format!(".{at}"))
    })
}

fn statement(pairs: Pairs, info: &StatementInfo, suffix: &str) -> Pairs {
    pairs
        .with_some(&format!("statement{suffix}"), info.text.as_ref())
        .with_some(&format!("id{suffix}"), info.id.as_deref().map(hex))
        .with(&format!("values{suffix}"), info.values)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
