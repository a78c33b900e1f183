//! What a server's connections share.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::counters::{Counters, Observed};
use crate::event::Event;
use crate::login::Login;
use crate::nodes::{Member, Nodes};
use crate::options::Options;
use crate::script::Script;
use crate::statement::{PreparedStatements, Statements};
use crate::tls::Tls;
use crate::Error;

/// Events on their way to connections, at most.
const EVENTS: usize = 4096;

/// Everything but the sockets.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) observed: Observed,
    pub(crate) statements: Statements,
    /// Unless each of its nodes has its own.
    pub(crate) prepared: Arc<PreparedStatements>,
    /// If it simulates a cluster.
    pub(crate) nodes: Option<Nodes>,
    /// In milliseconds.
    pub(crate) handshake_delay: AtomicU64,
    pub(crate) has_rules: AtomicBool,
    pub(crate) supported: Vec<(String, Vec<String>)>,
    pub(crate) tls: Option<Tls>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) max_frame: u32,
    pub(crate) max_connections: usize,
    script: Mutex<Script>,
    login: Mutex<Option<Login>>,
}

impl Shared {
    pub(crate) fn new(options: Options, port: u16) -> Result<Self, Error> {
        let own = |name: &str, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned());
            (name.to_owned(), values.collect::<Vec<_>>())
        };
        let mut supported = vec![
            own("CQL_VERSION", &["3.4.7"]),
            own("COMPRESSION", &[]),
            own("PROTOCOL_VERSIONS", &["4/v4"]),
        ];
        // What the test gives replaces what is there.
        supported.retain(|(name, _)| options.supported.iter().all(|(given, _)| given != name));
        supported.extend(options.supported);
        let nodes = options.cluster.map(|cluster| Nodes::new(cluster, port));
        Ok(Self {
            observed: Observed::default(),
            statements: Statements::new(options.address.ip()),
            prepared: Arc::default(),
            nodes: nodes.transpose()?,
            handshake_delay: AtomicU64::new(options.handshake_delay.as_millis() as u64),
            has_rules: AtomicBool::new(false),
            supported,
            tls: options.tls.map(Tls::new).transpose()?,
            events: broadcast::channel(EVENTS).0,
            max_frame: options.max_frame,
            max_connections: options.max_connections,
            script: Mutex::new(Script::new(options.seed)),
            login: Mutex::new(options.login),
        })
    }

    pub(crate) fn wait(
        &self,
        timeout: Duration,
        condition: impl Fn(&Counters) -> bool,
    ) -> Result<Counters, Error> {
        let seen = (self.observed).wait(timeout, || self.observed.counters(), condition);
        seen.map_err(|seen| Error::Timeout(Box::new(seen)))
    }

    /// The nodes, if there are any.
    pub(crate) fn members(&self) -> Vec<Arc<Member>> {
        self.nodes.as_ref().map(Nodes::all).unwrap_or_default()
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn login(&self) -> MutexGuard<'_, Option<Login>> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
