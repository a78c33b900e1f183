//! Statements are prepared and run.

use std::ops::Range;

use palladion_cql::response::{code, ErrorDetail, ServerError};
use palladion_cql::Opcode;

use super::Session;
use crate::counters::add;
use crate::head::{put_frame, Head};
use crate::request::Parameters;
use crate::response::{error, put_error, put_set_keyspace, put_void};
use crate::rows::{put_prepared, put_rows, Columns, Known, TABLE};
use crate::statement::{Answer, Statement};
use crate::system::Selection;
use crate::Error;

/// Which rows of how many, and their cells.
type PageOfRows = (Range<u32>, u32, Vec<u8>);

impl Session {
    pub(super) fn prepare(
        &self,
        text: &str,
        keyspace: Option<&str>,
        head: &Head,
        out: &mut Vec<u8>,
    ) {
        match self.describe(text) {
            Ok(statement) => {
                let (id, statement) = self.prepared.prepare(statement, keyspace);
                put_prepared(
                    out,
                    head,
                    &id,
                    &statement.bind,
                    &statement.partition_key,
                    &statement.result,
                );
            }
            Err(wrong) => put_error(out, head, &error(code::INVALID, wrong.to_string())),
        }
    }

    fn describe(&self, text: &str) -> Result<Statement, Error> {
        let description = self.shared.script().describe(text);
        if let Some(description) = description {
            let statement = match description.rows {
                // Of a conditional update nobody knows before.
                Some(rows) if !rows.columns.are_conditional => Statement::with_rows(text, rows)?,
                Some(_) => Statement::without_rows(text, Answer::Void)?,
                None => Statement::without_rows(text, Answer::Void)?,
            };
            return Ok(Statement {
                bind: Columns::new(TABLE, &description.bind)?,
                ..statement
            });
        }
        if let Some(statement) = self.builtin(text)? {
            return Ok(statement);
        }
        if text.contains('?') {
            return Err(Error::usage(format!(
                "no rule says what the bind markers are in: {text}"
            )));
        }
        Statement::without_rows(text, Answer::Void)
    }

    /// What the server, or the node that it is here, knows by itself.
    pub(super) fn builtin(&self, text: &str) -> Result<Option<Statement>, Error> {
        if let Some(nodes) = &self.shared.nodes {
            if let Some(selection) = Selection::parse(text, nodes)? {
                let result = selection.metadata()?;
                let statement = Statement::without_rows(text, Answer::System(selection))?;
                return Ok(Some(Statement {
                    result,
                    ..statement
                }));
            }
        }
        self.shared.statements.builtin(text)
    }

    pub(super) fn run(
        &self,
        statement: &Statement,
        parameters: &Parameters<'_>,
        known: Known<'_>,
        head: &Head,
        out: &mut Vec<u8>,
    ) {
        match &statement.answer {
            Answer::Echo if parameters.values.count != statement.result.count => {
                let message = format!(
                    "Invalid amount of bind variables: {} given, {} expected",
                    parameters.values.count, statement.result.count
                );
                put_error(out, head, &error(code::INVALID, message));
            }
            Answer::Echo => put_frame(out, head, Opcode::Result, |out| {
                let data = parameters.values.with_null_for_unset();
                put_rows(out, &statement.result, None, known, 1, &data);
            }),
            Answer::Rows(rows) => rows.put(out, head, known),
            Answer::Numbers(total) => {
                let page = parameters.page_of(*total);
                let numbers = page.clone();
                let cells = numbers.flat_map(|n| [4u32.to_be_bytes(), n.to_be_bytes()].concat());
                let rows = (page, *total, cells.collect());
                put_page(out, head, &statement.result, known, rows);
            }
            Answer::System(selection) => match self.system_rows(selection, parameters) {
                Ok(rows) => put_page(out, head, &statement.result, known, rows),
                Err(wrong) => put_error(out, head, &error(code::INVALID, wrong.to_string())),
            },
            Answer::Keyspace(keyspace) => {
                self.shared
                    .observed
                    .update(self.connection, |c| c.keyspace = Some(keyspace.clone()));
                put_set_keyspace(out, head, keyspace);
            }
            Answer::Void => put_void(out, head),
        }
    }

    fn system_rows(
        &self,
        selection: &Selection,
        parameters: &Parameters<'_>,
    ) -> Result<PageOfRows, Error> {
        let (Some(nodes), Some(asked)) = (&self.shared.nodes, &self.member) else {
            return Ok((0..0, 0, Vec::new()));
        };
        let members = selection.members(nodes, asked);
        let total = members.len() as u32;
        let page = parameters.page_of(total);
        let members = &members[page.start as usize..page.end as usize];
        Ok((page, total, selection.cells(nodes, members)?))
    }

    pub(super) fn unprepared(&self, id: &[u8], head: &Head, out: &mut Vec<u8>) {
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
        put_error(out, head, &error);
    }
}

/// A page's paging state is where the next one starts.
fn put_page(
    out: &mut Vec<u8>,
    head: &Head,
    columns: &Columns,
    known: Known<'_>,
    (page, total, cells): PageOfRows,
) {
    let state = page.end.to_be_bytes();
    let state = (page.end < total).then_some(&state[..]);
    let count = page.end - page.start;
    put_frame(out, head, Opcode::Result, |out| {
        put_rows(out, columns, state, known, count, &cells);
    });
}
