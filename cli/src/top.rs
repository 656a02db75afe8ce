//! `top`: the fleet in a terminal, refreshed.
//!
//! * `rows`: what the aggregator lists, as rows of a view;
//! * `spark`: the last minutes of a row as a line of characters;
//! * `fetch`: asks the aggregator, again and again, for what the screen shows;
//! * `state`: view, filter, order and selected row, and what keys do;
//! * `draw`: the state as a picture;
//! * `screen`: the terminal and its keys, on a thread of their own.

mod draw;
mod fetch;
mod rows;
mod screen;
mod spark;
mod state;
#[cfg(test)]
mod tests;

use std::{env, ffi::OsString, io, io::IsTerminal as _};

use catchment_settings::shutdown_signal;
use tokio::sync::{oneshot, watch};

use self::{
    fetch::{Data, Fetcher, Wanted},
    spark::Glyphs,
    state::State,
};
use crate::{
    aggregator_client::AggregatorClient, args::TopArgs, failure::Failure, print::print, render::table,
    time::now_ms,
};

/// How things are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    glyphs: Glyphs,
    colours: bool,
}

impl Look {
    /// From the flags and the environment.
    fn new(ascii: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // The first one that is set counts, as in the C library.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_string_lossy().to_lowercase();
        let is_unicode = locale.contains("utf-8") || locale.contains("utf8");
        let glyphs = if ascii || !is_unicode { Glyphs::Ascii } else { Glyphs::Unicode };
        Self { glyphs, colours: set("NO_COLOR").is_none() }
    }
}

/// Shows the fleet until a key or a signal ends it.
///
/// # Errors
/// Wrong usage, a refused identity, or a terminal that cannot be used.
pub async fn top(args: &TopArgs) -> Result<(), Failure> {
    let look = Look::new(args.ascii, |name| env::var_os(name));
    if args.once {
        return once(args, look).await;
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("top needs a terminal: use --once to print the view as a table"));
    }
    let signal =
        shutdown_signal().map_err(|error| Failure::failed(format!("cannot watch for signals: {error}")))?;
    let state = State::new(args.view, &args.filter);
    let (wanted, asked) = watch::channel(Wanted { view: args.view, ..Wanted::default() });
    let (publish, data) = watch::channel(Data::default());
    let (ended, screen_ended) = oneshot::channel();
    let (stop, stopped) = std::sync::mpsc::sync_channel(1);
    let server = args.connection.aggregator.clone();
    let screen = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
        // Nobody waits for it if a signal ended the program.
        let _ = ended.send(screen::run(state, look, &server, &wanted, data, &stopped));
    });
    let screen = screen.map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
    let mut fetcher = Fetcher::new(args);
    let result = tokio::select! {
        result = fetcher.run(asked, publish) => result,
        ended = screen_ended => match ended {
            Ok(result) => result.map_err(|error| Failure::failed(format!("cannot use the terminal: {error}"))),
            Err(_) => Err(Failure::failed("the screen's thread ended: this is a defect")),
        },
        _ = signal => Ok(()),
    };
    drop(stop);
    // It restores the terminal first, within a moment.
    let _ = tokio::task::spawn_blocking(move || screen.join()).await;
    result
}

/// Prints the view.
async fn once(args: &TopArgs, look: Look) -> Result<(), Failure> {
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    let rows = fetch::rows(&mut client, args.view).await?;
    let mut state = State::new(args.view, &args.filter);
    state.take(Data { view: args.view, rows: Some(rows), ..Data::default() });
    let visible: Vec<_> = state.shown().map(|row| row.key.clone()).take(fetch::SPARKS_MAX).collect();
    let sparks = fetch::sparks_if_any(&mut client, args.view, &visible, now_ms()).await?;
    state.take(Data { sparks, ..state.data().clone() });
    print(&plain(&state, look.glyphs, now_ms()))
}

/// The view as a table.
fn plain(state: &State, glyphs: Glyphs, now_ms: i64) -> String {
    let header = rows::header(state.view());
    let mut lines = vec![header.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()];
    lines.extend(state.shown().map(|row| state.cells(row, glyphs, now_ms)));
    if lines.len() == 1 {
        return format!(
            "no {}{}\n",
            rows::noun(state.view()),
            if state.filter().is_empty() { "" } else { " with this filter" }
        );
    }
    let more =
        if state.is_cut() { format!("only the first {} are shown\n", rows::ROWS_MAX) } else { String::new() };
    table(&lines, rows::key_columns(state.view())) + &more
}
