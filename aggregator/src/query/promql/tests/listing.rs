//! Lists of series and labels.

use super::*;
use crate::query::promql::{Failure, FailureKind, ListRequest, Written};

async fn store() -> Arc<MemoryStore> {
    let store = MemoryStore::default();
    put(&store, "g1", 1, key("d1", "m", &[("room", "a")]), &[(10_000, 1.0)]).await;
    put(&store, "g1", 2, key("d2", "n", &[("floor", "1")]), &[(100_000, 1.0)]).await;
    put(&store, "g2", 1, key("d1", "m", &[("room", "a")]), &[(20_000, 1.0)]).await;
    Arc::new(store)
}

fn request(matches: &[&[(&str, &str, &str)]]) -> ListRequest {
    let of = |conditions: &&[(&str, &str, &str)]| -> Arc<[Matcher]> {
        conditions.iter().map(|(label, op, value)| matcher(label, op, value)).collect()
    };
    ListRequest {
        matches: matches.iter().map(of).collect(),
        from_ms: 0,
        to_ms: 1_000_000,
        limit: None,
        timeout: None,
    }
}

/// Items as lines.
fn lines<T>(items: Vec<T>, truncated: bool, text: impl Fn(&T) -> String) -> Written {
    let mut lines: Vec<Bytes> = items.iter().map(|item| Bytes::from(text(item))).collect();
    lines.extend(truncated.then(|| Bytes::from("…")));
    Box::new(lines.into_iter())
}

async fn collected(chunks: Result<super::super::Chunks, Failure>) -> Result<Vec<String>, Failure> {
    let chunks: Vec<_> = chunks?.collect().await;
    chunks.into_iter().map(|chunk| Ok(String::from_utf8(chunk?.to_vec()).unwrap())).collect()
}

async fn series(store: &Arc<MemoryStore>, request: ListRequest) -> Vec<String> {
    let promql = promql(Arc::clone(store) as Arc<dyn QueryStore>);
    let write = |list: super::super::Listing<Labels>| lines(list.items, list.truncated, shown);
    collected(promql.series(&ada(), request, write).await).await.unwrap()
}

async fn values(store: &Arc<MemoryStore>, label: &str, request: ListRequest) -> Vec<String> {
    let promql = promql(Arc::clone(store) as Arc<dyn QueryStore>);
    let write =
        |list: super::super::Listing<Arc<str>>| lines(list.items, list.truncated, |item| item.to_string());
    collected(promql.label_values(&ada(), label.into(), request, write).await).await.unwrap()
}

#[tokio::test]
async fn series_are_listed_once_sorted_and_only_those_in_the_range() {
    let store = store().await;
    let (m, n) = ("__name__=m,device=d1,room=a,site=berlin", "__name__=n,device=d2,floor=1,site=berlin");
    assert_eq!(series(&store, request(&[])).await, [m, n]);
    assert_eq!(
        series(&store, request(&[&[("device", "=", "d2")], &[("__name__", "=~", ".+")]])).await,
        [m, n]
    );
    assert_eq!(series(&store, ListRequest { to_ms: 90_000, ..request(&[]) }).await, [m]);
    assert_eq!(series(&store, ListRequest { from_ms: 90_000, ..request(&[]) }).await, [n]);
    assert_eq!(series(&store, ListRequest { limit: Some(1), ..request(&[]) }).await, [m, "…"]);
    assert_eq!(series(&store, ListRequest { limit: Some(2), ..request(&[]) }).await, [m, n]);
    let windows = series(&store, request(&[&[("__name__", "=", "m:window"), ("gateway", "!=", "g1")]])).await;
    assert_eq!(windows, ["__name__=m:window,device=d1,gateway=g2,room=a,site=berlin"]);
}

#[tokio::test]
async fn names_of_windows_are_listed_only_where_a_condition_asks_for_them() {
    let store = store().await;
    assert_eq!(values(&store, "__name__", request(&[])).await, ["m", "n"]);
    assert_eq!(values(&store, "__name__", request(&[&[("__name__", "=~", ".+")]])).await, ["m", "n"]);
    assert_eq!(
        values(&store, "__name__", request(&[&[("__name__", "=~", ".+:.+")]])).await,
        ["m:window", "n:window"]
    );
    assert_eq!(values(&store, "room", request(&[])).await, ["a"]);
    assert_eq!(values(&store, "gateway", request(&[])).await, ["g1", "g2"]);
    assert_eq!(values(&store, "device", request(&[&[("__name__", "=", "n")]])).await, ["d2"]);
    assert_eq!(values(&store, "other", request(&[])).await, [""; 0]);
}

#[tokio::test]
async fn names_of_labels_are_those_that_series_have() {
    let store = store().await;
    let promql = promql(Arc::clone(&store) as Arc<dyn QueryStore>);
    let ask = async |request| {
        let write = |list: super::super::Listing<Arc<str>>| {
            lines(list.items, list.truncated, |item| item.to_string())
        };
        collected(promql.label_names(&ada(), request, write).await).await.unwrap()
    };
    assert_eq!(ask(request(&[])).await, ["__name__", "device", "floor", "room", "site"]);
    assert_eq!(
        ask(request(&[&[("gateway", "=", "g2")]])).await,
        ["__name__", "device", "gateway", "room", "site"]
    );
}

#[tokio::test]
async fn a_shorter_time_is_kept_and_said() {
    let store = MemoryStore::default();
    store.endless.store(true, std::sync::atomic::Ordering::Relaxed);
    let promql = promql(Arc::new(store));
    let request = ListRequest { timeout: Some(Duration::from_millis(30)), ..request(&[]) };
    let write = |list: super::super::Listing<Labels>| lines(list.items, list.truncated, shown);
    let failure = collected(promql.series(&ada(), request, write).await).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(failure.text.contains("no answer within 30ms"), "{failure}");
}
