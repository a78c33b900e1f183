//! The options of a request, as `Palladion.RequestOptions` makes them.

use palladion_cql::request::Parameters;
use palladion_cql::Consistency;
use palladion_driver::Route;
use rustler::types::tuple::get_tuple;
use rustler::{Atom, Binary, Term};

use super::{Refused, Submitter};
use crate::atoms;
use crate::errors::{node_of, NativeError};
use crate::results::RowFormat;

/// What few requests have: `{keyspace, now in seconds, custom payload, tracing}`
type Extra<'a> = (Option<String>, Option<i32>, Term<'a>, bool);
/// What an entry of a custom payload takes beside its bytes, in bytes that take as long.
const ENTRY: usize = 16;

pub(super) struct RequestOptions {
    pub(super) parameters: Parameters,
    pub(super) format: RowFormat,
    pub(super) route: Route,
}

/// Of `{consistency, serial consistency, page size, paging state, timestamp, row format, extra, route}`.
pub(super) fn request_options<'a>(
    to: &Submitter<'a>,
    options: Term<'a>,
) -> Result<RequestOptions, Refused> {
    let bad = |_| NativeError::bad_argument("options");
    let options = get_tuple(options).map_err(bad)?;
    let [consistency, serial, page_size, paging_state, timestamp, format, extra, way] =
        *options.as_slice()
    else {
        return Err(NativeError::bad_argument("options").into());
    };
    let paging_state: Option<Binary<'_>> = paging_state.decode().map_err(bad)?;
    let state_len = paging_state.as_ref().map_or(0, |state| state.len());
    if state_len > to.budget {
        return Err(to.too_much());
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
        parameters.payload = custom_payload(to, payload, to.budget - state_len)?;
        parameters.tracing = tracing;
    }
    let format = RowFormat::from_bits(format.decode().map_err(bad)?);
    let format = format.ok_or_else(|| NativeError::bad_argument("rows"))?;
    Ok(RequestOptions {
        parameters,
        format,
        route: route(way)?,
    })
}

/// Of `[{name, bytes}]`, of which not more is looked at than there is room for.
fn custom_payload<'a>(
    to: &Submitter<'a>,
    entries: Term<'a>,
    mut room: usize,
) -> Result<Vec<(String, Vec<u8>)>, Refused> {
    let bad = || NativeError::bad_argument("custom_payload");
    let mut payload = Vec::new();
    let mut rest = entries;
    while let Ok((entry, tail)) = rest.list_get_cell() {
        let (name, bytes): (Binary<'_>, Binary<'_>) = entry.decode().map_err(|_| bad())?;
        let left = room.checked_sub(ENTRY + name.len() + bytes.len());
        room = left.ok_or_else(|| to.too_much())?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| bad())?;
        payload.push((name, bytes.to_vec()));
        rest = tail;
    }
    if !rest.is_empty_list() {
        return Err(bad().into());
    }
    Ok(payload)
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
