//! The delivery loop of a device: connect, hello, resend, send, receive acks; repeat until everything is acknowledged.
//!
//! One task, one loop: reading never waits for writing, so replies arrive even while the gateway applies backpressure
//! by not reading. The pause between attempts doubles from 0.1 s to 5 s, with jitter.

use std::{fmt, io, time::Duration};

use catchment_certs::TlsFailure;
use prost::bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, WriteHalf},
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    codec::{About, Codec, Refusal, Reply},
    dial::Dial,
    window::{Message, Settled, Window},
};

/// No further message is taken while this many bytes wait for the socket.
const OUT_BYTES_MAX: usize = 256 << 10;
/// A connection is abandoned if nothing arrives for this long while a reply is outstanding.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A gateway has this long to answer the hello.
const WELCOME_MAX: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Timeout for an ack after the refusal of a message whose number the gateway may not have been able to read.
const UNREADABLE_MAX: Duration = Duration::from_secs(2);
/// Codes of refusals after which the gateway may not acknowledge the message, because it could not read its number.
const UNREADABLE: [&str; 3] = ["malformed", "too_long", "bad_sequence"];

/// Delivery options.
#[derive(Clone, Debug)]
pub struct Options {
    /// The device's epoch: the scope of its sequence numbers.
    pub epoch: String,
    /// Most unacknowledged messages.
    pub messages_max: usize,
    /// Most bytes of unacknowledged messages.
    pub bytes_max: usize,
    /// Give up after this long without progress while something is undelivered; `None`: never.
    pub patience: Option<Duration>,
}

impl Options {
    /// The defaults: 1,024 messages, 4 MiB, endless patience.
    pub fn new(epoch: String) -> Self {
        Self { epoch, messages_max: 1024, bytes_max: 4 << 20, patience: None }
    }
}

/// An event of a delivery.
#[derive(Debug)]
pub enum Event<'a, B> {
    /// Connected, and welcomed; everything up to this sequence number is durable.
    Welcomed(u64),
    /// The connection failed or could not be made.
    Disconnected {
        /// In one line.
        reason: &'a str,
        /// Pause before the next attempt.
        retry_in: Duration,
    },
    /// A message is durable, or was refused as a whole.
    Settled {
        /// The message.
        message: &'a Message<B>,
        /// Number of refusals that it received.
        refused: u32,
        /// Whether it is durable; otherwise it was refused as a whole.
        durable: bool,
        /// Time from accepting it to this event.
        waited: Duration,
    },
    /// A message was durable before it was sent: an earlier run of the same epoch had delivered it.
    AlreadyDurable(&'a Message<B>),
    /// A message or a part of it was refused; holds the message if it is known.
    Refused(&'a Refusal, Option<&'a Message<B>>),
}

/// Why a device stopped delivering.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// The gateway or this side refuses the connection permanently.
    #[error("{0}")]
    Refused(String),
    /// No progress for longer than allowed.
    #[error("nothing was acknowledged for {}{}", humantime::format_duration(*.after), ReasonSuffix(.reason))]
    Stalled {
        /// The configured patience.
        after: Duration,
        /// The last failure of a connection, if there was one.
        reason: String,
    },
}

struct ReasonSuffix<'a>(&'a str);

impl fmt::Display for ReasonSuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// How a connection ended.
enum End {
    /// Everything is acknowledged and the caller is done.
    Done,
    /// The connection broke.
    Broken { reason: String, lasting: bool },
    /// No progress for longer than allowed.
    Stalled,
}

struct Driver<'a, C: Codec, F> {
    codec: C,
    options: &'a Options,
    window: Window<C::Body, Instant>,
    source: mpsc::Receiver<Message<C::Body>>,
    source_ended: bool,
    observe: F,
    input: BytesMut,
    out: Vec<u8>,
    /// Ordinal of the last message on this connection.
    ordinal: u64,
    welcomed: bool,
    ever_welcomed: bool,
    /// Time of the last progress, for the caller's patience.
    moved: Instant,
}

