//! Authentication and roles: the identity of a connection's certificate, found in each request's extensions, and the
//! role that each service requires.
//!
//! Any certificate of the trust root may connect; a service of another role answers PERMISSION_DENIED.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use catchment_certs::{Identity, Peer};
use catchment_proto::{GatewayId, OperatorId};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tonic::{Extensions, Request, Status};

use crate::{session_end::SessionEnd, usage::Usage};

/// The other end of a connection; `transport` puts it into the extensions of every request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Identity of its certificate.
    pub(crate) peer: Arc<Peer>,
    /// Its address.
    pub(crate) addr: SocketAddr,
    /// Its use of the connection.
    pub(crate) usage: Arc<Usage>,
    /// Cuts the connection.
    pub(crate) disconnect: Disconnect,
    /// The end of its session.
    pub(crate) session: SessionEnd,
    /// Counts requests that its role may not send.
    pub(crate) wrong_role: Counter,
}

/// Cuts a connection whose peer misbehaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disconnect(Arc<Notify>);

impl Disconnect {
    pub(crate) fn trigger(&self) {
        self.0.notify_one();
    }

    /// Resolves when the connection must be cut.
    pub(crate) async fn triggered(&self) {
        self.0.notified().await;
    }
}

/// The operator that sent a request.
#[derive(Clone, Debug)]
pub(crate) struct CallingOperator {
    /// Its identity.
    pub(crate) operator: OperatorId,
    /// Cuts the connection of the request.
    pub(crate) disconnect: Disconnect,
}

fn caller(extensions: &Extensions) -> Result<&Caller, Status> {
    extensions.get::<Caller>().ok_or_else(|| Status::unauthenticated("no certificate"))
}

/// The gateway that calls, its address, and the end of its session.
///
/// # Errors
/// PERMISSION_DENIED for a certificate of another role.
pub(crate) fn gateway<T>(request: &Request<T>) -> Result<(GatewayId, SocketAddr, SessionEnd), Status> {
    let caller = caller(request.extensions())?;
    match &caller.peer.identity {
        Identity::Gateway(gateway) => Ok((gateway.clone(), caller.addr, caller.session.clone())),
        _ => Err(denied("gateway", caller)),
    }
}

/// When the certificate of the connection ends, Unix seconds.
pub(crate) fn certificate_expires_s<T>(request: &Request<T>) -> Option<i64> {
    let not_after = request.extensions().get::<Caller>()?.peer.not_after;
    i64::try_from(not_after.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// The operator that calls.
///
/// # Errors
/// PERMISSION_DENIED for a certificate of another role.
pub(crate) fn operator<T>(request: &Request<T>) -> Result<CallingOperator, Status> {
    operator_of(request.extensions())
}

/// As [`operator`], of a request of any protocol.
///
/// # Errors
/// PERMISSION_DENIED for a certificate of another role.
pub(crate) fn operator_of(extensions: &Extensions) -> Result<CallingOperator, Status> {
    let caller = caller(extensions)?;
    match &caller.peer.identity {
        Identity::Operator(operator) => {
            Ok(CallingOperator { operator: operator.clone(), disconnect: caller.disconnect.clone() })
        }
        _ => Err(denied("operator", caller)),
    }
}

fn denied(needed: &str, caller: &Caller) -> Status {
    caller.wrong_role.inc();
    let found = &caller.peer.identity;
    Status::permission_denied(format!("this needs a certificate of role {needed}, yours belongs to {found}"))
}
