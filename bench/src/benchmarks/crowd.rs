//! Many peers at once: silent and trickling connections beside an honest device, all devices reconnecting after a
//! restart, and a hundred gateways with a backlog.

use std::{fs, thread};

use anyhow::{Context as _, ensure};

use super::{
    Bench, fairness,
    goals::{at_most, at_most_times},
    idle::possible,
};
use crate::{
    cpu,
    load::{
        crowd::Crowd,
        delivery::{self, Load},
        handshakes::{self, First},
        idle,
    },
    report::{Better, Goal, Measurement, Reference, quantile},
    world::{self, Site, target},
};

/// Gateways that deliver concurrently.
const GATEWAYS: usize = 100;
/// Series per gateway.
const SERIES: usize = 1_000;
/// What bounds the memory of an aggregator, by default and with these series, MiB (`docs/bounds.md`): `ingest_bytes_max`,
/// `store_memory`, `store_cache`, the journal's buffer, and 300 bytes a series.
const BOUNDS_MIB: f64 = 256.0 + 256.0 + 64.0 + 16.0 + (GATEWAYS * SERIES * 300) as f64 / (1 << 20) as f64;

/// The p99 of an honest device's acknowledgements beside connections that send nothing or one byte a second.
pub(super) fn silent(bench: &Bench) -> anyhow::Result<Measurement> {
    let each = possible(bench.sized(10_000, 200))? / 2;
    let devices = bench.pki.devices(2 * each + 1, &[])?;
    // Long deadlines: the defaults would close the crowd's connections.
    let deadlines = ["--shards", "1", "--first-byte-timeout", "10m", "--message-timeout", "10m"];
    let site = Site::start(&bench.pki, &bench.folder("crowd"), &deadlines)?;
    let honest = site.target(&devices.iter().take(1).cloned().collect());
    let others = site.target(&devices.iter().skip(1).cloned().collect());
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat {
        alone.push(fairness::honest(bench, &honest)?);
        let crowd = Crowd::gather(&others, each, each)?;
        beside.push(fairness::honest(bench, &honest)?);
        drop(crowd);
    }
    let what = format!("{each} silent and {each} one-byte-a-second connections");
    Ok(fairness::row(&what, quantile(&beside, 0.5), quantile(&alone, 0.5), 2.0, 1.2))
}

/// Seconds from a restart until every device is connected again and has a message acknowledged, minus the seconds that
/// a bare acceptor needs for the handshakes.
pub(super) fn back(bench: &Bench) -> anyhow::Result<Measurement> {
    let count = possible(bench.sized(10_000, 200))?;
    let devices = bench.pki.devices(count, &[])?;
    let folder = bench.folder("back");
    let site = Site::start(&bench.pki, &folder, &[])?;
    idle::all_at_once(&site.target(&devices), count)?;
    let site = site.restart_gateway(&bench.pki, &folder, &[])?;
    let ours = idle::all_at_once(&site.target(&devices), count)?;
    drop(site);
    let acceptor = bench.sink("accept")?;
    let bare = handshakes::all_at_once(&target(&acceptor, &devices), count, First::Byte)?;
    Ok(Measurement {
        what: format!("{count} devices back after a restart, beyond the bare handshakes"),
        unit: "s",
        ours: (ours - bare).max(0.0),
        reference: Reference { name: "bare acceptor, handshakes alone".to_owned(), value: Ok(bare) },
        goal: at_most(15.0, 5.0),
    })
}

/// The peak resident memory of an aggregator to which many gateways deliver as fast as it accepts.
pub(super) fn gateways(bench: &Bench) -> anyhow::Result<Measurement> {
    let count = bench.sized(GATEWAYS, 4);
    let identities = bench.pki.gateways(count)?;
    let dir = bench.folder("gateways");
    fs::create_dir_all(&dir)?;
    // A grant is at most what a gateway may have: so all of them have room at once.
    let most = (2 * SERIES).to_string();
    let server = world::aggregator_with(&bench.pki, &dir, &["--series-per-gateway-max", &most])?;
    let (addr, pid) = (server.addr, server.pid());
    let load = Load { addr, pid: None, series: SERIES, in_flight: 64, duration: bench.duration, rate: None };
    let partials = thread::scope(|scope| {
        let running: Vec<_> =
            identities.iter().map(|identity| scope.spawn(|| delivery::run(&load, identity))).collect();
        running.into_iter().try_fold(0, |sum, one| {
            let outcome = one.join().ok().context("a gateway of the load panicked")??;
            anyhow::Ok(sum + outcome.readings)
        })
    })?;
    ensure!(partials > 0, "nothing was delivered");
    let reference = Reference { name: "its bounds, as configured".to_owned(), value: Ok(BOUNDS_MIB) };
    Ok(Measurement {
        what: format!("memory of an aggregator to which {count} gateways deliver a backlog"),
        unit: "MiB",
        ours: cpu::resident_max(pid)? as f64 / f64::from(1 << 20),
        reference,
        goal: Goal { better: Better::Lower, ..at_most_times(1.2, 1.05) },
    })
}
