//! A relay between a client and a server that counts the bytes on the wire, TLS included.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A relay that runs until this process ends; its connections end when the server closes them.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    up: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts a relay to a server.
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (addr, up) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&up);
        thread::spawn(move || {
            for client in listener.incoming() {
                let _ = client.and_then(|client| relay(&client, server, &counter));
            }
        });
        Ok(Self { addr, up })
    }

    /// Bytes relayed from clients to the server.
    pub(crate) fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }
}

fn relay(client: &TcpStream, server: SocketAddr, up: &Arc<AtomicU64>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for (from, to, counter) in [(client, &server, Some(Arc::clone(up))), (&server, client, None)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        from.set_nodelay(true)?;
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if let Some(up) = &counter {
                    up.fetch_add(count as u64, Ordering::Relaxed);
                }
                if to.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
