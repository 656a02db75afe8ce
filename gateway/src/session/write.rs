//! The writing half of a session: sends responses once the journal is synced far enough, many in one write.

use std::{future::poll_fn, rc::Rc, task::Poll};

use super::{close_reason::CloseReason, connection::Session, responses::Response, stream::SessionStream};

impl<S: SessionStream> Session<S> {
    /// The writing half.
    pub(super) async fn write(&self) -> CloseReason {
        loop {
            let bytes = poll_fn(|task| {
                self.responses.register(task.waker());
                self.leaving().map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            let written = match bytes {
                Err(why) => return why,
                Ok(bytes) if bytes.is_empty() => {
                    // close_notify, so that the device knows that nothing was cut off. To one that was displaced it
                    // comes later: a program that closes without having read it resets the connection, as if it were
                    // gone.
                    if self.handle.why() != Some(CloseReason::Displaced) {
                        let _ = self.stream.shutdown().await;
                    }
                    return CloseReason::Peer;
                }
                Ok(bytes) => self.stream.write(&bytes).await,
            };
            if written.is_err() {
                return CloseReason::Peer;
            }
        }
    }

    /// The bytes that may leave; none when there will be no more; `None` while there are none yet.
    fn leaving(&self) -> Option<Result<Vec<u8>, CloseReason>> {
        let commit_waiters = &self.context.commit_waiters;
        if commit_waiters.has_failed() {
            return Some(Err(CloseReason::Failed));
        }
        let mut bytes = Vec::new();
        // Some responses have no bytes.
        while bytes.is_empty()
            && self
                .responses
                .drain_ready(commit_waiters.durable(), |response| self.encode(response, &mut bytes))
        {}
        if !bytes.is_empty() || self.responses.is_done() {
            return Some(Ok(bytes));
        }
        if let Some(until) = self.responses.next_awaited() {
            commit_waiters.wait(until, &Rc::clone(&self.responses));
        }
        None
    }

    fn encode(&self, response: Response, bytes: &mut Vec<u8>) {
        match response {
            Response::Ack { ack, read_at, .. } => {
                self.observe(read_at);
                self.encoder.ack(ack, bytes);
            }
            Response::Encoded { bytes: encoded, read_at, .. } => {
                if let Some(read_at) = read_at {
                    self.observe(read_at);
                }
                if bytes.is_empty() {
                    *bytes = encoded;
                } else {
                    bytes.extend_from_slice(&encoded);
                }
            }
        }
    }

    fn observe(&self, read_at: std::time::Duration) {
        let took = self.context.clock.mono().saturating_sub(read_at);
        self.context.metrics.ack_seconds.observe(took.as_secs_f64());
    }
}
