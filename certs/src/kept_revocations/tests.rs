use std::{
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use catchment_proto::{GatewayId, Name};
use tempfile::TempDir;

use super::*;
use crate::{
    Identity, Serial, TrustConfig, TrustDomain,
    authority::{Authority, IssueRequest, ROOT_DAYS},
    tests::forge::{Leaf, leaf, list, replace, root, write_folder},
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
    fs::rename(rig.data(), rig.folder.path().join("away")).unwrap();
    assert!(kept.add(&list).is_held);
    assert_eq!(kept.keep().await, Err(Unkept));
    fs::rename(rig.folder.path().join("away"), rig.data()).unwrap();
    assert_eq!(kept.keep().await, Ok(newest));
}

/// A disk of which each write is noted, with the version of the trust at that time, and may fail or block.
struct Disk {
    trust: Trust,
    writes: Mutex<Vec<u64>>,
    fails: AtomicBool,
    blocks: Mutex<()>,
}

/// What `not_kept` last said.
#[derive(Debug, Default)]
struct Said(Mutex<Option<String>>);

impl ListEvents for Said {
    fn not_kept(&self, reason: Option<String>) {
        *self.0.lock().unwrap() = reason;
    }
}

/// A start of the gateway with such a disk, which may take so long.
fn start_with_disk(rig: &Rig, within: Duration) -> (Arc<KeptRevocations>, Arc<Disk>, Arc<Said>) {
    let trust = Trust::load(&rig.folder.path().join("own"), TrustConfig::default()).unwrap();
    let disk = Arc::new(Disk {
        trust: trust.clone(),
        writes: Mutex::default(),
        fails: AtomicBool::new(false),
        blocks: Mutex::new(()),
    });
    let (written, said) = (Arc::clone(&disk), Arc::new(Said::default()));
    let write = Box::new(move |_: &Bytes| {
        drop(written.blocks.lock().unwrap());
        written.writes.lock().unwrap().push(written.trust.subscribe().borrow().version);
        if written.fails.load(SeqCst) { Err(std::io::Error::other("no space")) } else { Ok(()) }
    });
    let events = Arc::clone(&said) as _;
    let kept = KeptRevocations::open_with(&rig.data(), &trust, events, write, within).unwrap();
    (Arc::new(kept), disk, said)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn lists_are_written_before_they_count() {
    let rig = Rig::new();
    let (kept, disk, said) = start_with_disk(&rig, LONG);
    let (list, newest) = rig.next();
    assert!(kept.add(&list).is_held);
    assert_eq!((number(&kept), kept.subscribe().borrow().version), (Some(newest), 2));
    assert_eq!(*disk.writes.lock().unwrap(), [1], "the trust before the list counted");
    assert_eq!(*said.0.lock().unwrap(), None);
    // The same list again is no news.
    assert!(kept.add(&list).is_held);
    assert_eq!(disk.writes.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_fails_does_not_hold_up_a_revocation() {
    let rig = Rig::new();
    let (kept, disk, said) = start_with_disk(&rig, LONG);
    disk.fails.store(true, SeqCst);
    let (list, newest) = rig.next();
    assert!(kept.add(&list).is_held);
    assert_eq!(number(&kept), Some(newest));
    let text = said.0.lock().unwrap().clone().unwrap();
    assert!(text.contains("no space") && text.contains("they count"), "{text}");
    disk.fails.store(false, SeqCst);
    assert_eq!(kept.keep().await, Ok(newest));
    assert_eq!(*said.0.lock().unwrap(), None);
}

#[tokio::test]
async fn a_disk_that_does_not_answer_does_not_hold_up_a_revocation() {
    let rig = Rig::new();
    let (kept, disk, said) = start_with_disk(&rig, Duration::from_millis(10));
    let blocked = disk.blocks.lock().unwrap();
    // The second one does not wait, and starts no second thread.
    let mut newest = 0;
    for _ in 0..2 {
        let list;
        (list, newest) = rig.next();
        assert!(kept.add(&list).is_held);
        assert_eq!(number(&kept), Some(newest));
        assert!(said.0.lock().unwrap().as_ref().unwrap().contains("does not answer"));
    }
    drop(blocked);
    assert_eq!(
        kept.keep().await,
        Ok(newest),
        "the newest list is written, not the one that the disk was busy with"
    );
    assert_eq!(*said.0.lock().unwrap(), None);
}

#[test]
fn an_aggregator_reports_a_file_that_has_gone_back_before_its_start() {
    let rig = Rig::new();
    let mut request = IssueRequest::new(Identity::Aggregator(catchment_proto::AggregatorId {
        name: Name::new("centre").unwrap(),
    }));
    request.hosts = vec!["localhost".parse().unwrap()];
    let identity = rig.authority.issue(&request, &mut |_| ()).unwrap().dir;
    let newest = rig.authority.refresh_crl(30, &mut |_| ()).unwrap().crl_number;
    let (file, old) = (identity.join("crl.pem"), identity.join("old.pem"));
    fs::copy(rig.authority.dir().join("crl.pem"), &old).unwrap();
    let number_after = rig.authority.refresh_crl(30, &mut |_| ()).unwrap().crl_number;
    assert!(number_after > newest);
    fs::copy(rig.authority.dir().join("crl.pem"), &file).unwrap();
    let start = || {
        let trust = Trust::load(&identity, TrustConfig::default()).unwrap();
        let kept = KeptRevocations::open(&rig.data(), &trust, Arc::new(Seen::default()) as _).unwrap();
        (kept.subscribe().borrow().problem.clone(), number(&kept))
    };
    assert_eq!(start(), (None, Some(number_after)));
    fs::copy(&old, &file).unwrap();
    let (problem, counts) = start();
    assert!(problem.unwrap().contains("a list never goes back"));
    assert_eq!(counts, Some(number_after));
    fs::remove_file(&file).unwrap();
    assert!(start().0.unwrap().contains("is gone"));
}

#[test]
fn a_gateway_with_a_file_older_than_what_it_received_reports_nothing() {
    let rig = Rig::new();
    let old = rig.authority.refresh_crl(30, &mut |_| ()).unwrap().crl_number;
    fs::copy(rig.authority.dir().join("crl.pem"), rig.folder.path().join("own/crl.pem")).unwrap();
    let (list, newest) = rig.next();
    assert!(rig.start().0.add(&list).is_held);
    let (kept, _) = rig.start();
    assert!(newest > old);
    assert_eq!((number(&kept), kept.subscribe().borrow().problem.clone()), (Some(newest), None));
}

/// Of two lists with one number, the one that counted before a restart counts after it, in both servers.
#[test]
fn a_list_of_the_same_number_takes_nothing_back_at_a_start() {
    for identity in ["site/berlin/gateway/g", "aggregator/centre"] {
        let (folder, root) = (tempfile::tempdir().unwrap(), root());
        let (own, data) = (folder.path().join("own"), folder.path().join("data"));
        fs::create_dir(&data).unwrap();
        let (one, other) = (leaf(&root, "site/berlin/device/a"), leaf(&root, "site/berlin/device/b"));
        let file = |number, serials: &[&Serial]| list(&root, number, serials, 7).pem().unwrap();
        write_folder(&own, &leaf(&root, identity), &[], &[&root], &[file(5, &[&one.serial])]);
        let start = || {
            let trust = Trust::load(&own, TrustConfig::default()).unwrap();
            let kept = KeptRevocations::open(&data, &trust, Arc::new(Seen::default()) as _).unwrap();
            kept.subscribe().borrow().clone()
        };
        let names = |status: &TrustStatus, leaf: &Leaf| {
            status.revocations.names(&crate::peer_from_chain(std::slice::from_ref(&leaf.der)).unwrap())
        };
        let status = start();
        assert!(names(&status, &one) && status.problem.is_none());
        let kept = fs::read(data.join(file::NAME)).unwrap();
        replace(&own, "crl.pem", &file(5, &[&other.serial]));
        for _ in 0..2 {
            let status = start();
            assert!(names(&status, &one) && !names(&status, &other), "{identity}");
            assert!(status.problem.unwrap().contains("another revocation list of the same issuer"));
            assert_eq!(status.reloads.refused, 1);
            assert_eq!(fs::read(data.join(file::NAME)).unwrap(), kept, "what does not count is not kept");
        }
        // One that names nothing more is in order.
        replace(&own, "crl.pem", &file(5, &[]));
        let status = start();
        assert!(names(&status, &one) && status.problem.is_none(), "{identity}");
        // So is the next one, and it counts.
        replace(&own, "crl.pem", &file(6, &[&one.serial, &other.serial]));
        let status = start();
        assert!(names(&status, &one) && names(&status, &other) && status.problem.is_none());
    }
}

/// A gateway starts with a file that is old: what it names beyond newer lists may have expired, so only the log says it.
#[test]
fn a_gateway_with_an_old_file_that_names_more_starts_with_what_it_kept() {
    let (folder, root) = (tempfile::tempdir().unwrap(), root());
    let (own, data) = (folder.path().join("own"), folder.path().join("data"));
    fs::create_dir(&data).unwrap();
    let gone = Serial::random();
    let lists = [list(&root, 5, &[&gone], 7).pem().unwrap()];
    write_folder(&own, &leaf(&root, "site/berlin/gateway/g"), &[], &[&root], &lists);
    let start = || {
        let trust = Trust::load(&own, TrustConfig::default()).unwrap();
        KeptRevocations::open(&data, &trust, Arc::new(Seen::default()) as _).unwrap()
    };
    let newer = list(&root, 7, &[], 7).der().to_vec();
    let sent = wire::RevocationLists { lists: vec![newer.into()], issuers: Vec::new() };
    assert!(start().add(&sent).is_held);
    let kept = start();
    assert_eq!((number(&kept), kept.subscribe().borrow().problem.clone()), (Some(7), None));
}
