//! All sessions of a server, in parts with locks of their own: twenty thousand that register within seconds do not wait
//! for each other, and whoever walks them holds one part at a time, briefly.

use std::{
    fmt,
    hash::BuildHasher as _,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use catchment_proto::id::Name;
use hashbrown::DefaultHashBuilder;
use tokio::time::Instant;

use super::{
    reason::EndReason,
    session::{Session, SessionGuard},
    table::{Now, Table, seconds},
};
use crate::{
    anchors::RootKey,
    certificate::Peer,
    identity::{Identity, Role, TrustDomain},
    trust::Trust,
};

/// Parts of the registry, each with its lock; a power of two.
const PARTS: usize = 64;
/// Sessions looked at while a part is locked.
pub(super) const SLICE: usize = 512;
/// How far the age at which a session ends is from the maximum, at most: a fleet that connected at once does not return
/// at once.
const AGE_JITTER: f64 = 0.1;

/// What the trust that counts now says of a peer whose handshake was accepted: a reason to end its session.
type Judge = Box<dyn Fn(&Peer) -> Option<EndReason> + Send + Sync>;

/// The sessions of a server. Clones share them. Bounded by the server's maximum of connections.
#[derive(Clone, Debug)]
pub struct SessionRegistry {
    pub(super) inner: Arc<Inner>,
}

/// Numbers of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCounts {
    /// Sessions of each role, in the order of [`Role::ALL`].
    pub by_role: [usize; 4],
    /// Sessions that were ended from outside, in the order of [`EndReason::ALL`].
    pub ended: [u64; 5],
}

pub(super) struct Inner {
    parts: [Mutex<Table>; PARTS],
    hasher: DefaultHashBuilder,
    age_max: Option<Duration>,
    judge: Option<Judge>,
    begun: Instant,
    by_role: [AtomicUsize; 4],
    ended: [AtomicU64; 5],
    /// What the peers of a server have in common, so that thousands share one copy: trust domain, a gateway's
    /// site, and a root.
    domain: OnceLock<TrustDomain>,
    site: OnceLock<Name>,
    root: OnceLock<RootKey>,
}

impl Default for SessionRegistry {
    fn default() -> Self {
        Self::make(None, None)
    }
}

impl SessionRegistry {
    /// The sessions of a server with this trust, each of which ends at `age_max`, give or take a tenth.
    pub fn new(trust: &Trust, age_max: Option<Duration>) -> Self {
        let status = trust.subscribe();
        Self::judged_by(age_max, move |peer| status.borrow().refuses(peer))
    }

    /// As [`Self::new`], with another judge of peers: it must know what the newest trust says.
    pub(super) fn judged_by(
        age_max: Option<Duration>,
        judge: impl Fn(&Peer) -> Option<EndReason> + Send + Sync + 'static,
    ) -> Self {
        Self::make(age_max, Some(Box::new(judge)))
    }

