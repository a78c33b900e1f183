//! Answers as terms.

use std::sync::Arc;

use bytes::Bytes;
use palladion_cql::response::{
    ErrorDetail, Message, Prepared, Response, ResultBody, Rows, SchemaChange, ServerError,
};
use palladion_cql::types::ColumnSpec;
use palladion_cql::wire::BytesMap;
use palladion_cql::DecodeError;
use palladion_driver::{Answer, NodeId};
use rustler::types::map::{map_new, MapIterator};
use rustler::types::tuple::make_tuple;
use rustler::{Atom, Encoder, Env, NewBinary, Term};

use crate::atoms;
use crate::errors::{node_term, put, server_error, Field, NativeError};
use crate::reply::Statements;
use crate::terms::{distinct_or_last, text, Forms, TermBuilder};

/// How rows and their values are wanted.
#[derive(Clone, Copy)]
pub(crate) struct RowFormat {
    pub(crate) shape: Shape,
    pub(crate) forms: Forms,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// With names as keys.
    Maps,
    /// With names as keys, as atoms where there is such an atom.
    AtomMaps,
    Lists,
    Tuples,
    /// One map of names to lists, for all rows.
    Columns,
}

impl RowFormat {
    /// Maps, with values in the forms that need no package.
    pub(crate) const PLAIN: Self = Self {
        shape: Shape::Maps,
        forms: Forms {
            binary_uuids: false,
            integer_timestamps: false,
            decimal_package: false,
        },
    };

    /// Of the number that `Palladion.RequestOptions` makes: three bits of shape, then the forms.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        let shape = match bits & 7 {
            0 => Shape::Maps,
            1 => Shape::AtomMaps,
            2 => Shape::Lists,
            3 => Shape::Tuples,
            4 => Shape::Columns,
            _ => return None,
        };
        let forms = Forms {
            binary_uuids: bits & 8 != 0,
            integer_timestamps: bits & 16 != 0,
            decimal_package: bits & 32 != 0,
        };
        Some(Self { shape, forms })
    }
}

/// What an answer tells beside what was asked for.
pub(crate) enum Notice<'a> {
    /// The schema has changed.
    Schema(&'a SchemaChange),
    /// The statement's results have other columns, with this id.
    Columns {
        columns: &'a Arc<[ColumnSpec]>,
        id: &'a Bytes,
    },
}

/// An answer as `{:ok, result}` or `{:error, {kind, map}}`, where a result is a tuple that begins
/// with its kind and ends with the custom payload, the server's warnings, the trace's id and the
/// node.
pub(crate) fn answer<'a>(
    env: Env<'a>,
    answer: &Answer,
    format: RowFormat,
    statements: &Statements,
    noticed: impl FnOnce(Notice<'_>),
) -> Term<'a> {
    let failed = |error: NativeError| (atoms::error(), error).encode(env);
    let malformed = |error: DecodeError| {
        answer.malformed(&error);
        failed(undecodable(&error))
    };
    let response = match Response::parse(&answer.frame) {
        Ok(response) => response,
        Err(error) => return malformed(error),
    };
    let body = match response.message {
        Message::Result(body) => body,
        Message::Error(error) => {
            let ours = server_error(&error).of_node(answer.node);
            let ours = beside(ours, response.tracing_id, response.warnings);
            return failed(match unprepared(&error, statements) {
                Some(index) => ours.with("statement", index),
                None => ours,
            });
        }
        _ => return failed(NativeError::new(atoms::decode_failed()).with("detail", "no RESULT")),
    };
    let mut parts = match body {
        ResultBody::Void => vec![atoms::void().to_term(env)],
        ResultBody::SetKeyspace(keyspace) => {
            vec![atoms::set_keyspace().to_term(env), text(env, &keyspace)]
        }
        ResultBody::SchemaChange(change) => {
            noticed(Notice::Schema(&change));
            vec![
                atoms::schema_change().to_term(env),
                schema_change(env, &change),
            ]
        }
        ResultBody::Rows(rows) => {
            if let (Some(columns), Some(id)) = (&rows.columns, &rows.metadata_id) {
                noticed(Notice::Columns { columns, id });
            }
            match rows_parts(env, &rows, columns_of(&rows, statements), format) {
                Ok(parts) => parts,
                Err(error) => return malformed(error),
            }
        }
        ResultBody::Prepared(_) => {
            let error = NativeError::new(atoms::decode_failed());
            return failed(error.with("detail", "PREPARED for a statement that was executed"));
        }
    };
    parts.push(payload(env, &response.payload));
    parts.push(response.warnings.encode(env));
    let trace = response.tracing_id.map(|id| {
        let id = palladion_cql::value::uuid::format(&id);
        Term::from(NewBinary::from_slice(env, &id))
    });
    parts.push(trace.encode(env));
    parts.push(node_or_nil(env, answer.node));
    (atoms::ok(), make_tuple(env, &parts)).encode(env)
}

