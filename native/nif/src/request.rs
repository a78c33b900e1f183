//! Requests: encoded on the caller's scheduler, up to a size, and put onto a connection's queue.

use std::sync::Arc;

use palladion_cql::request::{self as cql, Parameters};
use palladion_cql::types::ColumnSpec;
use palladion_cql::value::{encode, Problem};
use palladion_cql::wire::TooLong;
use palladion_cql::Consistency;
use palladion_driver::{Cancelled, Cluster, Request, RequestState, Route, Statement};
use rustler::{Atom, Binary, Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::cluster::{handle_of, ClusterHandle};
use crate::errors::{node_of, node_term, value_error, NativeError};
use crate::reply::{QueryReply, ReplyTo};
use crate::results::RowFormat;
use crate::timing;

/// As much is encoded on a normal scheduler: below a tenth of a millisecond's work.
const BUDGET: usize = 16 * 1024;
/// As much is encoded at all.
const DIRTY_BUDGET: usize = 256 * 1024 * 1024;

/// A request under way, for its caller to cancel.
pub(crate) struct RequestResource {
    pub(crate) state: Arc<RequestState>,
    /// Of what was sent for it: a preparation is shared.
    pub(crate) sent: Arc<RequestState>,
}

impl RequestResource {
    pub(crate) fn new(state: Arc<RequestState>) -> Self {
        let sent = Arc::clone(&state);
        Self { state, sent }
    }
}

#[rustler::resource_impl]
impl Resource for RequestResource {}

/// Why there is no request to hand to a connection.
enum Refused {
    /// More than a normal scheduler should do.
    TooMuch,
    Error(NativeError),
}

impl From<NativeError> for Refused {
    fn from(error: NativeError) -> Self {
        Self::Error(error)
    }
}

impl From<TooLong> for Refused {
    fn from(error: TooLong) -> Self {
        Self::Error(NativeError::new(atoms::bad_statement()).with("detail", error.to_string()))
    }
}

/// What all submissions have in common.
struct Submitter<'a> {
    env: Env<'a>,
    handle: ResourceArc<ClusterHandle>,
    reference: Term<'a>,
    budget: usize,
}

macro_rules! submission {
    ($(#[$doc:meta])* $name:ident, $dirty:ident, ($($arg:ident),+), $body:expr) => {
        $(#[$doc])*
        #[rustler::nif]
        fn $name<'a>(env: Env<'a>, handle: Term<'a>, reference: Term<'a>, $($arg: Term<'a>),+) -> Term<'a> {
            timing::measure(|| submit(env, handle, reference, BUDGET, |to| $body(to, $($arg),+)))
        }

        /// The same on a dirty scheduler, after the other has returned `:dirty`.
        #[rustler::nif(schedule = "DirtyCpu")]
        fn $dirty<'a>(env: Env<'a>, handle: Term<'a>, reference: Term<'a>, $($arg: Term<'a>),+) -> Term<'a> {
            submit(env, handle, reference, DIRTY_BUDGET, |to| $body(to, $($arg),+))
        }
    };
}

submission!(
    /// Sends a statement without values. `{:ok, request}`: `{ref, result}` follows.
    submit_query, submit_query_dirty, (statement, options), query
);
submission!(
    /// Has a statement prepared, on a certain node, on another one, or any; the cluster remembers it.
    submit_prepare, submit_prepare_dirty, (statement, way), prepare
);
submission!(
    /// Executes a prepared statement, found by `{:id, id}` or `{:text, statement}`.
    submit_execute, submit_execute_dirty, (statement, values, options), execute
);

fn submit<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    reference: Term<'a>,
    budget: usize,
    work: impl FnOnce(&Submitter<'a>) -> Result<Term<'a>, Refused>,
) -> Term<'a> {
    let result = handle_of(handle)
        .map_err(Refused::Error)
        .and_then(|handle| {
            work(&Submitter {
                env,
                handle,
                reference,
                budget,
            })
        });
    match result {
        Ok(request) => (atoms::ok(), request).encode(env),
        Err(Refused::TooMuch) => atoms::dirty().to_term(env),
        Err(Refused::Error(error)) => (atoms::error(), error).encode(env),
    }
}

fn query<'a>(
    to: &Submitter<'a>,
    statement: Term<'a>,
    options: Term<'a>,
) -> Result<Term<'a>, Refused> {
    let statement = to.text(statement)?;
    refuse_use(statement)?;
    let options = request_options(options)?;
    to.send(cql::query(statement, &options.parameters)?, &options)
}

/// USE would change one connection of many. Looked for behind white space and comments.
fn refuse_use(statement: &str) -> Result<(), Refused> {
    let mut rest = statement.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else if rest.starts_with("--") || rest.starts_with("//") {
            rest.split_once('\n').map_or("", |(_, after)| after)
        } else {
            break;
        }
        .trim_start();
    }
    let is_use = rest
        .get(..3)
        .is_some_and(|word| word.eq_ignore_ascii_case("use"))
        && !rest[3..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if is_use {
        let error = NativeError::new(atoms::bad_statement());
        return Err(error.with("detail", USE_REFUSED).into());
    }
    Ok(())
}

const USE_REFUSED: &str = "USE would change the keyspace of one connection among many: set the \
                           option keyspace:, or write keyspace.table";

fn prepare<'a>(
    to: &Submitter<'a>,
    statement: Term<'a>,
    way: Term<'a>,
) -> Result<Term<'a>, Refused> {
    let statement = to.text(statement)?;
    refuse_use(statement)?;
    let route = route(way)?;
    let cluster = to.handle.cluster()?;
    let cluster = cluster.as_ref().ok_or_else(NativeError::closed)?;
    let (state, reply) = to.reply();
    let flights = to.handle.flights();
    let sent = flights.prepare(cluster, statement, route, reply)?;
    Ok(ResourceArc::new(RequestResource { state, sent }).encode(to.env))
}

