//! Statements that the server knows by itself, so that tests need no rule for them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palladion_cql::value::Value;
use palladion_cql::ColumnType;

use crate::rows::{hash, Columns, Hash, Rows, TABLE};
use crate::system::{Select, Selection};
use crate::types::columns_and_key;
use crate::Error;

/// A statement and what is answered to it.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) bind: Columns,
    pub(crate) partition_key: Vec<u16>,
    pub(crate) result: Columns,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// One row of the very bytes that were bound.
    Echo,
    Rows(Arc<Rows>),
    /// Rows of one int column that counts from 0, in pages.
    Numbers(u32),
    Keyspace(String),
    /// What a simulated node says about itself or the others, at the time it is asked.
    System(Selection),
    Void,
}

/// What the server knows by itself.
#[derive(Debug)]
pub(crate) struct Statements {
    address: IpAddr,
    pages: Mutex<HashMap<u32, Arc<Rows>>>,
}

/// Statements prepared, at most; then all are forgotten, as by a server that evicts them.
const MAX_PREPARED: usize = 100_000;
/// Pages kept, and rows in one.
const MAX_PAGES: usize = 64;
const MAX_ROWS: u32 = 1_000_000;

impl Statements {
    pub(crate) fn new(address: IpAddr) -> Self {
        Self {
            address,
            pages: Mutex::default(),
        }
    }

    /// What the server makes of a text; `None` if it does not know it.
    pub(crate) fn builtin(&self, text: &str) -> Result<Option<Statement>, Error> {
        if let Some(arguments) = call(text, "echo") {
            let (columns, key) = columns_and_key(arguments)?;
            let columns = Columns::new(TABLE, &columns)?;
            return Ok(Some(Statement {
                text: text.to_owned(),
                bind: columns.clone(),
                partition_key: key,
                result: columns,
                answer: Answer::Echo,
            }));
        }
        if let Some(arguments) = call(text, "void") {
            let (columns, key) = columns_and_key(arguments)?;
            return Ok(Some(Statement {
                partition_key: key,
                bind: Columns::new(TABLE, &columns)?,
                ..Statement::without_rows(text, Answer::Void)?
            }));
        }
        if let Some(arguments) = call(text, "page") {
            return Statement::with_rows(text, self.page(count(arguments)?)?).map(Some);
        }
        if let Some(arguments) = call(text, "numbers") {
            let column = [("n".to_owned(), ColumnType::Int)];
            return Ok(Some(Statement {
                result: Columns::new(TABLE, &column)?,
                ..Statement::without_rows(text, Answer::Numbers(count(arguments)?))?
            }));
        }
        if let Some(keyspace) = after_keyword(text, "use") {
            let keyspace = keyspace.trim_end_matches([';', ' ']).trim_matches('"');
            return Statement::without_rows(text, Answer::Keyspace(keyspace.to_owned())).map(Some);
        }
        let Some(select) = Select::parse(text) else {
            return Ok(None);
        };
        self.system_table(text, &select.columns, select.table, select.rest.is_empty())
    }

    fn page(&self, rows: u32) -> Result<Arc<Rows>, Error> {
        let mut pages = lock(&self.pages);
        if let Some(page) = pages.get(&rows) {
            return Ok(page.clone());
        }
        if pages.len() >= MAX_PAGES {
            pages.clear();
        }
        let page = Arc::new(page(rows)?);
        pages.insert(rows, page.clone());
        Ok(page)
    }

    /// `system.local` with one row and `system.peers` with none.
    fn system_table(
        &self,
        text: &str,
        columns: &str,
        table: &str,
        whole: bool,
    ) -> Result<Option<Statement>, Error> {
        let local = match table {
            "system.local" => true,
            "system.peers" | "system.peers_v2" if whole => false,
            _ => return Ok(None),
        };
        let known = system_columns(self.address);
        let mut selected = Vec::new();
        for name in columns.split(',') {
            match known.iter().find(|(known, _, _)| *known == name) {
                Some(column) => selected.push(column.clone()),
                None if name == "*" => selected.extend(known.iter().cloned()),
                None => return Ok(None),
            }
        }
        let (_, table) = table.split_once('.').unwrap_or(("system", table));
        let types = selected.iter().map(|(name, ty, _)| (*name, ty.clone()));
        let mut rows = Rows::of_table(("system", table), types)?;
        if local {
            let cells: Vec<Value> = selected.into_iter().map(|(_, _, cell)| cell).collect();
            rows.push(&cells)?;
        }
        Statement::with_rows(text, Arc::new(rows)).map(Some)
    }
}

/// What is prepared on a server, or on one of its nodes.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements(Mutex<HashMap<Hash, Arc<Statement>>>);

impl PreparedStatements {
    /// Remembers a statement under an id that depends on its text, and on the keyspace if one was
    /// named.
    pub(crate) fn prepare(
        &self,
        statement: Statement,
        keyspace: Option<&str>,
    ) -> (Hash, Arc<Statement>) {
        let id = match keyspace {
            None => hash(statement.text.as_bytes()),
            Some(keyspace) => hash([keyspace, &statement.text].join("\0").as_bytes()),
        };
        let statement = Arc::new(statement);
        let mut prepared = lock(&self.0);
        if prepared.len() >= MAX_PREPARED {
            prepared.clear();
        }
        prepared.insert(id, statement.clone());
        (id, statement)
    }

