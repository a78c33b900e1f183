//! What a server's certificate must descend from, or be.

use std::cmp::Reverse;

use aws_lc_rs::digest::{digest, SHA256};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

use super::dates::check_dates;
use super::error::{certificate_error, refused};
use super::{CrlCheck, TlsConfig, TlsConfigError};
use crate::error::CertificateProblem;

/// The trust of one security configuration, read once.
#[derive(Debug)]
pub(crate) struct Trust {
    /// Those of the trusted certificates that may issue others. A server's own is none of them, or
    /// whoever has its key could be any server.
    roots: RootCertStore,
    /// All of them as they were given, to recognise a server's own.
    certificates: Vec<Vec<u8>>,
    pins: Vec<[u8; 32]>,
    /// The newest first: of those that cover a certificate, webpki asks the first.
    crls: Vec<Crl>,
    crl_check: CrlCheck,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Crl {
    list: CertRevocationList<'static>,
    this_update: i64,
    /// When it is out of date, in seconds since 1970.
    next_update: i64,
}

impl Trust {
    /// Nothing where verification is turned off.
    pub(super) fn new(
        config: &TlsConfig,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Option<Self>, TlsConfigError> {
        let roots = read_roots(&config.roots)?;
        let crls = read_crls(&config.crls)?;
        if !config.verify {
            let unused = !config.pins.is_empty() || !crls.is_empty();
            return if unused {
                Err(TlsConfigError::Unverified)
            } else {
                Ok(None)
            };
        }
        if config.roots.is_empty() && config.pins.is_empty() {
            return Err(TlsConfigError::NoRoots);
        }
        Ok(Some(Self {
            roots,
            certificates: config.roots.clone(),
            pins: config.pins.clone(),
            crls,
            crl_check: config.crl_check,
            algorithms,
        }))
    }

    /// Verifies everything but the name, which the certificate that is returned can be asked for.
    pub(super) fn verify<'a>(
        &self,
        server: &'a CertificateDer<'a>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<EndEntityCert<'a>, CertificateError> {
        let certificate = EndEntityCert::try_from(server).map_err(certificate_error)?;
        if self.certificates.is_empty() {
            self.check_pin(server)?;
            self.check_trusted_itself(server, &certificate, now)?;
        } else {
            self.check_roots(server, &certificate, intermediates, now)?;
            self.check_pin(server)?;
        }
        Ok(certificate)
    }

    fn check_roots(
        &self,
        server: &CertificateDer<'_>,
        certificate: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        use webpki::Error as E;
        // First, so that nothing else that the server sends has a say in it.
        if self.certificates.iter().any(|own| own == server.as_ref()) {
            return self.check_trusted_itself(server, certificate, now);
        }
        let is_self_signed = certificate.issuer() == certificate.subject();
        self.check_chain(certificate, intermediates, now)
            .map_err(|problem| match problem {
                E::UnknownIssuer | E::CaUsedAsEndEntity | E::InvalidSignatureForPublicKey
                    if is_self_signed =>
                {
                    refused(CertificateProblem::SelfSigned)
                }
                _ => certificate_error(problem),
            })
    }

    fn check_chain(
        &self,
        certificate: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().map(|crl| &crl.list).collect();
        certificate
            .verify_for_usage(
                self.algorithms.all,
                &self.roots.roots,
                intermediates,
                now,
                KeyUsage::server_auth(),
                self.revocation(&crls),
                None,
            )
            .map(|_| ())
    }

