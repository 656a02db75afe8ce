//! Runs a gateway on its own thread, next to others in the same process: for the demo and for tests.

use std::{net::SocketAddr, sync::Arc, thread};

use tokio::sync::oneshot;

use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    run::{RunError, StartError, bind_with, system},
};

/// A gateway that runs on its own thread.
#[derive(Debug)]
pub struct Handle {
    /// The address on which devices connect.
    pub addr: SocketAddr,
    /// The address of the plain HTTP endpoint, if `http` is set.
    pub http_addr: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<Result<(), RunError>>>,
}

impl Handle {
    /// Whether the gateway has ended, by itself or after [`Handle::stop`].
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Stops the gateway in order and waits for its end. Blocks.
    ///
    /// # Errors
    /// Why the gateway had already stopped by itself, or failed while it stopped.
    pub fn stop(mut self) -> Result<(), RunError> {
        drop(self.stop.take());
        match self.thread.take().map(thread::JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(RunError::Failed("the gateway's thread panicked".into())),
            None => Ok(()),
        }
    }
}

/// Runs a gateway on its own thread, next to others in the same process.
///
/// # Errors
/// See [`StartError`].
pub fn spawn(config: Config) -> Result<Handle, StartError> {
    spawn_with(config, Arc::new(SystemClock::new()))
}

/// Like [`spawn`], with the caller's clock.
///
/// # Errors
/// See [`StartError`].
pub fn spawn_with(config: Config, clock: Arc<dyn Clock>) -> Result<Handle, StartError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (bound, addresses) = std::sync::mpsc::sync_channel(1);
    let body = move || {
        system().block_on(async move {
            let gateway = match bind_with(config, clock).await {
                Ok(gateway) => gateway,
                Err(error) => {
                    let _ = bound.send(Err(error));
                    return Ok(());
                }
            };
            let addr = gateway.local_addr().map_err(|error| RunError::Failed(error.to_string().into()))?;
            let _ = bound.send(Ok((addr, gateway.http_addr())));
            let shutdown = async {
                let _ = stopped.await;
            };
            gateway.run(shutdown).await
        })
    };
    let thread = thread::Builder::new().name("gateway".into()).spawn(body);
    let thread = thread.map_err(|error| StartError::Thread(error.to_string()))?;
    let (addr, http_addr) =
        addresses.recv().map_err(|_| StartError::Thread("the gateway's thread ended".into()))??;
    Ok(Handle { addr, http_addr, stop: Some(stop), thread: Some(thread) })
}
