//! rustls' and webpki's errors as ours.

use std::io;
use std::sync::Arc;

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};
use rustls_pki_types::ServerName;

use super::OurCertificate;
use crate::error::CertificateProblem;
use crate::Failure;

/// What an error of a TLS stream means.
pub(crate) fn failure_of(error: &io::Error, ours: OurCertificate) -> Failure {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(Error::AlertReceived(alert)) => alert_failure(*alert, ours),
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

fn alert_failure(alert: AlertDescription, ours: OurCertificate) -> Failure {
    use AlertDescription as A;
    let text = format!("{alert:?}");
    match alert {
        // What OpenSSL says on TLS 1.2 to a client without a certificate.
        A::HandshakeFailure if ours == OurCertificate::Missing => Failure::CertificateMissing(text),
        // What Cassandra's native TLS says of a certificate that it doesn't trust.
        A::InternalError if ours == OurCertificate::Shown => Failure::CertificateRejected(text),
        A::CertificateRequired
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => {
            if ours == OurCertificate::Missing {
                Failure::CertificateMissing(text)
            } else {
                Failure::CertificateRejected(text)
            }
        }
        A::ProtocolVersion => Failure::TlsVersion(text),
        A::HandshakeFailure | A::InsufficientSecurity => Failure::TlsCipher(text),
        _ => Failure::TlsAlert(text),
    }
}

pub(crate) fn rustls_error(error: &Error) -> Failure {
    match error {
        Error::InvalidCertificate(problem) => Failure::Certificate(certificate_problem(problem)),
        // The first bytes were no TLS record: a plain-text port answering our hello.
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => Failure::NotTls,
        Error::PeerIncompatible(reason) => incompatible(reason),
        other => Failure::Tls(other.to_string()),
    }
}

fn incompatible(reason: &PeerIncompatible) -> Failure {
    use PeerIncompatible as P;
    let text = format!("{reason:?}");
    match reason {
        P::ServerDoesNotSupportTls12Or13 | P::ServerTlsVersionIsDisabledByOurConfig => {
            Failure::TlsVersion(text)
        }
        P::NoCipherSuitesInCommon
        | P::NoKxGroupsInCommon
        | P::NoSignatureSchemesInCommon
        | P::NoEcPointFormatsInCommon => Failure::TlsCipher(text),
        _ => Failure::Tls(text),
    }
}

/// A refusal that rustls has no word for. The server is told `certificate_unknown`.
pub(super) fn refused(problem: CertificateProblem) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(problem)))
}

/// Chosen so that rustls sends the fitting alert.
pub(super) fn certificate_error(error: webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        E::CertNotValidForName(context) => CertificateError::NotValidForNameContext {
            expected: context.expected,
            presented: context.presented,
        },
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }
        }
        // Signed by a key that is not the one of the trusted certificate with the issuer's name.
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => CertificateError::UnknownIssuer,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => CertificateError::InvalidPurpose,
        E::UnsupportedCertVersion => refused(CertificateProblem::Version1),
        E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => refused(
            CertificateProblem::RevocationUnknown(format!("the list can't be trusted: {error}")),
        ),
        other => refused(CertificateProblem::Other(other.to_string())),
    }
}

fn certificate_problem(error: &CertificateError) -> CertificateProblem {
    use CertificateError as C;
    use CertificateProblem as P;
    let seconds = |time: &rustls_pki_types::UnixTime| i64::try_from(time.as_secs()).unwrap_or(0);
    match error {
        C::UnknownIssuer => P::UnknownIssuer,
        C::ExpiredContext { not_after, .. } => P::Expired {
            not_after: seconds(not_after),
        },
        C::NotValidYetContext { not_before, .. } => P::NotYetValid {
            not_before: seconds(not_before),
        },
        C::NotValidForNameContext {
            expected,
            presented,
        } => name_problem(expected, presented),
        C::Revoked => P::Revoked,
        C::UnknownRevocationStatus => {
            P::RevocationUnknown("no revocation list covers the certificate".to_owned())
        }
        C::ExpiredRevocationListContext { next_update, .. } => P::RevocationUnknown(format!(
            "the revocation list was to be replaced by {} (Unix time)",
            next_update.as_secs()
        )),
        C::BadEncoding => P::Other("it can't be parsed".to_owned()),
        C::InvalidPurpose => {
            P::Other("its extended key usage does not allow it for servers".to_owned())
        }
        C::Other(OtherError(ours)) => match ours.downcast_ref::<P>() {
            Some(problem) => problem.clone(),
            None => P::Other(error.to_string()),
        },
        other => P::Other(other.to_string()),
    }
}

fn name_problem(expected: &ServerName<'_>, presented: &[String]) -> CertificateProblem {
    let name = expected.to_str().into_owned();
    let names = || presented.iter().map(|name| bare_name(name)).collect();
    match expected {
        _ if presented.is_empty() => CertificateProblem::NoSubjectAltName { name },
        ServerName::IpAddress(_) => CertificateProblem::Address {
            expected: name,
            presented: names(),
        },
        _ => CertificateProblem::Name {
            expected: name,
            presented: names(),
        },
    }
}

/// webpki writes `DnsName("db.example")` and `IpAddress(127.0.0.1)`.
fn bare_name(presented: &str) -> String {
    let inner = ["DnsName(", "IpAddress("]
        .iter()
        .find_map(|kind| presented.strip_prefix(kind)?.strip_suffix(')'));
    inner
        .map_or(presented, |name| name.trim_matches('"'))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(alert: AlertDescription, ours: OurCertificate) -> Failure {
        let error = io::Error::other(Error::AlertReceived(alert));
        failure_of(&error, ours)
    }

    #[test]
    fn an_alert_means_what_it_can_mean_here() {
        use AlertDescription as A;
        use OurCertificate::{Missing, NotAsked, Shown};
        for description in [
            A::CertificateRequired,
            A::BadCertificate,
            A::HandshakeFailure,
        ] {
            let missing = alert(description, Missing);
            assert!(matches!(missing, Failure::CertificateMissing(_)));
        }
        let ours = alert(A::UnknownCA, Shown);
        assert!(matches!(ours, Failure::CertificateRejected(_)));
        let ciphers = alert(A::HandshakeFailure, Shown);
        assert!(matches!(ciphers, Failure::TlsCipher(_)));
        let versions = alert(A::ProtocolVersion, Missing);
        assert!(matches!(versions, Failure::TlsVersion(_)));
        let ours = alert(A::InternalError, Shown);
        assert!(matches!(ours, Failure::CertificateRejected(_)));
        let other = alert(A::InternalError, NotAsked);
        assert!(matches!(other, Failure::TlsAlert(_)));
    }

    #[test]
    fn names_are_shown_as_they_stand_in_the_certificate() {
        assert_eq!(bare_name("DnsName(\"*.db.example\")"), "*.db.example");
        assert_eq!(bare_name("IpAddress(::1)"), "::1");
        assert_eq!(bare_name("DirectoryName"), "DirectoryName");
    }
}
