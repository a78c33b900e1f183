//! Stand-ins for what gives out AWS credentials, and the access keys that logins by signature know.

mod http;
mod stand_in;

pub use stand_in::{AwsCounters, Fault, Service, StandIn, StandInOptions};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::hash::random_hex;
use crate::Error;

/// What a client signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// What has to go with it, if it is a temporary one.
    pub session_token: Option<String>,
    /// From when on it isn't good any more, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

impl AccessKey {
    /// One for ever, without a session token.
    pub fn new(id: &str, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
            session_token: None,
            expires_at: None,
        }
    }
}

/// The access keys that are known, shared between servers and stand-ins.
#[derive(Debug, Clone, Default)]
pub struct AccessKeys(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    keys: HashMap<String, AccessKey>,
    issued: u64,
}

/// Access keys known at a time, at most.
const MAX_KEYS: usize = 10_000;

impl AccessKeys {
    /// Makes one known, or another one of the same id.
    pub fn add(&self, key: AccessKey) -> Result<(), Error> {
        let mut held = self.lock();
        if held.keys.len() >= MAX_KEYS {
            let now = clock::now();
            let lasts = |key: &AccessKey| key.expires_at.is_none_or(|end| end > now);
            held.keys.retain(|_, key| lasts(key));
        }
        if held.keys.len() >= MAX_KEYS {
            return Err(Error::usage("too many access keys"));
        }
        held.keys.insert(key.id.clone(), key);
        Ok(())
    }

    /// The one of this id.
    pub fn get(&self, id: &str) -> Option<AccessKey> {
        self.lock().keys.get(id).cloned()
    }

    /// All, in the order of their ids.
    pub fn all(&self) -> Vec<AccessKey> {
        let mut keys: Vec<_> = self.lock().keys.values().cloned().collect();
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        keys
    }

    /// Lets one expire at this time, in milliseconds since 1970. Whether there is one.
    pub fn expire(&self, id: &str, expires_at: i64) -> bool {
        let mut held = self.lock();
        let key = held.keys.get_mut(id);
        key.map(|key| key.expires_at = Some(expires_at)).is_some()
    }

    /// Forgets one. Whether there was one.
    pub fn forget(&self, id: &str) -> bool {
        self.lock().keys.remove(id).is_some()
    }

    /// A new temporary one, whose id ends in a number that counts up.
    fn issue(&self, expires_at: i64) -> Result<AccessKey, Error> {
        let n = {
            let mut held = self.lock();
            held.issued += 1;
            held.issued
        };
        let key = AccessKey {
            id: format!("ASIATESTKIT{n:08}"),
            secret: format!("{}/+{}", random_hex(19), random_hex(19)),
            // With all that base64 may have, as real ones do.
            session_token: Some(format!("IQo+{n}/{}==", random_hex(64))),
            expires_at: Some(expires_at),
        };
        self.add(key.clone())?;
        Ok(key)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When something expires that is given out now.
pub fn expiry(validity: Duration) -> i64 {
    clock::now() + validity.as_millis() as i64
}