    fn make(age_max: Option<Duration>, judge: Option<Judge>) -> Self {
        let inner = Inner {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: DefaultHashBuilder::default(),
            age_max,
            judge,
            begun: Instant::now(),
            by_role: Default::default(),
            ended: Default::default(),
            domain: OnceLock::new(),
            site: OnceLock::new(),
            root: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Registers a session until the guard is dropped. If the trust was replaced while its handshake was made and the new
    /// one refuses the peer, it has ended when this returns.
    pub fn register(&self, peer: &Peer, addr: SocketAddr) -> SessionGuard {
        let guard = self.insert(peer, addr);
        self.inner.judge(&guard.session);
        guard
    }

    /// The first half of [`Self::register`]: from here on whoever walks the sessions finds it. A new trust counts before
    /// the sessions are walked; so either the walk finds the session, or the second half finds the new trust.
    pub(super) fn insert(&self, peer: &Peer, addr: SocketAddr) -> SessionGuard {
        let inner = &self.inner;
        let session = Arc::new(Session::new(inner.shared(peer), addr, inner.age_end()));
        let (slot, of_identity) =
            inner.part(&peer.identity).insert(&session, |identity| inner.hasher.hash_one(identity));
        inner.role(&session).fetch_add(1, Relaxed);
        SessionGuard::new(Arc::clone(inner), session, slot, of_identity)
    }

    /// Ends every session of an identity. Returns how many.
    pub fn end_identity(&self, identity: &Identity, reason: EndReason) -> usize {
        let sessions: Vec<_> = {
            let part = self.inner.part(identity);
            part.of_identity(identity, self.inner.hasher.hash_one(identity)).cloned().collect()
        };
        sessions.iter().filter(|session| self.inner.end(session, reason)).count()
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.inner.parts.iter().map(|part| lock(part).len()).sum()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of sessions of an identity.
    pub fn of_identity(&self, identity: &Identity) -> usize {
        self.inner.part(identity).of_identity(identity, self.inner.hasher.hash_one(identity)).count()
    }

    /// Sessions by role, and how many were ended from outside by each reason.
    pub fn counts(&self) -> SessionCounts {
        SessionCounts {
            by_role: std::array::from_fn(|at| {
                self.inner.by_role.get(at).map_or(0, |count| count.load(Relaxed))
            }),
            ended: std::array::from_fn(|at| self.inner.ended.get(at).map_or(0, |count| count.load(Relaxed))),
        }
    }
}

impl Inner {
    /// The part of an identity's sessions.
    fn part(&self, identity: &Identity) -> MutexGuard<'_, Table> {
        // The table's own use of the hash begins at the other end.
        let at = (self.hasher.hash_one(identity) >> 24) as usize % PARTS;
        lock(self.parts.get(at).unwrap_or(&self.parts[0]))
    }

    fn role(&self, session: &Session) -> &AtomicUsize {
        let role = session.peer.identity.role();
        let at = Role::ALL.iter().position(|known| *known == role).unwrap_or(0);
        self.by_role.get(at).unwrap_or(&self.by_role[0])
    }

    /// A copy of the peer that shares what all have in common.
    fn shared(&self, peer: &Peer) -> Peer {
        let mut peer = peer.clone();
        let domain = self.domain.get_or_init(|| peer.trust_domain.clone());
        if *domain == peer.trust_domain {
            peer.trust_domain = domain.clone();
        }
        if let Some(root) = &mut peer.root {
            let known = self.root.get_or_init(|| root.clone());
            if known == root {
                *root = known.clone();
            }
        }
        if let Identity::Device(device) = &mut peer.identity {
            let site = self.site.get_or_init(|| device.site.clone());
            if *site == device.site {
                device.site = site.clone();
            }
        }
        peer
    }

    /// When a session that begins now reaches its maximum age.
    fn age_end(&self) -> u64 {
        let Some(age_max) = self.age_max else { return u64::MAX };
        let age = age_max.mul_f64(1.0 - AGE_JITTER + 2.0 * AGE_JITTER * rand::random::<f64>());
        millis(self.begun.elapsed().saturating_add(age)).min(u64::MAX - 1)
    }

    /// Now, with the wall clock's time.
    pub(super) fn now(&self, wall: SystemTime) -> Now {
        Now { wall_seconds: seconds(wall), age_ms: millis(self.begun.elapsed()) }
    }

    /// Ends a session; whether it had not been ended before.
    pub(super) fn end(&self, session: &Session, reason: EndReason) -> bool {
        let ended = session.end(reason);
        if ended {
            if let Some(count) = self.ended.get(reason.index()) {
                count.fetch_add(1, Relaxed);
            }
            let Peer { identity: peer, serial, .. } = &session.peer;
            tracing::info!(%peer, %serial, addr = %session.addr, reason = reason.reason(), "session ended");
        }
        ended
    }

    /// Ends the session if the trust that counts now refuses its peer.
    pub(super) fn judge(&self, session: &Session) -> bool {
        let reason = self.judge.as_ref().and_then(|judge| judge(&session.peer));
        reason.is_some_and(|reason| self.end(session, reason))
    }

    /// Sessions of a part from a slot on, and the slot that follows.
    pub(super) fn slice(&self, part: usize, from: usize) -> (Vec<Arc<Session>>, Option<usize>) {
        self.parts.get(part).map_or_else(Default::default, |part| lock(part).slice(from, SLICE))
    }

    /// Ends up to [`SLICE`] sessions of a part for each of expiry and age. Returns how many were due.
    pub(super) fn end_due(&self, part: usize, now: Now) -> usize {
        let Some(part) = self.parts.get(part) else { return 0 };
        let (expired, aged) = {
            let mut part = lock(part);
            (part.take_expired(now, SLICE), part.take_aged(now, SLICE))
        };
        for session in &expired {
            self.end(session, EndReason::Expired);
        }
        for session in &aged {
            self.end(session, EndReason::MaxAge);
        }
        expired.len() + aged.len()
    }

    /// How long until the next session is due.
    pub(super) fn next_due(&self, now: Now) -> Option<Duration> {
        self.parts.iter().filter_map(|part| lock(part).next_due(now)).min()
    }

    /// Removes a session.
    pub(super) fn remove(&self, session: &Session, slot: u32) {
        let identity = &session.peer.identity;
        self.part(identity).remove(session, slot, self.hasher.hash_one(identity));
        self.role(session).fetch_sub(1, Relaxed);
    }
}

/// The numbers of the parts.
pub(super) const fn parts() -> std::ops::Range<usize> {
    0..PARTS
}

fn lock(part: &Mutex<Table>) -> MutexGuard<'_, Table> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRegistry").field("age_max", &self.age_max).finish_non_exhaustive()
    }
}
