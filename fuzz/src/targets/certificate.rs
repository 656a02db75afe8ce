//! Certificates of peers, and the names in them: an identity that is read has exactly one name, which reads as it.

use catchment_certs::{CertificateDer, Identity, Role, TrustDomain, peer_from_certificate};

use super::{Target, signature};

pub(super) const TARGET: Target = Target {
    name: "certificate",
    run,
    seeds: || {
        [
            "spiffe://test.example/site/berlin/device/press-17",
            "spiffe://test.example/site/berlin/gateway/gw",
            "spiffe://test.example/aggregator/agg",
            "spiffe://test.example/operator/ada",
            "spiffe://test.example",
            "spiffe://a/site/b/operator/c",
        ]
        .map(|seed| seed.as_bytes().to_vec())
        .to_vec()
    },
    tokens: &[
        b"spiffe://",
        b"/site/",
        b"/device/",
        b"/gateway/",
        b"/aggregator/",
        b"/operator/",
        b"/",
        b"%2f",
        b"..",
        b"\x00",
        b"\x30\x82",
        b"\x86\x04",
        b"\x06\x03\x55\x1d\x11",
        b"\x80",
        b"\x84\xff\xff\xff\xff",
        b"\x02\x01\x00",
    ],
    fixed_bytes: 64 << 10,
    bytes_per_input_byte: 64,
};

/// Checks an identity that was read from a name.
fn check(domain: &TrustDomain, identity: &Identity) {
    let uri = identity.uri(domain);
    let again = Identity::from_uri(&uri).expect("a name that was written can be read");
    assert!(again == (domain.clone(), identity.clone()), "{uri}");
    assert_eq!(identity.site().is_some(), identity.role().has_site());
}

fn run(input: &[u8]) -> u64 {
    let peer = peer_from_certificate(&CertificateDer::from(input));
    let role = match &peer {
        Ok(peer) => {
            check(&peer.trust_domain, &peer.identity);
            assert!(!peer.serial.to_string().is_empty());
            Ok(peer.identity.role())
        }
        Err(error) => Err(kind(error)),
    };
    let text = String::from_utf8_lossy(input);
    let name = Identity::from_uri(&text).map(|(domain, identity)| {
        check(&domain, &identity);
        assert_eq!(identity.uri(&domain), text, "one identity has one name");
        identity.role()
    });
    let root = TrustDomain::from_uri(&text).map(|domain| assert_eq!(domain.uri(), text)).is_ok();
    signature((format!("{role:?}"), name.map(Role::as_str).map_err(|error| kind(&error)), root))
}

/// An error without what it quotes.
fn kind(error: &impl ToString) -> String {
    error.to_string().split(['"', '`']).step_by(2).collect::<String>().chars().take(80).collect()
}
