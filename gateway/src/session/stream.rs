//! The two directions of a session's stream, in one task; and the buffer that all sessions of a thread read into.
//!
//! An idle session holds no buffer; one that waits, for the rest of a message or for anything else, holds exactly the
//! bytes received so far.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
};

use catchment_certs::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::waiting::{READ_BYTES, WaitingBytes};

/// Bytes written at once; the peer has taken them before more are written.
const PIECE_BYTES: usize = 16 << 10;

thread_local! {
    /// Lent to a session while it decodes what it just read.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A stream that can tell that it is broken without being read: a session that waits does not read.
pub trait SessionStream: AsyncRead + AsyncWrite + Unpin {
    /// Whether the peer has reset the connection, or vanished. A peer that has only ended its own direction may still
    /// read.
    fn is_broken(&self) -> bool;
}

impl<S: SessionStream> SessionStream for Box<S> {
    fn is_broken(&self) -> bool {
        (**self).is_broken()
    }
}

impl SessionStream for TlsStream<Socket> {
    fn is_broken(&self) -> bool {
        self.get_ref().0.is_broken()
    }
}

#[cfg(test)]
impl SessionStream for tokio::io::DuplexStream {
    fn is_broken(&self) -> bool {
        false
    }
}

#[cfg(test)]
impl SessionStream for tokio::net::TcpStream {
    fn is_broken(&self) -> bool {
        catchment_certs::socket::is_broken(self)
    }
}

/// Bytes that were read and not decoded yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Either the thread's buffer, or one that is exactly as long as its contents.
    bytes: Vec<u8>,
    end: usize,
}

impl Inbox {
    /// The bytes that are there.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// The first bytes are decoded, or none while the session waits. The rest is held in a buffer of exactly its length.
    pub(super) fn consume(&mut self, count: usize) {
        let shared = self.bytes.len() == READ_BYTES;
        if count == 0 && !shared {
            return;
        }
        let rest = self.bytes.get(count..self.end).unwrap_or_default().to_vec();
        self.end = rest.len();
        let before = std::mem::replace(&mut self.bytes, rest);
        if shared {
            SPARE.set(before);
        }
    }

    /// Bytes of memory held while nothing is decoded.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adopts the thread's buffer, into which bytes were read after `kept` bytes of room.
    fn take(&mut self, mut buffer: Vec<u8>, kept: usize, read: usize) {
        if let Some(front) = buffer.get_mut(..kept) {
            front.copy_from_slice(self.unread());
        }
        (self.bytes, self.end) = (buffer, kept + read);
    }
}

/// A stream of which both directions are used in one task.
#[derive(Debug)]
pub(super) struct Duplex<S> {
    stream: RefCell<S>,
    /// Writes that the peer's side has taken.
    written: Cell<u32>,
    /// A write waits for the peer to read.
    writing: Cell<bool>,
}