/// The columns of rows; where they were left out, those that the request said that it knows.
fn columns_of<'a>(rows: &'a Rows, statements: &'a Statements) -> &'a [ColumnSpec] {
    match (&rows.columns, statements) {
        (Some(columns), _) => columns,
        (None, Statements::One(statement)) => &statement.prepared.result,
        (None, _) => &[],
    }
}

/// What comes with an error as it does with a result, where there is any.
pub(crate) fn beside(
    error: NativeError,
    trace: Option<[u8; 16]>,
    warnings: Vec<String>,
) -> NativeError {
    let error = match trace.map(|id| palladion_cql::value::uuid::format(&id)) {
        Some(id) => error.with("tracing_id", String::from_utf8_lossy(&id).into_owned()),
        None => error,
    };
    if warnings.is_empty() {
        return error;
    }
    error.with("warnings", Field::Texts(warnings))
}

/// Which statement of a batch the server has not prepared.
fn unprepared(error: &ServerError, statements: &Statements) -> Option<i64> {
    let (ErrorDetail::Unprepared { id }, Statements::Many(ids)) = (&error.detail, statements)
    else {
        return None;
    };
    let at = ids
        .iter()
        .position(|own| own.as_deref() == Some(id.as_slice()));
    at.and_then(|at| i64::try_from(at).ok())
}

/// A map of names to binaries.
fn payload<'a>(env: Env<'a>, payload: &BytesMap) -> Term<'a> {
    payload.iter().fold(map_new(env), |map, (name, bytes)| {
        let bytes = bytes.as_deref();
        let bytes = bytes.map(|bytes| Term::from(NewBinary::from_slice(env, bytes)));
        map.map_put(name, bytes).unwrap_or(map)
    })
}

pub(crate) fn undecodable(error: &DecodeError) -> NativeError {
    NativeError::new(atoms::decode_failed()).with("detail", error.to_string())
}

/// `:rows, names, rows, number of rows, paging state`
fn rows_parts<'a>(
    env: Env<'a>,
    rows: &Rows,
    columns: &[ColumnSpec],
    format: RowFormat,
) -> Result<Vec<Term<'a>>, DecodeError> {
    let names: Vec<_> = columns.iter().map(|c| text(env, &c.name)).collect();
    let rows_term = match format.shape {
        Shape::Columns => columns_term(env, rows, columns, &names, format.forms),
        _ => rows_term(env, rows, columns, &names, format),
    }?;
    let paging_state = rows.paging_state.as_deref();
    let paging_state = paging_state.map(|state| Term::from(NewBinary::from_slice(env, state)));
    Ok(vec![
        atoms::rows().to_term(env),
        names.encode(env),
        rows_term,
        rows.count.encode(env),
        paging_state.encode(env),
    ])
}

/// A list with a term for each row.
fn rows_term<'a>(
    env: Env<'a>,
    rows: &Rows,
    columns: &[ColumnSpec],
    names: &[Term<'a>],
    format: RowFormat,
) -> Result<Term<'a>, DecodeError> {
    let keys: Vec<Term<'a>> = match format.shape {
        Shape::AtomMaps => columns
            .iter()
            .zip(names)
            .map(|(column, name)| {
                let atom = Atom::existing_from_str(env, &column.name);
                atom.map_or(*name, |atom| atom.to_term(env))
            })
            .collect(),
        _ => names.to_vec(),
    };
    let order = if rows.count < ROWS_WORTH_SORTING {
        (0..keys.len()).collect()
    } else {
        map_order(env, &keys)
    };
    let keys: Vec<_> = order.iter().filter_map(|i| keys.get(*i).copied()).collect();
    let mut sorted = Vec::with_capacity(keys.len());
    let mut terms = Vec::with_capacity(rows.count);
    let mut room = Room::new(env, rows, columns.len());
    let mut builder = TermBuilder::new(env, format.forms);
    rows.decode(columns, &mut builder, |_, cells| {
        room.row();
        terms.push(match format.shape {
            Shape::Lists => cells.encode(env),
            Shape::Tuples => make_tuple(env, cells),
            _ => {
                sorted.clear();
                sorted.extend(order.iter().filter_map(|i| cells.get(*i).copied()));
                distinct_or_last(env, &keys, &sorted)
            }
        });
    })?;
    Ok(terms.encode(env))
}

