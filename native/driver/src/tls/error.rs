//! rustls' errors as ours.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::error::CertificateProblem;
use crate::Failure;

/// What an error of a TLS stream means.
pub(crate) fn failure_of(error: &io::Error) -> Failure {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(tls) => rustls_error(tls),
        None if closed_by_peer(error) => Failure::ClosedByServer,
        None => Failure::Io(error.to_string()),
    }
}

fn closed_by_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

pub(crate) fn rustls_error(error: &Error) -> Failure {
    match error {
        Error::InvalidCertificate(problem) => Failure::Certificate(certificate(problem)),
        // The first bytes were no TLS record: a plain-text port answering our hello.
        Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)
        | Error::InvalidMessage(rustls::InvalidMessage::UnknownProtocolVersion)
        | Error::InvalidMessage(rustls::InvalidMessage::MessageTooLarge) => Failure::NotTls,
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Failure::CertificateRejected(format!("{alert:?}")),
            AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
                Failure::TlsParameters(format!("{alert:?}"))
            }
            _ => Failure::TlsAlert(format!("{alert:?}")),
        },
        Error::PeerIncompatible(reason) => Failure::TlsParameters(format!("{reason:?}")),
        other => Failure::Tls(other.to_string()),
    }
}

fn certificate(problem: &CertificateError) -> CertificateProblem {
    let seconds = |time: &rustls_pki_types::UnixTime| i64::try_from(time.as_secs()).unwrap_or(0);
    match problem {
        CertificateError::UnknownIssuer => CertificateProblem::UnknownIssuer,
        CertificateError::ExpiredContext { not_after, .. } => CertificateProblem::Expired {
            not_after: seconds(not_after),
        },
        CertificateError::Expired => CertificateProblem::Expired { not_after: 0 },
        CertificateError::NotValidYetContext { not_before, .. } => {
            CertificateProblem::NotYetValid {
                not_before: seconds(not_before),
            }
        }
        CertificateError::NotValidYet => CertificateProblem::NotYetValid { not_before: 0 },
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => CertificateProblem::Name {
            expected: expected.to_str().into_owned(),
            presented: presented.clone(),
        },
        CertificateError::NotValidForName => CertificateProblem::Name {
            expected: String::new(),
            presented: Vec::new(),
        },
        other => CertificateProblem::Other(other.to_string()),
    }
}
