//! A session becomes one of its device's connections with its first message: before, it holds a place of those that have
//! said nothing.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{close_reason::CloseReason, connection::Session, protocol::DecodeStop};
use crate::{
    device::{Admission, SessionIdentity},
    intake::Intake,
};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Takes a place among the connections of the device for this client, or fails: then nothing of it is taken.
    pub(super) fn admit(&self, who: SessionIdentity<'_>) -> Result<(), CloseReason> {
        if self.handle.admitted.replace(true) {
            return Ok(());
        }
        let (session_table, now) = (&self.context.session_table, Instant::now());
        let silence = |other| session_table.silence(other, now);
        match self.device_sessions.borrow_mut().admit(self.id, who, silence) {
            Admission::Admitted => Ok(()),
            Admission::Displaces(other) => {
                session_table.end(other, CloseReason::Displaced);
                Ok(())
            }
            Admission::Full => Err(CloseReason::TooMany),
        }
    }

    /// As [`Session::admit`], with what was decoded first. A client of MQTT says who it is before.
    pub(super) fn admit_first(&self, intake: &Intake, stop: &DecodeStop) -> Result<(), CloseReason> {
        if self.handle.admitted.get() || self.decoder.borrow().is_mqtt() {
            return Ok(());
        }
        match stop {
            DecodeStop::Hello(epoch) if intake.is_empty() => self.admit(SessionIdentity::Epoch(epoch)),
            _ if intake.is_empty() => Ok(()),
            _ => self.admit(SessionIdentity::Unknown),
        }
    }
}
