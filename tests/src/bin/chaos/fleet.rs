//! Devices that send until they are stopped.
//!
//! Sequenced ones send messages of one to eight values, some of them late, disconnect between and within messages,
//! start new epochs, and resend until acknowledged. Unsequenced ones send each line once and record which were
//! acknowledged.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    device::{Device, Sample},
    model::{Labels, labels},
    now_ms,
};
use tokio::time::{sleep, timeout};

use crate::{random::Random, truth::POINT_MS};

const METRICS: [&str; 8] =
    ["temperature", "pressure", "speed", "torque", "current", "voltage", "level", "flow"];
/// Metric of unsequenced devices.
pub(crate) const LOOSE: &str = "loose";
/// Maximum age of late readings, in milliseconds: their windows were delivered long ago.
const LATE_MS: u64 = 30_000;
/// Timeout of an unsequenced device for any reply.
const SILENCE: Duration = Duration::from_secs(3);

/// Signals to devices, and counts of their actions.
#[derive(Default)]
pub(crate) struct FleetControl {
    /// Send no more, and wait for acknowledgements.
    pub(crate) stop: AtomicBool,
    /// All devices send without pause.
    pub(crate) burst: AtomicBool,
    pub(crate) messages: AtomicU64,
    pub(crate) reboots: AtomicU64,
    pub(crate) torn: AtomicU64,
    pub(crate) disconnects: AtomicU64,
}

impl FleetControl {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

fn sample(random: &mut Random) -> Sample {
    let late = if random.once_in(5) { random.below(LATE_MS) } else { 0 };
    let first = random.below(8);
    let length = random.below(8);
    let value = |n| {
        let metric = METRICS[((first + n) % 8) as usize];
        (metric.to_owned(), random.below(16_000) as f64 / 8.0 - 1000.0)
    };
    let values = (0..=length).map(value).collect();
    let labels = if random.once_in(4) { labels(&[("room", "1")]) } else { Labels::new() };
    Sample { time_ms: now_ms() - late as i64, labels, values }
}

/// A sequenced device.
pub(crate) async fn sequenced(mut device: Device, mut random: Random, control: Arc<FleetControl>) {
    let mut lives = 1;
    while !control.stopped() {
        for _ in 0..=random.below(12) {
            device.send(&sample(&mut random)).await;
            control.messages.fetch_add(1, Ordering::SeqCst);
        }
        match random.below(60) {
            0 => {
                device.disconnect();
                control.disconnects.fetch_add(1, Ordering::SeqCst);
            }
            1 => {
                device.settle().await;
                lives += 1;
                device.reboot(&format!("boot-{lives}"));
                control.reboots.fetch_add(1, Ordering::SeqCst);
            }
            2 | 3 => {
                device.send_torn(&sample(&mut random), random.next() as usize).await;
                control.messages.fetch_add(1, Ordering::SeqCst);
                control.torn.fetch_add(1, Ordering::SeqCst);
            }
            4..=14 => device.settle().await,
            _ => {}
        }
        let pause = 10 + random.below(50);
        if !control.burst.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(pause)).await;
        }
    }
    device.settle().await;
    assert!(device.refused().is_empty(), "{:?}", device.refused());
}

/// Counts of an unsequenced device by start of the window: lines sent, lines acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Loose {
    pub(crate) place: Labels,
    pub(crate) windows: BTreeMap<i64, (u64, u64)>,
}

/// The address and the identity of an unsequenced device.
pub(crate) struct Identity {
    pub(crate) dir: std::path::PathBuf,
    pub(crate) gateway: std::net::SocketAddr,
    pub(crate) place: Labels,
}

/// Runs an unsequenced device: no line is sent twice, whatever happens to the connection.
pub(crate) async fn unsequenced(identity: Identity, mut random: Random, control: Arc<FleetControl>) -> Loose {
    let mut loose = Loose { place: identity.place.clone(), windows: BTreeMap::new() };
    while !control.stopped() {
        // An error ends the connection, which is expected here.
        let _ = one_connection(&identity, &mut random, &control, &mut loose).await;
        sleep(Duration::from_millis(30)).await;
    }
    loose
}

async fn one_connection(
    identity: &Identity,
    random: &mut Random,
    control: &FleetControl,
    loose: &mut Loose,
) -> io::Result<()> {
    let opening = Connection::open(identity.gateway, Credentials::of(&identity.dir), Protocol::Json);
    let mut connection = timeout(SILENCE, opening).await??;
    let mut waiting = VecDeque::new();
    let mut acknowledged = 0;
    let mut quiet = 0;
    // At the end, wait for all acknowledgements as long as the connection holds.
    while !control.stopped() || !waiting.is_empty() {
        if !control.stopped() {
            for _ in 0..=random.below(6) {
                let time = now_ms();
                let start = time.div_euclid(POINT_MS) * POINT_MS;
                // From here on the line may arrive.
                loose.windows.entry(start).or_default().0 += 1;
                waiting.push_back(start);
                let line = format!(r#"{{"ts":{time},"values":{{"{LOOSE}":1}}}}"#);
                timeout(SILENCE, connection.line(&line)).await??;
            }
        }
        sleep(Duration::from_millis(20 + random.below(40))).await;
        let before = acknowledged;
        while let Some(answer) = connection.ready_answer().await? {
            let ack = answer["ack"].as_u64().unwrap_or_else(|| panic!("unexpected: {answer}"));
            assert!(ack > acknowledged && ack - acknowledged <= waiting.len() as u64, "{answer}");
            for start in waiting.drain(..(ack - acknowledged) as usize) {
                loose.windows.entry(start).or_default().1 += 1;
            }
            acknowledged = ack;
        }
        quiet = if acknowledged > before || waiting.is_empty() { 0 } else { quiet + 1 };
        if quiet > 100 {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}
