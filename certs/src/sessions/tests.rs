//! The registry beside a naive model, its task by a clock that the test moves, and registration while the trust changes.

use std::{
    collections::HashSet,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use catchment_proto::id::Name;
use proptest::prelude::*;
use tokio::sync::watch;

use super::{
    registry::parts,
    session::Session,
    table::{Now, seconds},
    *,
};
use crate::{Identity, Peer, Role, Serial, TrustDomain};

const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn identity(number: u8) -> Identity {
    let name = |text: &str| Name::new(text).unwrap();
    Identity::from_parts(Role::Device, Some(name("berlin")), name(&format!("d{number}"))).unwrap()
}

fn peer(number: u8, not_after: u64) -> Peer {
    Peer {
        identity: identity(number),
        trust_domain: TrustDomain::new("test.example").unwrap(),
        serial: Serial::from_bytes(&[number.saturating_add(1); 16]).unwrap(),
        issuer: None,
        root: None,
        not_after: at(not_after),
    }
}

/// A trust of which the test says whom it refuses.
#[derive(Clone, Default)]
struct Refused(Arc<Mutex<HashSet<Serial>>>);

impl Refused {
    fn add(&self, peer: &Peer) {
        self.0.lock().unwrap().insert(peer.serial.clone());
    }

    fn registry(&self, age_max: Option<Duration>) -> SessionRegistry {
        let refused = self.clone();
        SessionRegistry::judged_by(age_max, move |peer| {
            refused.0.lock().unwrap().contains(&peer.serial).then_some(EndReason::Revoked)
        })
    }
}

/// Runs a future that waits for nothing but its turn.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

/// What the sweep does, by a predicate and at once.
impl SessionRegistry {
    /// Ends every session for which `why` has a reason. Returns how many.
    fn end_where(&self, why: impl Fn(&Peer) -> Option<EndReason>) -> usize {
        let mut ended = 0;
        for part in parts() {
            let mut next = Some(0);
            while let Some(from) = next {
                let (sessions, following) = self.inner.slice(part, from);
                let end = |session: &&Arc<Session>| {
                    why(&session.peer).is_some_and(|reason| self.inner.end(session, reason))
                };
                ended += sessions.iter().filter(end).count();
                next = following;
            }
        }
        ended
    }

    /// Ends every session whose certificate is no longer valid at `now`.
    fn end_expired(&self, now: SystemTime) {
        let now = Now { wall_seconds: seconds(now), age_ms: 0 };
        parts().for_each(|part| _ = self.inner.end_due(part, now));
    }
}

#[test]
fn the_hook_is_called_once_whenever_it_is_set() {
    let registry = SessionRegistry::default();
    let called = Arc::new(AtomicUsize::default());
    let hook = || {
        let called = Arc::clone(&called);
        move |reason| {
            assert_eq!(reason, EndReason::Revoked);
            called.fetch_add(1, SeqCst);
        }
    };
    let (before, after) = (registry.register(&peer(1, 10), ADDR), registry.register(&peer(2, 10), ADDR));
    before.on_end(hook());
    assert_eq!(registry.end_where(|_| Some(EndReason::Revoked)), 2);
    assert_eq!(called.load(SeqCst), 1);
    after.on_end(hook());
    assert_eq!(called.load(SeqCst), 2);
    before.end(EndReason::TakenOver);
    assert_eq!(
        (before.ended(), registry.end_where(|_| Some(EndReason::MaxAge))),
        (Some(EndReason::Revoked), 0)
    );
    assert_eq!(registry.counts().ended, [2, 0, 0, 0, 0]);
    drop((before, after));
    assert!(registry.is_empty());
}

/// The future of a task that never ends, for so long.
async fn sweep_for<T>(
    registry: &SessionRegistry,
    clock: impl Fn() -> SystemTime,
    trust: watch::Receiver<T>,
    time: Duration,
) {
    assert!(tokio::time::timeout(time, registry.sweep_by(clock, trust)).await.is_err());
}

/// A wall clock that goes with the runtime's, and jumps.
#[derive(Clone)]
struct Wall {
    begun: tokio::time::Instant,
    offset: Arc<AtomicU64>,
}

impl Wall {
    fn new(seconds: u64) -> Self {
        Self { begun: tokio::time::Instant::now(), offset: Arc::new(AtomicU64::new(seconds)) }
    }

    fn clock(&self) -> impl Fn() -> SystemTime {
        let this = self.clone();
        move || at(this.offset.load(SeqCst)) + this.begun.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_certificate_and_not_before() {
    let registry = SessionRegistry::default();
    let (wall, (_keep, trust)) = (Wall::new(1_000), watch::channel(()));
    let sessions: Vec<_> = [1_002, 1_005, 9_000].map(|end| registry.register(&peer(1, end), ADDR)).into();
    let ended = || sessions.iter().map(|session| session.ended().is_some()).collect::<Vec<_>>();
    let sweeping = async |millis| {
        sweep_for(&registry, wall.clock(), trust.clone(), Duration::from_millis(millis)).await;
    };
    // The last second of a certificate counts in full.
    sweeping(2_990).await;
    assert_eq!(ended(), [false, false, false]);
    sweeping(20).await;
    assert_eq!(ended(), [true, false, false]);
    sweeping(2_960).await;
    assert_eq!(ended(), [true, false, false]);
    sweeping(60).await;
    assert_eq!(ended(), [true, true, false]);
    assert_eq!(sessions[0].ended(), Some(EndReason::Expired));
    // Nothing is due for hours; then the clock jumps.
    wall.offset.fetch_add(20_000, SeqCst);
    sweeping(10).await;
    assert_eq!(ended(), [true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_counts_within_a_second() {
    let registry = SessionRegistry::default();
    let (wall, (_keep, trust)) = (Wall::new(1_000), watch::channel(()));
    let session = registry.register(&peer(1, 90_000), ADDR);
    let sweeping = sweep_for(&registry, wall.clock(), trust, Duration::from_secs(10));
    let jumping = async {
        tokio::time::sleep(Duration::from_millis(5_300)).await;
        assert_eq!(session.ended(), None);
        wall.offset.fetch_add(90_000, SeqCst);
        tokio::time::sleep(Duration::from_millis(1_010)).await;
        assert_eq!(session.ended(), Some(EndReason::Expired));
    };
    tokio::join!(sweeping, jumping);
}

#[tokio::test(start_paused = true)]
async fn sessions_reach_their_maximum_age_within_a_tenth_and_not_all_at_once() {
    let age_max = Duration::from_secs(100);
    let registry = Refused::default().registry(Some(age_max));
    let (wall, (_keep, trust)) = (Wall::new(1_000), watch::channel(()));
    let sessions: Vec<_> = (0..200).map(|number| registry.register(&peer(number, 90_000), ADDR)).collect();
    let ended = || sessions.iter().filter(|session| session.ended() == Some(EndReason::MaxAge)).count();
    let mut seen = HashSet::new();
    sweep_for(&registry, wall.clock(), trust.clone(), Duration::from_millis(89_900)).await;
    assert_eq!(ended(), 0);
    for _ in 0..21 {
        sweep_for(&registry, wall.clock(), trust.clone(), Duration::from_secs(1)).await;
        seen.insert(ended());
    }
    assert_eq!(ended(), 200);
    assert!(seen.len() > 10, "{seen:?}");
    let young = registry.register(&peer(1, 90_000), ADDR);
    sweep_for(&registry, wall.clock(), trust, Duration::from_secs(80)).await;
    assert_eq!(young.ended(), None);
}

#[tokio::test(start_paused = true)]
async fn a_new_trust_ends_whom_it_refuses_at_once() {
    let refused = Refused::default();
    let registry = refused.registry(None);
    let (wall, (trust, changes)) = (Wall::new(1_000), watch::channel(0));
    let sessions: Vec<_> = (0..250)
        .flat_map(|number| [number; 3])
        .map(|number| registry.register(&peer(number, 90_000), ADDR))
        .collect();
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (0..250).step_by(2).for_each(|number| refused.add(&peer(number, 0)));
        assert_eq!(registry.counts().ended, [0; 5]);
        trust.send_replace(1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        for (number, session) in sessions.iter().enumerate() {
            let revoked = (number / 3) % 2 == 0;
            assert_eq!(session.ended(), revoked.then_some(EndReason::Revoked), "{number}");
        }
        assert_eq!(registry.counts().ended, [375, 0, 0, 0, 0]);
        assert_eq!(registry.counts().by_role, [750, 0, 0, 0]);
    };
    tokio::join!(sweep_for(&registry, wall.clock(), changes, Duration::from_secs(2)), revoking);
}

#[test]
fn whoever_registers_while_the_trust_changes_does_not_slip_through() {
    // A registration is an insertion and a look at the trust; a change is a new trust and a walk of the sessions. Every
    // order of these four in which each pair keeps its own.
    for order in [[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 1, 0], [1, 1, 0, 0]] {
        let (refused, peer) = (Refused::default(), peer(1, 90_000));
        let registry = refused.registry(None);
        let (mut guard, mut changed) = (None, false);
        for who in order {
            match (who, &guard, changed) {
                (0, None, _) => guard = Some(registry.insert(&peer, ADDR)),
                (0, Some(guard), _) => _ = registry.inner.judge(&guard.session),
                (_, _, false) => {
                    refused.add(&peer);
                    changed = true;
                }
                _ => run(registry.end_refused()),
            }
        }
        assert_eq!(guard.unwrap().ended(), Some(EndReason::Revoked), "{order:?}");
    }
    // The two halves are one call.
    let (refused, peer) = (Refused::default(), peer(1, 90_000));
    refused.add(&peer);
    assert_eq!(refused.registry(None).register(&peer, ADDR).ended(), Some(EndReason::Revoked));
}

#[test]
fn threads_that_register_while_the_trust_changes_leave_nobody_revoked() {
    let refused = Refused::default();
    let registry = refused.registry(None);
    let (stop, guards) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for number in (0..50).cycle().take(2_000) {
                    let guard = registry.register(&peer(number, 90_000), ADDR);
                    // Some leave at once.
                    if number % 3 > 0 {
                        guards.lock().unwrap().push(guard);
                    }
                    if stop.load(SeqCst) {
                        return;
                    }
                }
            });
        }
        for number in 0..50 {
            refused.add(&peer(number, 0));
            run(registry.end_refused());
            std::thread::yield_now();
        }
        stop.store(true, SeqCst);
    });
    let guards = guards.into_inner().unwrap();
    assert!(guards.iter().all(|guard| guard.ended() == Some(EndReason::Revoked)));
    assert_eq!(registry.len(), guards.len());
    drop(guards);
    assert_eq!((registry.len(), registry.counts().by_role), (0, [0; 4]));
}

#[test]
fn an_entry_is_small() {
    let session = size_of::<Session>() + 2 * size_of::<usize>();
    // With a serial number on the heap, a hook, a slot, and a place in three orders.
    let beside = 32 + 32 + 8 + 8 + 2 * 32;
    assert!(session + beside < 400, "{session} + {beside}");
}

/// What happens to a registry.
#[derive(Clone, Debug)]
enum Step {
    Register { who: u8, not_after: u64 },
    Leave(usize),
    EndIdentity(u8),
    EndExpired(u64),
    EndOdd,
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 0..50_u64).prop_map(|(who, not_after)| Step::Register { who, not_after }),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => (0..6_u8).prop_map(Step::EndIdentity),
        1 => (0..50_u64).prop_map(Step::EndExpired),
        1 => Just(Step::EndOdd),
        1 => any::<usize>().prop_map(Step::End),
    ]
}

