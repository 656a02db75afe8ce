//! Runs a script: each eval as an instant query, as a range query, and pinned to its time, as Prometheus' own runner does.

use std::ops::AddAssign;

use catchment_promql::{Grid, Plan, evaluate, parse};

use crate::{
    by_design::{self, ByDesign},
    closed::closed,
    compare::{compare, step},
    pinned::pinned,
    script::{self, Command, Eval},
    source::Samples,
};

/// Distance of the three steps of a range query, of which the middle one is compared.
const STEP_MS: i64 = 60_000;

/// Numbers of evals by their result.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) evals: usize,
    pub(crate) equal: usize,
    pub(crate) by_design: usize,
    pub(crate) wrong: usize,
    /// Queries made.
    pub(crate) evaluations: usize,
}

impl Counts {
    /// A row of the table.
    pub(crate) fn row(&self, name: &str) -> String {
        let Self { evals, equal, by_design, wrong, .. } = self;
        format!("{name:<16} {evals:>6} {equal:>6} {by_design:>10} {wrong:>6}\n")
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.evals += other.evals;
        self.equal += other.equal;
        self.by_design += other.by_design;
        self.wrong += other.wrong;
        self.evaluations += other.evaluations;
    }
}

/// Runs a script; what is wrong is added to `wrong`.
pub(crate) async fn script(
    file: &str,
    text: &str,
    by_design: &mut ByDesign,
    wrong: &mut Vec<String>,
) -> Counts {
    let (mut samples, mut counts) = (Samples::default(), Counts::default());
    for command in script::parse(text) {
        match command {
            Command::Clear => samples.clear(),
            Command::Load(loaded) => {
                loaded.into_iter().for_each(|series| samples.add(series.labels, series.samples));
            }
            Command::Eval(eval) => {
                let place = format!("{file}:{}", eval.line);
                let listed = by_design.lists(&place, &eval.expression);
                counts.evals += 1;
                let result = self::eval(&eval, &mut samples, &mut counts.evaluations).await;
                let at = || {
                    format!(
                        "{place} {} at {} ms\n    {}",
                        by_design::hash(&eval.expression),
                        eval.time_ms,
                        eval.expression
                    )
                };
                match (result, listed) {
                    (Ok(()), false) => counts.equal += 1,
                    (Err(_), true) => counts.by_design += 1,
                    (Ok(()), true) => {
                        counts.wrong += 1;
                        wrong.push(format!("{}\n    is equal: remove it from by_design.txt", at()));
                    }
                    (Err(error), false) => {
                        counts.wrong += 1;
                        wrong.push(format!("{}\n    {error}", at()));
                    }
                }
            }
        }
    }
    counts
}

/// Evaluates in all ways, without and with merged series.
async fn eval(eval: &Eval, samples: &mut Samples, evaluations: &mut usize) -> Result<(), String> {
    for merge in [false, true] {
        samples.merge = merge;
        let merged = if merge { ", series merged by the source" } else { "" };
        let now = eval.time_ms;
        at(eval, samples, now, false).await.map_err(|error| format!("instant{merged}: {error}"))?;
        *evaluations += 1;
        if eval.fail {
            continue;
        }
        range(eval, samples, now, false).await.map_err(|error| format!("range{merged}: {error}"))?;
        let others = if now == 0 { vec![-1_000, 1_000] } else { vec![-10 * now, 0, now / 5, now, 10 * now] };
        for time in others {
            let wrong = |error| format!("pinned to {now} ms, at {time} ms{merged}: {error}");
            at(eval, samples, time, true).await.map_err(wrong)?;
            range(eval, samples, time, true).await.map_err(wrong)?;
            *evaluations += 2;
        }
        *evaluations += 1;
    }
    Ok(())
}

/// The plan; `None` if it was to be pinned and cannot be.
fn plan(eval: &Eval, grid: Grid, pin: bool) -> Result<Option<Plan>, String> {
    let expression = parse(&reading_times(&eval.expression)).map_err(|error| error.to_string())?;
    let plan = closed(Plan::new(&expression, grid).map_err(|error| error.to_string())?);
    Ok(if pin { pinned(plan, eval.time_ms) } else { Some(plan) })
}

async fn at(eval: &Eval, samples: &Samples, time_ms: i64, pin: bool) -> Result<(), String> {
    let plan = match plan(eval, Grid::instant(time_ms), pin) {
        Ok(Some(plan)) => plan,
        Ok(None) => return Ok(()),
        Err(_) if eval.fail => return Ok(()),
        Err(error) => return Err(error),
    };
    match evaluate(&plan, samples).await {
        Ok(_) if eval.fail => Err("it must fail".to_owned()),
        Ok(answer) => compare(eval, &step(&answer.value, 0)?, eval.ordered),
        Err(_) if eval.fail => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

async fn range(eval: &Eval, samples: &Samples, time_ms: i64, pin: bool) -> Result<(), String> {
    let grid = Grid { start_ms: time_ms - STEP_MS, step_ms: STEP_MS, count: 3 };
    let Some(plan) = plan(eval, grid, pin)? else { return Ok(()) };
    let answer = evaluate(&plan, samples).await.map_err(|error| error.to_string())?;
    // The order of series is undefined in a range.
    compare(eval, &step(&answer.value, 1)?, false)
}

/// `timestamp` of a selector is here the time of the reading, one millisecond before that of the sample: puts the
/// sample's in its place.
fn reading_times(expression: &str) -> String {
    const CALL: &str = "timestamp(";
    let Some(start) = expression.rfind(CALL) else { return expression.to_owned() };
    let mut depth = 0;
    let end = expression[start..].find(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ')' && depth == 0
    });
    let end = start + end.unwrap() + 1;
    format!("{}({} + 0.001){}", &expression[..start], &expression[start..end], &expression[end..])
}

#[test]
fn readings_times_become_those_of_samples() {
    assert_eq!(reading_times("timestamp(((m)))"), "(timestamp(((m))) + 0.001)");
    assert_eq!(
        reading_times("sum(timestamp(timestamp(m @ 1)))"),
        "sum(timestamp((timestamp(m @ 1) + 0.001)))"
    );
    assert_eq!(reading_times("m + 1"), "m + 1");
}
