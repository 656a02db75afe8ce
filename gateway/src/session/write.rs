//! The writing half of a session: waits for the journal's syncs and sends what may leave, many answers in one write.

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{End, Session, answers::Answer};

impl Session {
    /// The writing half.
    pub(super) async fn write<W: AsyncWrite + Unpin>(&self, mut write: W) -> End {
        let mut commits = self.context.journal.subscribe();
        loop {
            let commit = commits.borrow_and_update().clone();
            if commit.poisoned.is_some() {
                return End::Failed;
            }
            let ready = self.answers.ready(commit.durable);
            if ready.is_empty() && self.answers.is_done() {
                // close_notify, so that the device knows that nothing was cut off.
                let _ = write.shutdown().await;
                return End::Peer;
            }
            if ready.is_empty() {
                tokio::select! {
                    () = self.answers.changed.notified() => {}
                    changed = commits.changed() => if changed.is_err() { return End::Stopping },
                }
                continue;
            }
            let bytes = self.encode(ready);
            if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                return End::Peer;
            }
        }
    }

    fn encode(&self, answers: Vec<Answer>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for answer in answers {
            match answer {
                Answer::Ack { ack, read_at, .. } => {
                    self.observe(read_at);
                    self.encoder.ack(ack, &mut bytes);
                }
                Answer::Encoded { bytes: encoded, read_at, .. } => {
                    if let Some(read_at) = read_at {
                        self.observe(read_at);
                    }
                    bytes.extend_from_slice(&encoded);
                }
            }
        }
        bytes
    }

    fn observe(&self, read_at: std::time::Duration) {
        let took = self.context.clock.mono().saturating_sub(read_at);
        self.context.metrics.ack_seconds.observe(took.as_secs_f64());
    }
}
