//! `send`: delivers JSON lines from a file or standard input to a gateway, numbered, until each is acknowledged.
//!
//! A thread reads lines (reading standard input blocks) and numbers their messages 1, 2, 3 …, including those that
//! it refuses itself: the same input always gets the same numbers, so sending it again under the same epoch
//! counts it once. Memory is bounded by the longest line, the channel and the device's window.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
    thread,
};

use catchment_gateway::decode::lines::trim;
use catchment_settings::{output, shutdown_signal};
use tokio::sync::mpsc;

use crate::{
    args::SendArgs,
    device::{
        DeliverError, Event, GatewayLink, Message, Options, Protocol, RawLine, RawLines, deliver,
        random_epoch,
    },
    failure::{Failure, one_line},
    lines,
    print::print,
    time::now_ms,
};

/// Longest line in bytes: a gateway's default limit.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Capacity of the channel from the reader to the device, in messages.
const CHANNEL: usize = 64;

/// Sends lines and prints how many were acknowledged and refused.
///
/// # Errors
/// Lines refused or not acknowledged, unreadable input, an unusable identity.
pub async fn send(args: &SendArgs) -> Result<(), Failure> {
    let link = GatewayLink::load(args.gateway.clone(), &args.identity, Protocol::Json)?;
    let input = open(args.file.as_deref())?;
    let epoch = args.epoch.clone().unwrap_or_else(random_epoch);
    let again = resend_hint(&epoch, args.file.as_deref());
    if args.epoch.is_none() {
        // Before sending: the process may be killed without a chance to print it.
        output::eprint_line(format_args!("sending under epoch {epoch}; if this is interrupted, {again}"));
    }
    let mut options = Options::new(epoch);
    options.patience = args.timeout;
    let (sender, source) = mpsc::channel(CHANNEL);
    let reader = thread::spawn(move || {
        read_lines(input, now_ms, |refusal| output::eprint_line(format_args!("refused: {refusal}")), sender)
    });

    let mut counts = SendCounts::default();
    let stop =
        shutdown_signal().map_err(|error| Failure::failed(format!("cannot watch for signals: {error}")))?;
    let delivered = tokio::select! {
        delivered = deliver(&link, RawLines, &options, source, |event| counts.observe(&event, report)) => {
            delivered.map_err(|error| undelivered(&error))
        }
        signal = stop => Err(format!("not everything was delivered: stopped by {signal}")),
    };
    if let Err(reason) = delivered {
        // The reader may block on input forever; it ends with the process.
        print(&counts.summary(0))?;
        return Err(Failure::failed(format!("{reason}; {again}")));
    }
    let read = reader
        .join()
        .map_err(|_| Failure::failed(format!("the thread that reads the input panicked; {again}")))?;
    let refused = counts.refused.saturating_add(read.refused);
    print(&counts.summary(read.refused))?;
    match (read.error, refused) {
        (Some(error), _) => Err(Failure::failed(format!("cannot read the input: {error}; {again}"))),
        (None, 0) => Ok(()),
        (None, refused) => {
            let were = if refused == 1 { "was" } else { "were" };
            Err(Failure::failed(format!("{} {were} refused, in whole or in part", lines_of(refused))))
        }
    }
}

/// The error message for an unfinished delivery.
fn undelivered(error: &DeliverError) -> String {
    match error {
        DeliverError::Refused(_) => format!("cannot send: {error}"),
        DeliverError::Stalled { .. } => format!("not everything was delivered: {error}"),
    }
}

/// How to send the rest so that nothing counts twice; names the epoch even if it was generated.
fn resend_hint(epoch: &str, file: Option<&Path>) -> String {
    let same = match file.filter(|path| *path != Path::new("-")) {
        Some(path) => format!("send {} again, unchanged,", path.display()),
        None => "send the same input again, from its beginning,".to_owned(),
    };
    format!("{same} with --epoch={} (acknowledged lines count once)", quoted(epoch))
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@%+=,".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn open(file: Option<&Path>) -> Result<Box<dyn BufRead + Send>, Failure> {
    match file.filter(|path| *path != Path::new("-")) {
        None => Ok(Box::new(BufReader::new(io::stdin()))),
        Some(path) => File::open(path)
            .map(|file| Box::new(BufReader::new(file)) as Box<dyn BufRead + Send>)
            .map_err(|error| Failure::failed(format!("cannot open {}: {error}", path.display()))),
    }
}

