//! Batches.

use bytes::Bytes;
use palladion_cql::request::{Batch, BatchKind};
use palladion_cql::Dialect;
use palladion_driver::Cluster;
use rustler::{Binary, Term};

use super::options::request_options;
use super::{id_of, prepared, refuse_use, values, Refused, Submitter};
use crate::errors::NativeError;
use crate::reply::Statements;

pub(super) fn submit<'a>(
    to: &Submitter<'a>,
    kind: Term<'a>,
    statements: Term<'a>,
    options: Term<'a>,
) -> Result<Term<'a>, Refused> {
    let kind = kind.decode().ok().and_then(BatchKind::from_wire);
    let kind = kind.ok_or_else(|| NativeError::bad_argument("type"))?;
    let options = request_options(to, options)?;
    let (cluster, dialect) = to.open()?;
    let mut adding = Adding {
        to,
        looked_up: 0,
        cluster: &cluster,
        dialect: &dialect,
        keyspace: options.parameters.keyspace.as_deref(),
        batch: Batch::new(&dialect, kind, &options.parameters)?,
        statements: Vec::new(),
    };
    let mut rest = statements;
    let mut index = 0;
    while let Ok((statement, tail)) = rest.list_get_cell() {
        adding.add(statement).map_err(|refused| match refused {
            Refused::Error(error) => Refused::Error(error.with("statement", index)),
            too_much => too_much,
        })?;
        index += 1;
        rest = tail;
    }
    if !rest.is_empty_list() {
        return Err(NativeError::bad_argument("statements").into());
    }
    let Adding {
        batch, statements, ..
    } = adding;
    let frame = batch.finish(&options.parameters)?;
    let statements = Statements::Many(statements.into());
    to.send(&cluster, (frame, dialect), &options, statements)
}

struct Adding<'s, 'a> {
    to: &'s Submitter<'a>,
    cluster: &'s Cluster,
    dialect: &'s Dialect,
    keyspace: Option<&'s str>,
    batch: Batch,
    /// Bytes of the statements' texts that were looked up.
    looked_up: usize,
    /// Each one's id, if it is prepared.
    statements: Vec<Option<Bytes>>,
}

impl<'a> Adding<'_, 'a> {
    /// The text of a statement, or `{statement, values}`.
    fn add(&mut self, statement: Term<'a>) -> Result<(), Refused> {
        let done = self.batch.size() + self.looked_up;
        let left = self.to.budget.saturating_sub(done);
        if left == 0 {
            return Err(self.to.too_much());
        }
        if statement.is_binary() {
            let text = self.to.text(statement)?;
            refuse_use(text)?;
            if text.len() > left {
                return Err(self.to.too_much());
            }
            self.statements.push(None);
            return Ok(self.batch.query(text)?);
        }
        let (key, values): (Term<'a>, Term<'a>) = statement
            .decode()
            .map_err(|_| NativeError::bad_argument("statement"))?;
        let (_, name): (Term<'a>, Binary<'a>) = key
            .decode()
            .map_err(|_| NativeError::bad_argument("statement"))?;
        // To look it up takes its time, too.
        self.looked_up += name.len();
        if name.len() > left {
            return Err(self.to.too_much());
        }
        let statement = prepared(self.cluster, key, self.keyspace)?;
        let bind = &statement.prepared.bind;
        if bind.len() * 4 > left {
            return Err(self.to.too_much());
        }
        let values = values::bound(values, bind)?;
        self.statements.push(Some(statement.prepared.id.clone()));
        let count = values::count(bind)?;
        let (dialect, budget) = (self.dialect, self.to.budget);
        self.batch.prepared(id_of(&statement), count, |out| {
            values::put(dialect, &values, bind, budget, out)
        })
    }
}
