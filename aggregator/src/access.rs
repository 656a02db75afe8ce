//! Who calls: the identity of a connection's certificate, found in each request's extensions, and which
//! service which role may use.
//!
//! Any certificate of the trust root has a connection; a service of another role answers PERMISSION_DENIED.

use std::{net::SocketAddr, sync::Arc};

use catchment_certs::{Identity, Peer};
use catchment_proto::{GatewayId, OperatorId};
use tokio::sync::Notify;
use tonic::{Request, Status};

use crate::usage::Usage;

/// The other end of a connection; `transport` puts it into the extensions of every request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose certificate it is.
    pub(crate) peer: Arc<Peer>,
    /// Where it comes from.
    pub(crate) addr: SocketAddr,
    /// What it makes of its connection.
    pub(crate) usage: Arc<Usage>,
    /// Cuts the connection.
    pub(crate) disconnect: Disconnect,
}

/// Cuts a connection whose other end does not do its part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disconnect(Arc<Notify>);

impl Disconnect {
    /// Cuts it.
    pub(crate) fn trigger(&self) {
        self.0.notify_one();
    }

    /// Resolves when the connection is to be cut.
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

fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request.extensions().get::<Caller>().ok_or_else(|| Status::unauthenticated("no certificate"))
}

/// The gateway that calls.
///
/// # Errors
/// PERMISSION_DENIED for a certificate of another role.
pub(crate) fn gateway<T>(request: &Request<T>) -> Result<(GatewayId, SocketAddr), Status> {
    let caller = caller(request)?;
    match &caller.peer.identity {
        Identity::Gateway(gateway) => Ok((gateway.clone(), caller.addr)),
        other => Err(denied("gateway", other)),
    }
}

/// The operator who calls.
///
/// # Errors
/// PERMISSION_DENIED for a certificate of another role.
pub(crate) fn operator<T>(request: &Request<T>) -> Result<CallingOperator, Status> {
    let caller = caller(request)?;
    match &caller.peer.identity {
        Identity::Operator(operator) => {
            Ok(CallingOperator { operator: operator.clone(), disconnect: caller.disconnect.clone() })
        }
        other => Err(denied("operator", other)),
    }
}

fn denied(needed: &str, found: &Identity) -> Status {
    Status::permission_denied(format!("this needs a certificate of role {needed}, yours is of {found}"))
}
