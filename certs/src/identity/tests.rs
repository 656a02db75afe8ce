//! The URI of an identity: round trips and refused texts.

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn every_role_survives_the_round_trip() {
    let domain = TrustDomain::new("catchment.local").unwrap();
    for (role, site, uri) in [
        (Role::Device, Some("berlin"), "spiffe://catchment.local/site/berlin/device/x-1"),
        (Role::Gateway, Some("berlin"), "spiffe://catchment.local/site/berlin/gateway/x-1"),
        (Role::Aggregator, None, "spiffe://catchment.local/aggregator/x-1"),
        (Role::Operator, None, "spiffe://catchment.local/operator/x-1"),
    ] {
        let identity = Identity::from_parts(role, site.map(name), name("x-1")).unwrap();
        assert_eq!(identity.uri(&domain), uri);
        assert_eq!(Identity::from_uri(uri), Ok((domain.clone(), identity)));
        assert_eq!(role.to_string().parse(), Ok(role));
    }
}

#[test]
fn site_and_role_must_fit() {
    assert_eq!(Identity::from_parts(Role::Device, None, name("a")), None);
    assert_eq!(Identity::from_parts(Role::Operator, Some(name("s")), name("a")), None);
    assert!("Device".parse::<Role>().is_err());
}

#[test]
fn other_uris_are_refused() {
    for path in [
        "/",
        "/device/a",
        "/site/s/device/a/",
        "/site/s/device/a/b",
        "/site/s/operator/a",
        "/site/s/device",
        "/operator/a/",
        "//operator/a",
        "/Operator/a",
        "/operator/a?x",
        "/operator/a#x",
        "/operator/%61",
        "/operator/..",
        "/site//device/a",
        "/operator/",
    ] {
        let uri = format!("spiffe://d{path}");
        assert!(Identity::from_uri(&uri).is_err(), "{uri} was accepted");
    }
    for uri in ["", "https://d/operator/a", "SPIFFE://d/operator/a", "spiffe://d", "spiffe:///operator/a"] {
        assert!(Identity::from_uri(uri).is_err(), "{uri} was accepted");
    }
    for domain in ["D", "d:80", "u@d", "-d", "", "d é"] {
        assert!(Identity::from_uri(&format!("spiffe://{domain}/operator/a")).is_err(), "{domain} passed");
    }
}

#[test]
fn a_huge_uri_makes_a_short_message() {
    let error = Identity::from_uri(&"x".repeat(1 << 20)).unwrap_err();
    assert!(error.to_string().len() < 400);
}