/// Result of the reader.
#[derive(Debug, Default)]
struct Read {
    /// Lines of which nothing could be sent.
    refused: u64,
    /// Why reading ended before the end of the input.
    error: Option<io::Error>,
}

/// Reads lines, numbers their messages and passes them on until the input or the receiver ends.
fn read_lines(
    mut input: impl BufRead,
    clock: impl Fn() -> i64,
    refuse: impl Fn(String),
    sender: mpsc::Sender<Message<RawLine>>,
) -> Read {
    let mut read = Read::default();
    let (mut line, mut seq) = (0_u64, 0_u64);
    loop {
        let text = match next_line(&mut input) {
            Ok(None) => return read,
            Ok(Some(text)) => text,
            Err(error) => return Read { error: Some(error), ..read },
        };
        line = line.saturating_add(1);
        let elements = match &text {
            Ok(text) if trim(text).is_empty() => continue,
            Ok(text) => lines::messages(text, clock()),
            Err(reason) => {
                (seq, read.refused) = (seq.saturating_add(1), read.refused.saturating_add(1));
                refuse(format!("line {line}: {reason}"));
                continue;
            }
        };
        let mut messages: Vec<Message<RawLine>> = Vec::new();
        let mut refused = false;
        for element in elements {
            seq = seq.saturating_add(1);
            match element {
                Ok(members) => {
                    let body = RawLine { members, line, last_of_line: false, refused_beside: false };
                    messages.push(Message { seq, body });
                }
                Err(error) => {
                    refused = true;
                    refuse(format!("line {line}: {error}"));
                }
            }
        }
        match messages.last_mut() {
            Some(last) => (last.body.last_of_line, last.body.refused_beside) = (true, refused),
            None => read.refused = read.refused.saturating_add(u64::from(refused)),
        }
        for message in messages {
            if sender.blocking_send(message).is_err() {
                return read;
            }
        }
    }
}

/// Reads the next line, keeping at most [`LINE_BYTES_MAX`]. `None` at the end of the input; the inner error is a
/// line that cannot be used.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Result<String, &'static str>>> {
    let mut bytes = Vec::new();
    if input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.last() != Some(&b'\n') && bytes.len() as u64 >= LINE_BYTES_MAX {
        input.skip_until(b'\n')?;
        return Ok(Some(Err("longer than 1 MiB")));
    }
    let is_wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let reason = if is_wide { "UTF-16: save the input as UTF-8" } else { "not valid UTF-8" };
    Ok(Some(String::from_utf8(bytes).map_err(|_| reason)))
}

/// Counts of lines so far.
#[derive(Debug, Default)]
struct SendCounts {
    acknowledged: u64,
    refused: u64,
    /// Part of the current line was refused.
    line_refused: bool,
    /// The last reported reason for a broken connection.
    last_reason: String,
}

impl SendCounts {
    fn observe(&mut self, event: &Event<'_, RawLine>, report: impl Fn(String)) {
        match event {
            Event::Welcomed(_) => self.last_reason.clear(),
            Event::Disconnected { reason, .. } if self.last_reason == *reason => {}
            Event::Disconnected { reason, .. } => {
                (*reason).clone_into(&mut self.last_reason);
                report(format!("{reason}; retrying"));
            }
            Event::Refused(refusal, message) => {
                let line = message.map_or_else(|| "a line".to_owned(), |m| format!("line {}", m.body.line));
                report(format!(
                    "refused: {line}: {} ({})",
                    one_line(&refusal.message),
                    one_line(&refusal.code)
                ));
            }
            Event::AlreadyDurable(message) => self.record_acknowledged(&message.body),
            Event::Settled { message, refused, durable, .. } => {
                self.line_refused |= *refused > 0 || !durable;
                self.record_acknowledged(&message.body);
            }
        }
    }

    fn record_acknowledged(&mut self, body: &RawLine) {
        if !body.last_of_line {
            return;
        }
        let refused = std::mem::take(&mut self.line_refused) || body.refused_beside;
        let counter = if refused { &mut self.refused } else { &mut self.acknowledged };
        *counter = counter.saturating_add(1);
    }

    fn summary(&self, refused_by_reader: u64) -> String {
        let refused = self.refused.saturating_add(refused_by_reader);
        format!("{} acknowledged, {refused} refused\n", lines_of(self.acknowledged))
    }
}

/// A number of lines, in words.
fn lines_of(count: u64) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

fn report(line: String) {
    output::eprint_line(line);
}

#[cfg(test)]
mod tests;