impl<S: SessionStream> Duplex<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream: RefCell::new(stream), written: Cell::new(0), writing: Cell::new(false) }
    }

    /// See [`SessionStream::is_broken`].
    pub(super) fn is_broken(&self) -> bool {
        self.stream.borrow().is_broken()
    }

    /// How many writes the peer has taken so far, and whether one is pending: a peer that reads nothing takes nothing.
    pub(super) fn progress(&self) -> (u32, bool) {
        (self.written.get(), self.writing.get())
    }

    /// Reads once, after the bytes that are there; `Ok(0)` at the end of the stream. Reads little while the sessions
    /// that wait hold too much.
    pub(super) async fn fill(&self, inbox: &mut Inbox, waiting: &WaitingBytes) -> io::Result<usize> {
        poll_fn(|task| {
            let mut buffer = SPARE.take();
            buffer.resize(READ_BYTES, 0);
            // A long message is gathered in a buffer of its own.
            let kept = Some(inbox.end).filter(|end| *end <= READ_BYTES / 2 && inbox.bytes.len() < READ_BYTES);
            let start = kept.unwrap_or(0);
            let end = READ_BYTES.min(start + waiting.read_max());
            let mut target = ReadBuf::new(buffer.get_mut(start..end).unwrap_or_default());
            let polled = Pin::new(&mut *self.stream.borrow_mut()).poll_read(task, &mut target);
            let read = target.filled().len();
            match (&polled, kept) {
                (Poll::Ready(Ok(())), Some(kept)) if read > 0 => inbox.take(buffer, kept, read),
                (Poll::Ready(Ok(())), _) => {
                    inbox.bytes.truncate(inbox.end);
                    inbox.bytes.extend_from_slice(target.filled());
                    inbox.end = inbox.bytes.len();
                    SPARE.set(buffer);
                }
                _ => SPARE.set(buffer),
            }
            polled.map_ok(|()| read)
        })
        .await
    }

    /// Writes all of it in pieces of a TLS record, each flushed.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let (mut written, mut flushed) = (0, 0);
        self.writing.set(true);
        let result = poll_fn(|task| {
            let mut stream = self.stream.borrow_mut();
            while flushed < bytes.len() {
                let end = bytes.len().min(flushed + PIECE_BYTES);
                while let Some(rest) = bytes.get(written..end).filter(|rest| !rest.is_empty()) {
                    match ready!(Pin::new(&mut *stream).poll_write(task, rest))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        count => written += count,
                    }
                }
                ready!(Pin::new(&mut *stream).poll_flush(task))?;
                flushed = end;
                self.written.set(self.written.get().wrapping_add(1));
            }
            Poll::Ready(Ok(()))
        })
        .await;
        self.writing.set(false);
        result
    }

    /// Ends the writing direction in order.
    pub(super) async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|task| Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(task)).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn what_is_read_in_pieces_is_put_together_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let sent: Vec<u8> = (0..400_000_u32).map(|n| (n % 251) as u8).collect();
            let (near, mut far) = tokio::io::duplex(50_000);
            let (stream, mut inbox, mut seen) = (Duplex::new(near), Inbox::default(), Vec::new());
            let sending = async {
                far.write_all(&sent).await.unwrap();
                drop(far);
            };
            let reading = async {
                let mut step = 0_usize;
                while stream.fill(&mut inbox, &WaitingBytes::new(1)).await.unwrap() > 0 {
                    // Sometimes all, sometimes nothing, sometimes a part is a whole message.
                    step += 1;
                    let count = [inbox.unread().len(), 0, 0, 0, inbox.unread().len() / 3][step % 5];
                    seen.extend_from_slice(&inbox.unread()[..count]);
                    inbox.consume(count);
                }
                seen.extend_from_slice(inbox.unread());
            };
            tokio::join!(sending, reading);
            assert_eq!(seen, sent);
        });
    }

    #[test]
    fn what_a_long_message_held_is_given_back_with_its_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let (stream, mut inbox) = (Duplex::new(near), Inbox::default());
            far.write_all(&vec![7; 300_000]).await.unwrap();
            while inbox.unread().len() < 300_000 {
                stream.fill(&mut inbox, &WaitingBytes::new(1)).await.unwrap();
                inbox.consume(0);
                assert!(inbox.held() >= inbox.unread().len());
            }
            inbox.consume(299_990);
            assert_eq!((inbox.unread().len(), inbox.held()), (10, 10));
            inbox.consume(10);
            assert_eq!(inbox.held(), 0);
        });
    }

    #[test]
    fn an_idle_session_holds_no_buffer() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let (stream, mut inbox) = (Duplex::new(near), Inbox::default());
            far.write_all(&[7; 1000]).await.unwrap();
            stream.fill(&mut inbox, &WaitingBytes::new(1)).await.unwrap();
            inbox.consume(990);
            assert_eq!((inbox.unread(), inbox.bytes.capacity()), (&[7; 10][..], 10));
            inbox.consume(10);
            assert!(inbox.unread().is_empty());
            far.write_all(&[8; 3]).await.unwrap();
            stream.fill(&mut inbox, &WaitingBytes::new(1)).await.unwrap();
            inbox.consume(3);
            assert_eq!(inbox.bytes.capacity(), 0);
        });
    }

    #[test]
    fn little_is_read_at_once_while_the_waiting_sessions_hold_too_much() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let (stream, mut inbox, waiting) = (Duplex::new(near), Inbox::default(), WaitingBytes::new(1));
            far.write_all(&vec![7; 200_000]).await.unwrap();
            let waits = waiting.hold(1);
            for count in 1..=3 {
                assert_eq!(stream.fill(&mut inbox, &waiting).await.unwrap(), 4 << 10);
                inbox.consume(0);
                assert_eq!((inbox.unread().len(), inbox.held()), (count << 12, count << 12));
            }
            drop(waits);
            assert_eq!(stream.fill(&mut inbox, &waiting).await.unwrap(), READ_BYTES - (3 << 12));
        });
    }
}