    /// Nothing without lists.
    fn revocation<'a>(
        &self,
        crls: &'a [&'a CertRevocationList<'a>],
    ) -> Option<RevocationOptions<'a>> {
        let (depth, status, expiration) = match self.crl_check {
            CrlCheck::Chain => (
                RevocationCheckDepth::Chain,
                UnknownStatusPolicy::Deny,
                ExpirationPolicy::Enforce,
            ),
            CrlCheck::Peer => (
                RevocationCheckDepth::EndEntity,
                UnknownStatusPolicy::Deny,
                ExpirationPolicy::Enforce,
            ),
            CrlCheck::BestEffort => (
                RevocationCheckDepth::Chain,
                UnknownStatusPolicy::Allow,
                ExpirationPolicy::Ignore,
            ),
        };
        let builder = RevocationOptionsBuilder::new(crls).ok()?;
        Some(
            builder
                .with_depth(depth)
                .with_status_policy(status)
                .with_expiration_policy(expiration)
                .build(),
        )
    }

    /// What remains to be checked of a certificate that needs no issuer to be trusted: its dates,
    /// and what the lists of its issuer say, if it has another issuer than itself. Who signed such a
    /// list can't be known then; the user gave it.
    fn check_trusted_itself(
        &self,
        server: &CertificateDer<'_>,
        certificate: &EndEntityCert<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        check_dates(server, now)?;
        let mut lists = self
            .crls
            .iter()
            .filter(|crl| crl.list.issuer() == certificate.issuer());
        let listed = |crl: &Crl| !matches!(crl.list.find_serial(certificate.serial()), Ok(None));
        if lists.clone().any(listed) {
            return Err(CertificateError::Revoked);
        }
        let is_self_signed = certificate.issuer() == certificate.subject();
        if self.crls.is_empty() || self.crl_check == CrlCheck::BestEffort || is_self_signed {
            return Ok(());
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if lists.any(|crl| now <= crl.next_update) {
            Ok(())
        } else {
            Err(CertificateError::UnknownRevocationStatus)
        }
    }

    fn check_pin(&self, server: &CertificateDer<'_>) -> Result<(), CertificateError> {
        let shown = digest(&SHA256, server.as_ref());
        let known = |pin: &[u8; 32]| pin.as_slice() == shown.as_ref();
        if self.pins.is_empty() || self.pins.iter().any(known) {
            return Ok(());
        }
        Err(refused(CertificateProblem::Pin {
            fingerprint: hex(shown.as_ref()),
        }))
    }
}

fn read_roots(certificates: &[Vec<u8>]) -> Result<RootCertStore, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for (i, root) in certificates.iter().enumerate() {
        let (_, parsed) = parse_x509_certificate(root).map_err(|_| TlsConfigError::Root(i))?;
        // Read also where it is no authority, for what can't be read would never be recognised.
        let mut one = RootCertStore::empty();
        one.add(CertificateDer::from(root.as_slice()))
            .map_err(|_| TlsConfigError::Root(i))?;
        if is_authority(&parsed) {
            roots.roots.append(&mut one.roots);
        }
    }
    Ok(roots)
}

/// Whether a trusted certificate may issue others: webpki takes every one for such. X.509 v1 can't
/// say; there it is what signs itself, for such a server certificate would not do anyway.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    if certificate.version() == X509Version::V1 {
        return certificate.issuer() == certificate.subject();
    }
    let constraints = certificate.basic_constraints().ok().flatten();
    let usage = certificate.key_usage().ok().flatten();
    let signs = usage.map(|usage| usage.value.key_cert_sign());
    match constraints {
        Some(constraints) => constraints.value.ca && signs != Some(false),
        None => signs == Some(true),
    }
}

fn read_crls(lists: &[Vec<u8>]) -> Result<Vec<Crl>, TlsConfigError> {
    let mut crls = Vec::with_capacity(lists.len());
    for (index, der) in lists.iter().enumerate() {
        let unreadable = |detail: String| TlsConfigError::Crl { index, detail };
        let list = OwnedCertRevocationList::from_der(der);
        let list = list.map_err(|error| unreadable(error.to_string()))?;
        let parsed = CertificateRevocationList::from_der(der);
        let (_, parsed) = parsed.map_err(|error| unreadable(error.to_string()))?;
        crls.push(Crl {
            list: CertRevocationList::from(list),
            this_update: parsed.last_update().timestamp(),
            next_update: parsed.next_update().map_or(0, |at| at.timestamp()),
        });
    }
    crls.sort_by_key(|crl| Reverse(crl.this_update));
    Ok(crls)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
