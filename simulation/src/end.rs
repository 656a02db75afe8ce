//! The end of a simulated gateway.

/// Why a gateway ends.
#[derive(Debug)]
pub enum End {
    /// Its disk failed: it stops, as it should.
    Failed,
    /// It violated an invariant.
    Defect(String),
}
