//! Roots, names, exact matches and pins.

use palladion_driver::tls::{Sni, TlsConfig, VerifiedName};
use palladion_driver::CertificateProblem;
use palladion_testkit::certs::{self_signed, Authority, CertOptions, Validity};

use crate::{ca, localhost, outcome, problem, sha256};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn chains_lead_to_a_trusted_root() {
    let ca = ca();
    let deep = ca.intermediate("2").unwrap().intermediate("3").unwrap();
    let server = deep.issue(&localhost()).unwrap();
    outcome(&ca, &server, |_| {}).await.unwrap();
    // Of several roots any will do.
    let several = |tls: &mut TlsConfig| tls.roots.insert(0, ca_der("another"));
    outcome(&ca, &server, several).await.unwrap();
    // Without what is in between nothing leads there.
    let mut bare = server.clone();
    bare.chain.truncate(1);
    let missing = problem(&ca, &bare, |_| {}).await;
    assert_eq!(missing, CertificateProblem::UnknownIssuer);
    for name in ["another CA", "the CA"] {
        let stranger = Authority::new(name).unwrap().issue(&localhost()).unwrap();
        let unknown = problem(&ca, &stranger, |_| {}).await;
        assert_eq!(unknown, CertificateProblem::UnknownIssuer, "{name}");
    }
}

fn ca_der(name: &str) -> Vec<u8> {
    Authority::new(name).unwrap().der().to_vec()
}

#[tokio::test]
async fn names_and_addresses_are_alternative_names() {
    let ca = ca();
    let other = CertOptions::server(&["other.example", "10.0.0.1"]);
    let other = ca.issue(&other).unwrap();
    let presented = vec!["other.example".to_owned(), "10.0.0.1".to_owned()];
    let refused = CertificateProblem::Name {
        expected: "localhost".to_owned(),
        presented: presented.clone(),
    };
    assert_eq!(problem(&ca, &other, |_| {}).await, refused);
    let named = |name: &'static str| {
        move |tls: &mut TlsConfig| tls.verified_name = VerifiedName::Fixed(name.to_owned())
    };
    outcome(&ca, &other, named("other.example")).await.unwrap();
    outcome(&ca, &other, named("10.0.0.1")).await.unwrap();
    let refused = CertificateProblem::Address {
        expected: "10.0.0.2".to_owned(),
        presented,
    };
    assert_eq!(problem(&ca, &other, named("10.0.0.2")).await, refused);

    // A common name is none.
    let mut nameless = CertOptions::server(&[]);
    nameless.common_name = Some("localhost".to_owned());
    let nameless = ca.issue(&nameless).unwrap();
    let refused = CertificateProblem::NoSubjectAltName {
        name: "localhost".to_owned(),
    };
    assert_eq!(problem(&ca, &nameless, |_| {}).await, refused);
    let unchecked = |tls: &mut TlsConfig| tls.verified_name = VerifiedName::Unchecked;
    outcome(&ca, &nameless, unchecked).await.unwrap();
}

#[tokio::test]
async fn the_name_sent_is_not_the_one_that_counts() {
    let ca = ca();
    let proxy = ca.issue(&CertOptions::server(&["proxy.example"])).unwrap();
    let sni = |tls: &mut TlsConfig| tls.sni = Sni::Fixed("proxy.example".to_owned());
    let refused = problem(&ca, &proxy, sni).await;
    assert!(matches!(refused, CertificateProblem::Name { .. }));
    let server = ca.issue(&localhost()).unwrap();
    outcome(&ca, &server, sni).await.unwrap();
}

#[tokio::test]
async fn self_signed_certificates_are_trusted_one_by_one() {
    let ca = ca();
    for is_ca in [false, true] {
        let options = CertOptions {
            ca: is_ca,
            ..localhost()
        };
        let server = self_signed(&options).unwrap();
        let untrusted = problem(&ca, &server, |_| {}).await;
        assert_eq!(untrusted, CertificateProblem::SelfSigned, "CA: {is_ca}");
        let der = server.chain[0].to_vec();
        let trust = |tls: &mut TlsConfig| tls.roots = vec![der.clone()];
        outcome(&ca, &server, trust).await.unwrap();
        // Its name and its dates count all the same.
        let named = |tls: &mut TlsConfig| {
            trust(tls);
            tls.verified_name = VerifiedName::Fixed("other.example".to_owned());
        };
        let refused = problem(&ca, &server, named).await;
        assert!(matches!(refused, CertificateProblem::Name { .. }));
        let expired = self_signed(&options.clone().validity(Validity::Expired)).unwrap();
        let der = expired.chain[0].to_vec();
        let refused = problem(&ca, &expired, |tls| tls.roots = vec![der]).await;
        assert!(matches!(refused, CertificateProblem::Expired { .. }));
    }
}

/// Else whoever has the key of one trusted server could be any other.
#[tokio::test]
async fn a_trusted_server_is_no_authority() {
    // The second one says that it is an authority, and not that its key may sign certificates.
    for ca in [false, true] {
        let node1 = CertOptions {
            ca,
            ..CertOptions::server(&["node1.example"])
        };
        let node1 = Authority::with(&node1).unwrap();
        let node2 = node1.issue(&localhost()).unwrap();
        let refused = problem(&node1, &node2, |_| {}).await;
        assert_eq!(refused, CertificateProblem::UnknownIssuer, "CA: {ca}");
    }
}

#[tokio::test]
async fn pins_are_the_trust_or_narrow_it() {
    let ca = ca();
    let server = ca.issue(&localhost()).unwrap();
    let pin = sha256(&server.chain[0]);
    let only = |pin: [u8; 32]| {
        move |tls: &mut TlsConfig| {
            tls.roots.clear();
            tls.pins = vec![[7; 32], pin];
        }
    };
    outcome(&ca, &server, only(pin)).await.unwrap();
    let mismatch = CertificateProblem::Pin {
        fingerprint: hex(&pin),
    };
    assert_eq!(problem(&ca, &server, only([8; 32])).await, mismatch);
    let both = |pin: [u8; 32]| move |tls: &mut TlsConfig| tls.pins = vec![pin];
    outcome(&ca, &server, both(pin)).await.unwrap();
    assert_eq!(problem(&ca, &server, both([8; 32])).await, mismatch);
    // The right pin does not make up for the wrong root.
    let strangers = Authority::new("another CA").unwrap();
    let unknown = problem(&strangers, &server, both(pin)).await;
    assert_eq!(unknown, CertificateProblem::UnknownIssuer);

    for (validity, name) in [
        (Validity::Expired, "localhost"),
        (Validity::NotYetValid, "localhost"),
        (Validity::Valid, "other.example"),
    ] {
        let options = CertOptions::server(&[name]).validity(validity);
        let server = ca.issue(&options).unwrap();
        let refused = problem(&ca, &server, only(sha256(&server.chain[0]))).await;
        assert!(
            matches!(
                refused,
                CertificateProblem::Expired { .. }
                    | CertificateProblem::NotYetValid { .. }
                    | CertificateProblem::Name { .. }
            ),
            "{refused:?}"
        );
    }
}
