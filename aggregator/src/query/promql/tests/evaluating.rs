//! Whole expressions.

use catchment_promql::{Answer, Column, Plan, Samples, Value, parse};

use super::*;
use crate::query::promql::{Failure, FailureKind, Options, Written};

/// Two devices in two rooms: counters with a reading a second, of ten seconds' windows; complete up to `complete_ms`.
async fn store(from_ms: i64, complete_ms: i64) -> Arc<MemoryStore> {
    let store = MemoryStore::default();
    for (number, room) in [(1, "a"), (2, "b")] {
        let readings: Vec<_> = (0..300).map(|n| (from_ms + n * 1_000 + 500, (number * n) as f64)).collect();
        let series = key(&format!("d{number}"), "m_total", &[("room", room)]);
        let batch = batch(number as u64, series, &readings, complete_ms);
        store.put(&epoch("g1", 1), batch, number == 1).await.unwrap();
    }
    Arc::new(store)
}

/// Series as lines, with their values by step; then notes.
fn text(answer: &Answer) -> Vec<String> {
    let numbers = |column: &Column| -> Vec<String> {
        (0..column.len())
            .map(|step| {
                column.get(step).map_or("-".to_owned(), |value| ((value * 1e9).round() / 1e9).to_string())
            })
            .collect()
    };
    let mut lines = match &answer.value {
        Value::Vector(series) => series
            .iter()
            .map(|of| match &of.samples {
                Samples::Floats(column) => format!("{{{}}} {}", shown(&of.labels), numbers(column).join(" ")),
                Samples::Windows(windows) => {
                    let counts = windows.iter().map(|of| of.as_ref().map_or(0, |of| of.count()).to_string());
                    format!("{{{}}} #{}", shown(&of.labels), counts.collect::<Vec<_>>().join(" #"))
                }
            })
            .collect(),
        other => vec![format!("{other:?}")],
    };
    lines.extend(answer.annotations.warnings().into_iter().map(|text| format!("! {text}")));
    lines
}

async fn asked(
    store: &Arc<MemoryStore>,
    expression: &str,
    grid: Grid,
    options: Options,
) -> Result<Vec<String>, Failure> {
    let promql = promql(Arc::clone(store) as Arc<dyn QueryStore>);
    let plan = Plan::new(&parse(expression).unwrap(), grid).unwrap();
    let write = |answer: Answer| -> Written { Box::new(text(&answer).into_iter().map(Bytes::from)) };
    let chunks: Vec<_> = promql.evaluate(&ada(), plan, options, write).await?.collect().await;
    chunks.into_iter().map(|chunk| Ok(String::from_utf8(chunk?.to_vec()).unwrap())).collect()
}

async fn answers(store: &Arc<MemoryStore>, expression: &str, grid: Grid) -> Vec<String> {
    let mut lines = asked(store, expression, grid, Options::default()).await.unwrap();
    lines.retain(|line| !line.starts_with('!'));
    lines
}

const GRID: Grid = Grid { start_ms: 100_000, step_ms: 60_000, count: 3 };

#[tokio::test]
async fn expressions_are_answered_from_the_windows() {
    let store = store(0, 300_000).await;
    let ask = async |expression| answers(&store, expression, GRID).await;
    let labels = |number: u32, room: &str| format!("device=d{number},room={room},site=berlin");
    assert_eq!(
        ask("m_total{room=\"b\"}").await,
        [format!("{{__name__=m_total,{}}} 198 318 438", labels(2, "b"))]
    );
    assert_eq!(ask("rate(m_total{device='d2'}[1m])").await, [format!("{{{}}} 2 2 2", labels(2, "b"))]);
    assert_eq!(ask("sum(increase(m_total[1m]))").await, ["{} 180 180 180"]);
    assert_eq!(
        ask("sum by (room) (count_over_time(m_total[1m]))").await,
        ["{room=a} 60 60 60", "{room=b} 60 60 60"]
    );
    assert_eq!(ask("sum(sum_over_time(m_total:window[1m]))").await, ["{} #120 #120 #120"]);
    assert_eq!(ask("max_over_time(sum(m_total)[1m:30s]) + 1").await, ["{} 268 448 628"]);
    assert_eq!(ask("count({__name__=~\".+\"}) by (site) + scalar(vector(1))").await, ["{site=berlin} 3 3 3"]);
    assert_eq!(
        ask("avg_over_time(m_total{room=\"a\"}[20s] offset 40s)").await,
        [format!("{{{}}} 49.5 109.5 169.5", labels(1, "a"))]
    );
    assert_eq!(ask("absent(other)").await, ["{} 1 1 1"]);
}

#[tokio::test]
async fn readings_that_are_states_are_absent_and_a_warning_says_why() {
    let store = MemoryStore::default();
    let states = crate::testing::state_batch(1, key("d1", "mode", &[]), &[(500, "run"), (10_500, "stop")]);
    store.put(&epoch("g1", 1), states, true).await.unwrap();
    let store = Arc::new(store);
    for (expression, answer) in [
        ("mode", None),
        ("absent(mode)", Some("{} 1")),
        ("changes(mode[1m])", None),
        ("sum_over_time(mode:window[1m])", None),
    ] {
        let lines = asked(&store, expression, Grid::instant(60_000), Options::default()).await.unwrap();
        assert!(lines.iter().any(|line| line.contains("are no numbers")), "{expression}: {lines:?}");
        let values: Vec<&str> =
            lines.iter().map(|line| &**line).filter(|line| !line.starts_with('!')).collect();
        assert_eq!(values, answer.into_iter().collect::<Vec<_>>(), "{expression}");
    }
}

#[tokio::test]
async fn an_incomplete_answer_says_so_and_is_cut_if_asked() {
    let now_ms = crate::clock::now_ms() / 60_000 * 60_000;
    let store = store(now_ms - 300_000, now_ms - 100_000).await;
    let grid = Grid { start_ms: now_ms - 240_000, step_ms: 60_000, count: 5 };
    let ask = async |hide_incomplete, expression| {
        asked(&store, expression, grid, Options { hide_incomplete, timeout: None }).await.unwrap()
    };
    let shown = ask(false, "sum(count_over_time(m_total[1m]))").await;
    assert_eq!(shown[0], "{} 120 120 120 120 120");
    assert!(
        shown[1].contains("are incomplete: gateway berlin/g1 is") && shown[1].ends_with("behind"),
        "{shown:?}"
    );
    assert_eq!(ask(true, "sum(count_over_time(m_total[1m]))").await[0], "{} 120 120 120 - -");
    let before = ask(true, "sum(count_over_time(m_total[1m] offset 3m))").await;
    assert_eq!(before, ["{} - - - 120 120"], "what is asked for is complete");
}

#[tokio::test]
async fn failures_say_their_kind() {
    let store = store(0, 300_000).await;
    let failure = asked(&store, "m_total + ignoring(device, room) m_total", GRID, Options::default())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Execution, "{failure}");
}
