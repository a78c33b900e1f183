//! Consistency levels (section 3, `[consistency]`).

use crate::DecodeError;

/// How many replicas must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[allow(missing_docs)] // the names are the protocol's own
pub enum Consistency {
    Any = 0x0000,
    One = 0x0001,
    Two = 0x0002,
    Three = 0x0003,
    Quorum = 0x0004,
    All = 0x0005,
    LocalQuorum = 0x0006,
    EachQuorum = 0x0007,
    Serial = 0x0008,
    LocalSerial = 0x0009,
    LocalOne = 0x000A,
}

/// Every level with the name it has in options and results.
pub const NAMES: [(&str, Consistency); 11] = [
    ("any", Consistency::Any),
    ("one", Consistency::One),
    ("two", Consistency::Two),
    ("three", Consistency::Three),
    ("quorum", Consistency::Quorum),
    ("all", Consistency::All),
    ("local_quorum", Consistency::LocalQuorum),
    ("each_quorum", Consistency::EachQuorum),
    ("serial", Consistency::Serial),
    ("local_serial", Consistency::LocalSerial),
    ("local_one", Consistency::LocalOne),
];

impl Consistency {
    /// The level with this number on the wire.
    pub fn from_wire(value: u16) -> Result<Self, DecodeError> {
        NAMES
            .iter()
            .map(|(_, level)| *level)
            .find(|level| *level as u16 == value)
            .ok_or(DecodeError::Unknown {
                what: "consistency",
                value: i64::from(value),
            })
    }

    /// The level with this name, for example `local_quorum`.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, level)| *level)
    }

    /// The name, for example `local_quorum`.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, level)| *level == self)
            .map_or("unknown", |(name, _)| name)
    }
}
