//! The self-check predicts what an identity's peers would decide.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use super::support::{Pki, identity, no_note};
use crate::{FolderError, IdentityFolder, Role, SelfCheckError, authority::RevokeWhat};

const DAY: Duration = Duration::from_secs(86_400);
const ROLES: [Role; 4] = [Role::Device, Role::Gateway, Role::Aggregator, Role::Operator];

fn self_check(dir: &Path) -> Result<(), SelfCheckError> {
    match IdentityFolder::load_in_force(dir) {
        Ok(_) => Ok(()),
        Err(FolderError::Standing(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_role_passes_with_its_own_root_and_lists_and_fails_with_foreign_ones() {
    let (pki, other) = (Pki::new(), Pki::new());
    for role in ROLES {
        let dir = pki.issue(role, "one").dir;
        self_check(&dir).unwrap();
        let own = |file: &str| pki.authority.dir().join(file);
        let foreign = |file: &str| other.authority.dir().join(file);
        fs::copy(foreign("ca.pem"), dir.join("ca.pem")).unwrap();
        let error = self_check(&dir).unwrap_err();
        assert!(matches!(error, SelfCheckError::NotIssued { .. }), "{role}: {error}");
        let text = error.to_string();
        assert!(text.contains(dir.join("ca.pem").to_str().unwrap()) && text.lines().count() == 1, "{text}");
        fs::copy(own("ca.pem"), dir.join("ca.pem")).unwrap();
        // Both authorities' roots have the same name: only the signature differs.
        fs::copy(foreign("crl.pem"), dir.join("crl.pem")).unwrap();
        let error = self_check(&dir).unwrap_err();
        assert!(matches!(error, SelfCheckError::NotListed { .. }), "{role}: {error}");
        assert!(error.to_string().contains(dir.join("crl.pem").to_str().unwrap()), "{error}");
        fs::remove_file(dir.join("crl.pem")).unwrap();
        self_check(&dir).unwrap();
        // Next to a foreign root, the own one still counts.
        let both = [fs::read(foreign("ca.pem")).unwrap(), fs::read(own("ca.pem")).unwrap()].concat();
        fs::write(dir.join("ca.pem"), both).unwrap();
        self_check(&dir).unwrap();
    }
}

#[test]
fn expired_future_and_revoked_certificates_are_refused() {
    let pki = Pki::new();
    let now = SystemTime::now();
    for role in ROLES {
        let mut request = pki.request(role, "late");
        (request.start, request.lifetime) = (Some(now - 3 * DAY), Some(2 * DAY));
        let late = pki.authority.issue(&request, &mut no_note).unwrap().dir;
        let error = self_check(&late).unwrap_err();
        assert!(matches!(error, SelfCheckError::Expired { .. }), "{role}: {error}");
        // The folder itself is valid.
        let folder = IdentityFolder::load(&late).unwrap();
        // But its root did not count yet.
        let error = folder.check(now - 2 * DAY).unwrap_err();
        assert!(matches!(error, SelfCheckError::Root { .. }), "{role}: {error}");
        let mut request = pki.request(role, "early");
        request.start = Some(now + DAY);
        let early = pki.authority.issue(&request, &mut no_note).unwrap().dir;
        let error = self_check(&early).unwrap_err();
        assert!(matches!(error, SelfCheckError::NotYetValid { .. }), "{role}: {error}");
        let gone = pki.issue(role, "gone").dir;
        let who = identity(role, "berlin", "gone");
        pki.authority.revoke(&RevokeWhat::Identity(who), &mut no_note).unwrap();
        fs::copy(pki.authority.dir().join("crl.pem"), gone.join("crl.pem")).unwrap();
        let error = self_check(&gone).unwrap_err();
        assert!(matches!(error, SelfCheckError::Revoked { .. }), "{role}: {error}");
    }
}
