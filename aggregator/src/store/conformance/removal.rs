//! Forgetting windows and series, retention.

use std::time::Duration;

use super::{Subject, content, put};
use crate::{
    selector::Selector,
    store::{
        ReadAll as _, RetentionRule,
        testing::{Model, at, batch, entry, epoch},
    },
};

pub(super) async fn forgotten_series_come_back_as_new_ones(subject: &dyn Subject) {
    let (store, g, mut expected) = (subject.store(), epoch("g", 1), Model::default());
    let all = |number| batch(0, number, (0..3).map(|series| entry(series, 1, number, number)).collect());
    put(subject, &g, all(1)).await;
    let b = Selector::parse("b").unwrap();
    let before = store.selected(&b)[0].id;
    assert_eq!(store.forget_series(&b).unwrap(), 1);
    assert_eq!(store.all_series().len(), 2);
    expected.put(&g, &all(1));
    let mut content_before = expected.content();
    content_before.retain(|(_, key, _), _| key.metric.as_str() != "b");
    assert_eq!(content(store), content_before);
    put(subject, &g, all(2)).await;
    let after = store.selected(&b)[0].id;
    assert!(after > before, "numbers are never used again");
    let mut new = Model::default();
    new.put(&g, &all(2));
    expected.put(&g, &all(2));
    let mut content_after = expected.content();
    for (name, bodies) in new.content().into_iter().filter(|((_, key, _), _)| key.metric.as_str() == "b") {
        content_after.insert(name, bodies);
    }
    assert_eq!(content(store), content_after);
    assert_eq!(store.forget_series(&Selector::parse("none").unwrap()).unwrap(), 0);
}

pub(super) async fn retention_keeps_what_no_rule_matches_and_what_is_young(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    put(subject, &g, batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 90_000, 2, 2)])).await;
    let held = content(store);
    let day = Duration::from_secs(86_400);
    let rule = |selector: &str, keep| RetentionRule {
        selector: Selector::parse_or_all(selector).unwrap(),
        keep: [keep; 4],
    };
    let now = at(900_000).saturating_add_nanos(1);
    for rules in [vec![], vec![rule("none", Some(day))], vec![rule("a", None)]] {
        assert_eq!(store.retain(&rules, now).unwrap().rows, 0);
        assert_eq!(content(store), held);
    }
    // Ten days and a half are younger than a year.
    assert_eq!(store.retain(&[rule("", Some(365 * day))], now).unwrap().rows, 0);
    assert_eq!(content(store), held);
}

pub(super) async fn what_all_rules_let_go_is_gone(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    put(subject, &g, batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 1, 2, 2)])).await;
    subject.flush().await;
    let rules = [RetentionRule {
        selector: Selector::parse("a").unwrap(),
        keep: [Some(Duration::from_secs(86_400)); 4],
    }];
    // Fifty years later, whatever the store removes together.
    let removed = store.retain(&rules, at(50 * 366 * 86_400)).unwrap();
    assert!(removed.rows > 0, "{removed:?}");
    let left: Vec<_> = content(store).into_keys().map(|(_, key, _)| key.metric.as_str().to_owned()).collect();
    assert_eq!(left, ["b"]);
    assert_eq!(store.all_series().len(), 1, "a series without rows is not listed");
    assert_eq!(store.retain(&rules, at(50 * 366 * 86_400)).unwrap().rows, 0);
    // What it has delivered stays known.
    assert_eq!(store.delivered(&g), [1, 0]);
}
