use std::borrow::Cow;
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
    /// The keyspace that it was prepared in, if that is not the connection's.
    pub keyspace: Option<Arc<str>>,
    /// What the server said of it.
    pub prepared: Prepared,
}

impl Statement {
    fn key(&self) -> Cow<'_, str> {
        key(&self.text, self.keyspace.as_deref())
    }
}

/// Text and keyspace as one. No statement begins with a zero.
fn key<'a>(text: &'a str, keyspace: Option<&str>) -> Cow<'a, str> {
    match keyspace {
        None => Cow::Borrowed(text),
        Some(keyspace) => Cow::Owned(format!("\0{keyspace}\0{text}")),
    }
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

impl Inner {
    fn put(&mut self, mut statement: Statement) {
        // Ids are copied, for they would keep the whole answer's memory.
        let Prepared { id, result_id, .. } = &mut statement.prepared;
        for id in result_id.iter_mut().chain([id]) {
            *id = Bytes::copy_from_slice(id);
        }
        let statement = Arc::new(statement);
        let text = match &statement.keyspace {
            None => Arc::clone(&statement.text),
            Some(_) => statement.key().into(),
        };
        let id = statement.prepared.id.clone();
        self.by_text.put(text, Arc::clone(&statement));
        self.by_id.put(id, statement);
    }
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

    /// The statement with this text, prepared in this keyspace if one is named.
    pub fn by_text(&self, text: &str, keyspace: Option<&str>) -> Option<Arc<Statement>> {
        if text.starts_with('\0') {
            return None;
        }
        self.with(|inner| inner.by_text.get(&*key(text, keyspace)).cloned())
    }

    /// The statement with this id.
    pub fn by_id(&self, id: &[u8]) -> Option<Arc<Statement>> {
        self.with(|inner| inner.by_id.get(id).cloned())
    }

    /// Remembers a statement.
    pub fn insert(&self, text: &str, keyspace: Option<&str>, prepared: Prepared) {
        self.put(Statement {
            text: text.into(),
            keyspace: keyspace.map(Arc::from),
            prepared,
        });
    }

    /// Remembers that a statement's results have other columns than it was prepared with, unless it
    /// was prepared again in the meantime.
    pub fn renew(&self, statement: &Arc<Statement>, columns: &Arc<[ColumnSpec]>, id: &Bytes) {
        let renewed = Statement {
            text: Arc::clone(&statement.text),
            keyspace: statement.keyspace.clone(),
            prepared: Prepared {
                result: Arc::clone(columns),
                result_id: Some(id.clone()),
                ..statement.prepared.clone()
            },
        };
        self.with(|inner| {
            // With another keyspace it may have the same id, under which one of the two is known.
            let by_id = inner.by_id.peek(&statement.prepared.id);
            let by_text = inner.by_text.peek(&*statement.key());
            let mut known = by_id.into_iter().chain(by_text);
            if known.any(|known| Arc::ptr_eq(known, statement)) {
                inner.put(renewed);
            }
        });
    }

    fn put(&self, statement: Statement) {
        self.with(|inner| inner.put(statement));
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
                inner.by_text.pop(&*statement.key());
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
            result_id: None,
        }
    }

    #[test]
    fn the_least_recently_used_statement_goes_first() {
        let cache = PreparedCache::new(2);
        cache.insert("a", None, prepared(b"1"));
        cache.insert("b", None, prepared(b"2"));
        assert!(cache.by_text("a", None).is_some());
        cache.insert("c", None, prepared(b"3"));
        assert!(cache.by_text("a", None).is_some() && cache.by_text("b", None).is_none());
        assert_eq!(&*cache.by_id(b"3").unwrap().text, "c");
    }

    #[test]
    fn a_keyspace_makes_another_statement() {
        let cache = PreparedCache::new(8);
        cache.insert("a", None, prepared(b"1"));
        cache.insert("a", Some("shop"), prepared(b"2"));
        let id = |keyspace| cache.by_text("a", keyspace).map(|s| s.prepared.id.clone());
        assert_eq!(id(None).as_deref(), Some(&b"1"[..]));
        assert_eq!(id(Some("shop")).as_deref(), Some(&b"2"[..]));
        assert_eq!(id(Some("other")), None);
        // What looks like the cache's own key is no statement.
        assert!(cache.by_text("\0shop\0a", None).is_none());
    }

    #[test]
    fn other_columns_are_remembered_unless_there_is_something_newer() {
        let cache = PreparedCache::new(8);
        cache.insert("a", None, prepared(b"1"));
        let first = cache.by_id(b"1").unwrap();
        let columns: Arc<[ColumnSpec]> = Arc::from([ColumnSpec {
            keyspace: "shop".into(),
            table: "users".into(),
            name: "id".to_owned(),
            ty: palladion_cql::ColumnType::Int,
        }]);
        cache.renew(&first, &columns, &Bytes::from_static(b"new"));
        let renewed = cache.by_text("a", None).unwrap();
        assert_eq!(renewed.prepared.result, columns);
        assert_eq!(renewed.prepared.result_id.as_deref(), Some(&b"new"[..]));
        // An answer to a request of before.
        cache.renew(&first, &Arc::from([]), &Bytes::from_static(b"old"));
        assert_eq!(cache.by_id(b"1").unwrap().prepared.result, columns);
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
            cache.insert("users", None, of(b"1", [column("shop", "users")]));
            cache.insert("orders", None, of(b"2", [column("shop", "orders")]));
            cache.insert("elsewhere", None, of(b"3", [column("shop2", "users")]));
            cache
        };
        let left = |change: SchemaChange| {
            let cache = cache();
            cache.evict(&change);
            let known = |text: &&str| cache.by_text(text, None).is_some();
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
