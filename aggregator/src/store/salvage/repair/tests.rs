//! Damages every kind of file of a store, byte by byte and cut by cut: nothing panics, nothing is invented or counted twice,
//! and every loss is reported.

mod destroyed;
mod kills;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use catchment_journal::LogConfig;
use catchment_partial::{Partial, Timestamp, Width, Window};
use catchment_proto::{GatewayId, SeriesKey};

use super::*;
use crate::store::{
    EmbeddedStore, GatewayEntry, IngestStore as _, MaintenanceStore as _, Merged, OpenReport, QueryStore,
    ReadAll as _, RowRequest, Steps,
    testing::{Content, Model, batch, body, config, content_as_far, copy, entry, epoch},
    verify,
};

/// SplitMix64.
fn random(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % bound
}

/// A journal of small segments, of which the flushed ones are gone.
fn small() -> StoreConfig {
    let journal = LogConfig {
        segment_bytes: 64 << 10,
        bytes_max: 1 << 20,
        record_bytes_max: 64 << 10,
        reserve_bytes: 4 << 10,
        ..config().journal
    };
    StoreConfig { journal, ..config() }
}

/// A store with blocks in several of sled's segments, opened more than once, and batches that only the journal holds.
async fn filled(data: &Path, rounds: u64, windows: u64) -> Model {
    let (mut model, epochs) = (Model::default(), [epoch("g", 1), epoch("h", 2)]);
    for round in 0..rounds {
        let (store, _) = EmbeddedStore::open(data, small()).unwrap();
        for (epoch, number) in epochs.iter().zip([round + 1; 2]) {
            let entries = (0..windows).map(|i| {
                let mut entry = entry((i % 3) as u32, (round * windows + i) as i64, number, number);
                entry.body = body(entry.window, number, 40);
                entry
            });
            let sent = batch(0, number, entries.collect());
            store.put(epoch, sent.clone(), false).await.unwrap();
            model.put(epoch, &sent);
        }
        if round + 1 < rounds {
            store.flush().await.unwrap();
        }
    }
    model
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(files(&entry.path())),
            false => all.push(entry.path()),
        }
    }
    all.sort();
    all
}

/// Everything in a folder.
fn image(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(folder).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// The outcome of a start on a folder: content, whether series could not be read, and the report.
fn start(data: &Path) -> Result<(Content, bool, OpenReport), OpenError> {
    let (store, report) = EmbeddedStore::open(data, small())?;
    let (content, unread) = content_as_far(&*store);
    Ok((content, unread, report))
}

/// The first flushed window that is missing although its gateway is known and reports no gap.
fn unreported(truth: &Content, seen: &Content, gateways: &[GatewayEntry], flushed: i64) -> Option<String> {
    let whole = |gateway: &GatewayId| {
        gateways.iter().any(|known| known.epoch.gateway == *gateway && known.gaps.is_empty())
    };
    let gone = truth.iter().filter(|(name, bodies)| seen.get(*name) != Some(*bodies));
    let mut gone = gone.filter(|((gateway, _, window), _)| window.index() < flushed && whole(gateway));
    gone.next().map(|((gateway, key, window), _)| format!("{gateway} {key} {}", window.index()))
}

/// What is wrong with the tables, and with merged rows against the windows.
fn damaged_tables(data: &Path) -> Vec<String> {
    let mut report = VerifyReport::default();
    let loaded = verify_catalog(data, &mut report).unwrap().unwrap();
    verify_tables(data, &loaded, &mut report).unwrap();
    report.findings
}

/// Numbers of readings by series and minute, hour or day (`None`: at all), as merged rows tell them where these are stored.
type Counts = BTreeMap<(GatewayId, SeriesKey, Option<i64>), u64>;

fn counts(store: &dyn QueryStore) -> Counts {
    let mut counts = Counts::new();
    for (steps, width) in
        [(Steps::Every(60_000), 60_000), (Steps::Every(3_600_000), 3_600_000), (Steps::Whole, 0)]
    {
        for series in store.all_series() {
            let request = RowRequest {
                series: series.id,
                from: Timestamp::MIN,
                to: Timestamp::MAX,
                steps: steps.clone(),
                resolution: Merged::Allowed,
            };
            let mut reader = store.rows(&request).unwrap();
            let mut visit = |window: Window, body: &[u8]| {
                let count = Partial::decode(body, window.start()).unwrap().count();
                let point = (width > 0).then(|| {
                    let point = Window::containing(window.start(), Width::from_millis(width).unwrap());
                    point.start().as_millis() * 10 + i64::from(width == 60_000)
                });
                *counts.entry((series.gateway.clone(), series.key.clone(), point)).or_default() += count;
            };
            while reader.advance(&mut visit).unwrap() {}
        }
    }
    counts
}

/// What merged rows tell of this content.
fn counts_of(content: &Content) -> Counts {
    let mut counts = Counts::new();
    for ((gateway, key, window), bodies) in content {
        let count: u64 =
            bodies.iter().map(|body| Partial::decode(body, window.start()).unwrap().count()).sum();
        let point = |width| Window::containing(window.start(), Width::from_millis(width).unwrap());
        let minute = point(60_000).start().as_millis() * 10 + 1;
        let hour = point(3_600_000).start().as_millis() * 10;
        for point in [Some(minute), Some(hour), None] {
            *counts.entry((gateway.clone(), key.clone(), point)).or_default() += count;
        }
    }
    counts
}

/// Flips a bit, truncates the file, or removes it if it is a table; false if there was nothing to change.
fn damage(file: &Path, seed: &mut u64) -> bool {
    let mut bytes = fs::read(file).unwrap();
    let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return false };
    let place = random(seed, last as u64 + 1) as usize;
    match random(seed, 10) {
        1 if file.extension().is_some_and(|end| end == "table") => {
            fs::remove_file(file).unwrap();
            return true;
        }
        0 => bytes.truncate(place),
        _ => bytes[place] ^= 1 << random(seed, 8),
    }
    fs::write(file, bytes).unwrap();
    true
}