/// Delivers messages from `source` until it ends and all of them are acknowledged.
///
/// # Errors
/// See [`DeliverError`]; messages unacknowledged then may or may not be durable.
pub async fn deliver<D: Dial, C: Codec>(
    dial: &D,
    codec: C,
    options: &Options,
    source: mpsc::Receiver<Message<C::Body>>,
    observe: impl FnMut(Event<'_, C::Body>),
) -> Result<(), DeliverError> {
    let mut driver = Driver {
        codec,
        options,
        window: Window::new(options.messages_max, options.bytes_max),
        source,
        source_ended: false,
        observe,
        input: BytesMut::new(),
        out: Vec::new(),
        ordinal: 0,
        welcomed: false,
        ever_welcomed: false,
        moved: Instant::now(),
    };
    driver.run(dial).await
}

impl<C: Codec, F: FnMut(Event<'_, C::Body>)> Driver<'_, C, F> {
    async fn run<D: Dial>(&mut self, dial: &D) -> Result<(), DeliverError> {
        let mut backoff = BACKOFF_FIRST;
        let mut last_reason = String::new();
        let stalled = |reason: String| DeliverError::Stalled {
            after: self.options.patience.unwrap_or_default(),
            reason,
        };
        loop {
            self.welcomed = false;
            let end = match before(give_up_at(self.options, self.moved), dial.dial()).await {
                None => return Err(stalled(last_reason)),
                Some(Ok(stream)) => self.connection(stream).await,
                Some(Err(error)) => End::Broken { reason: error.reason, lasting: error.lasting },
            };
            let (reason, lasting) = match end {
                End::Done => return Ok(()),
                End::Stalled => return Err(stalled(last_reason)),
                End::Broken { reason, lasting } => (reason, lasting),
            };
            if lasting && !self.ever_welcomed {
                return Err(DeliverError::Refused(reason));
            }
            if self.welcomed {
                backoff = BACKOFF_FIRST;
            }
            let retry_in = backoff.mul_f64(rand::random_range(0.5..1.0));
            (self.observe)(Event::Disconnected { reason: &reason, retry_in });
            last_reason = reason;
            backoff = (backoff * 2).min(BACKOFF_MAX);
            if before(give_up_at(self.options, self.moved), tokio::time::sleep(retry_in)).await.is_none() {
                return Err(stalled(last_reason));
            }
        }
    }

    async fn connection<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: S) -> End {
        let (mut read, mut write) = tokio::io::split(stream);
        self.begin();
        let mut unflushed = false;
        let mut heard = Instant::now();
        loop {
            if let Err(end) = self.take_replies() {
                return end;
            }
            if self.welcomed && self.source_ended && self.window.is_empty() {
                // Everything is durable: how the connection ends no longer matters.
                let _ = timeout(Duration::from_secs(1), write.shutdown()).await;
                return End::Done;
            }
            let owed = !self.welcomed || !self.window.is_empty();
            let silent_at = heard + if self.welcomed { SILENCE_MAX } else { WELCOME_MAX };
            let give_up = give_up_at(self.options, self.moved);
            let wants_more = self.welcomed
                && !self.source_ended
                && self.window.has_room()
                && self.out.len() < OUT_BYTES_MAX;
            tokio::select! {
                result = read.read_buf(&mut self.input) => match result {
                    Ok(0) => return self.broken(None),
                    Ok(_) => heard = Instant::now(),
                    Err(error) => return self.broken(Some(&error)),
                },
                result = write_some(&mut write, &self.out), if unflushed || !self.out.is_empty() => match result {
                    Ok(0) if !self.out.is_empty() => return self.broken(None),
                    Ok(written) => {
                        unflushed = written > 0;
                        self.out.drain(..written);
                    }
                    Err(error) => return self.broken(Some(&error)),
                },
                message = self.source.recv(), if wants_more => match message {
                    Some(message) => {
                        if self.window.is_empty() {
                            (heard, self.moved) = (Instant::now(), Instant::now());
                        }
                        self.take_message(message);
                    }
                    None => self.source_ended = true,
                },
                () = sleep_until(heard + UNREADABLE_MAX), if self.window.is_only_unreadable() => {
                    let settled = self.window.give_up_unreadable();
                    self.tell_settled(settled);
                }
                () = sleep_until(silent_at), if owed => {
                    return End::Broken { reason: "the gateway did not reply in time".to_owned(), lasting: false };
                }
                () = sleep_until(give_up.unwrap_or(silent_at)), if owed && give_up.is_some() => return End::Stalled,
            }
        }
    }

    /// Prepares a new connection.
    fn begin(&mut self) {
        self.codec.begin();
        self.window.restart();
        self.input.clear();
        self.out.clear();
        self.codec.hello(&self.options.epoch, &mut self.out);
        (self.ordinal, self.welcomed) = (1, false);
    }

    fn take_message(&mut self, message: Message<C::Body>) {
        let size = C::size(&message.body);
        match self.window.push(message, size, Instant::now()) {
            Ok(()) => self.send_unsent(),
            Err(message) => (self.observe)(Event::AlreadyDurable(&message)),
        }
    }

    fn send_unsent(&mut self) {
        let Self { window, codec, out, ordinal, .. } = self;
        window.unsent(|message| {
            codec.message(message, out);
            *ordinal = ordinal.saturating_add(1);
            *ordinal
        });
    }

    fn take_replies(&mut self) -> Result<(), End> {
        loop {
            let answer = self.codec.next_reply(&mut self.input);
            match answer.map_err(|error| End::Broken { reason: error.to_string(), lasting: true })? {
                None => return Ok(()),
                Some(Reply::Welcome(ack)) => {
                    (self.welcomed, self.ever_welcomed, self.moved) = (true, true, Instant::now());
                    (self.observe)(Event::Welcomed(ack));
                    let settled = self.window.acknowledge(ack);
                    self.tell_settled(settled);
                    self.send_unsent();
                }
                Some(Reply::Ack(ack)) => {
                    let settled = self.window.acknowledge(ack);
                    self.tell_settled(settled);
                }
                Some(Reply::Refusal(refusal)) if !self.welcomed => {
                    let reason =
                        format!("the gateway refuses the hello: {} ({})", refusal.message, refusal.code);
                    return Err(End::Broken { reason, lasting: true });
                }
                Some(Reply::Refusal(refusal)) => self.take_refusal(&refusal),
            }
        }
    }

    fn take_refusal(&mut self, refusal: &Refusal) {
        let unreadable = UNREADABLE.contains(&refusal.code.as_str());
        let message = match refusal.about {
            About::Line(ordinal) => self.window.refuse(ordinal, unreadable),
            About::Seq(seq) => self.window.refuse_seq(seq, unreadable),
        };
        (self.observe)(Event::Refused(refusal, message));
    }

    fn tell_settled(&mut self, settled: Vec<Settled<C::Body, Instant>>) {
        if !settled.is_empty() {
            self.moved = Instant::now();
        }
        for Settled { message, since, refused, durable } in settled {
            let waited = self.moved.saturating_duration_since(since);
            (self.observe)(Event::Settled { message: &message, refused, durable, waited });
        }
    }

    /// The end that a closed or failed stream means.
    fn broken(&self, error: Option<&io::Error>) -> End {
        let failure = error.map(TlsFailure::from_io);
        let closed = |kind| matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        let reason = match (&failure, error) {
            (Some(TlsFailure::Closed(kind)), Some(error)) if !closed(*kind) => {
                format!("the connection to the gateway failed: {error}")
            }
            (None | Some(TlsFailure::Closed(_)), _) if self.welcomed => {
                "the gateway closed the connection".to_owned()
            }
            (None | Some(TlsFailure::Closed(_)), _) => {
                "the gateway closed the connection before its welcome; it accepts only devices of its own site"
                    .to_owned()
            }
            (Some(failure), _) => failure.to_string(),
        };
        End::Broken { reason, lasting: failure.is_some_and(|failure| failure.is_lasting()) }
    }
}

/// When the caller's patience ends, if the last progress was at `moved`.
fn give_up_at(options: &Options, moved: Instant) -> Option<Instant> {
    options.patience.and_then(|patience| moved.checked_add(patience))
}

/// Waits for a future until a deadline; `None` if that passes first.
async fn before<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

/// Writes pending bytes, or flushes if there are none. Nothing is lost if it is dropped unfinished.
async fn write_some<S: AsyncWrite>(write: &mut WriteHalf<S>, out: &[u8]) -> io::Result<usize> {
    if out.is_empty() { write.flush().await.map(|()| 0) } else { write.write(out).await }
}
