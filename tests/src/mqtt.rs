//! An MQTT client at the level of bytes, written from the standards (MQTT 3.1.1 and 5.0) alone. It checks and remembers
//! nothing: a test decides what to send twice, cut off or never read.

use std::{io, net::SocketAddr, path::Path};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};
use tokio_rustls::client::TlsStream;

use crate::{connection::Credentials, eventually::within};

/// The fields of a CONNECT.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions<'a> {
    /// Protocol level: 4 for 3.1.1, 5 for 5.0.
    pub version: u8,
    /// Client identifier.
    pub client: &'a str,
    /// Clean session (3.1.1) or clean start (5.0).
    pub clean: bool,
    /// Version 5: how long the session outlives its connection, in seconds.
    pub expiry: u32,
    /// Keep-alive in seconds; 0: none.
    pub keep_alive: u16,
}

impl<'a> ConnectOptions<'a> {
    /// A session that is kept.
    pub fn kept(version: u8, client: &'a str) -> Self {
        Self { version, client, clean: false, expiry: 3600, keep_alive: 0 }
    }

    /// A session that ends with its connection.
    pub fn clean(version: u8, client: &'a str) -> Self {
        Self { version, client, clean: true, expiry: 0, keep_alive: 0 }
    }

    fn bytes(self) -> Vec<u8> {
        let mut body = [text("MQTT"), vec![self.version, u8::from(self.clean) << 1]].concat();
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == 5 {
            body.extend([5, 0x11]);
            body.extend(self.expiry.to_be_bytes());
        }
        body.extend(text(self.client));
        packet(0x10, &body)
    }
}

/// A packet: the first byte, and everything after the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Type and flags.
    pub first: u8,
    /// Everything after the length.
    pub body: Vec<u8>,
}

impl Packet {
    /// Kind and packet identifier of an acknowledgement (4 PUBACK, 5 PUBREC, 7 PUBCOMP), and its reason.
    ///
    /// # Panics
    /// When it is a packet of another kind.
    pub fn acknowledgement(&self) -> (u8, u16, u8) {
        assert!(matches!(self.first, 0x40 | 0x50 | 0x70), "{self:?}");
        let id = u16::from_be_bytes([self.body[0], self.body[1]]);
        (self.first >> 4, id, self.body.get(2).copied().unwrap_or(0))
    }
}

/// A connection that speaks MQTT.
pub struct Client {
    stream: TlsStream<tokio::net::TcpStream>,
    version: u8,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects, up to the end of the handshake. `room`: size of the socket's receive buffer in bytes.
    ///
    /// # Errors
    /// Errors of TCP or TLS.
    pub async fn open(
        addr: SocketAddr,
        identity: &Path,
        alpn: Option<&[u8]>,
        room: Option<u32>,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(room) = room {
            socket.set_recv_buffer_size(room)?;
        }
        let stream = Credentials::of(identity).secure(socket.connect(addr).await?, alpn).await?;
        Ok(Self { stream, version: 4, buffer: Vec::new() })
    }

    /// Sends CONNECT and waits for CONNACK: session present, and return or reason code.
    ///
    /// # Errors
    /// When the connection is broken.
    ///
    /// # Panics
    /// When the reply is another packet.
    pub async fn connect(&mut self, options: ConnectOptions<'_>) -> io::Result<(bool, u8)> {
        self.version = options.version;
        self.send(&options.bytes()).await?;
        let answer = self.packet().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!(answer.first, 0x20, "{answer:?}");
        Ok((answer.body[0] == 1, answer.body[1]))
    }

    /// Sends raw bytes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends a PUBLISH.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn publish(&mut self, qos: u8, id: u16, topic: &str, payload: &str) -> io::Result<()> {
        let bytes = publish(self.version, qos, id, topic, payload);
        self.send(&bytes).await
    }

    /// The next packet; `None` at an orderly end.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn packet(&mut self) -> io::Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.take() {
                return Ok(Some(packet));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Waits for an acknowledgement: kind, packet identifier, reason.
    ///
    /// # Panics
    /// When something else arrives, or nothing.
    pub async fn acknowledgement(&mut self) -> (u8, u16, u8) {
        let packet = within("an acknowledgement", self.packet()).await.unwrap();
        packet.expect("the connection stays open").acknowledgement()
    }

    /// Waits for the end of the connection; returns the reason of a version 5 DISCONNECT, if there was one.
    ///
    /// # Panics
    /// When something else arrives, or the connection does not end.
    pub async fn end(&mut self) -> Option<u8> {
        let mut reason = None;
        loop {
            match within("the end", self.packet()).await {
                Ok(Some(Packet { first: 0xe0, body })) => reason = body.first().copied(),
                Ok(Some(other)) => panic!("expected the end, got {other:?}"),
                Ok(None) | Err(_) => return reason,
            }
        }
    }

    fn take(&mut self) -> Option<Packet> {
        let (mut length, mut at) = (0_usize, 1);
        loop {
            let byte = *self.buffer.get(at)?;
            length |= usize::from(byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if self.buffer.len() < at + length {
            return None;
        }
        let whole: Vec<u8> = self.buffer.drain(..at + length).collect();
        Some(Packet { first: whole[0], body: whole[at..].to_vec() })
    }
}

/// The bytes of a PUBLISH.
pub fn publish(version: u8, qos: u8, id: u16, topic: &str, payload: &str) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    if version == 5 {
        body.push(0);
    }
    body.extend_from_slice(payload.as_bytes());
    packet(0x30 | (qos << 1), &body)
}

/// The bytes of a PUBLISH that is resent, with the DUP flag.
pub fn set_dup(mut publish: Vec<u8>) -> Vec<u8> {
    publish[0] |= 0x08;
    publish
}

/// The bytes of a PUBREL.
pub fn release(id: u16) -> Vec<u8> {
    packet(0x62, &id.to_be_bytes())
}

/// The bytes of a packet.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(body);
    bytes
}

/// A string with its length.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}
