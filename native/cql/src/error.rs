/// Why bytes from the network could not be read.
///
/// Holds positions and numbers, never content: a message may carry a user's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ended where more was announced.
    #[error("message ends inside {0}")]
    Truncated(&'static str),
    /// A length or count was negative where that has no meaning.
    #[error("negative length of {0}")]
    Negative(&'static str),
    /// Text that is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    Utf8(&'static str),
    /// A number that the protocol does not define.
    #[error("unknown {what} {value:#x}")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The number found.
        value: i64,
    },
    /// A value whose length does not fit its type.
    #[error("{len} bytes are no {ty}")]
    BadLength {
        /// The CQL type.
        ty: &'static str,
        /// The length found.
        len: usize,
    },
    /// Types nested deeper than [`crate::types::MAX_DEPTH`].
    #[error("types nested deeper than {}", crate::types::MAX_DEPTH)]
    TooDeep,
    /// A frame longer than the configured bound.
    #[error("frame of {len} bytes, more than the {max} allowed")]
    FrameTooLarge {
        /// Announced length.
        len: u64,
        /// The bound.
        max: u32,
    },
    /// Another protocol version than the one spoken on this connection.
    #[error("frame of protocol version {0:#x}")]
    Version(u8),
    /// Bytes that are no CQL frame but a TLS record: the peer wants TLS.
    #[error("the peer answered with a TLS record")]
    TlsRecord,
    /// Bytes that were damaged on the way.
    #[error("wrong checksum of {0}")]
    Checksum(&'static str),
    /// Bytes that can't be decompressed, or are compressed though that was not agreed on.
    #[error("compressed bytes that can't be read")]
    Compression,
    /// A length that compressed bytes can't have.
    #[error("{compressed} compressed bytes that claim to be {len}")]
    Bomb {
        /// What they claim to become.
        len: usize,
        /// How many there are.
        compressed: usize,
    },
    /// A segment that should have whole frames ends inside of one.
    #[error("a segment ends inside a frame")]
    Segment,
}

impl DecodeError {
    /// Whether only a value is wrong: the bytes around it can be read on. A collection whose count is
    /// beyond its bytes isn't: servers check what is written, so it's the server that is wrong.
    pub fn is_value(&self) -> bool {
        matches!(self, Self::BadLength { .. } | Self::Utf8(_))
    }
}
