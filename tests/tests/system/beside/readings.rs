//! Readings of six devices at two sites in an hour: gauges, counters that begin again, steps, buckets; with jitter,
//! an outage, and a device that comes late and leaves early.
//!
//! No reading is one millisecond before a multiple of [`WIDTH_MS`]: then its sample is on no boundary, and it does not
//! matter that ranges of Prometheus 2 include their left end.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use catchment_settings::HumanDuration;
use catchment_tests::{
    api::Api, connection::Protocol, device::Sample, eventually::eventually, model::labels, now_ms,
    world::World,
};

/// Width of the windows.
pub(super) const WIDTH_MS: i64 = 10_000;
/// Length of the data.
pub(super) const LENGTH_MS: i64 = 3_600_000;

/// A linear congruential generator.
struct Random(u64);

impl Random {
    /// The next number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A device.
struct Place {
    site: usize,
    name: &'static str,
    room: &'static str,
    /// Without readings in these milliseconds after the start.
    silent: std::ops::Range<i64>,
}

const SITES: [&str; 2] = ["berlin", "rome"];

const DEVICES: [Place; 6] = [
    Place { site: 0, name: "press-1", room: "north", silent: 0..0 },
    Place { site: 0, name: "press-2", room: "south", silent: 0..0 },
    Place { site: 0, name: "press-3", room: "north", silent: 1_500_000..2_220_000 },
    Place { site: 1, name: "press-4", room: "", silent: 0..0 },
    Place { site: 1, name: "press-5", room: "", silent: 0..900_000 },
    Place { site: 1, name: "press-6", room: "", silent: 2_700_000..LENGTH_MS },
];

/// Upper bounds of the buckets, with the share of the observations below them in percent.
const BUCKETS: [(&str, u64); 4] = [("0.1", 20), ("0.5", 70), ("1", 95), ("+Inf", 100)];

impl Place {
    /// Its messages in order of time.
    fn samples(&self, start_ms: i64, seed: u64) -> Vec<Sample> {
        let mut random = Random(seed);
        let own = if self.room.is_empty() { labels(&[]) } else { labels(&[("room", self.room)]) };
        let (mut energy, mut observations) = (100_000.0 + seed as f64, 50_000);
        let (mut after, mut samples, mut buckets_at) = (0, Vec::new(), 0);
        loop {
            after += 500 + i64::try_from(random.below(5_500)).unwrap();
            if after >= LENGTH_MS {
                return samples;
            }
            let time_ms = start_ms + after - i64::from((after + 1) % WIDTH_MS == 0);
            // A counter begins again far above 0, so that its extrapolation ends before it.
            energy = if random.below(300) == 0 { 5_000.0 } else { energy + random.below(40) as f64 / 8.0 };
            let temperature = 18.0 + seed as f64 + random.below(8_000) as f64 / 1_000.0;
            let level = random.below(5).min(random.below(5)) as f64;
            if self.silent.contains(&after) {
                continue;
            }
            let values = [("temperature", temperature), ("energy_total", energy), ("level", level)];
            let values = values.map(|(metric, value)| (metric.to_owned(), value)).to_vec();
            samples.push(Sample { time_ms, labels: own.clone(), values });
            if after >= buckets_at {
                buckets_at = after + 15_000;
                observations += 10 + random.below(200);
                samples.extend(buckets(time_ms, observations));
            }
        }
    }
}

/// A classic histogram.
fn buckets(time_ms: i64, observations: u64) -> impl Iterator<Item = Sample> {
    BUCKETS.into_iter().map(move |(bound, share)| Sample {
        time_ms,
        labels: labels(&[("le", bound)]),
        values: vec![("duration_bucket".to_owned(), (observations * share / 100) as f64)],
    })
}

/// Real programs with all readings, complete, and the same as samples in the OpenMetrics format.
pub(super) struct Loaded {
    pub(super) world: World,
    pub(super) api: Api,
    /// Time of the first window, a multiple of five minutes.
    pub(super) start_ms: i64,
    pub(super) open_metrics: String,
}

impl Loaded {
    /// Starts everything and waits until the answers are complete.
    pub(super) async fn start() -> Self {
        let builder = World::builder().gateway(SITES[0], "gw-1").gateway(SITES[1], "gw-2").processes();
        let width = HumanDuration(Duration::from_millis(WIDTH_MS.unsigned_abs()));
        let world = builder.settings(move |settings| settings.window = Some(width)).start().await;
        let start_ms = (now_ms() - LENGTH_MS - 600_000) / 300_000 * 300_000;
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        let mut count = 0;
        for (seed, place) in (1..).zip(&DEVICES) {
            let samples = place.samples(start_ms, seed);
            let mut device = world.device(place.site, place.name, Protocol::Json);
            for sample in &samples {
                device.send(sample).await;
                count += sample.values.len();
                note(&mut lines, place, sample);
            }
            device.settle().await;
            assert!(device.refused().is_empty(), "{:?}", device.refused());
        }
        let open_metrics = lines.into_values().collect::<String>() + "# EOF\n";
        let api = Api { addr: world.aggregator.addr(), identity: Some(world.pki.operator()) };
        let loaded = Self { world, api, start_ms, open_metrics };
        loaded.complete(count).await;
        loaded
    }

    /// Waits until all readings count, without a warning that figures are incomplete.
    async fn complete(&self, count: usize) {
        let time = ((self.start_ms + LENGTH_MS) / 1000).to_string();
        let of_metric = |metric| format!("sum(count_over_time({metric}[1h]))");
        let metrics = ["temperature", "energy_total", "level", "duration_bucket"];
        let query = metrics.map(of_metric).join(" + ");
        eventually("all readings", async || {
            let (_, json) = self.api.get("query", &[("query", &query), ("time", &time)]).await;
            let seen = json["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse().ok());
            let is_complete = seen == Some(count) && json["warnings"].is_null();
            if is_complete { Ok(()) } else { Err(format!("{json}, not {count} readings")) }
        })
        .await;
    }
}

/// Adds the samples of a message, one millisecond after its readings, by series.
fn note(lines: &mut BTreeMap<String, String>, place: &Place, sample: &Sample) {
    let own = sample.labels.iter().map(|(name, value)| format!(",{name}=\"{value}\"")).collect::<String>();
    for (metric, value) in &sample.values {
        let series = format!("{metric}{{site=\"{}\",device=\"{}\"{own}}}", SITES[place.site], place.name);
        let time = sample.time_ms + 1;
        let text = lines.entry(series.clone()).or_default();
        writeln!(text, "{series} {value} {}.{:03}", time / 1000, time % 1000).unwrap();
    }
}
