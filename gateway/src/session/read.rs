//! The reading half of a session: bytes in, whole messages to the device's actor, one hand-over at a time.

use std::{future::pending, time::Duration};

use catchment_journal::Position;
use tokio::{
    io::AsyncRead,
    time::{Instant, sleep, sleep_until},
};

use super::{
    End, Session, fill,
    protocol::{Closing, Stop},
};
use crate::{
    device::{Answer, Hello, OpenClient, Take},
    intake::{Intake, Refusal},
    mqtt::{connection::Open, packets::Reply},
    shard::Wait,
};

/// Pause before messages for which there was no room are tried again.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// Pause of each session near the bounds: much less is taken then than the aggregator can take away.
const SLOW_PAUSE: Duration = Duration::from_millis(50);
/// Pause before messages are tried again that were ahead of the disk.
const SYNC_PAUSE: Duration = Duration::from_millis(1);

impl Session {
    /// The reading half.
    pub(super) async fn read<R: AsyncRead + Unpin>(&self, read: &mut R, mut buffer: Vec<u8>) -> End {
        let mut stopping = self.context.stopping.clone();
        let mut ended = None;
        let mut heard = Instant::now();
        loop {
            match self.decode(&mut buffer, ended).await {
                Ok(true) => heard = Instant::now(),
                Ok(false) => {}
                Err(why) => return why,
            }
            if ended.is_some() {
                return End::Peer;
            }
            let silence_max = self.decoder.borrow().silence_max();
            let silent = async {
                match silence_max {
                    Some(silence) => sleep_until(heard + silence).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.end.notified() => return End::Replaced,
                _ = stopping.wait_for(|stopping| *stopping) => return End::Stopping,
                // Before the silence: what has come while this session waited was no silence.
                read = fill(read, &mut buffer) => ended = match read {
                    Ok(1..) => None,
                    Ok(0) => Some(Closing::Orderly),
                    Err(_) => Some(Closing::Cut),
                },
                () = silent => return End::Silent,
            }
        }
    }

    /// Decodes and hands on all that is whole in the buffer; tells whether anything was.
    async fn decode(&self, buffer: &mut Vec<u8>, ended: Option<Closing>) -> Result<bool, End> {
        let mut start = 0;
        loop {
            let mut intake = Intake::default();
            let rules = self.context.rules();
            let rest = buffer.get(start..).unwrap_or_default();
            let (consumed, stop) = self.decoder.borrow_mut().decode(rest, ended, &rules, &mut intake);
            start += consumed;
            self.hand_on(intake).await?;
            match stop {
                Stop::Enough => {}
                Stop::More => break,
                Stop::Hello(epoch) => self.hello(epoch).await?,
                Stop::Open(open) => self.open(open).await?,
                Stop::Done => return Err(End::Peer),
                Stop::Broken(goodbye) => return Err(self.broken(goodbye)),
            }
        }
        if start == buffer.len() {
            // An idle session holds no buffer.
            *buffer = Vec::new();
        } else {
            buffer.drain(..start);
        }
        Ok(start > 0)
    }

    /// Hands messages to the device's actor until they are taken.
    async fn hand_on(&self, mut intake: Intake) -> Result<(), End> {
        self.refuse(&std::mem::take(&mut intake.refusals));
        let replies = std::mem::take(&mut intake.replies);
        let read_at = self.context.clock.mono();
        if intake.heads.is_empty() && intake.fresh.is_empty() {
            return self.reply(&replies, Position::ZERO, read_at).await;
        }
        let silent = intake.heads.is_empty();
        let mut stopping = self.context.stopping.clone();
        loop {
            let answer =
                self.device.send(Take { session: self.id, intake }).await.map_err(|_| End::Stopping)?;
            match answer {
                Answer::Taken { ack, durable_at, refusals, slow } => {
                    self.refuse(&refusals);
                    if !silent && self.encoder.answers() {
                        self.answers.ack(durable_at, ack, read_at);
                    }
                    self.reply(&replies, durable_at, read_at).await?;
                    if slow {
                        self.context.metrics.slowed.inc();
                        sleep(SLOW_PAUSE).await;
                    }
                    return Ok(());
                }
                Answer::Ended => return Err(End::Replaced),
                Answer::Wait(_, Wait::Failed(_)) => return Err(End::Failed),
                Answer::Wait(same, wait) => {
                    intake = same;
                    let pause = if matches!(wait, Wait::Sync) { SYNC_PAUSE } else { ROOM_PAUSE };
                    self.context.metrics.waits.inc();
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.end.notified() => return Err(End::Replaced),
                        _ = stopping.wait_for(|stopping| *stopping) => return Err(End::Stopping),
                    }
                }
            }
        }
    }

    /// Puts replies in line, and waits while the device does not read those before.
    async fn reply(&self, replies: &[Reply], durable_at: Position, read_at: Duration) -> Result<(), End> {
        if replies.is_empty() {
            return Ok(());
        }
        let encoded = self.decoder.borrow_mut().replies(replies);
        match encoded {
            Ok(bytes) => self.answers.replies(durable_at, bytes, read_at),
            Err(goodbye) => return Err(self.broken(goodbye)),
        }
        let mut stopping = self.context.stopping.clone();
        while !self.answers.has_room() {
            tokio::select! {
                () = self.answers.taken.notified() => {}
                () = self.end.notified() => return Err(End::Replaced),
                _ = stopping.wait_for(|stopping| *stopping) => return Err(End::Stopping),
            }
        }
        Ok(())
    }

    /// The connection must end, with these last bytes.
    fn broken(&self, goodbye: Vec<u8>) -> End {
        let _ = self.answers.push(Position::ZERO, goodbye);
        End::Broken
    }

    /// Opens the session of an MQTT client.
    async fn open(&self, open: Open) -> Result<(), End> {
        let mut stopping = self.context.stopping.clone();
        loop {
            let opened = self
                .device
                .send(OpenClient { session: self.id, open: open.clone() })
                .await
                .map_err(|_| End::Stopping)?;
            let pause = match opened {
                Ok(opened) => {
                    let bytes = self.decoder.borrow_mut().accept(opened.present);
                    return if self.answers.push(opened.durable_at, bytes) {
                        Ok(())
                    } else {
                        Err(End::Broken)
                    };
                }
                Err(Wait::Failed(_)) => return Err(End::Failed),
                Err(Wait::Sync) => SYNC_PAUSE,
                Err(Wait::Room(_)) => ROOM_PAUSE,
            };
            self.context.metrics.waits.inc();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.end.notified() => return Err(End::Replaced),
                _ = stopping.wait_for(|stopping| *stopping) => return Err(End::Stopping),
            }
        }
    }

    async fn hello(&self, epoch: String) -> Result<(), End> {
        let hello = Hello { session: self.id, epoch: epoch.as_str().into() };
        let welcome = self.device.send(hello).await.map_err(|_| End::Stopping)?;
        let mut bytes = Vec::new();
        self.encoder.welcome(&epoch, welcome.highest, &mut bytes);
        // A device that says hello over and over without reading has lost its right to an answer.
        if self.answers.push(welcome.durable_at, bytes) { Ok(()) } else { Err(End::Broken) }
    }

    fn refuse(&self, refusals: &[Refusal]) {
        for refusal in refusals {
            self.context.metrics.refuse(refusal.reason, refusal.count.into());
            if !self.encoder.answers() {
                continue;
            }
            let mut bytes = Vec::new();
            self.encoder.refusal(refusal, &mut bytes);
            if !self.answers.push(Position::ZERO, bytes) {
                self.context.metrics.answers_dropped.inc();
            }
        }
    }
}
