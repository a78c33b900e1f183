//! The verifier of one endpoint.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Verifies the chain, and the name that the endpoint should have, which need not be the one sent
/// as SNI. What is not verified was turned off by name in the configuration.
#[derive(Debug)]
pub(crate) struct EndpointVerifier {
    roots: Arc<RootCertStore>,
    verify: bool,
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl EndpointVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        verify: bool,
        name: Option<ServerName<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self {
            roots,
            verify,
            name,
            provider,
        }
    }

    /// The same checks as in a handshake, of a chain with the server's certificate in front.
    pub(crate) fn verify_chain(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        match chain.split_first() {
            Some((server, intermediates)) => self.verify(server, intermediates, UnixTime::now()),
            None if self.verify => Err(Error::NoCertificatesPresented),
            None => Ok(()),
        }
    }

    fn verify(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if !self.verify {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(server)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        match &self.name {
            Some(name) => verify_server_name(&parsed, name),
            None => Ok(()),
        }
    }

    /// A certificate that webpki can't parse (X.509 v1) can't check a signature either. Without
    /// verification anybody could be at the other end, so nothing is lost.
    fn unless_unverified(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match checked {
            Err(Error::InvalidCertificate(CertificateError::BadEncoding)) if !self.verify => {
                Ok(HandshakeSignatureValid::assertion())
            }
            other => other,
        }
    }
}

impl ServerCertVerifier for EndpointVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _sni: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.unless_unverified(verify_tls12_signature(message, cert, dss, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.unless_unverified(verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
