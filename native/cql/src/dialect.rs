//! What the two ends of a connection have agreed to speak.

use std::fmt;

use crate::DecodeError;

/// A version of the native protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Version {
    /// Since Cassandra 2.1.
    V3 = 3,
    /// Since Cassandra 2.2; all that ScyllaDB and Amazon Keyspaces speak.
    V4 = 4,
    /// Since Cassandra 4.0.
    V5 = 5,
}

impl Version {
    /// All, the oldest first.
    pub const ALL: [Self; 3] = [Self::V3, Self::V4, Self::V5];

    /// The version with this number.
    pub fn from_wire(number: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|version| version.number() == number)
            .ok_or(DecodeError::Version(number))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The one before.
    pub fn older(self) -> Option<Self> {
        match self {
            Self::V3 => None,
            Self::V4 => Some(Self::V3),
            Self::V5 => Some(Self::V4),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.number())
    }
}

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// LZ4's block format.
    Lz4,
    /// Snappy's raw format; not in protocol 5.
    Snappy,
}

impl Compression {
    /// The name in SUPPORTED and STARTUP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }
}

/// What the two ends of a connection have agreed to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The protocol's version.
    pub version: Version,
    /// How bodies are compressed, or, from protocol 5 on, segments.
    pub compression: Option<Compression>,
    /// Whether statements have ids for the metadata of their results, as they all have in protocol
    /// 5: by ScyllaDB's extension `SCYLLA_USE_METADATA_ID`.
    pub metadata_ids: bool,
    /// The error code of ScyllaDB's extension `SCYLLA_RATE_LIMIT_ERROR`.
    pub rate_limit_error: Option<i32>,
}

impl Dialect {
    /// A version, and nothing beside it.
    pub fn plain(version: Version) -> Self {
        Self {
            version,
            compression: None,
            metadata_ids: false,
            rate_limit_error: None,
        }
    }

    /// Whether PREPARED and EXECUTE name the metadata of results, so that it can be left out of
    /// them and a change is noticed all the same.
    pub fn has_metadata_ids(&self) -> bool {
        self.metadata_ids || self.version >= Version::V5
    }

    /// How the bodies of frames are compressed.
    pub(crate) fn body_compression(&self) -> Option<Compression> {
        self.compression.filter(|_| self.version < Version::V5)
    }

    /// Whether a request made for this dialect is understood where the other one is spoken.
    pub fn is_understood_as(&self, other: &Self) -> bool {
        self.version == other.version
            && self.compression == other.compression
            && self.metadata_ids == other.metadata_ids
    }
}
