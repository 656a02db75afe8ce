//! Durable partials per processor second of an aggregator, against other stores with the same rows.

use std::fs;

use super::{Bench, goals::at_least};
use crate::{
    load::delivery::{self, Load},
    process::Server,
    reference::{postgres, sled},
    report::{Measurement, Reference, quantile},
    world,
};

/// Series of the load.
pub(super) const SERIES: usize = 10_000;

/// One measurement: partials per processor second.
pub(super) fn once(bench: &Bench, server: &Server, series: usize) -> anyhow::Result<f64> {
    let (addr, pid) = (server.addr, Some(server.pid()));
    let load = Load { addr, pid, series, in_flight: 64, duration: bench.duration, rate: None };
    let outcome = delivery::run(&load, &bench.pki.gateway()?)?;
    Ok(outcome.per_cpu(outcome.readings))
}

/// One row for each reference.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Measurement>> {
    let dir = bench.folder("aggregator");
    fs::create_dir_all(&dir)?;
    let server = world::aggregator(&bench.pki, &dir)?;
    let rows = bench.sized(100_000, 5_000);
    let postgres = match postgres::version() {
        None => Err("PostgreSQL is not installed".to_owned()),
        Some(_) => postgres::Postgres::start(&dir.join("postgres.log")).map_err(|error| format!("{error:#}")),
    };
    let (mut ours, mut of_postgres, mut of_sled) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..bench.repeat {
        ours.push(once(bench, &server, SERIES)?);
        if let Ok(postgres) = &postgres {
            of_postgres.push(postgres.upsert(&dir, rows, SERIES, turn)?);
        }
        of_sled.push(sled::measure(&dir.join(format!("sled-{turn}")), rows, SERIES)?);
    }
    let ours = quantile(&ours, 0.5);
    let measurement = |name: &str, value: Result<f64, String>| Measurement {
        what: format!("aggregator: durable partials (against {name})"),
        unit: "partials/CPU-s",
        ours,
        reference: Reference { name: name.to_owned(), value },
        goal: at_least(3e5, 1e6),
    };
    Ok(vec![
        measurement("PostgreSQL upserts", postgres.map(|_| quantile(&of_postgres, 0.5))),
        measurement("sled, one row a window", Ok(quantile(&of_sled, 0.5))),
    ])
}
