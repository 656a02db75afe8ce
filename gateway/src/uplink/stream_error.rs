//! Why a stream ended.

use std::{error::Error, time::Duration};

use tonic::Status;

use super::sender::SenderError;
use crate::lineage::LineageError;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("{0}")]
    Url(String),
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("{}: {}", .0.code(), .0.message())]
    Status(#[from] Box<Status>),
    #[error("the aggregator ended the stream")]
    Ended,
    #[error("the aggregator does not keep to the protocol: {0}")]
    Protocol(&'static str),
    #[error(
        "no acknowledgement of shard {shard} for {timeout:?} (uplink_ack_timeout), although the connection is open"
    )]
    Silent { shard: usize, timeout: Duration },
    #[error(transparent)]
    Sender(#[from] SenderError),
    #[error("the aggregator is not trusted any more: {0}")]
    Distrusted(&'static str),
    #[error("a new epoch has begun")]
    Forked,
    #[error("a new epoch cannot begin: {0}")]
    Lineage(#[from] LineageError),
}

impl From<Status> for StreamError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl StreamError {
    /// The error with its causes, each once: the transport names its own only there.
    pub(super) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        text
    }
}
