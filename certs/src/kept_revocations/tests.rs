use std::{fs, path::PathBuf};

use catchment_proto::{GatewayId, Name};
use tempfile::TempDir;

use super::*;
use crate::{
    Identity, TrustConfig, TrustDomain,
    authority::{Authority, IssueRequest, ROOT_DAYS},
};

/// Counts what happened.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<&'static str>>);

impl ListEvents for Seen {
    fn refused(&self, reason: &'static str) {
        self.0.lock().unwrap().push(reason);
    }
}

impl Seen {
    fn refused(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// A root, and a gateway whose identity folder holds no list.
struct Rig {
    folder: TempDir,
    authority: Authority,
    issued: PathBuf,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let domain = TrustDomain::new("catchment.test").unwrap();
        let authority = Authority::init(&folder.path().join("pki"), &domain, ROOT_DAYS).unwrap();
        let name = |name| Name::new(name).unwrap();
        let mut request =
            IssueRequest::new(Identity::Gateway(GatewayId { site: name("berlin"), name: name("gw") }));
        request.hosts = vec!["localhost".parse().unwrap()];
        let issued = authority.issue(&request, &mut |_| ()).unwrap().dir;
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        for file in ["cert.pem", "key.pem", "ca.pem"] {
            fs::copy(issued.join(file), own.join(file)).unwrap();
        }
        fs::create_dir(folder.path().join("data")).unwrap();
        Self { folder, authority, issued }
    }

    /// The next list of the root, as an aggregator sends it, and its number.
    fn next(&self) -> (wire::RevocationLists, u64) {
        let number = self.authority.refresh_crl(30, &mut |_| ()).unwrap().crl_number;
        fs::copy(self.authority.dir().join("crl.pem"), self.issued.join("crl.pem")).unwrap();
        let trust = Trust::load(&self.issued, TrustConfig::default()).unwrap();
        let revocations = trust.subscribe().borrow().revocations.clone();
        let lists = revocations.lists().iter().map(|list| list.der.to_vec().into()).collect();
        (wire::RevocationLists { lists, issuers: Vec::new() }, number)
    }

    /// A start of the gateway.
    fn start(&self) -> (Arc<KeptRevocations>, Arc<Seen>) {
        let trust = Trust::load(&self.folder.path().join("own"), TrustConfig::default()).unwrap();
        let seen = Arc::new(Seen::default());
        (Arc::new(KeptRevocations::open(&self.data(), &trust, Arc::clone(&seen) as _).unwrap()), seen)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

fn number(kept: &KeptRevocations) -> Option<u64> {
    kept.subscribe().borrow().revocations.lists().first().map(|list| list.number)
}

#[tokio::test]
async fn a_start_knows_the_newest_list_and_refuses_an_older_one() {
    let rig = Rig::new();
    let ((old, _), (new, newest)) = (rig.next(), rig.next());
    let (kept, _) = rig.start();
    assert_eq!((number(&kept), kept.keep().await), (None, Ok(0)));
    assert!(!rig.data().join(file::NAME).exists(), "nothing to keep");
    assert!(kept.add(&old).is_held && kept.add(&new).is_held);
    assert_eq!(kept.keep().await, Ok(newest));

    let (kept, seen) = rig.start();
    assert_eq!(number(&kept), Some(newest));
    let verdict = kept.add(&old);
    assert!(verdict.is_held && verdict.refused.contains("never goes back"), "{verdict:?}");
    let lists = vec![vec![0x30, 0].into(), old.lists[0].clone()];
    let verdict = kept.add(&wire::RevocationLists { lists, ..old });
    assert!(!verdict.is_held && !verdict.refused.is_empty(), "{verdict:?}");
    assert_eq!((number(&kept), kept.keep().await), (Some(newest), Ok(newest)));
    assert_eq!(seen.refused(), ["rolled_back", "unreadable", "rolled_back"]);

    // A list of somebody else is not taken.
    let (foreign, _) = Rig::new().next();
    let verdict = kept.add(&foreign);
    assert!(!verdict.is_held && verdict.refused.contains("signed by nobody"), "{verdict:?}");
}

#[tokio::test]
async fn a_damaged_file_is_counted_and_the_start_continues_without_it() {
    let rig = Rig::new();
    let (list, _) = rig.next();
    let (kept, _) = rig.start();
    kept.add(&list);
    kept.keep().await.unwrap();
    fs::write(rig.data().join(file::NAME), b"damaged").unwrap();
    let (kept, seen) = rig.start();
    assert_eq!((number(&kept), seen.refused()), (None, vec!["damaged"]));
    // The aggregator sends it again.
    assert!(kept.add(&list).is_held);
    kept.keep().await.unwrap();
    assert_eq!(number(&rig.start().0), number(&kept));
}

#[tokio::test]
async fn lists_that_cannot_be_written_are_not_reported_as_kept() {
    let rig = Rig::new();
    let (list, newest) = rig.next();
    let (kept, _) = rig.start();
    assert!(kept.add(&list).is_held);
    fs::rename(rig.data(), rig.folder.path().join("away")).unwrap();
    assert_eq!(kept.keep().await, Err(Unkept));
    fs::rename(rig.folder.path().join("away"), rig.data()).unwrap();
    assert_eq!(kept.keep().await, Ok(newest));
}
