//! Which version of the protocol a cluster's connections speak: the newest that every server takes
//! which was asked so far.

use std::sync::atomic::{AtomicU8, Ordering};

use palladion_cql::{Compression, Dialect, Version};

use crate::config::ProtocolConfig;

/// What a connection asks a server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) version: Version,
    pub(crate) compression: Option<Compression>,
    /// ScyllaDB's extension, where there is such.
    pub(crate) metadata_ids: bool,
    /// Whether an older version would do.
    negotiable: bool,
}

impl Wish {
    pub(crate) fn new(config: ProtocolConfig) -> Self {
        let newest = match config.compression {
            Some(Compression::Snappy) => Version::V4,
            _ => Version::V5,
        };
        Self {
            version: config.version.unwrap_or(newest),
            compression: config.compression,
            metadata_ids: true,
            negotiable: config.version.is_none(),
        }
    }

    /// The next one to ask for after this was refused by a server that speaks `servers` version.
    pub(crate) fn older(&self, servers: Option<u8>) -> Option<Self> {
        let older = self.version.older().filter(|_| self.negotiable)?;
        let servers = servers.and_then(|number| Version::from_wire(number).ok());
        let version = servers.map_or(older, |servers| servers.min(older));
        Some(Self { version, ..*self })
    }
}

/// What is left to ask for. It only ever becomes less, for nodes that can do less are met in the middle
/// of an upgrade, until no connection is left.
#[derive(Debug)]
pub(crate) struct Agreement {
    config: ProtocolConfig,
    /// The version, and [`NO_METADATA_IDS`].
    bound: AtomicU8,
}

const NO_METADATA_IDS: u8 = 0x80;

impl Agreement {
    pub(crate) fn new(config: ProtocolConfig) -> Self {
        Self {
            config,
            bound: AtomicU8::new(Wish::new(config).version.number()),
        }
    }

    pub(crate) fn wish(&self) -> Wish {
        let wish = Wish::new(self.config);
        let bound = self.bound.load(Ordering::Acquire);
        Wish {
            version: Version::from_wire(bound & !NO_METADATA_IDS).unwrap_or(wish.version),
            metadata_ids: bound & NO_METADATA_IDS == 0,
            ..wish
        }
    }

    /// Notes what a connection has agreed on: whether that is less than was left to ask for, which others
    /// may speak or be about to, and if so, the version that was.
    pub(crate) fn agreed(&self, dialect: &Dialect) -> Option<Version> {
        let of = |dialect: &Dialect| {
            // From protocol 5 on nobody needs the extension.
            let without = !dialect.has_metadata_ids();
            let flag = if without { NO_METADATA_IDS } else { 0 };
            (dialect.version.number(), flag)
        };
        let (version, flag) = of(dialect);
        let lower = |bound: u8| {
            let lowest = version.min(bound & !NO_METADATA_IDS);
            Some(lowest | (bound & NO_METADATA_IDS) | flag)
        };
        let before = self
            .bound
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, lower)
            .unwrap_or(version);
        let is_less = lower(before) != Some(before);
        Version::from_wire(before & !NO_METADATA_IDS)
            .ok()
            .filter(|_| is_less)
    }

    /// Forgets what was agreed on: whether that was less than is left to ask for now.
    pub(crate) fn begin_anew(&self) -> bool {
        let bound = Wish::new(self.config).version.number();
        self.bound.swap(bound, Ordering::AcqRel) != bound
    }

    /// Whether nothing less was agreed on since.
    pub(crate) fn is_current(&self, dialect: &Dialect) -> bool {
        let wish = self.wish();
        dialect.version == wish.version && (wish.metadata_ids || !dialect.metadata_ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scylla() -> Dialect {
        Dialect {
            metadata_ids: true,
            ..Dialect::plain(Version::V4)
        }
    }

    #[test]
    fn the_newest_is_asked_for_first_and_a_pinned_one_alone() {
        let free = Wish::new(ProtocolConfig::default());
        assert_eq!(free.version, Version::V5);
        let older = free.older(None).unwrap();
        assert_eq!(older.version, Version::V4);
        assert_eq!(free.older(Some(3)).unwrap().version, Version::V3);
        // A server that names what it refuses.
        assert_eq!(free.older(Some(5)).unwrap().version, Version::V4);
        assert_eq!(free.older(Some(0x42)).unwrap().version, Version::V4);
        let oldest = older.older(None).unwrap();
        assert_eq!((oldest.version, oldest.older(None)), (Version::V3, None));
        let pinned = Wish::new(ProtocolConfig {
            version: Some(Version::V5),
            compression: None,
        });
        assert_eq!(pinned.older(Some(4)), None);
        let snappy = Wish::new(ProtocolConfig {
            version: None,
            compression: Some(Compression::Snappy),
        });
        assert_eq!(snappy.version, Version::V4);
    }

    #[test]
    fn what_is_agreed_on_only_becomes_less() {
        let agreement = Agreement::new(ProtocolConfig::default());
        let v5 = Dialect::plain(Version::V5);
        assert_eq!(agreement.agreed(&v5), None);
        assert!(agreement.is_current(&v5));
        assert_eq!(agreement.agreed(&scylla()), Some(Version::V5));
        assert!(!agreement.is_current(&v5) && agreement.is_current(&scylla()));
        assert_eq!(agreement.agreed(&v5), None);
        assert_eq!(agreement.wish().version, Version::V4);
        let plain = Dialect::plain(Version::V4);
        assert_eq!(agreement.agreed(&plain), Some(Version::V4));
        assert!(!agreement.is_current(&scylla()) && agreement.is_current(&plain));
        assert!(!agreement.wish().metadata_ids);
        assert_eq!(agreement.agreed(&plain), None);
    }

    #[test]
    fn when_nobody_speaks_it_any_more_the_newest_is_asked_for_again() {
        let agreement = Agreement::new(ProtocolConfig::default());
        let v4 = Dialect::plain(Version::V4);
        agreement.agreed(&v4);
        assert!(agreement.begin_anew());
        assert_eq!(agreement.wish().version, Version::V5);
        assert!(agreement.wish().metadata_ids);
        // One that was about to be counted is not what the next ones are.
        assert!(!agreement.is_current(&v4));
        assert!(!agreement.begin_anew());
    }

    #[test]
    fn who_agreed_before_all_was_forgotten_is_told_of_less_nonetheless() {
        let agreement = Agreement::new(ProtocolConfig::default());
        let (v5, v4) = (Dialect::plain(Version::V5), Dialect::plain(Version::V4));
        assert_eq!(agreement.agreed(&v5), None);
        // Another one looks whether there is a connection, before that one is counted.
        assert!(!agreement.begin_anew());
        assert!(agreement.is_current(&v5));
        assert_eq!(agreement.agreed(&v4), Some(Version::V5));
        assert!(!agreement.is_current(&v5));
    }

    #[test]
    fn the_first_agreement_may_be_less_than_was_asked_for() {
        let agreement = Agreement::new(ProtocolConfig::default());
        let v3 = Dialect::plain(Version::V3);
        assert_eq!(agreement.agreed(&v3), Some(Version::V5));
        assert_eq!(agreement.wish().version, Version::V3);
        assert_eq!(agreement.agreed(&v3), None);
    }
}
