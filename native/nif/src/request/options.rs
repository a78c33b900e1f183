//! The options of a request, as `Palladion.RequestOptions` makes them.

use palladion_cql::request::Parameters;
use palladion_cql::Consistency;
use palladion_driver::Route;
use rustler::types::tuple::get_tuple;
use rustler::{Atom, Binary, Term};

use super::{Refused, DIRTY_BUDGET};
use crate::atoms;
use crate::errors::{node_of, NativeError};
use crate::results::RowFormat;

/// What few requests have: `{keyspace, now in seconds, custom payload, tracing}`
type Extra<'a> = (Option<String>, Option<i32>, Vec<(String, Binary<'a>)>, bool);

pub(super) struct RequestOptions {
    pub(super) parameters: Parameters,
    pub(super) format: RowFormat,
    pub(super) route: Route,
}

/// Of `{consistency, serial consistency, page size, paging state, timestamp, row format, extra, route}`.
/// More than `budget` bytes in them are too much.
pub(super) fn request_options(options: Term<'_>, budget: usize) -> Result<RequestOptions, Refused> {
    let bad = |_| NativeError::bad_argument("options");
    let options = get_tuple(options).map_err(bad)?;
    let [consistency, serial, page_size, paging_state, timestamp, format, extra, to] =
        *options.as_slice()
    else {
        return Err(NativeError::bad_argument("options").into());
    };
    let paging_state: Option<Binary<'_>> = paging_state.decode().map_err(bad)?;
    let too_long = |len: usize| len > budget && budget < DIRTY_BUDGET;
    if paging_state
        .as_ref()
        .is_some_and(|state| too_long(state.len()))
    {
        return Err(Refused::TooMuch);
    }
    let mut parameters = Parameters {
        consistency: level(consistency)?.unwrap_or(Consistency::LocalOne),
        serial_consistency: level(serial)?,
        page_size: page_size.decode().map_err(bad)?,
        paging_state: paging_state.map(|state| state.to_vec()),
        timestamp: timestamp.decode().map_err(bad)?,
        ..Parameters::default()
    };
    if atoms::nil() != extra {
        let extra: Extra<'_> = extra.decode().map_err(bad)?;
        let (keyspace, now_in_seconds, payload, tracing) = extra;
        parameters.keyspace = keyspace;
        parameters.now_in_seconds = now_in_seconds;
        if too_long(payload.iter().map(|(_, bytes)| bytes.len()).sum()) {
            return Err(Refused::TooMuch);
        }
        let owned = |(name, bytes): (String, Binary<'_>)| (name, bytes.to_vec());
        parameters.payload = payload.into_iter().map(owned).collect();
        parameters.tracing = tracing;
    }
    let format = RowFormat::from_bits(format.decode().map_err(bad)?);
    let format = format.ok_or_else(|| NativeError::bad_argument("rows"))?;
    Ok(RequestOptions {
        parameters,
        format,
        route: route(to)?,
    })
}

/// `nil`, `{:first, node}` or `{:avoid, node}`
pub(super) fn route(term: Term<'_>) -> Result<Route, NativeError> {
    if atoms::nil() == term {
        return Ok(Route::Any);
    }
    let (way, node): (Atom, Term<'_>) = term
        .decode()
        .map_err(|_| NativeError::bad_argument("route"))?;
    let node = node_of(node)?;
    if way == atoms::first() {
        Ok(Route::First(node))
    } else if way == atoms::avoid() {
        Ok(Route::Avoid(node))
    } else {
        Err(NativeError::bad_argument("route"))
    }
}

fn level(term: Term<'_>) -> Result<Option<Consistency>, NativeError> {
    if atoms::nil() == term {
        return Ok(None);
    }
    let number: u16 = term
        .decode()
        .map_err(|_| NativeError::bad_argument("consistency"))?;
    Consistency::from_wire(number)
        .map(Some)
        .map_err(|_| NativeError::bad_argument("consistency"))
}
