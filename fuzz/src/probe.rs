//! Runs one input through one target: catches panics, checks memory against the target's bound.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use crate::{ALLOCATED, targets::Target};

/// How an input broke its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A panic, or an assertion of the target.
    Panic(String),
    /// Peak memory above the bound for an input of this length.
    Memory {
        /// Bytes at the peak, above those before.
        used: usize,
        /// Bytes allowed.
        allowed: usize,
    },
}

/// Silences panics that are caught here; their message is part of the [`Failure`].
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !PROBING.get() {
                loud(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            PLACE.set(place);
        }));
    });
}

thread_local! {
    static PROBING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    static PLACE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// The outcome of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Signature of the target's behaviour.
    pub signature: u64,
    /// Bytes allocated at the peak.
    pub used: usize,
}

/// Runs an input. Memory is measured for the whole process: nothing else may run at the same time.
///
/// # Errors
/// The input broke the target.
pub fn probe(target: &Target, input: &[u8]) -> Result<Outcome, Failure> {
    silence();
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    PROBING.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    PROBING.set(false);
    let used = ALLOCATED.peak_usage().saturating_sub(before);
    let signature = result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
        Failure::Panic(format!("{} at {}", text, PLACE.take()))
    })?;
    let allowed = target.fixed_bytes + target.bytes_per_input_byte * input.len();
    if used > allowed {
        return Err(Failure::Memory { used, allowed });
    }
    Ok(Outcome { signature, used })
}
