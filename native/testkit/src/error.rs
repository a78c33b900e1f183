use crate::{Counters, NodeCounters};

/// Why the testkit could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket or a file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS could not be set up with these options.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The test asks for something that makes no sense; says what.
    #[error("{0}")]
    Usage(String),
    /// What was waited for did not happen in time; these are the counters.
    #[error("not in time: {0:?}")]
    Timeout(Box<Counters>),
    /// The same of a node.
    #[error("not in time: {0:?}")]
    NodeTimeout(Box<NodeCounters>),
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
}

impl Error {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}
