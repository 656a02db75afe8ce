use catchment_proto::Batch;
use tempfile::TempDir;

use super::*;
use crate::{
    config::Options,
    selector::Selector,
    store::{GatewayEpoch, IngestStore as _, PreviousRuns},
    testing::{Fault, MemoryStore, batch, gateway, key},
};

const DAY_MS: i64 = 86_400_000;
const DAY: Duration = Duration::from_secs(86_400);
/// Start of a day.
const NOW: i64 = 20_000 * DAY_MS;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

/// A store with one reading of a series every day for `days` days before [`NOW`], delivered up to `watermark`.
async fn filled(store: &MemoryStore, name: &str, days: i64, watermark: i64) {
    let epoch = GatewayEpoch {
        gateway: gateway("berlin", name),
        id: name.len() as u64,
        created_ms: 1,
        shards: 1,
        run: 0,
        previous_runs: PreviousRuns::default(),
    };
    let readings: Vec<_> = (1..=days).map(|day| (NOW - day * DAY_MS, 1.0)).collect();
    let batch: Batch = batch(1, key("d", "temperature", &[]), &readings, watermark);
    store.put(&epoch, batch, true).await.unwrap();
}

struct Rig {
    folder: TempDir,
    store: Arc<MemoryStore>,
    retention: Retention,
}

impl Rig {
    fn new(rules: Vec<RetentionRule>) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(MemoryStore::default());
        let retention = Retention {
            store: Arc::clone(&store) as Arc<_>,
            gateways: Arc::clone(&store) as Arc<_>,
            metrics: Metrics::new(),
            rules,
            every: Duration::from_secs(3_600),
            folder: folder.path().to_owned(),
        };
        Self { folder, store, retention }
    }

    /// Rows that a round removes, at a time of this machine's clock.
    fn removed(&self, clock: i64) -> Option<u64> {
        self.retention.round(at(clock), self.retention.every).unwrap().map(|round| round.removed.rows)
    }
}

fn rule(selector: &str, days: u32) -> RetentionRule {
    RetentionRule {
        selector: Selector::parse_or_all(selector).unwrap(),
        keep: [Some(DAY * days), None, None, None],
    }
}

#[tokio::test]
async fn a_round_removes_what_is_older_than_the_rules() {
    let rig = Rig::new(vec![rule("{gateway=\"short\"}", 3), rule("", 10)]);
    assert_eq!(rig.removed(NOW), None, "no watermark");
    filled(&rig.store, "short", 30, NOW).await;
    assert_eq!(rig.removed(NOW), Some(27), "a window ends ten seconds after its start");
    filled(&rig.store, "long", 30, NOW).await;
    assert_eq!(rig.removed(NOW), Some(20));
    assert_eq!(rig.removed(NOW), Some(0));
}

#[tokio::test]
async fn clocks_that_jump_remove_little() {
    let rig = Rig::new(vec![rule("", 10)]);
    filled(&rig.store, "g", 10, NOW - DAY_MS).await;
    assert_eq!(rig.removed(NOW + 365 * DAY_MS), Some(0), "the watermark does not follow this clock");
    filled(&rig.store, "other", 1, NOW + 365 * DAY_MS).await;
    for _ in 0..12 {
        rig.removed(NOW + 365 * DAY_MS);
    }
    assert_eq!(rig.store.rows(), 10, "twelve rounds of four hours: two days, from a day before the jump");
    // A restart knows the time of the last round; a damaged file is no bound.
    assert_eq!(last_round::read(rig.folder.path()), Some(at(NOW + DAY_MS)));
    std::fs::write(rig.folder.path().join("retention"), b"x").unwrap();
    assert_eq!(rig.removed(NOW + 365 * DAY_MS), Some(10));
}

#[tokio::test(start_paused = true)]
async fn rounds_begin_after_a_while_and_continue_after_a_failure() {
    let mut rig = Rig::new(vec![rule("", 10)]);
    filled(&rig.store, "g", 30, clock::now_ms()).await;
    rig.retention.every = Duration::from_secs(7_200);
    let metrics = Arc::clone(&rig.retention.metrics);
    rig.store.fail(Fault::Full);
    let (supervisor, start) = (Arc::new(Supervisor::default()), tokio::time::Instant::now());
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let task = rig.retention.spawn(&supervisor, catchment_settings::when_set(stopping));
    let until = async |text: &str| {
        while !metrics.encode().contains(text) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        start.elapsed().as_secs()
    };
    let failed = until("catchment_aggregator_retention_failures_total 1\n").await;
    assert!((600..700).contains(&failed), "{failed}");
    let removed = until("catchment_aggregator_retention_removed_rows_total 30\n").await;
    assert!((7_800..7_900).contains(&removed), "{removed}");
    assert!(metrics.encode().contains("catchment_aggregator_retention_rounds_total 1\n"));
    supervisor.begin_shutdown();
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(supervisor.failure(), None);
}

#[test]
fn the_configuration_reaches_the_rounds() {
    let options = Options {
        identity: Some("identity".into()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        data: Some("data".into()),
        retention_windows: Some("1h".parse().unwrap()),
        ..Options::default()
    };
    let config = Config::try_from(options).unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let retention = Retention::new(&config, &store, &Metrics::new());
    assert_eq!((retention.every, retention.rules.len()), (Duration::from_secs(3_600), 1));
    assert_eq!(retention.rules[0].keep[0], Some(Duration::from_secs(3_600)));
}
