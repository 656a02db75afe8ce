//! Backpressure by responses: while too many wait to be written, the device is not read.
//!
//! So a device that reads its responses gets each of them, however many its messages cause. A device that writes all of
//! its messages before it reads anything would deadlock: it waits for the gateway, and the gateway for it. So when a
//! device takes nothing for `message_timeout` while a write is pending, the session stops waiting for it until it takes
//! something: refusals are dropped and counted, acknowledgements are merged, and reading continues. Where nothing may
//! be dropped (replies of MQTT, the answer to a hello), the session ends.

use tokio::time::{Instant, sleep_until};

use super::{close_reason::CloseReason, connection::Session, stream::SessionStream};

impl<S: SessionStream> Session<S> {
    /// Waits until the queue has room for one more response; `false`: the device does not read.
    pub(super) async fn room(&self) -> Result<bool, CloseReason> {
        if self.responses.has_room() {
            return Ok(true);
        }
        if self.stalled_at.get() == Some(self.stream.progress().0) {
            return Ok(false);
        }
        Box::pin(self.wait_for_room()).await
    }

    async fn wait_for_room(&self) -> Result<bool, CloseReason> {
        let deadlines = self.context.session_table.deadlines.message;
        let (mut before, mut due) = (self.stream.progress().0, Instant::now() + deadlines);
        while !self.responses.has_room() {
            tokio::select! {
                why = self.handle.ended() => return Err(why),
                () = self.responses.drained.notified() => {}
                () = sleep_until(due) => {
                    let (now, waiting) = self.stream.progress();
                    // Without a pending write, the responses wait for the disk.
                    if waiting && now == before {
                        self.stalled_at.set(Some(now));
                        return Ok(false);
                    }
                    (before, due) = (now, Instant::now() + deadlines);
                }
            }
        }
        Ok(true)
    }
}
