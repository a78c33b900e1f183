//! Revoked, not revoked, and not known.

use palladion_driver::tls::{CrlCheck, TlsConfig};
use palladion_driver::{CertificateProblem, Failure};
use palladion_testkit::certs::{Authority, CertOptions, CrlOptions, Identity, Validity};

use crate::{ca, localhost, outcome, problem, sha256};

/// A server below an intermediate CA, and what lists say of both.
struct Revocation {
    ca: Authority,
    between: Authority,
    server: Identity,
    other: Identity,
}

impl Revocation {
    fn new() -> Self {
        let ca = ca();
        let between = ca.intermediate("between").unwrap();
        Self {
            server: between.issue(&localhost()).unwrap(),
            other: between.issue(&localhost()).unwrap(),
            between,
            ca,
        }
    }

    fn list(&self, issuer: &Authority, revoked: Option<&Identity>, validity: Validity) -> Vec<u8> {
        let options = CrlOptions {
            revoked: revoked.into_iter().collect(),
            validity,
            ..CrlOptions::default()
        };
        issuer.crl(&options).unwrap()
    }

    async fn outcome(&self, check: CrlCheck, crls: &[&Vec<u8>]) -> Result<(), CertificateProblem> {
        let change = |tls: &mut TlsConfig| {
            tls.crl_check = check;
            tls.crls = crls.iter().map(|crl| (*crl).clone()).collect();
        };
        match outcome(&self.ca, &self.server, change).await {
            Err(Failure::Certificate(problem)) => Err(problem),
            other => {
                other.unwrap();
                Ok(())
            }
        }
    }
}

#[tokio::test]
async fn revocation_is_checked_as_far_as_asked_for() {
    use CertificateProblem::{RevocationUnknown, Revoked};
    use CrlCheck::{BestEffort, Chain, Peer};
    let house = Revocation::new();
    let valid = Validity::Valid;
    let above = &house.list(&house.ca, None, valid);
    let good = &house.list(&house.between, Some(&house.other), valid);
    let bad = &house.list(&house.between, Some(&house.server), valid);
    let old_good = &house.list(&house.between, None, Validity::Expired);
    let old_bad = &house.list(&house.between, Some(&house.server), Validity::Expired);
    let forger = Authority::new("between").unwrap();
    let forged = &house.list(&forger, None, valid);

    for (check, crls) in [
        (Chain, &[good, above][..]),
        (Peer, &[good]),
        (BestEffort, &[above]),
        (BestEffort, &[old_good]),
        // The newest list has the last word, wherever it stands.
        (Chain, &[old_bad, good, above]),
        (BestEffort, &[old_bad, good]),
    ] {
        let accepted = house.outcome(check, crls).await;
        assert_eq!(accepted, Ok(()), "{check:?}, {} lists", crls.len());
    }
    for (check, crls) in [
        (Chain, &[bad, above][..]),
        (Peer, &[bad]),
        (BestEffort, &[bad]),
        (BestEffort, &[old_bad]),
        (Peer, &[old_good, bad]),
    ] {
        let refused = house.outcome(check, crls).await;
        assert_eq!(refused, Err(Revoked), "{check:?}, {} lists", crls.len());
    }
    for (check, crls) in [
        (Chain, &[good][..]),
        (Peer, &[above]),
        (Chain, &[old_good, above]),
        (Peer, &[old_good]),
        (Peer, &[forged]),
    ] {
        let refused = house.outcome(check, crls).await;
        assert!(
            matches!(refused, Err(RevocationUnknown(_))),
            "{check:?}, {} lists: {refused:?}",
            crls.len()
        );
    }
}

#[tokio::test]
async fn a_list_counts_for_any_of_a_certificates_distribution_points() {
    let ca = ca();
    let urls = ["http://a.example/1.crl", "http://b.example/2.crl"].map(str::to_owned);
    let options = CertOptions {
        crl_urls: urls.to_vec(),
        ..localhost()
    };
    let server = ca.issue(&options).unwrap();
    let list = |url: &str| {
        let options = CrlOptions {
            revoked: vec![&server],
            urls: vec![url.to_owned()],
            ..CrlOptions::default()
        };
        ca.crl(&options).unwrap()
    };
    for url in &urls {
        let crl = list(url);
        let refused = problem(&ca, &server, |tls| tls.crls = vec![crl]).await;
        assert_eq!(refused, CertificateProblem::Revoked, "{url}");
    }
    let elsewhere = list("http://c.example/3.crl");
    let refused = problem(&ca, &server, |tls| tls.crls = vec![elsewhere]).await;
    assert!(matches!(refused, CertificateProblem::RevocationUnknown(_)));
}

#[tokio::test]
async fn a_pinned_certificate_can_be_revoked_too() {
    let house = Revocation::new();
    let crl = house.list(&house.between, Some(&house.server), Validity::Valid);
    let pinned = |tls: &mut TlsConfig| {
        tls.roots.clear();
        tls.pins = vec![sha256(&house.server.chain[0])];
        tls.crls = vec![crl];
    };
    let refused = problem(&house.ca, &house.server, pinned).await;
    assert_eq!(refused, CertificateProblem::Revoked);
}
