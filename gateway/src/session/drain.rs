//! The end of a connection that is closed from here: the device reads the last words, and shows whether its program
//! lives.

use std::{cell::Cell, io, time::Duration};

use tokio::time::timeout;

use super::{
    stream::{Duplex, Inbox, SessionStream},
    waiting::WaitingBytes,
};

/// How long an ending session waits for its last acknowledgement to be durable and written.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a session that was ended from here waits for the device to close too.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The same for a device that is not trusted any more, together with the wait for the last acknowledgement: its
/// connection is closed within a second, whether it reads or not.
pub(super) const DISTRUSTED_TIMEOUT: Duration = Duration::from_millis(300);

/// What a device did whose session was ended from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainOutcome {
    /// It has closed its side in time, or sent something: its program lives.
    Lives,
    /// Nothing.
    Silent,
    /// The connection broke.
    Broken,
}

/// Reads and discards until the device has closed too: closing a socket with unread bytes resets the connection, and
/// the device could lose what was last said to it.
pub(super) async fn drain_until_closed<S: SessionStream>(
    stream: &Duplex<S>,
    longest: Duration,
) -> DrainOutcome {
    // Nothing of it is held.
    let (mut discarded, sent, waiting) = (Inbox::default(), Cell::new(false), WaitingBytes::new(usize::MAX));
    let until_closed = async {
        loop {
            match stream.fill(&mut discarded, &waiting).await {
                Ok(0) => return DrainOutcome::Lives,
                Ok(_) => {
                    sent.set(true);
                    discarded.consume(discarded.unread().len());
                }
                Err(_) if sent.get() => return DrainOutcome::Lives,
                // Without close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return DrainOutcome::Lives,
                Err(_) => return DrainOutcome::Broken,
            }
        }
    };
    let silent = || if sent.get() { DrainOutcome::Lives } else { DrainOutcome::Silent };
    timeout(longest, until_closed).await.unwrap_or_else(|_| silent())
}
