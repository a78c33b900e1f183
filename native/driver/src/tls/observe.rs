//! A verifier that accepts everything and remembers what the real one says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::EndpointVerifier;

/// Sees what a server shows, also where that wouldn't do.
#[derive(Debug)]
pub(crate) struct Observer {
    verifier: Arc<EndpointVerifier>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<Vec<u8>>,
    verdict: Option<Error>,
}

impl Observer {
    pub(super) fn new(verifier: Arc<EndpointVerifier>) -> Self {
        Self {
            verifier,
            seen: Mutex::default(),
        }
    }

    /// The server's certificates, DER, its own first.
    pub(crate) fn chain(&self) -> Vec<Vec<u8>> {
        self.lock().chain.clone()
    }

    /// What verification says of them, or of the signature by the server's key.
    pub(crate) fn verdict(&self) -> Result<(), Error> {
        self.lock().verdict.clone().map_or(Ok(()), Err)
    }

    fn note<T>(&self, verdict: Result<T, Error>) {
        if let Err(error) = verdict {
            self.lock().verdict.get_or_insert(error);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        sni: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        self.lock().chain = chain.map(|der| der.to_vec()).collect();
        self.note(self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            sni,
            ocsp_response,
            now,
        ));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(self.verifier.verify_tls12_signature(message, cert, dss));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(self.verifier.verify_tls13_signature(message, cert, dss));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
