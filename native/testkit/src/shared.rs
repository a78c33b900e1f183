//! What a server's connections share.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladion_cql::{Compression, Version};
use tokio::sync::broadcast;

use crate::counters::{Counters, Observed};
use crate::event::Event;
use crate::login::Login;
use crate::nodes::{Member, Nodes};
use crate::options::{Options, Refusal};
use crate::requests::Recorder;
use crate::script::Script;
use crate::segments::Cut;
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
    pub(crate) versions: Vec<Version>,
    pub(crate) refusal: Refusal,
    pub(crate) compression: Vec<Compression>,
    pub(crate) segments: Cut,
    pub(crate) segment_compression: bool,
    pub(crate) metadata_ids: bool,
    pub(crate) rate_limit_error: Option<i32>,
    pub(crate) recorder: Recorder,
    pub(crate) seed: u64,
    pub(crate) max_frame: u32,
    pub(crate) max_connections: usize,
    script: Mutex<Script>,
    login: Mutex<Option<Login>>,
}

impl Shared {
    pub(crate) fn new(options: Options, port: u16) -> Result<Self, Error> {
        let mut supported = supported(&options);
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
            versions: options.versions,
            refusal: options.refusal,
            compression: options.compression,
            segments: options.segments,
            segment_compression: options.segment_compression,
            metadata_ids: options.metadata_ids,
            rate_limit_error: options.rate_limit_error,
            recorder: Recorder::default(),
            seed: options.seed,
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

/// What SUPPORTED says.
fn supported(options: &Options) -> Vec<(String, Vec<String>)> {
    let own = |name: &str, values: Vec<String>| (name.to_owned(), values);
    let algorithms = options.compression.iter().map(|c| c.name().to_owned());
    let mut versions = options.versions.clone();
    versions.sort();
    let versions = versions.iter().map(|v| format!("{}/{v}", v.number()));
    let mut supported = vec![
        own("CQL_VERSION", vec!["3.4.7".to_owned()]),
        own("COMPRESSION", algorithms.collect()),
        own("PROTOCOL_VERSIONS", versions.collect()),
    ];
    if options.metadata_ids {
        supported.push(own("SCYLLA_USE_METADATA_ID", vec![String::new()]));
    }
    if let Some(code) = options.rate_limit_error {
        let value = format!("ERROR_CODE={code}");
        supported.push(own("SCYLLA_RATE_LIMIT_ERROR", vec![value]));
    }
    supported
}
