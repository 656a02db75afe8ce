//! How a simulated gateway ends.

/// Why a gateway ends.
#[derive(Debug)]
pub enum End {
    /// Its disk failed: it stops, as it should.
    Failed,
    /// It did what it must not do.
    Defect(String),
}
