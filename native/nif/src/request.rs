//! Requests: encoded on the caller's scheduler, up to a size, and put onto a connection's queue.

mod batch;
mod options;
mod values;

use std::sync::Arc;

use palladion_cql::request::{self as cql, Parameters, StatementId, Unsendable};
use palladion_cql::{Consistency, Dialect};
use palladion_driver::{Cancelled, Cluster, Request, RequestState, Statement};
use rustler::{Atom, Binary, Encoder, Env, Resource, ResourceArc, Term};

use self::options::{request_options, route, RequestOptions};
use crate::atoms;
use crate::cluster::{handle_of, ClusterHandle};
use crate::errors::{node_term, NativeError};
use crate::reply::{QueryReply, ReplyTo, Statements};
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

impl From<Unsendable> for Refused {
    fn from(error: Unsendable) -> Self {
        Self::Error(NativeError::from(&error))
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
    submit_prepare, submit_prepare_dirty, (statement, keyspace, way), prepare
);
submission!(
    /// Executes a prepared statement, found by `{:id, id}` or `{:text, statement}`.
    submit_execute, submit_execute_dirty, (statement, values, options), execute
);
submission!(
    /// Sends a batch: of statements without values, and of `{statement, values}` as for an execution.
    submit_batch, submit_batch_dirty, (kind, statements, options), batch::submit
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
    let options = request_options(to, options)?;
    let (cluster, dialect) = to.open()?;
    let frame = cql::query(&dialect, statement, &options.parameters)?;
    to.send(&cluster, (frame, dialect), &options, Statements::None)
}

/// USE would change one connection of many. Looked for behind white space and comments.
fn refuse_use(statement: &str) -> Result<(), Refused> {
    let mut rest = statement.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else if rest.starts_with("--") || rest.starts_with("//") {
            rest.split_once(['\n', '\r']).map_or("", |(_, after)| after)
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
    keyspace: Term<'a>,
    way: Term<'a>,
) -> Result<Term<'a>, Refused> {
    let statement = to.text(statement)?;
    refuse_use(statement)?;
    let keyspace: Option<&str> = keyspace
        .decode()
        .map_err(|_| NativeError::bad_argument("keyspace"))?;
    let route = route(way)?;
    let cluster = to.handle.cluster()?;
    let cluster = cluster.as_ref().ok_or_else(NativeError::closed)?;
    let (state, reply) = to.reply();
    let flights = to.handle.flights();
    let through = (cluster, to.handle.access());
    let sent = flights.prepare(through, statement, keyspace, route, reply)?;
    Ok(ResourceArc::new(RequestResource { state, sent }).encode(to.env))
}

fn execute<'a>(
    to: &Submitter<'a>,
    statement: Term<'a>,
    values: Term<'a>,
    options: Term<'a>,
) -> Result<Term<'a>, Refused> {
    let mut options = request_options(to, options)?;
    let (cluster, dialect) = to.open()?;
    let keyspace = options.parameters.keyspace.as_deref();
    let statement = prepared(&cluster, statement, keyspace)?;
    let bind = &statement.prepared.bind;
    if bind.len() * 4 > to.budget {
        return Err(Refused::TooMuch);
    }
    let values = values::bound(values, bind)?;
    // Without their id a change of the columns would go unnoticed.
    options.parameters.skip_metadata = dialect.has_metadata_ids()
        && statement.prepared.result_id.is_some()
        && !statement.prepared.result.is_empty();
    let frame = cql::execute(
        &dialect,
        id_of(&statement),
        &options.parameters,
        values::count(bind)?,
        |out| values::put(&dialect, &values, bind, to.budget, out),
    )?;
    to.send(
        &cluster,
        (frame, dialect),
        &options,
        Statements::One(statement),
    )
}

fn id_of(statement: &Statement) -> StatementId<'_> {
    StatementId {
        id: &statement.prepared.id,
        result_id: statement.prepared.result_id.as_deref(),
    }
}

/// A statement that is known, by `{:id, id}` or `{:text, statement}`.
fn prepared(
    cluster: &Cluster,
    statement: Term<'_>,
    keyspace: Option<&str>,
) -> Result<Arc<Statement>, NativeError> {
    let (by, key): (Atom, Binary<'_>) = statement
        .decode()
        .map_err(|_| NativeError::bad_argument("statement"))?;
    let cache = cluster.prepared();
    let found = if by == atoms::id() {
        cache.by_id(&key)
    } else {
        std::str::from_utf8(key.as_slice())
            .ok()
            .and_then(|text| cache.by_text(text, keyspace))
    };
    found.ok_or_else(|| NativeError::new(atoms::not_prepared()))
}

impl<'a> Submitter<'a> {
    /// More than is to be encoded here, or at all.
    fn too_much(&self) -> Refused {
        if self.budget < DIRTY_BUDGET {
            Refused::TooMuch
        } else {
            let error = NativeError::new(atoms::bad_statement());
            error.with("detail", "longer than 256 MiB").into()
        }
    }

    fn text(&self, statement: Term<'a>) -> Result<&'a str, Refused> {
        let bad = || Refused::Error(NativeError::bad_argument("statement"));
        let bytes: Binary<'a> = statement.decode().map_err(|_| bad())?;
        // Before it is looked at whether it is UTF-8, which takes its time too.
        if bytes.len() > self.budget {
            return Err(self.too_much());
        }
        std::str::from_utf8(bytes.as_slice()).map_err(|_| bad())
    }

    /// The cluster, and what is to be spoken to it.
    fn open(&self) -> Result<(Arc<Cluster>, Dialect), NativeError> {
        let cluster = self.handle.cluster()?;
        let cluster = cluster.as_ref().ok_or_else(NativeError::closed)?;
        Ok((Arc::clone(cluster), cluster.dialect()))
    }

    fn reply(&self) -> (Arc<RequestState>, ReplyTo) {
        let state = Arc::new(RequestState::default());
        let to = ReplyTo::new(self.env.pid(), self.reference, Arc::clone(&state));
        (state, to)
    }

    fn send(
        &self,
        cluster: &Arc<Cluster>,
        written: (Vec<u8>, Dialect),
        options: &RequestOptions,
        statements: Statements,
    ) -> Result<Term<'a>, Refused> {
        let (request, state) = self.request(cluster, written, options.format, statements);
        self.submitted(state, cluster.submit(request, options.route))
    }

    fn request(
        &self,
        cluster: &Arc<Cluster>,
        (frame, dialect): (Vec<u8>, Dialect),
        format: RowFormat,
        statements: Statements,
    ) -> (Request, Arc<RequestState>) {
        let (state, to) = self.reply();
        let reply = QueryReply {
            to,
            format,
            statements,
            access: self.handle.access().clone(),
            cluster: Arc::downgrade(cluster),
        };
        let request = Request {
            frame,
            dialect,
            reply: Box::new(reply),
        };
        (request, state)
    }

    fn submitted(
        &self,
        state: Arc<RequestState>,
        submitted: Result<(), Box<palladion_driver::Refused>>,
    ) -> Result<Term<'a>, Refused> {
        match submitted {
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
        let (cluster, _) = to.open()?;
        let dialect = cluster.control_dialect();
        let frame = cql::query(&dialect, to.text(statement)?, &parameters)?;
        let written = (frame, dialect);
        let (request, state) = to.request(&cluster, written, RowFormat::PLAIN, Statements::None);
        to.submitted(state, cluster.submit_control(request))
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
