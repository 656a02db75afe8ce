//! The same question about the same range, with ten and more times the stored windows around it.

use anyhow::{Context as _, ensure};

use super::{
    question::Question,
    stored::{Stored, operator},
};
use crate::{
    benchmarks::Bench,
    load::operator::Answer,
    report::{Better, Growth, Report},
};

/// Answers of which the quickest counts.
const TIMES: usize = 15;

/// Questions about the range of the first folder, which the others also hold. The answers must be equal.
pub(super) fn run(
    bench: &Bench,
    all: &[Stored],
    questions: &[Question],
    report: &mut Report,
) -> anyhow::Result<()> {
    let range = &all.first().context("a folder")?.history;
    let hours = (range.end_ms() - range.first_ms()) as f64 / 3.6e6;
    let mut answers: Vec<Vec<Answer>> = Vec::new();
    for stored in all {
        let server = stored.settled(bench)?;
        let operator = operator(bench, &server)?;
        let times = bench.sized(TIMES, 1);
        let ask = |question: &Question| operator.quickest(&question.request(range), times);
        answers.push(questions.iter().map(ask).collect::<anyhow::Result<_>>()?);
    }
    for (place, question) in questions.iter().enumerate() {
        let of_question: Vec<Answer> = answers.iter().filter_map(|all| all.get(place)).copied().collect();
        let what = format!("{}, by stored windows", question.what(&format!("{hours:.1} hours")));
        let same = |pair: &[Answer]| matches!(pair, [a, b] if a.is_equal(b));
        ensure!(of_question.windows(2).all(same), "{what}: the answers differ: {of_question:?}");
        report.growth.push(Growth {
            what,
            unit: "ms",
            better: Better::Lower,
            sizes: sizes(all),
            values: of_question.iter().map(|answer| answer.seconds * 1e3).collect(),
        });
    }
    Ok(())
}

/// Windows stored in each folder.
pub(super) fn sizes(all: &[Stored]) -> Vec<usize> {
    all.iter().filter_map(|stored| usize::try_from(stored.history.stored()).ok()).collect()
}
