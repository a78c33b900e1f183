//! Statements are prepared and run.

use palladion_cql::response::{code, ErrorDetail, ServerError};
use palladion_cql::Opcode;

use super::Session;
use crate::counters::add;
use crate::request::Parameters;
use crate::response::{
    error, put_error, put_frame, put_prepared, put_rows, put_set_keyspace, put_void, Columns, TABLE,
};
use crate::statement::{Answer, Statement};
use crate::Error;

impl Session {
    pub(super) fn prepare(&self, text: &str, stream: i16, out: &mut Vec<u8>) {
        match self.describe(text) {
            Ok(statement) => {
                let (id, statement) = self.shared.statements.prepare(statement);
                put_prepared(
                    out,
                    stream,
                    &id,
                    &statement.bind,
                    &statement.partition_key,
                    &statement.result,
                );
            }
            Err(wrong) => put_error(out, stream, &error(code::INVALID, wrong.to_string())),
        }
    }

    fn describe(&self, text: &str) -> Result<Statement, Error> {
        let description = self.shared.script().describe(text);
        if let Some(description) = description {
            let statement = match description.rows {
                Some(rows) => Statement::with_rows(text, rows)?,
                None => Statement::without_rows(text, Answer::Void)?,
            };
            return Ok(Statement {
                bind: Columns::new(TABLE, &description.bind)?,
                ..statement
            });
        }
        if let Some(statement) = self.shared.statements.builtin(text)? {
            return Ok(statement);
        }
        if text.contains('?') {
            return Err(Error::usage(format!(
                "no rule says what the bind markers are in: {text}"
            )));
        }
        Statement::without_rows(text, Answer::Void)
    }

    pub(super) fn run(
        &self,
        statement: &Statement,
        parameters: &Parameters<'_>,
        stream: i16,
        out: &mut Vec<u8>,
    ) {
        let skip_metadata = parameters.skip_metadata;
        match &statement.answer {
            Answer::Echo if parameters.count != statement.result.count => {
                let message = format!(
                    "Invalid amount of bind variables: {} given, {} expected",
                    parameters.count, statement.result.count
                );
                put_error(out, stream, &error(code::INVALID, message));
            }
            Answer::Echo => put_frame(out, stream, Opcode::Result, |out| {
                let data = parameters.values_with_null_for_unset();
                put_rows(out, &statement.result, None, skip_metadata, 1, &data);
            }),
            Answer::Rows(rows) => rows.put(out, stream, skip_metadata),
            Answer::Numbers(total) => {
                let page = parameters.page_of(*total);
                put_frame(out, stream, Opcode::Result, |out| {
                    let state = page.end.to_be_bytes();
                    let state = (page.end < *total).then_some(&state[..]);
                    let count = page.end - page.start;
                    let data: Vec<u8> = page
                        .flat_map(|n| [4u32.to_be_bytes(), n.to_be_bytes()].concat())
                        .collect();
                    put_rows(out, &statement.result, state, skip_metadata, count, &data);
                });
            }
            Answer::Keyspace(keyspace) => {
                self.shared
                    .observed
                    .update(self.connection, |c| c.keyspace = Some(keyspace.clone()));
                put_set_keyspace(out, stream, keyspace);
            }
            Answer::Void => put_void(out, stream),
        }
    }

    pub(super) fn unprepared(&self, id: &[u8], stream: i16, out: &mut Vec<u8>) {
        add(&self.shared.observed.cells.unprepared, 1);
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let error = ServerError {
            code: code::UNPREPARED,
            message: format!(
                "Prepared query with ID {hex} not found (either the query was not prepared on \
                 this host (maybe the host has been restarted?) or you have prepared too many \
                 queries and it has been evicted from the internal cache)"
            ),
            detail: ErrorDetail::Unprepared { id: id.to_vec() },
        };
        put_error(out, stream, &error);
    }
}
