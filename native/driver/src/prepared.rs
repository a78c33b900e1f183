use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use palladion_cql::response::{Prepared, SchemaChange};
use palladion_cql::types::ColumnSpec;

/// A statement that a server has prepared.
#[derive(Debug)]
pub struct Statement {
    /// Its text.
    pub text: Arc<str>,
    /// What the server said of it.
    pub prepared: Prepared,
}

/// The statements prepared last, by text and by id. Bounded: the least recently used goes first.
///
/// An id is the server's digest of keyspace and text, the same on every node.
#[derive(Debug)]
pub struct PreparedCache {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    by_text: LruCache<Arc<str>, Arc<Statement>>,
    by_id: LruCache<Bytes, Arc<Statement>>,
}

impl PreparedCache {
    /// An empty cache for `size` statements.
    pub fn new(size: usize) -> Self {
        let size = NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN);
        Self {
            inner: Mutex::new(Inner {
                by_text: LruCache::new(size),
                by_id: LruCache::new(size),
            }),
        }
    }

    /// The statement with this text.
    pub fn by_text(&self, text: &str) -> Option<Arc<Statement>> {
        self.with(|inner| inner.by_text.get(text).cloned())
    }

    /// The statement with this id.
    pub fn by_id(&self, id: &[u8]) -> Option<Arc<Statement>> {
        self.with(|inner| inner.by_id.get(id).cloned())
    }

    /// Remembers a statement.
    pub fn insert(&self, text: &str, prepared: Prepared) -> Arc<Statement> {
        // The id is copied, for it would keep the whole answer's memory.
        let id = Bytes::copy_from_slice(&prepared.id);
        let statement = Arc::new(Statement {
            text: text.into(),
            prepared: Prepared {
                id: id.clone(),
                ..prepared
            },
        });
        self.with(|inner| {
            let text = Arc::clone(&statement.text);
            inner.by_text.put(text, Arc::clone(&statement));
            inner.by_id.put(id, Arc::clone(&statement));
        });
        statement
    }

    /// Forgets the statements whose types a change of the schema may have made stale: they are
    /// prepared again before they are used again.
    pub fn evict(&self, change: &SchemaChange) {
        if change.change == "CREATED" {
            return;
        }
        let stale = |column: &ColumnSpec| {
            *column.keyspace == *change.keyspace
                && (change.target != "TABLE" || change.name.as_deref() == Some(&*column.table))
        };
        self.with(|inner| {
            let of_it = |statement: &Statement| {
                let Prepared { bind, result, .. } = &statement.prepared;
                bind.iter().chain(result.iter()).any(stale)
            };
            // Each of the two may have what the other has dropped.
            let by_id = inner.by_id.iter().map(|(_, statement)| statement);
            let by_text = inner.by_text.iter().map(|(_, statement)| statement);
            let stale: Vec<_> = by_id
                .chain(by_text)
                .filter(|statement| of_it(statement))
                .cloned()
                .collect();
            for statement in stale {
                inner.by_id.pop(&statement.prepared.id);
                inner.by_text.pop(&statement.text);
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(id: &'static [u8]) -> Prepared {
        Prepared {
            id: Bytes::from_static(id),
            bind: Arc::from([]),
            partition_key: Vec::new(),
            result: Arc::from([]),
        }
    }

    #[test]
    fn the_least_recently_used_statement_goes_first() {
        let cache = PreparedCache::new(2);
        cache.insert("a", prepared(b"1"));
        cache.insert("b", prepared(b"2"));
        assert!(cache.by_text("a").is_some());
        cache.insert("c", prepared(b"3"));
        assert!(cache.by_text("a").is_some() && cache.by_text("b").is_none());
        assert_eq!(&*cache.by_id(b"3").unwrap().text, "c");
    }

    #[test]
    fn a_change_of_the_schema_evicts_what_it_touches() {
        let column = |keyspace: &str, table: &str| ColumnSpec {
            keyspace: keyspace.into(),
            table: table.into(),
            name: "id".to_owned(),
            ty: palladion_cql::ColumnType::Int,
        };
        let change = |change: &str, target: &str, name: Option<&str>| SchemaChange {
            change: change.to_owned(),
            target: target.to_owned(),
            keyspace: "shop".to_owned(),
            name: name.map(str::to_owned),
        };
        let cache = || {
            let cache = PreparedCache::new(8);
            let of = |id, columns: [ColumnSpec; 1]| Prepared {
                result: Arc::from(columns),
                ..prepared(id)
            };
            cache.insert("users", of(b"1", [column("shop", "users")]));
            cache.insert("orders", of(b"2", [column("shop", "orders")]));
            cache.insert("elsewhere", of(b"3", [column("shop2", "users")]));
            cache
        };
        let left = |change: SchemaChange| {
            let cache = cache();
            cache.evict(&change);
            let known = |text: &&str| cache.by_text(text).is_some();
            let texts = ["users", "orders", "elsewhere"];
            texts.into_iter().filter(known).collect::<Vec<_>>()
        };
        let table = left(change("UPDATED", "TABLE", Some("users")));
        assert_eq!(table, ["orders", "elsewhere"]);
        let ty = left(change("UPDATED", "TYPE", Some("address")));
        assert_eq!(ty, ["elsewhere"]);
        let keyspace = left(change("DROPPED", "KEYSPACE", None));
        assert_eq!(keyspace, ["elsewhere"]);
        assert_eq!(left(change("CREATED", "TABLE", Some("users"))).len(), 3);
    }
}