/// A session of the naive model.
struct Modelled {
    who: u8,
    not_after: u64,
    ended: Option<EndReason>,
    guard: SessionGuard,
}

fn end(model: &mut [Modelled], reason: EndReason, which: impl Fn(&Modelled) -> bool) -> usize {
    let ended = model.iter_mut().filter(|session| which(session) && session.ended.is_none());
    ended.map(|session| session.ended = Some(reason)).count()
}

proptest! {
    #[test]
    fn the_registry_does_as_a_list_would(steps in prop::collection::vec(step(), 1..120)) {
        let registry = SessionRegistry::default();
        let mut model: Vec<Modelled> = Vec::new();
        for step in steps {
            match step {
                Step::Register { who, not_after } => {
                    let guard = registry.register(&peer(who, not_after), ADDR);
                    model.push(Modelled { who, not_after, ended: None, guard });
                    let same = model.iter().filter(|session| session.who == who).count();
                    prop_assert_eq!(model.last().unwrap().guard.of_identity(), same);
                }
                Step::Leave(at) if !model.is_empty() => drop(model.swap_remove(at % model.len())),
                Step::End(at) if !model.is_empty() => {
                    let at = at % model.len();
                    model[at].guard.end(EndReason::TakenOver);
                    let _ = end(&mut model[at..=at], EndReason::TakenOver, |_| true);
                }
                Step::EndIdentity(who) => {
                    let ended = registry.end_identity(&identity(who), EndReason::MaxAge);
                    prop_assert_eq!(ended, end(&mut model, EndReason::MaxAge, |session| session.who == who));
                }
                Step::EndExpired(now) => {
                    registry.end_expired(at(now));
                    end(&mut model, EndReason::Expired, |session| session.not_after < now);
                }
                Step::EndOdd => {
                    let odd = |peer: &Peer| peer.serial.as_bytes()[0] % 2 == 1;
                    let ended = registry.end_where(|peer| odd(peer).then_some(EndReason::Revoked));
                    let by_model = end(&mut model, EndReason::Revoked, |session| session.who % 2 == 0);
                    prop_assert_eq!(ended, by_model);
                }
                Step::Leave(_) | Step::End(_) => {}
            }
            for session in &model {
                prop_assert_eq!(session.guard.ended(), session.ended);
            }
            prop_assert_eq!(registry.len(), model.len());
            for who in 0..6 {
                let same = model.iter().filter(|session| session.who == who).count();
                prop_assert_eq!(registry.of_identity(&identity(who)), same);
            }
        }
    }
}
