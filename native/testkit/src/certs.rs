//! Certificates for tests: valid ones and every kind that a client must refuse.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CrlDistributionPoint, CrlIssuingDistributionPoint, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;

const DAY: Duration = Duration::from_secs(86_400);

/// The next certificate's serial number: no two of a process have the same.
static SERIAL: AtomicU64 = AtomicU64::new(1);

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
    /// Says of itself that it is a CA, as self-signed certificates often do.
    pub ca: bool,
    /// Where lists of what is revoked can be found: so many distribution points.
    pub crl_urls: Vec<String>,
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
        params.serial_number = Some(SERIAL.fetch_add(1, Ordering::Relaxed).into());
        if self.ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let points = self.crl_urls.iter().map(|url| CrlDistributionPoint {
            uris: vec![url.clone()],
        });
        params.crl_distribution_points = points.collect();
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
    serial: Vec<u8>,
}

impl Identity {
    fn new(params: &CertificateParams, certificate: &Certificate, key: &KeyPair) -> Self {
        let serial = params.serial_number.as_ref();
        Self {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            serial: serial.map(|serial| serial.to_bytes()).unwrap_or_default(),
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
            serial: self.serial.clone(),
        }
    }
}

/// A list of revoked certificates.
#[derive(Debug, Clone, Default)]
pub struct CrlOptions<'a> {
    /// What is on it.
    pub revoked: Vec<&'a Identity>,
    /// From when it is, and when the next one is due.
    pub validity: Validity,
    /// It is about certificates that name one of these among their `crl_urls` only.
    pub urls: Vec<String>,
}

impl CrlOptions<'_> {
    fn params(&self) -> CertificateRevocationListParams {
        let (from, until) = self.validity.bounds();
        let revoked = self.revoked.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.clone().into(),
            revocation_time: from.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let point = (!self.urls.is_empty()).then(|| CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: self.urls.clone(),
            },
            scope: None,
        });
        CertificateRevocationListParams {
            this_update: from.into(),
            next_update: until.into(),
            crl_number: SERIAL.fetch_add(1, Ordering::Relaxed).into(),
            issuing_distribution_point: point,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
    }
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// Its own certificate and those above it, but for the root's: nothing for a root.
    below_root: Vec<Certificate>,
}

impl Authority {
    /// A new root, with a key of its own: nothing issued by another is trusted by its certificate.
    pub fn new(common_name: &str) -> Result<Self, Error> {
        Self::self_signed(Self::params(common_name)?)
    }

    /// One whose own certificate is as told, and need not say that it is one.
    pub fn with(options: &CertOptions) -> Result<Self, Error> {
        Self::self_signed(options.params()?)
    }

    fn self_signed(params: CertificateParams) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            below_root: Vec::new(),
        })
    }

    /// A new one below this one.
    pub fn intermediate(&self, common_name: &str) -> Result<Self, Error> {
        let params = Self::params(common_name)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let mut below_root = vec![certificate.clone()];
        below_root.extend(self.below_root.iter().cloned());
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            below_root,
        })
    }

    fn params(common_name: &str) -> Result<CertificateParams, Error> {
        let options = CertOptions {
            common_name: Some(common_name.to_owned()),
            ca: true,
            ..CertOptions::default()
        };
        let mut params = options.params()?;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = Vec::new();
        // Issuers in a chain stay valid longer than what they issue.
        params.not_before = (SystemTime::now() - 365 * DAY).into();
        params.not_after = (SystemTime::now() + 3650 * DAY).into();
        Ok(params)
    }

    /// Issues a certificate; its chain goes up to the root and doesn't hold that.
    pub fn issue(&self, options: &CertOptions) -> Result<Identity, Error> {
        let key = KeyPair::generate()?;
        let params = options.params()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let mut identity = Identity::new(&params, &leaf, &key);
        for above in &self.below_root {
            identity.chain.push(above.der().clone());
            identity.chain_pem.push_str(&above.pem());
        }
        Ok(identity)
    }

    /// Issues a revocation list, in DER.
    pub fn crl(&self, options: &CrlOptions<'_>) -> Result<Vec<u8>, Error> {
        let list = options.params().signed_by(&self.issuer)?;
        Ok(list.der().to_vec())
    }

    /// The same in PEM.
    pub fn crl_pem(&self, options: &CrlOptions<'_>) -> Result<String, Error> {
        Ok(options.params().signed_by(&self.issuer)?.pem()?)
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
    let params = options.params()?;
    let certificate = params.self_signed(&key)?;
    Ok(Identity::new(&params, &certificate, &key))
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
