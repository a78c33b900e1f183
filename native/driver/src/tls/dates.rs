//! The dates of certificates.

use std::time::Duration;

use rustls::CertificateError;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::parse_x509_certificate;

/// What a server showed, and how long that holds.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerChain {
    /// Its certificates, DER, its own first.
    pub certificates: Vec<Vec<u8>>,
    /// The end of its own in seconds since 1970, if that can be read.
    pub not_after: Option<u64>,
    /// The earliest end of all. None if there are none, or one of them can't be read.
    pub(super) earliest_not_after: Option<u64>,
}

impl ServerChain {
    pub(super) fn new(shown: &[CertificateDer<'_>]) -> Self {
        let ends: Vec<_> = shown.iter().map(|der| not_after(der)).collect();
        let all: Option<Vec<u64>> = ends.iter().copied().collect();
        Self {
            certificates: shown.iter().map(|der| der.to_vec()).collect(),
            not_after: ends.first().copied().flatten(),
            earliest_not_after: all.and_then(|ends| ends.into_iter().min()),
        }
    }

    /// Whether these are the same certificates.
    pub(super) fn is(&self, shown: &[CertificateDer<'_>]) -> bool {
        self.certificates.iter().eq(shown.iter().map(|der| &**der))
    }
}

/// The end of a certificate, in seconds since 1970. None for bytes that are no certificate.
pub(super) fn not_after(der: &[u8]) -> Option<u64> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let end = certificate.validity().not_after.timestamp();
    // What ended before 1970, has ended.
    Some(u64::try_from(end).unwrap_or(0))
}

/// Whether a certificate is valid now, as far as its dates say.
pub(super) fn check_dates(der: &[u8], now: UnixTime) -> Result<(), CertificateError> {
    let (_, certificate) =
        parse_x509_certificate(der).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.validity();
    let not_before = unix_time(validity.not_before.timestamp());
    let not_after = unix_time(validity.not_after.timestamp());
    if now < not_before {
        Err(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        })
    } else if now > not_after {
        Err(CertificateError::ExpiredContext {
            time: now,
            not_after,
        })
    } else {
        Ok(())
    }
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}
