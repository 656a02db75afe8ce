//! Faults against the real programs: `cargo xtask chaos --minutes M [--seed S]`.
//!
//! Sequenced devices at two sites send readings, some of them late, disconnect, and resend until acknowledged;
//! unsequenced ones send each line once. Meanwhile gateways and aggregator are killed as by `kill -9`, stopped in
//! order, and cut off or frozen at random instants; their bounds are so small that checkpoints, new segments and
//! flushes happen every second or so. At the end, count, sum, min, max, first and last of every series and window must
//! equal the truth: nothing missing, nothing doubled, no extra windows. For unsequenced devices, at least the
//! acknowledged lines are counted and at most the sent ones. The seed decides the actions; their effect depends on the
//! machine.
//!
//! `faults`: faults of the servers; `fleet`: the devices; `truth`: the expected result.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a tool of the project itself
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a check of the whole system, which panics on any deviation"
)]

mod faults;
mod fleet;
mod random;
mod truth;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use catchment_settings::ByteSize;
use catchment_tests::{
    connection::Protocol,
    eventually::{eventually, wait_limit},
    model::{Labels, QueryRequest, labels},
    now_ms, query,
    world::World,
};
use tokio::time::sleep;

use crate::{
    faults::{FaultCounts, fault},
    fleet::{FleetControl, Identity, LOOSE, Loose},
    random::Random,
    truth::{POINT_MS, Truth, Verdict},
};

/// Sequenced devices of each gateway.
const SEQUENCED: usize = 10;
/// At the end, everything must stay equal for this long.
const SETTLED: Duration = Duration::from_secs(4);
/// Unsequenced devices of each gateway.
const UNSEQUENCED: usize = 2;

/// Two gateways, with bounds that are soon reached.
async fn world() -> World {
    World::builder()
        .gateway("berlin", "gw")
        .gateway("lyon", "gw")
        .settings(|settings| {
            settings.live = Some("100ms".parse().unwrap());
            settings.checkpoint_bytes = Some(ByteSize(64 << 10));
            settings.journal_bytes_max = Some(ByteSize(64 << 20));
            settings.outbox_bytes_max = Some(ByteSize(64 << 20));
        })
        .options(|options| {
            options.store_pack_every = Some("700ms".parse().unwrap());
            options.store_pack_journal = Some(ByteSize(1 << 20));
            options.store_journal = Some(ByteSize(64 << 20));
        })
        .processes()
        .start()
        .await
}

/// Moves the devices' records into the truth.
async fn note(world: &World, truth: &mut Truth) {
    let readings = world.model.take();
    truth.add(readings);
}

/// Queries everything and compares.
async fn compare(world: &World, truth: &Truth, loose: &[Loose]) -> Result<Verdict, String> {
    let channel = world.operator();
    let until = (truth.newest_ms / POINT_MS + 1) * POINT_MS;
    let mut verdict = Verdict::default();
    for metric in truth.metrics() {
        let query = truth.query(&metric);
        let answer = query::aggregate(channel.clone(), &query).await.map_err(|status| status.to_string())?;
        match answer.complete_until_ms {
            Some(complete) if complete >= until => truth.compare(&metric, &answer.table, &mut verdict),
            other => return Err(format!("complete until {other:?}, wanted {until}")),
        }
    }
    let listed =
        query::series(channel.clone(), "{site=~\".+\"}").await.map_err(|status| status.to_string())?;
    let listed: BTreeSet<(String, Labels)> =
        listed.into_iter().filter(|(metric, _)| metric != LOOSE).collect();
    let right: BTreeSet<(String, Labels)> = truth.series().into_iter().collect();
    if listed != right {
        let other: Vec<_> = listed.symmetric_difference(&right).take(5).collect();
        return Err(format!(
            "{} series are listed, {} were sent; for example {other:?}",
            listed.len(),
            right.len()
        ));
    }
    let query = QueryRequest::new(LOOSE, 0, until + 86_400_000)
        .step(POINT_MS)
        .by(&["site", "gateway", "device"])
        .aggregates(&["count"]);
    let answer = query::aggregate(channel, &query).await.map_err(|status| status.to_string())?;
    for device in loose {
        let points = answer.table.get(&device.place).cloned().unwrap_or_default();
        let starts: BTreeSet<&i64> = points.keys().chain(device.windows.keys()).collect();
        for start in starts {
            let (sent, acknowledged) = device.windows.get(start).copied().unwrap_or_default();
            let count = points.get(start).map_or(0.0, |point| point["count"]);
            if count < acknowledged as f64 || count > sent as f64 {
                return Err(format!(
                    "unsequenced {:?} {start}: {sent} were sent, {acknowledged} acknowledged, {count} counted",
                    device.place
                ));
            }
        }
    }
    Ok(verdict)
}

