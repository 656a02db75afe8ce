//! Bare servers, each in its own process: the cost of bytes and handshakes alone for any server on this machine.
//!
//! TLS is set up as in the library's documentation, with a client certificate required. It uses nothing of the
//! product, so the reference holds nothing that the product adds or saves.

use std::{
    io::{Write as _, stdout},
    net::SocketAddr,
    path::Path,
    str::FromStr,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{NoServerSessionStorage, WebPkiClientVerifier},
    },
    server::TlsStream,
};

/// Behaviour of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads into a buffer of this many bytes and discards them.
    Discard(usize),
    /// Writes one byte after the handshake.
    Accept,
    /// Answers each MQTT publish at once and discards it.
    Answer,
}

impl FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("discard", "") => Ok(Self::Discard(16 << 10)),
            ("discard-buffer", bytes) => Ok(Self::Discard(bytes.parse()?)),
            ("accept", "") => Ok(Self::Accept),
            ("answer", "") => Ok(Self::Answer),
            _ => bail!("{text:?} is not a mode: use discard, discard-buffer=BYTES, accept or answer"),
        }
    }
}

/// Answers the complete MQTT 3.1.1 packets at the front of the input.
fn answers(input: &mut BytesMut, out: &mut Vec<u8>) {
    loop {
        // Shorter than 128 bytes: its length takes one.
        let Some(&[kind, length]) = input.first_chunk::<2>() else { return };
        let end = 2 + usize::from(length);
        let Some(packet) = input.get(2..end) else { return };
        if kind == 0x10 {
            out.extend_from_slice(&[0x20, 2, 0, 0]);
        } else if let Some(&[high, low]) = packet.first_chunk::<2>() {
            let id = 2 + usize::from(u16::from_be_bytes([high, low]));
            if let Some([first, second]) = packet.get(id..).and_then(|rest| rest.first_chunk::<2>()) {
                out.extend_from_slice(&[0x40, 2, *first, *second]);
            }
        }
        input.advance(end);
    }
}

async fn answer(mut stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    let (mut input, mut out) = (BytesMut::with_capacity(16 << 10), Vec::new());
    while stream.read_buf(&mut input).await? > 0 {
        answers(&mut input, &mut out);
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        input.reserve(16 << 10);
    }
    stream.shutdown().await
}

async fn serve(mut stream: TlsStream<TcpStream>, mode: Mode) -> std::io::Result<()> {
    let mut buffer = match mode {
        Mode::Answer => return answer(stream).await,
        Mode::Discard(bytes) => vec![0; bytes],
        Mode::Accept => {
            stream.write_all(b"+").await?;
            stream.flush().await?;
            vec![0; 64]
        }
    };
    while stream.read(&mut buffer).await? > 0 {}
    stream.shutdown().await
}

/// The library's own configuration for an identity folder: its roots verify the client's chain, without revocation
/// lists and without session resumption, so that every handshake is a full one.
fn tls(identity: &Path, alpn: &[&[u8]]) -> anyhow::Result<ServerConfig> {
    let path = |name: &str| identity.join(name);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(path("ca.pem")).context("ca.pem")? {
        roots.add(root?)?;
    }
    let chain = CertificateDer::pem_file_iter(path("cert.pem")).context("cert.pem")?;
    let key = PrivateKeyDer::from_pem_file(path("key.pem")).context("key.pem")?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.collect::<Result<_, _>>()?, key)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Serves until the process is killed, with as many threads as processors, like the gateway's workers.
///
/// # Errors
/// An identity or address that cannot be used.
pub(crate) fn run(identity: &Path, listen: SocketAddr, mode: Mode) -> anyhow::Result<()> {
    let alpn: [&[u8]; 2] = [crate::load::frames::ALPN, b"mqtt"];
    let acceptor = TlsAcceptor::from(Arc::new(tls(identity, &alpn)?));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        writeln!(stdout(), "ready {}", listener.local_addr()?)?;
        stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // If a client breaks off, the load fails and reports it.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = serve(stream, mode).await;
                }
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_packets_are_answered() {
        use crate::load::{connection::ProtocolClient as _, mqtt};
        let mut device = mqtt::Mqtt::new(&mqtt::MessagePool::new(), "one".to_owned(), 0);
        let mut sent = device.greeting().unwrap();
        device.write_message(&mut sent);
        device.write_message(&mut sent);
        let (mut input, mut out) = (BytesMut::new(), Vec::new());
        for byte in sent.get(..sent.len() - 1).unwrap() {
            input.extend_from_slice(&[*byte]);
            answers(&mut input, &mut out);
        }
        assert_eq!(out, [0x20, 2, 0, 0, 0x40, 2, 0, 1]);
        input.extend_from_slice(sent.get(sent.len() - 1..).unwrap());
        answers(&mut input, &mut out);
        assert_eq!(out.get(8..), Some(&[0x40, 2, 0, 2][..]));
        assert!(input.is_empty());
        let replies = device.read_replies(&mut BytesMut::from(&out[..])).unwrap();
        assert!(replies.greeted && replies.acknowledged == 2);
    }

    #[test]
    fn modes_are_parsed() {
        assert_eq!("discard".parse::<Mode>().unwrap(), Mode::Discard(16_384));
        assert_eq!("discard-buffer=1024".parse::<Mode>().unwrap(), Mode::Discard(1024));
        assert_eq!("accept".parse::<Mode>().unwrap(), Mode::Accept);
        assert_eq!("answer".parse::<Mode>().unwrap(), Mode::Answer);
        assert!("keep".parse::<Mode>().is_err());
    }
}
