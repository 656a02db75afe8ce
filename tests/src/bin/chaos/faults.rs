//! Faults, one at a time, each with its recovery: kills at random instants, during a start, in the middle of a burst
//! and at the moment when a data folder changes; ordered stops; cut or frozen links; changed settings.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use catchment_tests::{
    server::{Program, Server},
    world::World,
};
use tokio::time::sleep;

use crate::{fleet::FleetControl, random::Random};

/// Timeout for a change of a data folder; the server is killed then in any case.
const WATCH: Duration = Duration::from_secs(3);

/// Counts of injected faults.
#[derive(Debug, Default)]
pub(crate) struct FaultCounts {
    pub(crate) kills_of_gateways: u64,
    pub(crate) kills_of_the_aggregator: u64,
    /// Of the kills: while the server was starting.
    pub(crate) while_starting: u64,
    /// Of the kills: in the middle of a burst.
    pub(crate) in_a_burst: u64,
    /// Of the kills: at the moment when a file appeared in the data folder or vanished from it.
    pub(crate) at_a_change: u64,
    pub(crate) ordered_stops: u64,
    pub(crate) cuts: u64,
    pub(crate) freezes: u64,
    pub(crate) other_settings: u64,
}

impl FaultCounts {
    pub(crate) fn kills(&self) -> u64 {
        self.kills_of_gateways + self.kills_of_the_aggregator
    }
}

/// A server of the world.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Gateway(usize),
    Aggregator,
}

impl Victim {
    fn any(world: &World, random: &mut Random) -> Self {
        match random.below(5) {
            0 | 1 => Self::Aggregator,
            _ => Self::Gateway(random.below(world.gateways.len() as u64) as usize),
        }
    }

    fn server(self, world: &mut World) -> &mut Server {
        match self {
            Self::Gateway(index) => &mut world.gateways[index].server,
            Self::Aggregator => &mut world.aggregator,
        }
    }

    fn count(self, done: &mut FaultCounts) {
        match self {
            Self::Gateway(_) => done.kills_of_gateways += 1,
            Self::Aggregator => done.kills_of_the_aggregator += 1,
        }
    }
}

/// Names of all files below a folder.
fn names(folder: &Path, found: &mut BTreeSet<std::path::PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names(&entry.path(), found);
        } else {
            found.insert(entry.path());
        }
    }
}

/// Waits until a file appears or vanishes below a folder, such as a checkpoint or a segment. Blocks.
fn change_of(folder: &Path) -> bool {
    let files = || {
        let mut found = BTreeSet::new();
        names(folder, &mut found);
        found
    };
    let (before, end) = (files(), Instant::now() + WATCH);
    while Instant::now() < end {
        if files() != before {
            return true;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    false
}

/// Changes settings for the next start: live state on or off, another window width that divides the points'.
fn vary(server: &mut Server, random: &mut Random, done: &mut FaultCounts) {
    if let Program::Gateway(settings) = &mut server.program
        && random.once_in(3)
    {
        settings.live = random.once_in(2).then(|| "100ms".parse().unwrap());
        let width = ["1s", "1s", "500ms", "250ms"][random.below(4) as usize];
        settings.window = Some(width.parse().unwrap());
        done.other_settings += 1;
    }
}

/// Starts a server; sometimes kills it during its start, once or several times.
async fn start(victim: Victim, world: &mut World, random: &mut Random, done: &mut FaultCounts) {
    let server = victim.server(world);
    vary(server, random, done);
    let again = if random.once_in(4) { 1 + random.below(3) } else { 0 };
    for _ in 0..again {
        server.start_and_kill(Duration::from_millis(random.below(300))).await;
        victim.count(done);
        done.while_starting += 1;
    }
    server.start().await;
}

async fn kill(victim: Victim, world: &mut World, done: &mut FaultCounts) {
    victim.server(world).kill();
    victim.count(done);
}

/// Injects one fault and recovers from it.
pub(crate) async fn fault(
    world: &mut World,
    random: &mut Random,
    done: &mut FaultCounts,
    control: &Arc<FleetControl>,
) {
    let victim = Victim::any(world, random);
    let pause = Duration::from_millis(random.below(400));
    match random.below(16) {
        0..=4 => {
            kill(victim, world, done).await;
            sleep(pause).await;
            start(victim, world, random, done).await;
        }
        5..=8 => {
            let folder = victim.server(world).data();
            if tokio::task::spawn_blocking(move || change_of(&folder)).await.unwrap() {
                done.at_a_change += 1;
            }
            kill(victim, world, done).await;
            start(victim, world, random, done).await;
        }
        9 | 10 => {
            control.burst.store(true, Ordering::SeqCst);
            sleep(Duration::from_millis(50 + random.below(250))).await;
            kill(victim, world, done).await;
            done.in_a_burst += 1;
            control.burst.store(false, Ordering::SeqCst);
            start(victim, world, random, done).await;
        }
        11 => all_at_once(world, random, done).await,
        12..=14 => link(victim, world, random, done, pause * 3).await,
        _ => {
            let server = victim.server(world);
            server.stop().await;
            done.ordered_stops += 1;
            start(victim, world, random, done).await;
        }
    }
}

/// Kills every server and restarts them in random order.
async fn all_at_once(world: &mut World, random: &mut Random, done: &mut FaultCounts) {
    let mut victims: Vec<Victim> = (0..world.gateways.len()).map(Victim::Gateway).collect();
    victims.push(Victim::Aggregator);
    for victim in &victims {
        kill(*victim, world, done).await;
    }
    while !victims.is_empty() {
        let next = victims.swap_remove(random.below(victims.len() as u64) as usize);
        start(next, world, random, done).await;
    }
}

/// Cuts or freezes a link for a while; sometimes kills its server in the meantime.
async fn link(
    victim: Victim,
    world: &mut World,
    random: &mut Random,
    done: &mut FaultCounts,
    pause: Duration,
) {
    let server = victim.server(world);
    if random.once_in(2) {
        server.link.cut();
        done.cuts += 1;
    } else {
        server.link.freeze();
        done.freezes += 1;
    }
    sleep(pause).await;
    if random.once_in(3) {
        kill(victim, world, done).await;
        start(victim, world, random, done).await;
    }
    victim.server(world).link.resume();
}
