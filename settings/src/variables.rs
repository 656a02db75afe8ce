//! Environment variables beside the command line: unknown names are refused, and a wrong value is blamed on its variable.
//!
//! A misspelt variable would pass without a word, and the server would run with a default. So every variable under
//! the program's prefix must be one of its own, and so must every name that is almost one of them, in capitals or not. Variables of the other
//! programs are left alone, because all may share one environment, and so are those that Kubernetes makes for a Service of
//! the program's name.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
};

use clap::{
    Arg, ArgMatches, Command, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use crate::{
    exit::{UsageError, one_line},
    text::distance,
};

/// Names that differ in so many letters are taken for a misspelling, wherever the letters are.
const ALMOST: usize = 2;
/// A nearest name is suggested up to this distance.
const NEAR: usize = 5;
/// What names that may be a misspelling of ours begin with.
const FAMILY: &str = "CATCH";
/// Variables of `catchment`, which may share an environment with servers.
const OF_OPERATORS: [&str; 2] = ["CATCHMENT_AGGREGATOR", "CATCHMENT_IDENTITY"];
/// What variables of all programs begin with.
const SHARED: &str = "CATCHMENT_";

/// Which settings came from variables, to blame them by that name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<String, String>);

impl Sources {
    fn of(command: &Command, matches: &ArgMatches) -> Self {
        let from_variable = |argument: &&Arg| {
            matches.value_source(argument.get_id().as_str()) == Some(ValueSource::EnvVariable)
        };
        let pairs = command.get_arguments().filter(from_variable).filter_map(|argument| {
            Some((argument.get_long()?.replace('-', "_"), argument.get_env()?.to_str()?.to_owned()))
        });
        let mut sources: BTreeMap<_, _> = pairs.collect();
        if let Some((name, inner)) = matches.subcommand()
            && let Some(command) = command.find_subcommand(name)
        {
            sources.extend(Self::of(command, inner).0);
        }
        Self(sources)
    }

    /// A message that begins with a flag, with the name of the variable in its place if the value came from there.
    pub fn named(&self, message: &str) -> String {
        let named = self.0.iter().find_map(|(key, variable)| {
            let rest = message.strip_prefix("--")?.strip_prefix(key.replace('_', "-").as_str())?;
            rest.starts_with([':', ' ']).then(|| format!("{variable}{rest}"))
        });
        named.unwrap_or_else(|| message.to_owned())
    }

    /// An error about the value of a key as wrong usage: under its variable's name, if the value came from there.
    pub fn blame(&self, key: Option<&str>, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let variable = key.and_then(|key| self.0.get(&key.replace('.', "_")));
        let error = error.into();
        UsageError::wrap(match variable {
            Some(variable) => anyhow::anyhow!("{variable}: {}", one_line(&error)),
            None => error,
        })
    }
}

/// Parses the command line and the variables. Help and version end the process, as clap does it.
///
/// `prefix` (`CATCHMENT_GATEWAY_`) is the program's own: under it, unknown variables are refused.
///
/// # Errors
/// An unknown variable, or flags or values that cannot be: wrong usage, in one line.
pub fn parse<T: Parser>(prefix: Option<&str>) -> anyhow::Result<(T, Sources)> {
    let (mut command, arguments) = (T::command(), env::args_os().collect::<Vec<_>>());
    let parsed = command.try_get_matches_from_mut(&arguments);
    // Help and version come whatever is set; what is missing may be so because its variable is misspelt.
    let asked = |error: &clap::Error| !error.use_stderr();
    if !parsed.as_ref().is_err_and(asked)
        && let Some(line) = unknown(&known(&command), prefix, env::vars_os())
    {
        return Err(UsageError::wrap(anyhow::anyhow!(line)));
    }
    let matches = match parsed {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            return Err(UsageError::wrap(anyhow::anyhow!(explained(&error, &mut command, &arguments))));
        }
        Err(error) => error.exit(),
    };
    let sources = Sources::of(&command, &matches);
    if let Some(line) =
        sources.0.values().find_map(|name| unusable(name, &env::var_os(name)?, prefix.is_some()))
    {
        return Err(UsageError::wrap(anyhow::anyhow!(line)));
    }
    let parsed = T::from_arg_matches(&matches).map_err(|error| {
        let error = error.format(&mut command);
        UsageError::wrap(anyhow::anyhow!(usage_line(&error)))
    })?;
    Ok((parsed, sources))
}

/// What is wrong with the value of a variable, whatever it is for: text and paths may be empty for clap. Settings of servers
/// (`is_setting`) are laid over a file, which is UTF-8.
fn unusable(name: &str, value: &OsStr, is_setting: bool) -> Option<String> {
    match value.to_str() {
        Some("") => Some(empty(name)),
        None if is_setting => Some(not_utf8(name)),
        _ => None,
    }
}

fn empty(name: &str) -> String {
    format!("{name} is empty: give it a value, or remove it")
}

fn not_utf8(name: &str) -> String {
    format!("{name} is not valid UTF-8")
}

/// A refusal of clap in one line, said of a variable where that is to blame.
fn explained(error: &clap::Error, command: &mut Command, arguments: &[OsString]) -> String {
    // Arguments of subcommands that were not reached cannot be shown before: the library would panic.
    command.build();
    blamed(error, command, arguments).unwrap_or_else(|| usage_line(error))
}

/// What clap says of wrong usage, in one line and without its drawing of the usage, which `--help` has.
fn usage_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; --help names all".to_owned();
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut said = String::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let join = match () {
            () if said.is_empty() => "",
            () if said.ends_with(':') => " ",
            () if line.starts_with("tip:") || line.starts_with('[') => "; ",
            () => ", ",
        };
        said.push_str(join);
        said.push_str(line.strip_prefix("error: ").unwrap_or(line));
    }
    format!("{}; --help tells more", in_words(said))
}

