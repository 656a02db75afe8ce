use catchment_proto::{Labels, MetricName, Name, SeriesKey};

use super::*;
use crate::{store::Steps, testing::gateway};

fn entry(id: u64, site: &str, device: &str, labels: &[(&str, &str)], windows: (i64, i64)) -> SeriesEntry {
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    SeriesEntry {
        id: SeriesId::new(id),
        gateway: gateway(site, "g1"),
        key: SeriesKey {
            device: Name::new(device).unwrap(),
            metric: MetricName::new("temperature").unwrap(),
            labels: Labels::new(labels.iter().copied()).unwrap(),
        },
        windows: (time(windows.0), time(windows.1)),
        rows_from: time(windows.0),
        last_reading: time(windows.1),
    }
}

fn series() -> Vec<SeriesEntry> {
    vec![
        entry(1, "munich", "d1", &[("room", "1")], (0, 50_000)),
        entry(2, "berlin", "d2", &[("room", "2")], (10_000, 20_000)),
        entry(3, "berlin", "d1", &[], (20_000, 90_000)),
    ]
}

fn groups(series: Vec<SeriesEntry>, by: &[String]) -> Vec<Arc<Group>> {
    grouped(&series, Grouping::By(by.to_vec()))
}

fn grouped(series: &[SeriesEntry], grouping: Grouping) -> Vec<Arc<Group>> {
    let mut groups = Groups::new(&grouping);
    series.iter().for_each(|entry| groups.push(0, entry));
    groups.into_groups().collect()
}

fn by(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn shown(groups: &[Arc<Group>]) -> Vec<(String, Vec<u64>)> {
    let labels =
        |group: &Group| group.labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(",");
    groups.iter().map(|group| (labels(group), group.series.iter().map(|id| id.number()).collect())).collect()
}

#[test]
fn without_labels_everything_is_one_group() {
    let all = groups(series(), &[]);
    assert_eq!(shown(&all), [(String::new(), vec![1, 2, 3])]);
    assert_eq!(all[0].rows, (Timestamp::from_nanos(0), Timestamp::from_millis(90_000).unwrap()));
    assert!(groups(Vec::new(), &[]).is_empty());
}

#[test]
fn groups_come_in_the_order_of_their_labels() {
    let by_site = groups(series(), &by(&["site"]));
    assert_eq!(
        shown(&by_site),
        [("site=berlin".to_owned(), vec![2, 3]), ("site=munich".to_owned(), vec![1])]
    );
    let by_room = groups(series(), &by(&["room", "__name__"]));
    assert_eq!(
        shown(&by_room),
        [
            ("__name__=temperature".to_owned(), vec![3]),
            ("__name__=temperature,room=1".to_owned(), vec![1]),
            ("__name__=temperature,room=2".to_owned(), vec![2]),
        ]
    );
    assert_eq!(groups(series(), &by(&["device", "gateway"])).len(), 2);
}

#[test]
fn without_some_labels_all_others_are_kept() {
    let without = |labels: &[&str]| grouped(&series(), Grouping::Without(by(labels)));
    assert_eq!(
        shown(&without(&["site", "gateway", "room"])),
        [
            ("__name__=temperature,device=d1".to_owned(), vec![1, 3]),
            ("__name__=temperature,device=d2".to_owned(), vec![2]),
        ]
    );
    let all = without(&["nothing"]);
    assert_eq!(
        shown(&all)[0],
        ("__name__=temperature,device=d1,gateway=g1,room=1,site=munich".to_owned(), vec![1])
    );
    assert!(all.iter().enumerate().all(|(number, group)| group.number == number));
    let none = without(&["__name__", "device", "gateway", "room", "site"]);
    assert_eq!(shown(&none), [(String::new(), vec![1, 2, 3])]);
}

#[test]
fn groups_of_several_selectors_are_apart_and_memory_is_counted() {
    let mut groups = Groups::new(&Grouping::Without(by(&["room"])));
    let mut bytes = groups.bytes();
    for (selector, entry) in series().iter().flat_map(|entry| [(1, entry), (0, entry)]) {
        groups.push(selector, entry);
        assert!(groups.bytes() > bytes);
        bytes = groups.bytes();
    }
    let groups: Vec<_> = groups.into_groups().collect();
    assert_eq!(groups.iter().map(|group| group.selector).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    assert_eq!(groups[0].labels, groups[3].labels);
}

#[test]
fn a_group_begins_where_its_rows_do() {
    let day = 86_400_000;
    let first = entry(1, "berlin", "d1", &[], (3 * day + 41_000, 5 * day));
    // Once the windows are gone, a row of the day stands for them.
    let first = SeriesEntry { rows_from: Timestamp::from_millis(3 * day).unwrap(), ..first };
    let later = entry(2, "berlin", "d2", &[], (4 * day, 4 * day));
    let group = groups(vec![later, first], &[]).remove(0);
    let range = |from_ms| Range { from_ms, to_ms: 9 * day, steps: Steps::Whole };
    assert_eq!(
        group.overlap(&range(0)).map(|range| (range.from_ms, range.to_ms)),
        Some((3 * day, 5 * day + 1))
    );
    assert_eq!(group.overlap(&range(4 * day)).map(|range| range.from_ms), Some(4 * day));
    assert_eq!(group.overlap(&range(6 * day)), None);
}
