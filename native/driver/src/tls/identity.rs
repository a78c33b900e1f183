//! Our own certificate, and its key.

use std::cell::Cell;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::SignatureScheme;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroize;

use super::{Identity, KeyForm, TlsConfigError};

/// Reads an identity. Not by `CertifiedKey::from_der`, which refuses the X.509 v1 certificates that
/// `openssl x509 -req` makes: whether a client certificate will do is the server's decision.
pub(super) fn certified_key(identity: &Identity) -> Result<CertifiedKey, TlsConfigError> {
    let key = signing_key(identity.key_form, identity.key.expose())?;
    let leaf = identity.chain.first().ok_or(TlsConfigError::Certificate)?;
    match belongs_to(key.as_ref(), leaf) {
        None => return Err(TlsConfigError::Certificate),
        Some(false) => return Err(TlsConfigError::KeyMismatch),
        Some(true) => {}
    }
    let chain = identity.chain.iter().cloned().map(CertificateDer::from);
    Ok(CertifiedKey::new(chain.collect(), key))
}

pub(super) fn signing_key(
    form: KeyForm,
    der: &[u8],
) -> Result<Arc<dyn SigningKey>, TlsConfigError> {
    let der = der.to_vec();
    let mut key = match form {
        KeyForm::Pkcs8 => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der)),
        KeyForm::Pkcs1 => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der)),
        KeyForm::Sec1 => PrivateKeyDer::from(PrivateSec1KeyDer::from(der)),
    };
    let signing = aws_lc_rs::sign::any_supported_type(&key);
    key.zeroize();
    signing.map_err(|e| TlsConfigError::Key(e.to_string()))
}

/// Whether a key is the certificate's; nothing if the certificate can't be read. Only the keys are
/// compared: how their kind is written down may differ.
pub(super) fn belongs_to(key: &dyn SigningKey, certificate: &[u8]) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let public = key.public_key()?;
    let (_, public) = SubjectPublicKeyInfo::from_der(public.as_ref()).ok()?;
    let theirs = &certificate.public_key().subject_public_key.data;
    Some(*theirs == public.subject_public_key.data)
}

/// What became of a server's wish to see our certificate: it explains alerts that could mean
/// something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OurCertificate {
    /// It has none, as far as is known.
    NotAsked,
    /// There was none to show.
    Missing,
    /// It got ours.
    Shown,
}

/// Answers a server that asks for our certificate, and remembers that it did. One for each
/// endpoint, since rustls resumes only where it is the same as when the session was made.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ClientCertificate {
    pub(super) fn new(key: Option<Arc<CertifiedKey>>) -> Self {
        Self {
            key,
            asked: AtomicBool::new(false),
        }
    }

    /// Whether the server has asked.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> OurCertificate {
        self.state_if(self.is_asked())
    }

    /// Of one connection, whose server has asked or not.
    pub(super) fn state_if(&self, is_asked: bool) -> OurCertificate {
        match (is_asked, &self.key) {
            (false, _) => OurCertificate::NotAsked,
            (true, None) => OurCertificate::Missing,
            (true, Some(_)) => OurCertificate::Shown,
        }
    }
}

tokio::task_local! {
    /// Whether the server of the handshake that this task makes has asked for our certificate.
    static ASKED: Cell<bool>;
}

/// Whether a handshake's server asks for our certificate: what it asked for on other connections
/// is no login of this one.
pub(crate) async fn noting_a_wish<T>(handshake: impl Future<Output = T>) -> (T, bool) {
    let noting = async {
        let done = handshake.await;
        (done, ASKED.with(Cell::get))
    };
    ASKED.scope(Cell::new(false), noting).await
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        // Without a task that notes it, it's a test.
        let _ = ASKED.try_with(|asked| asked.set(true));
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

#[cfg(test)]
mod tests {
    use palladion_testkit::certs::{Authority, CertOptions};

    use super::*;
    use crate::Secret;

    fn identity() -> Identity {
        let authority = Authority::new("the CA").unwrap();
        let issued = authority.issue(&CertOptions::client("ada")).unwrap();
        Identity {
            chain: issued.chain.iter().map(|der| der.to_vec()).collect(),
            key_form: KeyForm::Pkcs8,
            key: Secret::new(issued.key.secret_der()),
        }
    }

    #[test]
    fn a_key_must_be_its_certificates() {
        let (one, two) = (identity(), identity());
        assert!(certified_key(&one).is_ok());
        let mixed = Identity {
            chain: two.chain,
            ..one
        };
        let refused = certified_key(&mixed).unwrap_err();
        assert_eq!(refused, TlsConfigError::KeyMismatch);
        let other_form = Identity {
            key_form: KeyForm::Pkcs1,
            ..mixed
        };
        let refused = certified_key(&other_form).unwrap_err();
        assert!(matches!(refused, TlsConfigError::Key(_)), "{refused}");
    }

    #[test]
    fn x509_v1_is_for_the_server_to_judge() {
        let mut identity = identity();
        let leaf = &mut identity.chain[0];
        let version_3 = [0xA0, 0x03, 0x02, 0x01, 0x02];
        let at = leaf.windows(5).position(|it| it == version_3).unwrap();
        leaf[at + 4] = 0;
        assert!(certified_key(&identity).is_ok());
    }

    #[test]
    fn it_is_missing_or_shown_once_it_was_asked_for() {
        let without = ClientCertificate::new(None);
        assert_eq!(without.state(), OurCertificate::NotAsked);
        assert!(without.resolve(&[], &[]).is_none());
        assert_eq!(without.state(), OurCertificate::Missing);
        let key = certified_key(&identity()).unwrap();
        let with = ClientCertificate::new(Some(Arc::new(key)));
        assert!(with.resolve(&[], &[]).is_some());
        assert_eq!(with.state(), OurCertificate::Shown);
    }
}