/// What the standard library says of a value that cannot be, as users of a program would have it.
fn in_words(mut said: String) -> String {
    for (from, to) in [
        ("invalid digit found in string", "a whole number is needed"),
        ("number too large to fit in target type", "the number is too large"),
        ("number too small to fit in target type", "the number is too small"),
        ("invalid float literal", "a number is needed"),
        ("invalid socket address syntax", "an address is needed, as 127.0.0.1:9000"),
        ("provided string was not `true` or `false`", "true or false is needed"),
    ] {
        said = said.replace(from, to);
    }
    said
}

/// The variables of a command and its subcommands.
fn known(command: &Command) -> Vec<String> {
    variables(command).into_iter().map(|(_, name)| name).collect()
}

/// The same, each after its flag.
fn variables(command: &Command) -> Vec<(String, String)> {
    let own = command.get_arguments().filter_map(|argument| {
        Some((argument.get_long()?.to_owned(), argument.get_env()?.to_str()?.to_owned()))
    });
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

/// What clap says of a value, said of the variable that it came from; `None`: it came from a flag.
fn blamed(error: &clap::Error, command: &Command, arguments: &[OsString]) -> Option<String> {
    let given = |flag: &str| {
        let is_flag =
            |given: &OsString| given.to_str().is_some_and(|given| given.split('=').next() == Some(flag));
        arguments.iter().any(is_flag)
    };
    if error.kind() == ErrorKind::InvalidUtf8 {
        // It does not say which.
        let name = variables(command).into_iter().find_map(|(flag, name)| {
            let broken = env::var_os(&name).is_some_and(|value| value.to_str().is_none());
            (broken && !given(&format!("--{flag}"))).then_some(name)
        })?;
        return Some(not_utf8(&name));
    }
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(list)) => Some(list.join(", ")),
        _ => None,
    };
    let (named, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let argument = find(command, &named)?;
    let (flag, variable) = (format!("--{}", argument.get_long()?), argument.get_env()?.to_str()?);
    if given(&flag) {
        return None;
    }
    if value.is_empty() {
        return Some(empty(variable));
    }
    let why = match (std::error::Error::source(error), text(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(possible)) => format!("{possible} are possible"),
        (None, None) => "no such value is possible".to_owned(),
    };
    let value = if argument.is_hide_env_values_set() { "…" } else { value.as_str() };
    Some(format!("{variable} is {value:?}: {}", in_words(why)))
}

/// The argument that clap shows so, of a command or its subcommands.
fn find<'a>(command: &'a Command, shown: &str) -> Option<&'a Arg> {
    let own = command.get_arguments().find(|argument| argument.to_string() == shown);
    own.or_else(|| command.get_subcommands().find_map(|inner| find(inner, shown)))
}

/// The first variable, by name, that is not known although it looks like one of the program's.
fn unknown(
    known: &[String],
    prefix: Option<&str>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Option<String> {
    let ours = |(name, value): (OsString, OsString)| {
        // What is no UTF-8 is shown with replacements, and never a name of ours.
        let name = name.to_string_lossy().into_owned();
        let upper = name.to_ascii_uppercase();
        if known.contains(&name) || !upper.starts_with(FAMILY) {
            return None;
        }
        let (mut distance, mut nearest) = known.iter().map(|known| (distance(&upper, known), known)).min()?;
        let rest = prefix.and_then(|prefix| name.strip_prefix(prefix));
        let bare = name.strip_prefix(SHARED).filter(|_| !OF_OPERATORS.contains(&&*name));
        let full = bare.and_then(|bare| Some(format!("{}{bare}", prefix?)));
        if let Some(known) = known.iter().find(|known| Some(*known) == full.as_ref()) {
            // One of the program's own without its name.
            return Some(misspelt(&name, known));
        }
        let foreign = rest.is_none_or(|rest| is_of_a_service(rest, &value));
        if foreign && distance > ALMOST {
            return None;
        }
        // One that all programs have has no prefix of one.
        let shared = rest.map(|rest| format!("{SHARED}{rest}"));
        if let Some(known) = known.iter().find(|known| Some(*known) == shared.as_ref()) {
            (distance, nearest) = (0, known);
        }
        // Of a short name, what differs in half of its letters is another one.
        let is_near = distance <= NEAR && rest.is_none_or(|rest| 2 * distance <= rest.len());
        Some(match is_near {
            true => misspelt(&name, nearest),
            false => format!("there is no variable {name}; --help names all: correct it, or remove it"),
        })
    };
    variables.filter_map(ours).min()
}

fn misspelt(name: &str, nearest: &str) -> String {
    format!("there is no variable {name}: did you mean {nearest}? Correct it, or remove it")
}

/// Whether a variable is one of those that Kubernetes, or links of Docker, make for a service of this name.
fn is_of_a_service(rest: &str, value: &OsStr) -> bool {
    let words: Vec<&str> = rest.split('_').collect();
    let protocol = |word: &str| ["TCP", "UDP", "SCTP"].contains(&word);
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    match words.as_slice() {
        [.., "SERVICE", "HOST" | "PORT"] => true,
        [.., "PORT", port, kind] | [.., "PORT", port, kind, "PROTO" | "PORT" | "ADDR"]
            if number(port) && protocol(kind) =>
        {
            true
        }
        [.., "PORT"] => value.to_str().is_some_and(|value| value.contains("://")),
        words => words.windows(2).any(|pair| pair == ["SERVICE", "PORT"]),
    }
}

#[cfg(test)]
mod tests;
