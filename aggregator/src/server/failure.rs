//! Why an aggregator cannot start, and why one stopped by itself.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use catchment_certs::{FolderError, TlsError};
use catchment_journal::AtomicFileError;

use crate::store::{OpenError, StoreError};

/// Why an aggregator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The identity cannot be loaded.
    #[error("identity: {0}")]
    Identity(#[from] FolderError),
    /// The identity has another role.
    #[error("identity: {} belongs to {found}, but an aggregator needs role aggregator; issue one with catchment-certs", .dir.display())]
    Role {
        /// The folder.
        dir: PathBuf,
        /// The identity found in it.
        found: String,
    },
    /// The TLS configuration cannot be built.
    #[error("identity: {0}")]
    Tls(#[from] TlsError),
    /// The store cannot be opened.
    #[error("data: {0}")]
    Store(#[from] OpenError),
    /// The revocation lists that the data folder keeps cannot be read.
    #[error("data: {0}")]
    Revocations(AtomicFileError),
    /// The system refused a thread.
    #[error("cannot open the store: {0}")]
    Thread(String),
    /// An address cannot be bound.
    #[error("{key}: cannot bind {address}: {error}")]
    Bind {
        /// Name of the setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Error of the system.
        error: io::Error,
    },
}

impl StartError {
    /// Whether the configuration, or something it names, is wrong rather than the machine: retrying needs a changed
    /// configuration.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Identity(_) | Self::Role { .. } | Self::Tls(_) => true,
            Self::Store(OpenError::Folder(error)) => error.is_configuration(),
            Self::Store(_) | Self::Revocations(_) | Self::Thread(_) | Self::Bind { .. } => false,
        }
    }
}

/// Why an aggregator stopped by itself, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The disk failed; acknowledged batches are kept and read again at the next start.
    #[error("the store has failed and accepts nothing more: {0}")]
    Poisoned(Arc<str>),
    /// The store was not closed cleanly; nothing acknowledged is lost.
    #[error("the store was not closed cleanly: {0}")]
    Close(StoreError),
    /// The system refused the query threads.
    #[error("cannot start the query threads: {0}; raise the thread limit or lower query_threads")]
    Thread(String),
    /// The gRPC server ended by itself.
    #[error("the gRPC server ended: {0}")]
    Grpc(String),
    /// A task panicked or ended prematurely.
    #[error("{0}; this is a defect, please report it; acknowledged data is kept: restart the aggregator")]
    Defect(Arc<str>),
}