/// Room for the terms of many rows at once.
///
/// An environment grows by fragments of a few hundred words, and a large page takes thousands of
/// them: its receiver walks and frees them one by one, which costs more than anything else of the
/// page. A long integer that turns out to be zero makes the emulator take a large fragment and
/// then leave it, empty, to the terms that follow. Only speed rests on that.
struct Room<'a> {
    env: Env<'a>,
    every: usize,
    left: usize,
}

/// Of that many bytes; as an external term: a big integer of zeros.
const ROOM: usize = 64 * 1024;
static ZERO: [u8; ROOM + 7] = {
    let mut bytes = [0; ROOM + 7];
    let [a, b, c, d] = (ROOM as u32).to_be_bytes();
    bytes[0] = 131;
    bytes[1] = 111;
    bytes[2] = a;
    bytes[3] = b;
    bytes[4] = c;
    bytes[5] = d;
    bytes
};

/// Shorter pages don't need it.
const ROWS_WORTH_IT: usize = 200;
/// What a cell takes of it, roughly: its value, and its share of the row.
const CELL: usize = 64;

impl<'a> Room<'a> {
    fn new(env: Env<'a>, rows: &Rows, columns: usize) -> Self {
        let every = if rows.count < ROWS_WORTH_IT {
            usize::MAX
        } else {
            (ROOM / CELL / columns.max(1)).max(1)
        };
        let left = if every == usize::MAX { every } else { 0 };
        Self { env, every, left }
    }

    /// Before each row.
    fn row(&mut self) {
        if self.left == 0 {
            let _ = self.env.binary_to_term(&ZERO);
            self.left = self.every;
        }
        self.left -= 1;
    }
}

/// To find the order costs about as much as a row.
const ROWS_WORTH_SORTING: usize = 8;

/// The order in which the BEAM keeps these keys in a map. It sorts the keys of every map that it
/// makes, by insertion, which is quick when they are in order already.
fn map_order<'a>(env: Env<'a>, keys: &[Term<'a>]) -> Vec<usize> {
    let positions: Vec<Term<'a>> = (0..keys.len()).map(|i| i.encode(env)).collect();
    let all = || (0..keys.len()).collect();
    match Term::map_from_term_arrays(env, keys, &positions) {
        Ok(map) => MapIterator::new(map)
            .map(|pairs| {
                pairs
                    .filter_map(|(_, position)| position.decode().ok())
                    .collect()
            })
            .filter(|order: &Vec<usize>| order.len() == keys.len())
            .unwrap_or_else(all),
        // Equal names: the last one counts, so their order must stay.
        Err(_) => all(),
    }
}

/// A map of names to lists with a term for each row.
fn columns_term<'a>(
    env: Env<'a>,
    rows: &Rows,
    columns: &[ColumnSpec],
    names: &[Term<'a>],
    forms: Forms,
) -> Result<Term<'a>, DecodeError> {
    let mut lists: Vec<Vec<Term<'a>>> = vec![Vec::with_capacity(rows.count); columns.len()];
    rows.decode(columns, &mut TermBuilder::new(env, forms), |_, cells| {
        for (list, cell) in lists.iter_mut().zip(cells.drain(..)) {
            list.push(cell);
        }
    })?;
    let lists: Vec<_> = lists.iter().map(|list| list.encode(env)).collect();
    Ok(distinct_or_last(env, names, &lists))
}

/// `{:prepared, id, bind markers, result columns, warnings, node}`
pub(crate) fn prepared<'a>(
    env: Env<'a>,
    prepared: &Prepared,
    warnings: &[String],
    node: Option<NodeId>,
) -> Term<'a> {
    let id: Term<'a> = NewBinary::from_slice(env, &prepared.id).into();
    let (bind, result) = (columns(env, &prepared.bind), columns(env, &prepared.result));
    let node = node_or_nil(env, node);
    (atoms::prepared(), id, bind, result, warnings, node).encode(env)
}

fn node_or_nil<'a>(env: Env<'a>, node: Option<NodeId>) -> Term<'a> {
    node.map_or_else(|| atoms::nil().to_term(env), |node| node_term(env, node))
}

/// `[{name, type}]`
fn columns<'a>(env: Env<'a>, columns: &[ColumnSpec]) -> Term<'a> {
    let terms: Vec<_> = columns
        .iter()
        .map(|column| (column.name.as_str(), column.ty.to_string()).encode(env))
        .collect();
    terms.encode(env)
}

fn schema_change<'a>(env: Env<'a>, change: &SchemaChange) -> Term<'a> {
    let map = put(map_new(env), "change", change.change.as_str());
    let map = put(map, "target", change.target.as_str());
    let map = put(map, "keyspace", change.keyspace.as_str());
    put(map, "name", change.name.as_deref())
}
