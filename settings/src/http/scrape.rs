//! Scrapes of `/metrics`: one at a time, on a thread that may block. It walks what may be large, and shares locks with the
//! work of the server, so the number of scrapers must not matter.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};

use super::Handler;

/// Writes metrics for all who ask.
pub(super) struct Scrapes {
    metrics: Handler<String>,
    /// When the last one began, and what it found.
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Scrapes {
    pub(super) fn new(metrics: Handler<String>) -> Self {
        Self { metrics, last: Arc::default() }
    }

    /// Metrics as they are at some time from now on: all who wait for a scrape share the one after it. `None`: it
    /// panicked.
    pub(super) async fn take(&self) -> Option<Bytes> {
        let asked = Instant::now();
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((begun, body)) = &*last
            && *begun > asked
        {
            return Some(body.clone());
        }
        let metrics = Arc::clone(&self.metrics);
        // Even if the client that asked is gone, the next scrape waits for the end of this one.
        let scraping = spawn_blocking(move || {
            let begun = Instant::now();
            let body = Bytes::from(metrics());
            *last = Some((begun, body.clone()));
            body
        });
        scraping.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn all_who_wait_for_a_scrape_share_the_next_one() {
        let (count, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let (counted, closed) = (Arc::clone(&count), Arc::clone(&gate));
        let scrapes = Arc::new(Scrapes::new(Arc::new(move || {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                closed.wait();
            }
            number.to_string()
        })));
        let ask = || {
            let scrapes = Arc::clone(&scrapes);
            tokio::spawn(async move { scrapes.take().await.unwrap() })
        };
        let first = ask();
        while count.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The thread of this runtime stays free meanwhile.
        let later: Vec<_> = (0..50).map(|_| ask()).collect();
        tokio::time::sleep(Duration::from_millis(2)).await;
        spawn_blocking(move || gate.wait()).await.unwrap();
        assert_eq!(first.await.unwrap(), "0");
        for scrape in later {
            assert_eq!(scrape.await.unwrap(), "1", "it began after they had asked");
        }
        assert_eq!(scrapes.take().await.unwrap(), "2");
    }
}
