//! Certificates for tests: valid ones and every kind that a client must refuse.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;

const DAY: Duration = Duration::from_secs(86_400);

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Validity {
    /// Since yesterday and for a year.
    #[default]
    Valid,
    /// Until yesterday.
    Expired,
    /// From tomorrow on.
    NotYetValid,
    /// Since yesterday and for so long from now on (X.509 counts whole seconds).
    For(Duration),
}

impl Validity {
    fn bounds(self) -> (SystemTime, SystemTime) {
        let now = SystemTime::now();
        match self {
            Self::Valid => (now - DAY, now + 365 * DAY),
            Self::Expired => (now - 30 * DAY, now - DAY),
            Self::NotYetValid => (now + DAY, now + 365 * DAY),
            Self::For(time) => (now - DAY, now + time),
        }
    }
}

/// What a certificate says.
#[derive(Debug, Clone, Default)]
pub struct CertOptions {
    /// Subject alternative names: DNS names and addresses.
    pub names: Vec<String>,
    /// The subject's common name; the first of `names` if there is none.
    pub common_name: Option<String>,
    /// When it is valid.
    pub validity: Validity,
    /// For a client instead of a server.
    pub client: bool,
}

impl CertOptions {
    /// A valid server certificate with these DNS names and addresses.
    pub fn server(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// A valid client certificate with this common name.
    pub fn client(common_name: &str) -> Self {
        Self {
            common_name: Some(common_name.to_owned()),
            client: true,
            ..Self::default()
        }
    }

    /// The same, valid at another time.
    pub fn validity(mut self, validity: Validity) -> Self {
        self.validity = validity;
        self
    }

    fn params(&self) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::new(self.names.clone())?;
        let common_name = self.common_name.as_deref();
        let common_name = common_name.or(self.names.first().map(String::as_str));
        let common_name = common_name.unwrap_or("palladion testkit");
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let (from, until) = self.validity.bounds();
        params.not_before = from.into();
        params.not_after = until.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![if self.client {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        }];
        Ok(params)
    }
}

/// A certificate chain, leaf first, and the leaf's key.
#[derive(Debug)]
pub struct Identity {
    /// The chain in DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key in DER (PKCS#8).
    pub key: PrivateKeyDer<'static>,
    /// The chain in PEM.
    pub chain_pem: String,
    /// The key in PEM, not encrypted.
    pub key_pem: String,
}

impl Identity {
    fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            chain_pem: self.chain_pem.clone(),
            key_pem: self.key_pem.clone(),
        }
    }
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    /// A new one, with a key of its own: nothing issued by another is trusted by its certificate.
    pub fn new(common_name: &str) -> Result<Self, Error> {
        let options = CertOptions {
            common_name: Some(common_name.to_owned()),
            ..CertOptions::default()
        };
        let mut params = options.params()?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = Vec::new();
        // Issuers in a chain stay valid longer than what they issue.
        params.not_before = (SystemTime::now() - 365 * DAY).into();
        params.not_after = (SystemTime::now() + 3650 * DAY).into();
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// Issues a certificate; the chain holds the leaf only.
    pub fn issue(&self, options: &CertOptions) -> Result<Identity, Error> {
        let key = KeyPair::generate()?;
        let leaf = options.params()?.signed_by(&key, &self.issuer)?;
        Ok(Identity::new(&leaf, &key))
    }

    /// Its certificate in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }
}

/// A certificate signed by its own key.
pub fn self_signed(options: &CertOptions) -> Result<Identity, Error> {
    let key = KeyPair::generate()?;
    let certificate = options.params()?.self_signed(&key)?;
    Ok(Identity::new(&certificate, &key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::pem::PemObject;

    #[test]
    fn pem_and_der_are_the_same_certificate() {
        let authority = Authority::new("a CA").unwrap();
        let read = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
        assert_eq!(&read, authority.der());
        let identity = authority
            .issue(&CertOptions::server(&["localhost"]))
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
        assert_eq!(key.secret_der(), identity.key.secret_der());
    }
}
