//! The terminal and its keys, on a thread of their own: reading keys blocks.
//!
//! The mouse stays the terminal's. ratatui's panic hook restores the terminal before a panic is printed, on any thread.

use std::{
    io,
    sync::mpsc::{Receiver, TryRecvError},
    time::Duration,
};

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::watch;

use super::{
    Look, draw,
    fetch::{Data, Wanted},
    state::{Next, State},
};
use crate::time::now_ms;

/// How long it waits for keys before it looks for new data.
const TICK: Duration = Duration::from_millis(200);

/// Most keys between two pictures.
const KEYS_MAX: usize = 1000;

/// Restores the terminal, however this thread ends.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Draws and takes keys until a key, a signal or a failure ends it.
///
/// # Errors
/// The terminal's.
pub(super) fn run(
    mut state: State,
    look: Look,
    server: &str,
    wanted: &watch::Sender<Wanted>,
    mut data: watch::Receiver<Data>,
    stopped: &Receiver<()>,
) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let _restore = Restore;
    loop {
        if data.has_changed().unwrap_or(false) {
            state.take(data.borrow_and_update().clone());
        }
        let want = state.wanted(draw::page(terminal.size()?.height));
        wanted.send_if_modified(|known| {
            let changed = *known != want;
            *known = want;
            changed
        });
        terminal.draw(|frame| draw::draw(frame, &state, look, server, now_ms()))?;
        let mut pause = TICK;
        // All keys that are there, and then one picture.
        for _ in 0..KEYS_MAX {
            if !event::poll(pause)? {
                break;
            }
            pause = Duration::ZERO;
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && state.key(key) == Next::Quit
            {
                return Ok(());
            }
        }
        if stopped.try_recv() == Err(TryRecvError::Disconnected) {
            return Ok(());
        }
    }
}
