//! `query` and `watch`: from flags to a question, and from its answer to text.

use std::io::{self, IsTerminal as _, Write as _};

use crate::{
    answer::Question,
    args::{QueryArgs, WatchArgs},
    ask::Asker,
    failure::Failure,
    print::print,
    render::{self, AnswerFormat},
    time::{Moment, Span, now_ms, whole_millis},
};

/// The question that the flags ask, if the present is `now_ms`.
///
/// # Errors
/// A range that ends before it begins.
pub fn question(args: &QueryArgs, now_ms: i64) -> Result<Question, Failure> {
    let span = match (args.last, args.from) {
        (Some(last), _) => Span::Last(last),
        (None, Some(from)) => Span::Between(from, args.to.unwrap_or(Moment::FromNow(0))),
        (None, None) => Span::DEFAULT,
    };
    let (from_ms, to_ms) = span.resolve(now_ms).map_err(Failure::usage)?;
    Ok(Question {
        selector: args.selector.clone(),
        from_ms,
        to_ms,
        step_ms: args.step.map(whole_millis),
        by: names(&args.by),
        aggregates: names(&args.agg),
    })
}

/// Names of a list without white space around them, and without empty ones.
fn names(list: &[String]) -> Vec<String> {
    list.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Asks once, and prints the answer.
///
/// # Errors
/// Wrong usage, or no answer.
pub async fn query(args: &QueryArgs) -> Result<(), Failure> {
    let question = question(args, now_ms())?;
    let mut asker = Asker::connect(&args.connection.aggregator, &args.connection.identity).await?;
    let answer = asker.aggregate(&question).await?;
    if args.format == AnswerFormat::Csv {
        // Not among the lines of the table.
        eprint!("{}", render::gaps_text(&answer));
    }
    print(&render::answer_text(&answer, &question.by, args.format))
}

/// Asks again and again until it is interrupted. On a terminal each answer takes the place of the one before.
///
/// # Errors
/// Wrong usage, or no answer.
pub async fn watch(args: &WatchArgs) -> Result<(), Failure> {
    let mut asker =
        Asker::connect(&args.query.connection.aggregator, &args.query.connection.identity).await?;
    let clear = if io::stdout().is_terminal() { "\u{1b}[H\u{1b}[2J" } else { "" };
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let question = question(&args.query, now_ms())?;
        tokio::select! {
            answer = asker.aggregate(&question) => {
                let text = render::answer_text(&answer?, &question.by, args.query.format);
                print(&format!("{clear}{text}"))?;
                io::stdout().flush().map_err(|error| Failure::failed(format!("standard output: {error}")))?;
            }
            _ = &mut interrupt => return Ok(()),
        }
        tokio::select! {
            () = tokio::time::sleep(args.every) => {}
            _ = &mut interrupt => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn asked(flags: &str) -> Result<Question, Failure> {
        let line = format!("catchment query x --aggregator https://c:1 --identity i {flags}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Query(args) => question(&args, 1_000_000),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_question() {
        let question = asked("--last 10s --step 1s --agg p99,count --by site,,device").unwrap();
        assert_eq!((question.from_ms, question.to_ms, question.step_ms), (990_000, 1_000_000, Some(1000)));
        assert_eq!(question.aggregates, ["p99", "count"]);
        assert_eq!(question.by, ["site", "device"]);
    }

    #[test]
    fn ranges_have_defaults() {
        let question = asked("").unwrap();
        assert_eq!((question.from_ms, question.to_ms, question.step_ms), (100_000, 1_000_000, None));
        let question = asked("--from now-10s").unwrap();
        assert_eq!((question.from_ms, question.to_ms), (990_000, 1_000_000));
        let question = asked("--from 5 --to 7").unwrap();
        assert_eq!((question.from_ms, question.to_ms), (5000, 7000));
        assert_eq!(asked("--from 7 --to 5").unwrap_err().exit_status(), 2);
    }
}