/// Compares until all is equal, or until nothing changes for a while: late readings are delivered some time after
/// everything else. Equality must then last.
async fn settled(world: &World, truth: &Truth, loose: &[Loose]) -> Verdict {
    let (mut best, mut since) = (None, Instant::now());
    loop {
        let verdict = eventually("all windows are delivered", || compare(world, truth, loose)).await;
        if best.is_none_or(|best| best < verdict.equal) {
            (best, since) = (Some(verdict.equal), Instant::now());
        }
        let wait_limit = if verdict.is_good() { SETTLED } else { wait_limit() / 2 };
        if since.elapsed() > wait_limit {
            return verdict;
        }
        sleep(SETTLED / 4).await;
    }
}

/// What the gateways wrote, from their file names: checkpoints, and MiB of journals.
fn written(world: &World) -> (u64, u64) {
    let number = |path: &Path| {
        let digits: String = path.file_name()?.to_str()?.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    };
    let highest = |folder: &Path| {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.filter_map(|file| number(&file.path())).max().unwrap_or(0)
    };
    let (mut checkpoints, mut bytes) = (0, 0);
    for gateway in &world.gateways {
        for shard in fs::read_dir(gateway.server.data()).into_iter().flatten().flatten() {
            checkpoints += highest(&shard.path().join("checkpoint"));
            bytes += highest(&shard.path().join("journal"));
        }
    }
    (checkpoints, bytes >> 20)
}

/// A finished run.
struct Run<'a> {
    seed: u64,
    took: Duration,
    world: &'a World,
    done: &'a FaultCounts,
    control: &'a FleetControl,
    truth: &'a Truth,
    verdict: &'a Verdict,
    loose: &'a [Loose],
}

/// Prints the result, to be pasted into a document.
fn table(run: &Run<'_>) {
    let Run { seed, took, done, control, truth, verdict: v, .. } = *run;
    let (checkpoints, mib) = written(run.world);
    let loose = run.loose.iter().flat_map(|device| device.windows.values());
    let (sent, acknowledged) = loose.fold((0, 0), |(sent, acked), (s, a)| (sent + s, acked + a));
    let rows = [
        ("seed", seed.to_string()),
        ("time under faults", format!("{:.1} min", took.as_secs_f64() / 60.0)),
        ("kills", done.kills().to_string()),
        ("… of gateways", done.kills_of_gateways.to_string()),
        ("… of the aggregator", done.kills_of_the_aggregator.to_string()),
        ("… while starting", done.while_starting.to_string()),
        ("… in a burst", done.in_a_burst.to_string()),
        ("… at the moment when a file appeared or vanished", done.at_a_change.to_string()),
        ("ordered stops", done.ordered_stops.to_string()),
        ("starts with other settings", done.other_settings.to_string()),
        ("links cut", done.cuts.to_string()),
        ("links frozen", done.freezes.to_string()),
        ("connections broken off between messages", control.disconnects.load(Ordering::SeqCst).to_string()),
        ("connections broken off within a message", control.torn.load(Ordering::SeqCst).to_string()),
        ("new epochs of devices", control.reboots.load(Ordering::SeqCst).to_string()),
        ("checkpoints of gateways", checkpoints.to_string()),
        ("gateways' journals", format!("more than {mib} MiB")),
        ("sequenced messages", control.messages.load(Ordering::SeqCst).to_string()),
        ("readings in them", truth.readings.to_string()),
        ("series", v.series.to_string()),
        ("windows compared", v.windows().to_string()),
        ("… equal", v.equal.to_string()),
        ("… missing readings", v.missing.to_string()),
        ("… with too many readings", v.doubled.to_string()),
        ("… otherwise different", v.different.to_string()),
        ("windows where nothing should be", v.extra.to_string()),
        ("unsequenced lines sent", sent.to_string()),
        ("… of them acknowledged, all counted", acknowledged.to_string()),
    ];
    println!("\n| | |\n| --- | ---: |");
    for (name, value) in rows {
        println!("| {name} | {value} |");
    }
}

