//! Bound values: terms as the bytes of their columns' types.

use palladion_cql::request::needs;
use palladion_cql::types::ColumnSpec;
use palladion_cql::value::{encode, Problem};
use palladion_cql::{Dialect, Version};
use rustler::{Atom, Term};

use super::{Refused, DIRTY_BUDGET};
use crate::atoms;
use crate::errors::{value_error, NativeError};

/// Appends each value as `[value]`.
pub(super) fn put(
    dialect: &Dialect,
    values: &[Term<'_>],
    bind: &[ColumnSpec],
    budget: usize,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    for (index, (value, column)) in values.iter().zip(bind).enumerate() {
        if atoms::unset() == *value {
            needs(dialect, Version::V4, "an unset value")?;
        }
        let value = crate::terms::TermSource::Term(*value);
        encode(value, &column.ty, out, budget).map_err(|error| match error.problem {
            Problem::Budget if budget < DIRTY_BUDGET => Refused::TooMuch,
            _ => Refused::Error(value_error(index, &column.name, &error)),
        })?;
    }
    Ok(())
}

/// How many bind markers there are.
pub(super) fn count(bind: &[ColumnSpec]) -> Result<u16, NativeError> {
    u16::try_from(bind.len()).map_err(|_| {
        let error = NativeError::new(atoms::bad_statement());
        error.with("detail", "more than 65,535 bind markers")
    })
}

/// One term for each bind marker: a list by position, or a map by name.
pub(super) fn bound<'a>(
    values: Term<'a>,
    bind: &[ColumnSpec],
) -> Result<Vec<Term<'a>>, NativeError> {
    if values.is_map() {
        return bind
            .iter()
            .map(|column| named_value(values, column))
            .collect();
    }
    let mut terms = Vec::with_capacity(bind.len());
    let mut rest = values;
    // Counted no further than needed: a list may be long.
    while let Ok((head, tail)) = rest.list_get_cell() {
        if terms.len() == bind.len() {
            return Err(wrong_count(bind.len()));
        }
        terms.push(head);
        rest = tail;
    }
    if terms.len() == bind.len() && rest.is_empty_list() {
        Ok(terms)
    } else {
        Err(wrong_count(bind.len()))
    }
}

fn named_value<'a>(values: Term<'a>, column: &ColumnSpec) -> Result<Term<'a>, NativeError> {
    let atom = || Atom::existing_from_str(values.get_env(), &column.name).ok();
    values
        .map_get(&column.name)
        .or_else(|error| atom().map_or(Err(error), |atom| values.map_get(atom)))
        .map_err(|_| {
            NativeError::new(atoms::bad_value())
                .with("problem", "missing")
                .with("column", column.name.as_str())
                .with("type", column.ty.to_string())
        })
}

fn wrong_count(expected: usize) -> NativeError {
    NativeError::new(atoms::bad_value())
        .with("problem", "wrong_count")
        .with("expected", expected as i64)
}
