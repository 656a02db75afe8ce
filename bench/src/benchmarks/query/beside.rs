//! Ingest beside queries, and a query beside ingest.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use catchment_proto::wire::AggregateRequest;

use super::{
    question::everything,
    stored::{Stored, operator},
};
use crate::{
    benchmarks::{
        Bench,
        goals::{at_most, times},
    },
    cpu,
    load::{
        delivery::{self, Load},
        operator::Operator,
    },
    process::Server,
    report::{Measurement, Reference, Report, number, quantile},
};

/// Queries that run at once.
const QUERIES: usize = 8;
/// Begins the names of the aggregator's threads on which queries run.
const QUERY_THREADS: &str = "query-";
/// Selects all series of the month, and none that is delivered meanwhile.
const MONTH: &str = r#"{__name__=~"m[0-9]"}"#;
/// Series that are delivered meanwhile.
const SERIES: usize = 10_000;
/// Partials a second beside a dashboard.
const RATE: f64 = 200_000.0;
/// A dashboard's query: this many points of a minute.
const POINTS: i64 = 1_000;
const MINUTE_MS: i64 = 60_000;
/// Longest time that the store may take to flush what was delivered.
const SETTLE: Duration = Duration::from_secs(15);
/// Between two queries of a dashboard.
const PAUSE: Duration = Duration::from_millis(10);

fn load(bench: &Bench, server: &Server, duration: Duration, rate: Option<f64>) -> Load {
    Load {
        addr: server.addr,
        pid: Some(server.pid()),
        series: bench.sized(SERIES, 1_000),
        in_flight: 64,
        duration,
        rate,
    }
}

/// Processor seconds of the server, but for the threads that queries run on.
fn without_queries(server: &Server) -> anyhow::Result<f64> {
    let queries = cpu::thread_seconds(server.pid(), QUERY_THREADS)?;
    Ok(cpu::seconds(server.pid())? - queries)
}

/// Runs queries at once, each again and again, until `until` has returned. Returns their number and the result.
fn beside_queries<T>(
    bench: &Bench,
    (server, stored): (&Server, &Stored),
    until: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(f64, T)> {
    let request = everything(MONTH, &stored.history);
    let stop = AtomicBool::new(false);
    let operators: Vec<_> = (0..QUERIES).map(|_| operator(bench, server)).collect::<anyhow::Result<_>>()?;
    let ask = &|operator: Operator| {
        let mut count = 0.0;
        while !stop.load(Ordering::Relaxed) {
            operator.query(request.clone())?;
            count += 1.0;
        }
        anyhow::Ok(count)
    };
    thread::scope(|scope| {
        let running: Vec<_> = operators.into_iter().map(|one| scope.spawn(move || ask(one))).collect();
        let result = until();
        stop.store(true, Ordering::Relaxed);
        let mut count = 0.0;
        for one in running {
            count += one.join().ok().context("a query's thread panicked")??;
        }
        anyhow::Ok((count, result?))
    })
}

/// Durable partials a CPU-second while queries run. The processor time of the threads that queries run on is not
/// counted.
fn ingest(bench: &Bench, server: &Server, stored: &Stored) -> anyhow::Result<Measurement> {
    let identity = bench.pki.gateway()?;
    let load = load(bench, server, bench.duration, None);
    let deliver = || delivery::run(&load, &identity);
    // So that the threads of queries exist.
    operator(bench, server)?.query(everything(MONTH, &stored.history))?;
    // With what the store has yet to do for what it took.
    let until_settled = || {
        if !bench.quick {
            cpu::settle(server.pid(), SETTLE)?;
        }
        without_queries(server)
    };
    let mut asked = 0.0;
    let (ours, alone) = bench.in_turn(
        &mut || {
            let before = until_settled()?;
            let (queries, outcome) = beside_queries(bench, (server, stored), deliver)?;
            asked = queries / outcome.seconds;
            Ok(outcome.readings as f64 / (until_settled()? - before))
        },
        &mut || {
            let before = until_settled()?;
            let outcome = deliver()?;
            Ok(outcome.readings as f64 / (until_settled()? - before))
        },
    )?;
    Ok(Measurement {
        what: format!(
            "durable partials beside {QUERIES} queries over a month at once, {} a second, without their threads",
            number(asked)
        ),
        unit: "partials/CPU-s",
        ours,
        reference: Reference { name: "the same, without queries".to_owned(), value: Ok(alone) },
        goal: times(0.7, 0.9),
    })
}

/// Milliseconds of a dashboard's queries, at the p99, until `done`.
fn dashboard(
    bench: &Bench,
    (server, stored): (&Server, &Stored),
    done: impl Fn() -> bool,
) -> anyhow::Result<f64> {
    let operator = operator(bench, server)?;
    let (history, span) = (stored.history, POINTS * MINUTE_MS);
    let room = (history.end_ms() - history.start_ms - span) / MINUTE_MS;
    let mut milliseconds = Vec::new();
    while !done() || milliseconds.is_empty() {
        // Not the same range again and again.
        let from_ms = history.start_ms + milliseconds.len() as i64 * 7_919 % room * MINUTE_MS;
        let answer = operator.query(AggregateRequest {
            selector: r#"m0{device="press-00000"}"#.to_owned(),
            from_ms,
            to_ms: from_ms + span,
            step_ms: MINUTE_MS,
            aggregates: vec!["mean".to_owned(), "p99".to_owned()],
            ..AggregateRequest::default()
        })?;
        ensure!(answer.points == POINTS as u64, "{} points, not {POINTS}", answer.points);
        milliseconds.push(answer.seconds * 1e3);
        thread::sleep(PAUSE);
    }
    Ok(quantile(&milliseconds, 0.99))
}

/// A dashboard's query while partials arrive.
fn query(bench: &Bench, server: &Server, stored: &Stored) -> anyhow::Result<Measurement> {
    let identity = bench.pki.gateway()?;
    // Enough queries for a p99.
    let duration = if bench.quick { bench.duration } else { bench.duration.max(Duration::from_secs(5)) };
    let (load, mut arrived) = (load(bench, server, duration, Some(RATE)), 0.0);
    let (ours, alone) = bench.in_turn(
        &mut || {
            thread::scope(|scope| {
                let delivering = scope.spawn(|| delivery::run(&load, &identity));
                let p99 = dashboard(bench, (server, stored), || delivering.is_finished())?;
                let outcome = delivering.join().ok().context("the load panicked")??;
                arrived = outcome.readings as f64 / outcome.seconds;
                Ok(p99)
            })
        },
        &mut || {
            let started = Instant::now();
            dashboard(bench, (server, stored), || started.elapsed() >= duration)
        },
    )?;
    Ok(Measurement {
        what: format!(
            "a dashboard's query of {POINTS} points while {} partials a second arrive, p99",
            number(arrived)
        ),
        unit: "ms",
        ours,
        reference: Reference { name: "the same, nothing arrives".to_owned(), value: Ok(alone) },
        goal: at_most(100.0, 20.0),
    })
}

/// Both, over a month that is stored.
pub(super) fn run(bench: &Bench, stored: &Stored, report: &mut Report) -> anyhow::Result<()> {
    let server = stored.settled(bench)?;
    report.measurements.push(ingest(bench, &server, stored)?);
    report.measurements.push(query(bench, &server, stored)?);
    Ok(())
}