async fn run(minutes: f64, seed: u64) -> bool {
    let mut world = world().await;
    let control = Arc::new(FleetControl::default());
    let (mut random, mut truth, mut done) = (Random::new(seed), Truth::default(), FaultCounts::default());
    let (mut sequenced, mut unsequenced) = (Vec::new(), Vec::new());
    for gateway in 0..world.gateways.len() {
        for number in 0..SEQUENCED {
            let protocol = if number % 2 == 0 { Protocol::Json } else { Protocol::Frames };
            let device = world.device(gateway, &format!("press-{number}"), protocol);
            let work = fleet::sequenced(device, Random::new(random.next()), Arc::clone(&control));
            sequenced.push(tokio::spawn(work));
        }
        for number in 0..UNSEQUENCED {
            let name = format!("loose-{number}");
            let at = &world.gateways[gateway];
            let identity = Identity {
                dir: world.pki.device(&at.site, &name),
                gateway: at.server.addr(),
                place: labels(&[("site", &at.site), ("gateway", &at.name), ("device", &name)]),
            };
            let work = fleet::unsequenced(identity, Random::new(random.next()), Arc::clone(&control));
            unsequenced.push(tokio::spawn(work));
        }
    }
    let begin = Instant::now();
    let mut reported = begin;
    while begin.elapsed() < Duration::from_secs_f64(minutes * 60.0) {
        sleep(Duration::from_millis(random.below(900))).await;
        fault(&mut world, &mut random, &mut done, &control).await;
        note(&world, &mut truth).await;
        if reported.elapsed() > Duration::from_secs(60) {
            reported = Instant::now();
            println!("{} s: {} kills, {} readings", begin.elapsed().as_secs(), done.kills(), truth.readings);
        }
    }
    let took = begin.elapsed();
    control.stop.store(true, Ordering::SeqCst);
    for device in sequenced {
        device.await.unwrap();
    }
    let mut loose = Vec::new();
    for device in unsequenced {
        loose.push(device.await.unwrap());
    }
    note(&world, &mut truth).await;
    truth.newest_ms = truth.newest_ms.max(now_ms());
    let verdict = settled(&world, &truth, &loose).await;
    table(&Run {
        seed,
        took,
        world: &world,
        done: &done,
        control: &control,
        truth: &truth,
        verdict: &verdict,
        loose: &loose,
    });
    for reported in &verdict.mismatches {
        println!("{reported}");
    }
    verdict.is_good()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, minutes, seed] = arguments.as_slice() else {
        eprintln!("usage: chaos MINUTES SEED (see cargo xtask chaos --help)");
        return ExitCode::from(2);
    };
    let (Ok(minutes), Ok(seed)) = (minutes.parse(), seed.parse()) else {
        eprintln!("chaos: minutes and seed are numbers");
        return ExitCode::from(2);
    };
    println!("seed {seed}");
    // A server that does not start or a device that is never served panics, which sets the exit status.
    if tokio::runtime::Runtime::new().unwrap().block_on(run(minutes, seed)) {
        println!("\nevery window equal");
        ExitCode::SUCCESS
    } else {
        println!("\nseed {seed}: windows differ");
        ExitCode::FAILURE
    }
}
