//! How requests learn that the session of their connection ends: their peer is revoked, its certificate has expired, or
//! the connection is too old.

use std::time::Duration;

use catchment_certs::{EndReason, SessionGuard};
use tokio::{sync::watch, time::sleep};
use tonic::Status;

/// How long requests of a connection that is only too old may still take.
const REQUESTS_GRACE: Duration = Duration::from_secs(5);
/// How long a connection stays after its requests, so that their last words leave.
const WORDS_GRACE: Duration = Duration::from_millis(300);

/// The end of a connection's session. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct SessionEnd(watch::Receiver<Option<EndReason>>);

impl SessionEnd {
    /// That of a session; to be asked for once.
    pub(crate) fn of(session: &SessionGuard) -> Self {
        let (tell, ended) = watch::channel(None);
        session.on_end(move |reason| _ = tell.send_replace(Some(reason)));
        Self(ended)
    }

    /// That of a session that nothing ends from outside.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// Resolves when the session ends.
    pub(crate) async fn ended(mut self) -> EndReason {
        let reason = self.0.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match reason {
            Some(reason) => reason,
            // It has ended without a reason from outside.
            None => std::future::pending().await,
        }
    }

    /// Resolves when the requests must end: at once if the peer is not trusted any more, else a while later.
    pub(crate) async fn requests_end(self) -> EndReason {
        let reason = self.ended().await;
        if !reason.distrusts() {
            sleep(REQUESTS_GRACE).await;
        }
        reason
    }

    /// Resolves when the connection must be closed, after the last words of its requests.
    pub(crate) async fn connection_ends(self) -> EndReason {
        let reason = self.requests_end().await;
        sleep(WORDS_GRACE).await;
        reason
    }
}

/// What a request is answered that ends with its session.
pub(crate) fn status(reason: EndReason) -> Status {
    match reason.distrusts() {
        true => Status::unauthenticated(reason.message()),
        false => Status::unavailable(reason.message()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use catchment_certs::{Identity, Peer, Serial, SessionRegistry, TrustDomain};
    use catchment_proto::{Name, OperatorId};
    use tokio::time::{Instant, timeout};

    use super::*;

    fn session(registry: &SessionRegistry) -> SessionGuard {
        let peer = Peer {
            identity: Identity::Operator(OperatorId { name: Name::new("ada").unwrap() }),
            trust_domain: TrustDomain::new("catchment.local").unwrap(),
            serial: Serial::random(),
            issuer: None,
            root: None,
            not_after: std::time::SystemTime::now(),
        };
        registry.register(&peer, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }

    #[tokio::test(start_paused = true)]
    async fn the_distrusted_end_at_once_and_the_old_after_a_while() {
        let registry = SessionRegistry::default();
        for (reason, requests) in [(EndReason::Revoked, Duration::ZERO), (EndReason::MaxAge, REQUESTS_GRACE)]
        {
            let session = session(&registry);
            let end = SessionEnd::of(&session);
            let lasts = |end: SessionEnd| timeout(Duration::from_secs(3_600), end.requests_end());
            assert!(lasts(end.clone()).await.is_err());
            let begun = Instant::now();
            session.end(reason);
            assert_eq!(end.clone().requests_end().await, reason);
            assert_eq!(begun.elapsed(), requests);
            assert_eq!(end.clone().connection_ends().await, reason);
            // Known later too.
            drop(session);
            assert_eq!(end.ended().await, reason);
        }
        let ended = session(&registry);
        let end = SessionEnd::of(&ended);
        drop(ended);
        assert!(
            timeout(Duration::from_secs(3_600), end.ended()).await.is_err(),
            "nobody ended it from outside"
        );
        assert!(timeout(Duration::from_secs(3_600), SessionEnd::never().ended()).await.is_err());
    }
}
