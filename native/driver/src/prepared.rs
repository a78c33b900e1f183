use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use palladion_cql::response::Prepared;

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
}
