//! The verifier of one endpoint.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    verify_tls12_signature, verify_tls13_signature, CryptoProvider, WebPkiSupportedAlgorithms,
};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use super::error::certificate_error;
use super::trust::Trust;

/// Verifies the chain, and the name that the endpoint should have, which need not be the one sent
/// as SNI. What is not verified was turned off by name in the configuration.
#[derive(Debug)]
pub(crate) struct EndpointVerifier {
    trust: Option<Arc<Trust>>,
    name: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl EndpointVerifier {
    /// Without `trust` nothing is verified, without `name` any trusted certificate will do.
    pub(crate) fn new(
        trust: Option<Arc<Trust>>,
        name: Option<ServerName<'static>>,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            trust,
            name,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// The same checks as in a handshake, of a chain with the server's certificate in front.
    pub(crate) fn verify_chain(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        match chain.split_first() {
            Some((server, intermediates)) => self.verify(server, intermediates, now),
            None if self.trust.is_some() => Err(Error::NoCertificatesPresented),
            None => Ok(()),
        }
    }

    fn verify(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(trust) = &self.trust else {
            return Ok(());
        };
        let certificate = trust.verify(server, intermediates, now)?;
        match &self.name {
            Some(name) => certificate
                .verify_is_valid_for_subject_name(name)
                .map_err(|error| certificate_error(error).into()),
            None => Ok(()),
        }
    }

    /// A certificate that webpki can't parse (X.509 v1) can't check a signature either. Without
    /// verification anybody could be at the other end, so nothing is lost.
    fn is_beyond_checking(&self, certificate: &CertificateDer<'_>) -> bool {
        self.trust.is_none() && EndEntityCert::try_from(certificate).is_err()
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
        if self.is_beyond_checking(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.is_beyond_checking(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use palladion_testkit::certs::{Authority, CertOptions, CrlOptions, Identity, Validity};
    use proptest::prelude::*;
    use rustls::CertificateError;

    use super::super::provider::provider;
    use super::super::{CrlCheck, Sni, TlsConfig, VerifiedName};
    use super::*;
    use crate::error::CertificateProblem;
    use crate::Failure;

    fn config(authority: &Authority) -> TlsConfig {
        TlsConfig {
            verify: true,
            roots: vec![authority.der().to_vec()],
            pins: Vec::new(),
            crls: Vec::new(),
            crl_check: CrlCheck::Chain,
            verified_name: VerifiedName::Endpoint,
            sni: Sni::Verified,
            identity: None,
            versions: Vec::new(),
            cipher_suites: Vec::new(),
            groups: Vec::new(),
            key_log: None,
            session_cache: None,
        }
    }

    fn verifier(config: &TlsConfig) -> EndpointVerifier {
        let provider = provider(config).unwrap();
        let trust = Trust::new(config, provider.signature_verification_algorithms).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        EndpointVerifier::new(trust.map(Arc::new), Some(name), &provider)
    }

    fn issue(authority: &Authority) -> Identity {
        let options = CertOptions::server(&["localhost"]);
        authority.issue(&options).unwrap()
    }

    fn problem(
        verifier: &EndpointVerifier,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> CertificateProblem {
        match super::super::rustls_error(&verifier.verify_chain(chain, now).unwrap_err()) {
            Failure::Certificate(problem) => problem,
            other => panic!("{other:?}"),
        }
    }

    fn sha256(der: &[u8]) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        digest.as_ref().try_into().unwrap()
    }

    fn days_from_now(days: i64) -> UnixTime {
        let now = UnixTime::now().as_secs();
        let seconds = now.saturating_add_signed(days * 86_400);
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn what_passed_once_is_refused_when_its_time_is_over() {
        let authority = Authority::new("the CA").unwrap();
        let server = issue(&authority);
        let mut pinned = config(&authority);
        pinned.roots.clear();
        pinned.pins = vec![sha256(&server.chain[0])];
        let mut exact = config(&authority);
        exact.roots = vec![server.chain[0].to_vec()];
        for config in [config(&authority), pinned, exact] {
            let verifier = verifier(&config);
            verifier
                .verify_chain(&server.chain, days_from_now(0))
                .unwrap();
            let expired = problem(&verifier, &server.chain, days_from_now(400));
            assert!(matches!(expired, CertificateProblem::Expired { .. }));
            let too_early = problem(&verifier, &server.chain, days_from_now(-2));
            assert!(matches!(too_early, CertificateProblem::NotYetValid { .. }));
        }
    }

    #[test]
    fn what_passed_once_is_refused_when_it_is_revoked_since() {
        let authority = Authority::new("the CA").unwrap();
        let server = issue(&authority);
        let now = UnixTime::now();
        let mut config = config(&authority);
        verifier(&config).verify_chain(&server.chain, now).unwrap();
        let list = CrlOptions {
            revoked: vec![&server],
            ..CrlOptions::default()
        };
        config.crls = vec![authority.crl(&list).unwrap()];
        let revoked = problem(&verifier(&config), &server.chain, now);
        assert_eq!(revoked, CertificateProblem::Revoked);
        // Also where the certificate itself is among the trusted ones.
        config.roots.push(server.chain[0].to_vec());
        let revoked = problem(&verifier(&config), &server.chain, now);
        assert_eq!(revoked, CertificateProblem::Revoked);
        config.roots.remove(0);
        let revoked = problem(&verifier(&config), &server.chain, now);
        assert_eq!(revoked, CertificateProblem::Revoked);
        // A list that nobody renews says nothing any more.
        config.roots = vec![authority.der().to_vec()];
        let brief = CrlOptions {
            validity: Validity::For(Duration::from_secs(10 * 86_400)),
            ..CrlOptions::default()
        };
        config.crls = vec![authority.crl(&brief).unwrap()];
        let verifier = verifier(&config);
        verifier.verify_chain(&server.chain, now).unwrap();
        let late = problem(&verifier, &server.chain, days_from_now(11));
        assert!(
            matches!(late, CertificateProblem::RevocationUnknown(_)),
            "{late:?}"
        );
    }

    #[test]
    fn version_1_has_a_reason_of_its_own() {
        let authority = Authority::new("the CA").unwrap();
        let mut der = issue(&authority).chain[0].to_vec();
        let version_3 = [0xA0, 0x03, 0x02, 0x01, 0x02];
        let at = der.windows(5).position(|it| it == version_3).unwrap();
        der[at + 4] = 0;
        let chain = [CertificateDer::from(der.clone())];
        let mut pinned = config(&authority);
        pinned.roots.clear();
        pinned.pins = vec![sha256(&der)];
        for config in [config(&authority), pinned] {
            let refused = problem(&verifier(&config), &chain, UnixTime::now());
            assert_eq!(refused, CertificateProblem::Version1);
        }
    }

    #[test]
    fn without_a_chain_there_is_nothing_to_trust() {
        let authority = Authority::new("the CA").unwrap();
        let mut config = config(&authority);
        let now = UnixTime::now();
        let missing = verifier(&config).verify_chain(&[], now);
        assert_eq!(missing, Err(Error::NoCertificatesPresented));
        config.verify = false;
        assert_eq!(verifier(&config).verify_chain(&[], now), Ok(()));
    }

    #[test]
    fn the_server_is_told_what_is_wrong() {
        let authority = Authority::new("the CA").unwrap();
        let refused = verifier(&config(&authority))
            .verify_chain(&issue(&Authority::new("b").unwrap()).chain, UnixTime::now());
        let unknown = CertificateError::UnknownIssuer;
        assert_eq!(refused, Err(Error::InvalidCertificate(unknown)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..3),
            crl in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let authority = Authority::new("the CA").unwrap();
            let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
            let mut config = config(&authority);
            prop_assert!(verifier(&config).verify_chain(&chain, UnixTime::now()).is_err());
            config.crls = vec![crl];
            let provider = provider(&config).unwrap();
            let algorithms = provider.signature_verification_algorithms;
            prop_assert!(Trust::new(&config, algorithms).is_err());
        }

        #[test]
        fn no_damage_makes_it_panic_or_accept(
            at in any::<proptest::sample::Index>(),
            damage in 1u8..,
        ) {
            let authority = Authority::new("the CA").unwrap();
            let server = issue(&authority);
            let mut config = config(&authority);
            let mut der = server.chain[0].to_vec();
            let index = at.index(der.len());
            der[index] ^= damage;
            let chain = [CertificateDer::from(der)];
            prop_assert!(verifier(&config).verify_chain(&chain, UnixTime::now()).is_err());
            let mut crl = authority.crl(&CrlOptions::default()).unwrap();
            let index = at.index(crl.len());
            crl[index] ^= damage;
            config.crls = vec![crl];
            let provider = provider(&config).unwrap();
            let algorithms = provider.signature_verification_algorithms;
            if let Ok(Some(trust)) = Trust::new(&config, algorithms) {
                let accepted = trust.verify(&server.chain[0], &[], UnixTime::now());
                prop_assert!(accepted.is_err());
            }
        }
    }
}
