//! Responses slow the device that causes them: while too many wait to be written, it is not read.
//!
//! A device that reads its responses so gets each of them, however many its messages cause. One that writes all of its
//! messages before it reads anything would wait for the gateway while the gateway waits for it. So a device that takes
//! nothing for `message_timeout`, while a write waits for it, is not waited for any more until it has taken something:
//! refusals are dropped and counted, acknowledgements become one, and it is read on. Where nothing may be dropped (replies
//! of MQTT, the answer to a hello), its session ends.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};

use super::{close_reason::CloseReason, connection::Session};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Waits until one more answer has room; `false`: the device does not read.
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
                () = self.handle.end.cancelled() => return Err(self.context.cancel_reason()),
                () = self.responses.drained.notified() => {}
                () = sleep_until(due) => {
                    let (now, waiting) = self.stream.progress();
                    // Without a write that waits, it is the disk that responses wait for.
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
