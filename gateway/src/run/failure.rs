//! Why a gateway cannot start, and why one stopped by itself.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use catchment_certs::{FolderError, TlsError};
use catchment_journal::{AtomicFileError, DataDirError};

use crate::{folder::shards::ShardsError, lineage::LineageError, shard::RecoveryError};

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The identity folder.
    #[error(transparent)]
    Identity(#[from] FolderError),
    /// The identity has another role.
    #[error("{}: this is the identity of {found}, a gateway needs one of role gateway", .folder.display())]
    Role {
        /// The identity folder.
        folder: PathBuf,
        /// The identity in it.
        found: String,
    },
    /// The identity cannot be used for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The data folder's shards.
    #[error(transparent)]
    Shards(#[from] ShardsError),
    /// The history of the data folder.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// The revocation lists of the data folder cannot be read: without them, the revoked might be let in.
    #[error("the revocation lists that were kept cannot be read: {0}")]
    Revocations(AtomicFileError),
    /// A shard.
    #[error(transparent)]
    Recover(#[from] RecoveryError),
    /// An address cannot be bound.
    #[error("cannot listen on {addr}: {error}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}

impl StartError {
    /// Whether a retry needs another configuration: it, or something that it names, is at fault and not the machine.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Identity(_) | Self::Role { .. } | Self::Tls(_) => true,
            Self::Data(error) => error.is_configuration(),
            Self::Shards(error) => error.is_configuration(),
            Self::Recover(error) => error.is_configuration(),
            Self::Lineage(error) => matches!(error, LineageError::Epochs(_)),
            Self::Bind { .. } | Self::Thread(_) | Self::Revocations(_) => false,
        }
    }
}

/// Why a gateway stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A journal or outbox failed: nothing more can be acknowledged.
    #[error("{0}; nothing more is acknowledged: check the disk, then start again")]
    Failed(Arc<str>),
    /// The data folder was removed, moved or replaced.
    #[error(
        "{0}; nothing more is acknowledged: put that folder back, it holds what was acknowledged; otherwise the \
         next start begins with an empty one"
    )]
    Gone(Arc<str>),
    /// A task of the gateway panicked or ended early.
    #[error("{0}; this is a defect, please report it; what was acknowledged is kept: start again")]
    Defect(Arc<str>),
}