fn execute<'a>(
    to: &Submitter<'a>,
    statement: Term<'a>,
    values: Term<'a>,
    options: Term<'a>,
) -> Result<Term<'a>, Refused> {
    let options = request_options(options)?;
    let statement = to.prepared(statement)?;
    let bind = &statement.prepared.bind;
    if bind.len() * 4 > to.budget {
        return Err(Refused::TooMuch);
    }
    let values = bound_values(values, bind)?;
    let id = &statement.prepared.id;
    let count = u16::try_from(bind.len()).map_err(|_| {
        let error = NativeError::new(atoms::bad_statement());
        Refused::from(error.with("detail", "more than 65,535 bind markers"))
    })?;
    let frame = cql::execute(id, &options.parameters, count, |out| {
        for (index, (value, column)) in values.iter().zip(bind.iter()).enumerate() {
            let value = crate::terms::TermSource::Term(*value);
            encode(value, &column.ty, out, to.budget).map_err(|error| match error.problem {
                Problem::Budget if to.budget < DIRTY_BUDGET => Refused::TooMuch,
                _ => Refused::Error(value_error(index, &column.name, &error)),
            })?;
        }
        Ok::<(), Refused>(())
    })?;
    to.send(frame, &options)
}

/// One term for each bind marker: a list by position, or a map by name.
fn bound_values<'a>(values: Term<'a>, bind: &[ColumnSpec]) -> Result<Vec<Term<'a>>, NativeError> {
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

/// `{consistency, serial consistency, page size, paging state, timestamp, row format, route}`
type OptionsTuple<'a> = (
    Term<'a>,
    Term<'a>,
    Option<i32>,
    Option<Binary<'a>>,
    Option<i64>,
    u32,
    Term<'a>,
);

struct RequestOptions {
    parameters: Parameters,
    format: RowFormat,
    route: Route,
}

fn request_options(options: Term<'_>) -> Result<RequestOptions, NativeError> {
    let options: OptionsTuple<'_> = options
        .decode()
        .map_err(|_| NativeError::bad_argument("options"))?;
    let (consistency, serial, page_size, paging_state, timestamp, format, to) = options;
    let parameters = Parameters {
        consistency: level(consistency)?.unwrap_or(Consistency::LocalOne),
        serial_consistency: level(serial)?,
        page_size,
        paging_state: paging_state.map(|state| state.to_vec()),
        timestamp,
    };
    let format = RowFormat::from_bits(format);
    let format = format.ok_or_else(|| NativeError::bad_argument("rows"))?;
    Ok(RequestOptions {
        parameters,
        format,
        route: route(to)?,
    })
}

