//! Which versions of the protocol are spoken, and how others are refused.

use palladion_cql::response::{code, ServerError};
use palladion_cql::{Compression, DecodeError, Dialect, Version};

use super::Session;
use crate::counters::add;
use crate::head::Head;
use crate::options::Refusal;
use crate::response::{error, put_error};
use crate::segments::Segmenter;

impl Session {
    /// Whether a frame of this version is welcome; once STARTUP came, only of its version.
    pub(super) fn speaks(&self, version: u8) -> bool {
        match self.agreed {
            Some(dialect) => dialect.version.number() == version,
            None => (self.shared.versions.iter()).any(|known| known.number() == version),
        }
    }

    /// The newest version spoken.
    pub(super) fn newest(&self) -> Version {
        let newest = self.shared.versions.iter().max();
        newest.copied().unwrap_or(Version::V4)
    }

    fn oldest(&self) -> Version {
        let oldest = self.shared.versions.iter().min();
        oldest.copied().unwrap_or(Version::V4)
    }

    /// What both sides have agreed on by STARTUP.
    pub(crate) fn agreed(&self) -> Option<Dialect> {
        self.agreed
    }

    /// Settles what is spoken from now on, as STARTUP asks for it in a frame of this version.
    pub(super) fn agree(
        &mut self,
        version: Version,
        options: &[(String, String)],
    ) -> Result<(), ServerError> {
        let named = |name: &str| options.iter().find(|(known, _)| known == name);
        let compression = named("COMPRESSION")
            .map(|(_, algorithm)| self.compression(version, algorithm))
            .transpose()?;
        let extension = |name: &str| named(name).is_some();
        let dialect = Dialect {
            version,
            compression,
            metadata_ids: self.shared.metadata_ids && extension("SCYLLA_USE_METADATA_ID"),
            rate_limit_error: (self.shared.rate_limit_error)
                .filter(|_| extension("SCYLLA_RATE_LIMIT_ERROR")),
        };
        let shared = &self.shared;
        let seed = shared.seed.wrapping_add(self.connection);
        self.segmenter =
            Segmenter::new(&dialect, shared.segments, shared.segment_compression, seed);
        self.agreed = Some(dialect);
        self.shared.observed.update(self.connection, |c| {
            c.version = Some(version.number());
            c.compression = compression.map(Compression::name);
        });
        Ok(())
    }

    fn compression(&self, version: Version, algorithm: &str) -> Result<Compression, ServerError> {
        let known = self.shared.compression.iter();
        let known = known.copied().find(|known| known.name() == algorithm);
        let message = match known {
            Some(Compression::Snappy) if version >= Version::V5 => {
                "Snappy compression is not supported in protocol V5".to_owned()
            }
            Some(compression) => return Ok(compression),
            None => format!("Unknown compression algorithm: {algorithm}"),
        };
        Err(error(code::PROTOCOL, message))
    }

    /// Tells a client whose bytes are no frame of this protocol.
    pub(crate) fn refuse(&self, error: &DecodeError, out: &mut Vec<u8>) {
        add(&self.shared.observed.cells.bad_frames, 1);
        let answer = match (error, self.agreed) {
            (DecodeError::Version(byte), Some(dialect)) => {
                let (got, version) = (byte & 0x7F, dialect.version.number());
                self::error(
                    code::PROTOCOL,
                    format!(
                        "Invalid message version. Got {got}/v{got} but previous messages on this \
                         connection had version {version}/v{version}"
                    ),
                )
            }
            (DecodeError::Version(byte), None) => return self.refuse_version(byte & 0x7F, out),
            (DecodeError::TlsRecord, _) => return self.refuse_version(0x16, out),
            (other, _) => self::error(code::PROTOCOL, other.to_string()),
        };
        put_error(out, &self.own_head(), &answer);
    }

    fn refuse_version(&self, version: u8, out: &mut Vec<u8>) {
        match self.shared.refusal {
            Refusal::Error => {
                let (oldest, newest) = (self.oldest().number(), self.newest().number());
                let message = format!(
                    "Invalid or unsupported protocol version ({version}); the lowest supported \
                     version is {oldest} and the greatest is {newest}"
                );
                let head = Head::new(Dialect::plain(self.newest()), 0);
                put_error(out, &head, &error(code::PROTOCOL, message));
            }
            Refusal::ServerError => {
                let message = format!(
                    "io.netty.handler.codec.DecoderException: \
                     org.apache.cassandra.transport.ProtocolException: Invalid or unsupported \
                     protocol version: {version}"
                );
                let head = Head::new(Dialect::plain(self.newest()), 0);
                put_error(out, &head, &error(code::SERVER, message));
            }
            Refusal::V2 => put_v2_error(version, out),
            Refusal::Close => {}
        }
    }
}

/// An ERROR as Cassandra 2.0 writes it: a header of eight bytes, whose stream is a single one.
fn put_v2_error(version: u8, out: &mut Vec<u8>) {
    let message = format!("Invalid or unsupported protocol version: {version}");
    out.extend_from_slice(&[0x82, 0, 0, 0]);
    out.extend_from_slice(&(message.len() as u32 + 6).to_be_bytes());
    out.extend_from_slice(&code::PROTOCOL.to_be_bytes());
    out.extend_from_slice(&(message.len() as u16).to_be_bytes());
    out.extend_from_slice(message.as_bytes());
}
