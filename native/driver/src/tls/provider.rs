//! Cipher suites and key exchange groups by name.

use rustls::crypto::{aws_lc_rs, CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion};

use super::{TlsConfig, TlsConfigError, TlsVersion};

/// The provider with what the configuration allows of it, in its order.
pub(super) fn provider(config: &TlsConfig) -> Result<CryptoProvider, TlsConfigError> {
    let mut provider = aws_lc_rs::default_provider();
    if !config.cipher_suites.is_empty() {
        provider.cipher_suites = named(&config.cipher_suites, suite, TlsConfigError::CipherSuite)?;
    }
    if !config.groups.is_empty() {
        provider.kx_groups = named(&config.groups, group, TlsConfigError::Group)?;
    }
    let usable = |version: &&SupportedProtocolVersion| {
        let suites = &mut provider.cipher_suites.iter();
        let groups = &mut provider.kx_groups.iter();
        suites.any(|suite| suite.version().version == version.version)
            && groups.any(|group| group.usable_for_version(version.version))
    };
    if versions(config).iter().any(usable) {
        Ok(provider)
    } else {
        Err(TlsConfigError::Versions)
    }
}

pub(super) fn versions(config: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = |version| config.versions.is_empty() || config.versions.contains(&version);
    let mut versions = Vec::new();
    if wanted(TlsVersion::V13) {
        versions.push(&rustls::version::TLS13);
    }
    if wanted(TlsVersion::V12) {
        versions.push(&rustls::version::TLS12);
    }
    versions
}

fn named<T>(
    names: &[String],
    find: impl Fn(&str) -> Option<T>,
    unknown: impl Fn(String) -> TlsConfigError,
) -> Result<Vec<T>, TlsConfigError> {
    names
        .iter()
        .map(|name| find(name).ok_or_else(|| unknown(name.clone())))
        .collect()
}

fn suite(name: &str) -> Option<SupportedCipherSuite> {
    let mut suites = aws_lc_rs::ALL_CIPHER_SUITES.iter().copied();
    suites.find(|suite| suite_name(suite.suite()) == name)
}

fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    let mut groups = aws_lc_rs::ALL_KX_GROUPS.iter().copied();
    groups.find(|group| group_name(group.name()) == name)
}

/// A cipher suite's name in IANA's registry: `TLS_AES_128_GCM_SHA256`.
pub(crate) fn suite_name(suite: CipherSuite) -> String {
    format!("{suite:?}").replacen("TLS13_", "TLS_", 1)
}

/// A group's name, in small letters: `x25519`.
pub(crate) fn group_name(group: NamedGroup) -> String {
    format!("{group:?}").to_ascii_lowercase()
}