/// `nil`, `{:first, node}` or `{:avoid, node}`
fn route(term: Term<'_>) -> Result<Route, NativeError> {
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

impl<'a> Submitter<'a> {
    fn text(&self, statement: Term<'a>) -> Result<&'a str, Refused> {
        let bad = || Refused::Error(NativeError::bad_argument("statement"));
        let bytes: Binary<'a> = statement.decode().map_err(|_| bad())?;
        // Before it is looked at whether it is UTF-8, which takes its time too.
        if bytes.len() > self.budget {
            return Err(if self.budget < DIRTY_BUDGET {
                Refused::TooMuch
            } else {
                let error = NativeError::new(atoms::bad_statement());
                error.with("detail", "longer than 256 MiB").into()
            });
        }
        std::str::from_utf8(bytes.as_slice()).map_err(|_| bad())
    }

    fn prepared(&self, statement: Term<'a>) -> Result<Arc<Statement>, NativeError> {
        let (by, key): (Atom, Binary<'a>) = statement
            .decode()
            .map_err(|_| NativeError::bad_argument("statement"))?;
        let cluster = self.handle.cluster()?;
        let cache = cluster.as_ref().ok_or_else(NativeError::closed)?.prepared();
        let found = if by == atoms::id() {
            cache.by_id(&key)
        } else {
            std::str::from_utf8(key.as_slice())
                .ok()
                .and_then(|text| cache.by_text(text))
        };
        found.ok_or_else(|| NativeError::new(atoms::not_prepared()))
    }

    fn reply(&self) -> (Arc<RequestState>, ReplyTo) {
        let state = Arc::new(RequestState::default());
        let to = ReplyTo::new(self.env.pid(), self.reference, Arc::clone(&state));
        (state, to)
    }

    fn send(&self, frame: Vec<u8>, options: &RequestOptions) -> Result<Term<'a>, Refused> {
        self.submit(frame, options.format, |cluster, request| {
            cluster.submit(request, options.route)
        })
    }

    fn submit(
        &self,
        frame: Vec<u8>,
        format: RowFormat,
        submit: impl FnOnce(&Cluster, Request) -> Result<(), Box<palladion_driver::Refused>>,
    ) -> Result<Term<'a>, Refused> {
        let cluster = self.handle.cluster()?;
        let cluster = cluster.as_ref().ok_or_else(NativeError::closed)?;
        let (state, to) = self.reply();
        let reply = QueryReply {
            to,
            format,
            access: self.handle.access().clone(),
            cluster: Arc::downgrade(cluster),
        };
        let request = Request {
            frame,
            reply: Box::new(reply),
        };
        match submit(cluster, request) {
            Ok(()) => Ok(ResourceArc::new(RequestResource::new(state)).encode(self.env)),
            Err(refused) => {
                // The caller gets the error as this function's result, not as a message.
                state.cancel();
                Err(NativeError::from(&refused.error).into())
            }
        }
    }
}

/// Sends a statement over the control connection. `{:ok, request}`: `{ref, result}` follows, with
/// rows as maps.
#[rustler::nif]
fn control_query<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    reference: Term<'a>,
    statement: Term<'a>,
) -> Term<'a> {
    submit(env, handle, reference, BUDGET, |to| {
        let parameters = Parameters {
            consistency: Consistency::One,
            ..Parameters::default()
        };
        let frame = cql::query(to.text(statement)?, &parameters)?;
        to.submit(frame, RowFormat::PLAIN, Cluster::submit_control)
    })
}

/// The node that a request was written to, or nil.
#[rustler::nif]
fn request_node<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    let request: Option<ResourceArc<RequestResource>> = request.decode().ok();
    match request.and_then(|request| request.sent.node()) {
        Some(node) => node_term(env, node),
        None => atoms::nil().to_term(env),
    }
}

/// Gives up on a request. After `:unsent` or `:sent` no message of it exists or will; after
/// `:too_late` it's certain to be there soon, unless it was received before; `:over` is said of a
/// request for which this was settled before.
#[rustler::nif]
fn cancel<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    timing::measure(|| cancelled(env, request))
}

fn cancelled<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    let Ok(request) = request.decode::<ResourceArc<RequestResource>>() else {
        return (atoms::error(), NativeError::bad_argument("request")).encode(env);
    };
    match request.state.cancel() {
        Cancelled::Unsent => atoms::unsent(),
        Cancelled::Sent => atoms::sent(),
        Cancelled::TooLate => atoms::too_late(),
        Cancelled::Over => atoms::over(),
    }
    .encode(env)
}

/// Whether a request was cancelled or its answer taken: waiting for it would be in vain.
#[rustler::nif]
fn is_over<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    match request.decode::<ResourceArc<RequestResource>>() {
        Ok(request) => request.state.is_over().encode(env),
        Err(_) => (atoms::error(), NativeError::bad_argument("request")).encode(env),
    }
}
