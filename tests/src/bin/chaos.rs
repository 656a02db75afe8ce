//! Faults against the real programs: `cargo xtask chaos --minutes M [--seed S]`.
//!
//! Sequenced devices at two sites send, with readings that are late now and then, break off, and resend until
//! acknowledged. Meanwhile gateways and aggregator are killed as by `kill -9`, stopped in order, and cut off or frozen
//! at random instants. At the end every aggregate of every series and window must equal the model's: nothing
//! missing, nothing doubled. The seed decides what is done; what it meets depends on the machine.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a check of the whole system, which ends with a panic when something is not as it must be"
)]

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    model::Question,
    now_ms,
    world::World,
};
use tokio::time::sleep;

const METRICS: [&str; 3] = ["temperature", "pressure", "speed"];
/// Late readings are at most so old, in milliseconds: their windows were delivered long ago.
const LATE_MS: u64 = 30_000;

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What was done to the system.
#[derive(Debug, Default)]
struct Done {
    kills_of_gateways: u64,
    kills_of_the_aggregator: u64,
    ordered_stops: u64,
    cuts: u64,
    freezes: u64,
}

/// A device at work until it is told to stop; then everything of it is acknowledged.
async fn work(mut device: Device, mut random: Random, stop: Arc<AtomicBool>, reboots: Arc<AtomicU64>) {
    let mut lives = 1;
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..=random.below(16) {
            let late = if random.below(5) == 0 { random.below(LATE_MS) } else { 0 };
            let time_ms = now_ms() - late as i64;
            let value = random.below(16_000) as f64 / 8.0 - 1000.0;
            let metric = METRICS[random.below(3) as usize];
            device.send(&Sample::one(time_ms, metric, value)).await;
        }
        match random.below(40) {
            0 => device.hang_up(),
            1 => {
                device.settle().await;
                lives += 1;
                device.reboot(&format!("boot-{lives}"));
                reboots.fetch_add(1, Ordering::SeqCst);
            }
            2..=9 => device.settle().await,
            _ => {}
        }
        sleep(Duration::from_millis(5 + random.below(30))).await;
    }
    device.settle().await;
    assert!(device.refused().is_empty(), "{:?}", device.refused());
}

/// One fault, and its end.
async fn fault(world: &mut World, random: &mut Random, done: &mut Done) {
    let gateway = random.below(world.gateways.len() as u64) as usize;
    let pause = Duration::from_millis(random.below(400));
    match random.below(10) {
        0..=3 => {
            world.gateways[gateway].server.kill();
            sleep(pause).await;
            world.gateways[gateway].server.start().await;
            done.kills_of_gateways += 1;
        }
        4..=6 => {
            world.aggregator.kill();
            sleep(pause).await;
            world.aggregator.start().await;
            done.kills_of_the_aggregator += 1;
        }
        7 => {
            let both = random.below(2) == 0;
            world.gateways[gateway].server.kill();
            if both {
                world.aggregator.kill();
                sleep(pause).await;
                world.aggregator.start().await;
                done.kills_of_the_aggregator += 1;
            }
            world.gateways[gateway].server.start().await;
            done.kills_of_gateways += 1;
        }
        8 => {
            let link = if random.below(2) == 0 {
                &world.aggregator.link
            } else {
                &world.gateways[gateway].server.link
            };
            if random.below(2) == 0 {
                link.cut();
                done.cuts += 1;
            } else {
                link.freeze();
                done.freezes += 1;
            }
            sleep(pause * 3).await;
            link.resume();
        }
        _ => {
            world.gateways[gateway].server.stop().await;
            world.gateways[gateway].server.start().await;
            done.ordered_stops += 1;
        }
    }
}

async fn run(minutes: f64, seed: u64) {
    let live = "100ms".parse().unwrap();
    let mut world = World::builder()
        .gateway("berlin", "gw")
        .gateway("lyon", "gw")
        .settings(move |settings| settings.live = Some(live))
        .processes()
        .start()
        .await;
    let from = now_ms() / 1000 * 1000 - LATE_MS as i64 - 1000;
    let (stop, reboots) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut random = Random(seed);
    let mut devices = Vec::new();
    for gateway in 0..2 {
        for (number, protocol) in [Protocol::Json, Protocol::Frames].into_iter().enumerate() {
            let device = world.device(gateway, &format!("press-{number}"), protocol);
            let seeded = Random(random.next());
            devices.push(tokio::spawn(work(device, seeded, Arc::clone(&stop), Arc::clone(&reboots))));
        }
    }
    let mut done = Done::default();
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    while Instant::now() < end {
        sleep(Duration::from_millis(random.below(1200))).await;
        fault(&mut world, &mut random, &mut done).await;
    }
    stop.store(true, Ordering::SeqCst);
    for device in devices {
        device.await.unwrap();
    }
    let until = now_ms() + 1000;
    let questions: Vec<Question> = METRICS
        .iter()
        .map(|metric| Question::new(metric, from, until))
        .flat_map(|all| [all.clone().step(1000).by(&["site", "device"]), all])
        .collect();
    world.agrees(&questions).await;
    let kills = done.kills_of_gateways + done.kills_of_the_aggregator;
    println!(
        "seed {seed}: {kills} kills ({} of gateways, {} of the aggregator), {} ordered stops, {} cuts, {} freezes, \
         {} new epochs; {} readings, every window equal",
        done.kills_of_gateways,
        done.kills_of_the_aggregator,
        done.ordered_stops,
        done.cuts,
        done.freezes,
        reboots.load(Ordering::SeqCst),
        world.model.len(),
    );
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
    // A difference or a server that does not start panics: the exit status tells.
    tokio::runtime::Runtime::new().unwrap().block_on(run(minutes, seed));
    ExitCode::SUCCESS
}
