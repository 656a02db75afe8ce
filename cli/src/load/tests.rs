//! Pacing and reporting; the network is tested elsewhere.

use super::*;

fn plan(interval: Duration, duration: Duration) -> Plan {
    let begin = Instant::now();
    Plan { begin, end: begin + duration, interval, readings: 2, epoch: "e".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn messages_keep_the_requested_pace_and_stop() {
    let plan = plan(Duration::from_millis(100), Duration::from_secs(1));
    let (sender, mut source) = mpsc::channel(1000);
    pace(&plan, Duration::from_millis(50), sender, || ()).await;
    let mut seqs = Vec::new();
    while let Some(message) = source.recv().await {
        assert_eq!(message.body.readings.len(), 2);
        seqs.push(message.seq);
    }
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_slow_gateway_sets_the_pace_and_the_end_holds() {
    let plan = plan(Duration::ZERO, Duration::from_secs(1));
    let (sender, mut source) = mpsc::channel(1);
    let slow = async {
        let mut count = 0;
        while source.recv().await.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            count += 1;
        }
        count
    };
    let ((), count) = tokio::join!(pace(&plan, Duration::ZERO, sender, || ()), slow);
    assert!((10..=12).contains(&count), "{count}");
}

#[test]
fn a_report_sums_devices_and_fails_on_missing_acks() {
    let mut counts = DeviceCounts { sent_messages: 3, ..DeviceCounts::default() };
    for seq in 1..=2 {
        let message = Message { seq, body: values(2, seq) };
        let waited = Duration::from_millis(10 * seq);
        counts.observe(&Event::Settled { message: &message, refused: 0, durable: true, waited });
    }
    let mut report = Report::new(1, Protocol::Json);
    report.add(&counts);
    report.finish(Duration::from_secs(2));
    let text = report.to_string();
    assert!(text.contains("acknowledged  2 messages, 4 readings"), "{text}");
    assert!(text.contains("rate          1 messages/s, 2 readings/s"), "{text}");
    assert!(text.contains("max 20.0 ms"), "{text}");
    assert_eq!(report.outcome().unwrap_err().to_string(), "1 messages were not acknowledged");
    assert!(report.to_json().contains("\"acknowledged_readings\":4"));
}

#[test]
fn too_few_identities_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b", "a", "c"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("cert.pem"), "").unwrap();
    }
    fs::create_dir(dir.path().join("no-identity")).unwrap();
    let folders = identity_folders(dir.path(), 2).unwrap();
    assert_eq!(folders, [dir.path().join("a"), dir.path().join("b")]);
    let error = identity_folders(dir.path(), 4).unwrap_err().to_string();
    assert!(error.contains("3 device identities found, 4 needed"), "{error}");
}
