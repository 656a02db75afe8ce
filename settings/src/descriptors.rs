//! The limit of open files: each connection and each open table takes a descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, so that the limits of connections decide, not a shell's default
/// of 1,024. If the system refuses, everything stays as it is.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(before = current, now = maximum, "the limit of open files was raised"),
        Err(error) => tracing::warn!(
            limit = current,
            %error,
            "the limit of open files cannot be raised: keep connections_max well below it"
        ),
    }
}
