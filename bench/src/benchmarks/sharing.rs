//! Latency of a trivial query while another operator uses its whole quota.

use std::fs;

use super::{Bench, aggregator, at_most};
use crate::{
    load::queries::{self, Others},
    report::{Measurement, Reference, quantile},
    world,
};

/// The p99 in milliseconds, against the same query without the other operator.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Measurement> {
    let dir = bench.folder("sharing");
    fs::create_dir_all(&dir)?;
    let server = world::aggregator(&bench.pki, &dir)?;
    aggregator::once(bench, &server, bench.sized(2_000, 100))?;
    let (first, second) = (bench.pki.operator("first")?, bench.pki.operator("second")?);
    let milliseconds = |others| -> anyhow::Result<f64> {
        let seconds = queries::run(server.addr, (&first, &second), others, bench.duration)?;
        Ok(1e3 * quantile(&seconds, 0.99))
    };
    let all = Others { heavy: bench.sized(100, 10), unread: bench.sized(80, 8) };
    let alone = bench.median(|| milliseconds(Others { heavy: 0, unread: 0 }))?;
    let ours = bench.median(|| milliseconds(all))?;
    let Others { heavy, unread } = all;
    Ok(Measurement {
        what: format!(
            "trivial query beside {heavy} heavy ones and {unread} unread ones of another operator, p99"
        ),
        unit: "ms",
        ours,
        reference: Reference { name: "the same, alone".to_owned(), value: Ok(alone) },
        goal: at_most(100.0, 20.0),
    })
}