    pub(crate) fn get(&self, id: &[u8]) -> Option<Arc<Statement>> {
        let id: &Hash = id.try_into().ok()?;
        lock(&self.0).get(id).cloned()
    }

    pub(crate) fn forget(&self) {
        lock(&self.0).clear();
    }
}

impl Statement {
    /// Without bind markers and rows.
    pub(crate) fn without_rows(text: &str, answer: Answer) -> Result<Self, Error> {
        let none = Columns::new(TABLE, &[])?;
        Ok(Self {
            text: text.to_owned(),
            bind: none.clone(),
            partition_key: Vec::new(),
            result: none,
            answer,
        })
    }

    pub(crate) fn with_rows(text: &str, rows: Arc<Rows>) -> Result<Self, Error> {
        Ok(Self {
            result: rows.columns.clone(),
            ..Self::without_rows(text, Answer::Rows(rows))?
        })
    }
}

/// The arguments of the first call of `name` in a text: `a, b` in `SELECT echo(a, b)`.
fn call<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut at = 0;
    loop {
        let start = at + text[at..].find(name)?;
        at = start + name.len();
        let before = text[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        if let Some(rest) = text[at..].strip_prefix('(') {
            // What stands before a closing bracket on the top level.
            let depths = rest.char_indices().scan(1usize, |depth, (at, c)| {
                match c {
                    '(' => *depth += 1,
                    ')' => *depth -= 1,
                    _ => {}
                }
                Some((at, *depth))
            });
            let end = depths.into_iter().find(|(_, depth)| *depth == 0);
            return end.map(|(end, _)| &rest[..end]);
        }
    }
}

/// What follows a keyword at the start of a text.
pub(crate) fn after_keyword<'t>(text: &'t str, keyword: &str) -> Option<&'t str> {
    let (word, rest) = text.trim().split_once(char::is_whitespace)?;
    word.eq_ignore_ascii_case(keyword).then(|| rest.trim())
}

fn count(text: &str) -> Result<u32, Error> {
    let count = text.trim().parse().ok().filter(|n| *n <= MAX_ROWS);
    count.ok_or_else(|| Error::usage(format!("{text:?} is no number of rows up to {MAX_ROWS}")))
}

/// Rows of nine columns, as an application's table might have them.
fn page(rows: u32) -> Result<Rows, Error> {
    let mut page = Rows::new([
        ("id", ColumnType::Uuid),
        ("seq", ColumnType::Int),
        ("name", ColumnType::Text),
        ("email", ColumnType::Text),
        ("score", ColumnType::Double),
        ("visits", ColumnType::Bigint),
        ("active", ColumnType::Boolean),
        ("created", ColumnType::Timestamp),
        ("note", ColumnType::Text),
    ])?;
    for i in 0..rows {
        let mut uuid = [0x40; 16];
        uuid[..4].copy_from_slice(&i.to_be_bytes());
        let n = i64::from(i);
        page.push(&[
            Value::Uuid(uuid),
            Value::Int(n),
            Value::Text(format!("user {i}")),
            Value::Text(format!("user{i}@example.org")),
            Value::Float(f64::from(i) / 8.0),
            Value::Int(n * 1_000_003),
            Value::Boolean(i % 2 == 0),
            Value::Timestamp(1_700_000_000_000 + n),
            if i % 10 == 9 {
                Value::Null
            } else {
                Value::Text(format!("a note of some length about row {i}"))
            },
        ])?;
    }
    Ok(page)
}

fn system_columns(address: IpAddr) -> Vec<(&'static str, ColumnType, Value)> {
    let text = |value: &str| Value::Text(value.to_owned());
    let tokens = Value::Set(vec![text("0")]);
    let set = ColumnType::Set(Box::new(ColumnType::Text));
    let mut host_id = [0x70; 16];
    host_id[6] = 0x40;
    host_id[8] = 0x80;
    vec![
        ("key", ColumnType::Text, text("local")),
        ("bootstrapped", ColumnType::Text, text("COMPLETED")),
        ("broadcast_address", ColumnType::Inet, Value::Inet(address)),
        ("cluster_name", ColumnType::Text, text("testkit")),
        ("cql_version", ColumnType::Text, text("3.4.7")),
        ("data_center", ColumnType::Text, text("datacenter1")),
        ("host_id", ColumnType::Uuid, Value::Uuid(host_id)),
        ("listen_address", ColumnType::Inet, Value::Inet(address)),
        ("native_protocol_version", ColumnType::Text, text("4")),
        (
            "partitioner",
            ColumnType::Text,
            text("org.apache.cassandra.dht.Murmur3Partitioner"),
        ),
        ("rack", ColumnType::Text, text("rack1")),
        ("release_version", ColumnType::Text, text("4.1.0")),
        ("rpc_address", ColumnType::Inet, Value::Inet(address)),
        ("schema_version", ColumnType::Uuid, Value::Uuid([0x11; 16])),
        ("tokens", set, tokens),
    ]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
