//! Identities and TLS configurations of Catchment, and its certificate authority.
//!
//! The only crate that builds rustls configurations. A server or client loads an [`IdentityFolder`], makes a
//! [`ServerTls`] or [`ClientTls`] from it, and gets connections to a [`Peer`]: a name and role from a verified
//! certificate. No code reads certificates again after the handshake.
//!
//! * `identity`, `serial`, `certificate`, `chain`, `anchors`: from a chain of certificates to a [`Peer`];
//! * `folder`, `pem_text`, `self_check`, `provider`, `server`, `verifier`, `client`, `channel`: from a folder to TLS in both
//!   directions;
//! * `trust`, `revocation`: what is trusted now, replaced as a whole while the process runs;
//! * `accept`, `sessions`, `socket`, `failure`: the accept loop shared by gateway and aggregator, and what ends sessions;
//! * `authority`, `cli`: the bundled certificate authority and its program.

pub mod accept;
pub mod anchors;
pub mod authority;
pub mod certificate;
pub mod chain;
pub mod channel;
pub mod cli;
pub mod client;
mod der;
pub mod failure;
mod files;
pub mod folder;
pub mod identity;
pub mod kept_revocations;
mod pem_text;
mod provider;
pub mod revocation;
pub mod self_check;
pub mod serial;
pub mod server;
pub mod sessions;
pub mod socket;
pub mod trust;
mod verifier;

#[cfg(test)]
mod tests;

pub use rustls::pki_types::CertificateDer;

pub use accept::{AcceptConfig, AcceptEvents, Accepted, accept_loop};
pub use anchors::{Root, RootKey};
pub use certificate::{Peer, peer_from_certificate};
pub use chain::{ChainError, peer_from_chain};
pub use channel::{ClientIdentity, GrpcConnector, LastFailure, UrlError, endpoint_uri, parse_https};
pub use client::{ClientTls, ConnectError};
pub use failure::{HandshakeFailure, StreamFailure, TlsFailure};
pub use folder::{FolderError, IdentityFolder};
pub use identity::{Identity, IdentityError, Role, TrustDomain};
pub use revocation::{RevocationError, RevocationList, Revocations};
pub use self_check::SelfCheckError;
pub use serial::Serial;
pub use server::{ServerTls, TlsError};
pub use sessions::{EndReason, SessionCounts, SessionGuard, SessionRegistry};
pub use socket::Socket;
pub use trust::{Reloads, Trust, TrustConfig, TrustMetrics, TrustStatus};
