//! A throw-away trust root and the identities for a test, issued by the product's own authority.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use catchment_certs::{
    Identity, Role, TrustDomain,
    authority::{Authority, IssueRequest, RevokeWhat},
};
use catchment_proto::Name;

/// A trust root in a folder.
pub struct Pki {
    authority: Authority,
}

impl Pki {
    /// Makes a trust root in a folder that does not exist.
    ///
    /// # Panics
    /// When that fails.
    pub fn new(dir: &Path) -> Self {
        let domain = TrustDomain::new("catchment.test").unwrap();
        Self { authority: Authority::init(dir, &domain, 3_650).unwrap() }
    }

    /// Folder of the root.
    pub fn dir(&self) -> &Path {
        self.authority.dir()
    }

    /// Folder of an identity, issued on first use. `site` is ignored for roles without one.
    ///
    /// # Panics
    /// When it cannot be issued.
    pub fn identity(&self, role: Role, site: &str, name: &str) -> PathBuf {
        let request = request(role, site, name);
        let dir = self.authority.identity_dir(&request.identity);
        if !dir.exists() {
            self.issue(&request);
        }
        dir
    }

    /// Folder of a device's identity.
    pub fn device(&self, site: &str, name: &str) -> PathBuf {
        self.identity(Role::Device, site, name)
    }

    /// Folder of the identity of an operator.
    pub fn operator(&self) -> PathBuf {
        self.identity(Role::Operator, "", "ada")
    }

    /// Folder of a device's identity whose certificate expired a day ago.
    ///
    /// # Panics
    /// When it cannot be issued.
    pub fn expired_device(&self, site: &str, name: &str) -> PathBuf {
        let day = Duration::from_secs(86_400);
        let mut request = request(Role::Device, site, name);
        request.start = Some(SystemTime::now() - 3 * day);
        request.lifetime = Some(2 * day);
        self.issue(&request)
    }

    /// Folder of a device's identity whose certificate ends after this time.
    ///
    /// # Panics
    /// When it cannot be issued.
    pub fn device_for(&self, site: &str, name: &str, lasts: Duration) -> PathBuf {
        let minute = Duration::from_secs(60);
        let mut request = request(Role::Device, site, name);
        request.start = Some(SystemTime::now() - minute);
        request.lifetime = Some(minute + lasts);
        self.issue(&request)
    }

    /// Folder of the identity of a gateway or an aggregator whose certificate expired a day ago.
    ///
    /// # Panics
    /// When it cannot be issued.
    pub fn expired(&self, gateway: bool) -> PathBuf {
        let day = Duration::from_secs(86_400);
        let mut request = match gateway {
            true => request(Role::Gateway, "berlin", "late"),
            false => request(Role::Aggregator, "", "late"),
        };
        request.start = Some(SystemTime::now() - 3 * day);
        request.lifetime = Some(2 * day);
        self.issue(&request)
    }

    /// Writes a new revocation list, also into the folders of this root's servers. Returns its number.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn refresh_list(&self) -> u64 {
        self.authority.refresh_crl(30, &mut |note| eprintln!("note: {note}")).unwrap().crl_number
    }

    /// Revokes an identity that was issued. Returns the number of the new list, which is written as by
    /// [`Self::refresh_list`].
    ///
    /// # Panics
    /// When there is none to revoke.
    pub fn revoke(&self, role: Role, site: &str, name: &str) -> u64 {
        let what = RevokeWhat::Identity(request(role, site, name).identity);
        self.authority.revoke(&what, &mut |note| eprintln!("note: {note}")).unwrap().crl_number
    }

    /// A copy of an identity without a revocation list, in a folder that this root does not know.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn copy_without_list(&self, identity: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for file in ["cert.pem", "key.pem", "ca.pem"] {
            fs::copy(identity.join(file), to.join(file)).unwrap();
        }
    }

    fn issue(&self, request: &IssueRequest) -> PathBuf {
        self.authority.issue(request, &mut |note| eprintln!("note: {note}")).unwrap().dir
    }
}

fn request(role: Role, site: &str, name: &str) -> IssueRequest {
    let site = role.has_site().then(|| Name::new(site).unwrap());
    let identity = Identity::from_parts(role, site, Name::new(name).unwrap()).unwrap();
    let mut request = IssueRequest::new(identity);
    if role.is_server() {
        request.hosts = vec!["127.0.0.1".parse().unwrap(), "localhost".parse().unwrap()];
    }
    request
}