/// Finds bodies that were never stored: partials of a lower revision are no invention, they existed.
fn invented(seen: &Content, ever: &BTreeSet<Vec<u8>>, truth: &Content) -> bool {
    seen.iter().any(|(name, bodies)| {
        truth.get(name).is_none_or(|known| known.len() < bodies.len())
            || bodies.iter().any(|body| !ever.contains(body))
    })
}

#[tokio::test]
async fn no_damage_panics_invents_or_loses_silently() {
    flips(60, 40, 40).await;
}

#[tokio::test]
async fn nor_does_damage_in_many_segments_of_blocks() {
    // Which bytes are hit is chance: of few runs, half may lose something.
    flips(40, 400, 30).await;
}

/// Damages the files of a store one at a time, `runs` times.
async fn flips(rounds: u64, windows: u64, runs: u32) {
    let (epoch, work, mended) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let truth = filled(epoch.path(), rounds, windows).await.content();
    let ever: BTreeSet<Vec<u8>> = truth.values().flatten().cloned().collect();
    let told = counts_of(&truth);
    let all = files(epoch.path());
    let tables: Vec<&PathBuf> =
        all.iter().filter(|file| file.extension().is_some_and(|end| end == "table")).collect();
    assert!(tables.len() >= 4, "{all:?}");
    assert!(all.iter().any(|file| file.ends_with("sled/db")) && all.len() >= 6, "{all:?}");
    let (mut seed, mut kept_all, mut refused) = (3, 0, 0);
    for run in 0..runs {
        let which = match random(&mut seed, 3) {
            0 => epoch.path().join("sled/db"),
            1 => tables[random(&mut seed, tables.len() as u64) as usize].clone(),
            _ => all[random(&mut seed, all.len() as u64) as usize].clone(),
        };
        let name = which.strip_prefix(epoch.path()).unwrap().to_owned();
        for folder in [work.path(), mended.path()] {
            fs::remove_dir_all(folder).unwrap();
            copy(epoch.path(), folder);
        }
        let before = seed;
        if !damage(&work.path().join(&name), &mut seed) {
            continue;
        }
        let mut again = before;
        damage(&mended.path().join(&name), &mut again);
        let case = format!("run {run}, {}", name.display());

        let image_before = image(mended.path());
        let verified = verify(mended.path());
        assert!(image_before == image(mended.path()), "{case}: verify changed something");
        let clean = verified.as_ref().is_ok_and(VerifyReport::is_clean);
        match start(work.path()) {
            Err(_) => refused += 1,
            Ok((seen, unread, report)) => {
                assert!(!invented(&seen, &ever, &truth), "{case}: invented");
                let reported_something = unread || !clean || report.damage > 0 || report.torn_tail_bytes > 0;
                assert!(seen == truth || reported_something, "{case}: lost silently");
            }
        }
        // Even after a start, which may have been refused.
        let mut told_before = false;
        if random(&mut seed, 2) == 0 {
            let started = start(mended.path());
            told_before = started.is_ok_and(|(.., report)| report.damage > 0 || report.torn_tail_bytes > 0);
        }
        let report = repair(mended.path()).unwrap_or_else(|error| panic!("{case}: {error}"));
        let (seen, unread, opened) = start(mended.path()).unwrap_or_else(|error| panic!("{case}: {error}"));
        let (gateways, counts) = {
            let store = EmbeddedStore::open(mended.path(), small()).unwrap().0;
            (store.gateways(), counts(&*store))
        };
        assert_eq!(damaged_tables(mended.path()), Vec::<String>::new(), "{case}: after {report:?}");
        let more = counts.iter().find(|(point, count)| told.get(point).is_none_or(|known| known < count));
        assert_eq!(more, None, "{case}: counted twice: {report:?}");
        let in_windows = counts_of(&seen);
        let fewer =
            in_windows.iter().find(|(point, count)| counts.get(point).is_none_or(|merged| merged < count));
        assert_eq!(fewer, None, "{case}: merged rows lack windows that are stored: {report:?}");
        let flushed = (rounds as i64 - 1) * windows as i64;
        assert_eq!(unreported(&truth, &seen, &gateways, flushed), None, "{case}: {report:?}");
        assert!(!unread && !invented(&seen, &ever, &truth), "{case}: after the repair");
        let told_lost =
            !report.lost.is_clean() || opened.torn_tail_bytes > 0 || report.lost.torn_tail_bytes > 0;
        assert!(seen == truth || told_lost || told_before, "{case}: the repair lost silently: {report:?}");
        kept_all += u32::from(seen == truth);
    }
    let db = fs::metadata(epoch.path().join("sled/db")).unwrap().len();
    println!("{db} bytes of blocks; {refused} starts refused, {kept_all} of {runs} repairs lost nothing");
    assert!(kept_all > runs / 2, "a repair keeps as much as possible: {kept_all}");
}
