//! The priority of a thread.

/// What background work adds to its nice value: others get the processor first, and it still makes progress.
const NICE: i32 = 10;

/// Lowers the priority of the calling thread for good, where the system has priorities by thread (Linux). If it refuses,
/// the priority stays.
pub fn lower() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "the priority of a thread cannot be lowered");
    }
}
