//! Environment variables: refuses unknown names, and reports a wrong value under the name of its variable.
//!
//! A misspelt variable would otherwise be ignored silently, and the server would run with a default. So every variable
//! with the program's prefix must be a known one, and names that nearly match a known one are refused too, in upper or
//! lower case. Variables of the other programs are ignored, because all may share one environment, and so are those
//! that Kubernetes sets for a Service with the program's name.

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

/// Names up to this distance from a known one count as misspellings.
const ALMOST: usize = 2;
/// The nearest name is suggested up to this distance.
const NEAR: usize = 5;
/// Prefix of names that may be misspellings of ours.
const FAMILY: &str = "CATCH";
/// Variables of `catchment`, which may share an environment with servers.
const OF_OPERATORS: [&str; 2] = ["CATCHMENT_AGGREGATOR", "CATCHMENT_IDENTITY"];
/// Common prefix of the variables of all programs.
const SHARED: &str = "CATCHMENT_";

/// The settings that came from variables, to name these in errors.
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

    /// A message that begins with a flag; if the value came from a variable, with its name in place of the flag.
    pub fn named(&self, message: &str) -> String {
        let named = self.0.iter().find_map(|(key, variable)| {
            let rest = message.strip_prefix("--")?.strip_prefix(key.replace('_', "-").as_str())?;
            rest.starts_with([':', ' ']).then(|| format!("{variable}{rest}"))
        });
        named.unwrap_or_else(|| message.to_owned())
    }

    /// Wraps an error about the value of a key as a usage error, prefixed with its variable if the value came from one.
    pub fn blame(&self, key: Option<&str>, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let variable = key.and_then(|key| self.0.get(&key.replace('.', "_")));
        let error = error.into();
        UsageError::wrap(match variable {
            Some(variable) => anyhow::anyhow!("{variable}: {}", one_line(&error)),
            None => error,
        })
    }
}

/// Parses the command line and the variables. `--help` and `--version` end the process, as usual with clap.
///
/// `prefix` is the program's own prefix (`CATCHMENT_GATEWAY_`): unknown variables with it are refused.
///
/// # Errors
/// An unknown variable, or invalid flags or values: a usage error in one line.
pub fn parse<T: Parser>(prefix: Option<&str>) -> anyhow::Result<(T, Sources)> {
    let (mut command, arguments) = (T::command(), env::args_os().collect::<Vec<_>>());
    let parsed = command.try_get_matches_from_mut(&arguments);
    // Help and version work whatever is set. A missing argument is reported after unknown variables, because its
    // variable may be misspelt.
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

/// Describes a variable's value that is invalid for any setting: clap accepts empty texts and paths. Settings of
/// servers (`is_setting`) are merged with a file and must be UTF-8 like it.
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

/// A clap error in one line, attributed to a variable if the value came from one.
fn explained(error: &clap::Error, command: &mut Command, arguments: &[OsString]) -> String {
    // Without this, formatting arguments of subcommands that were not reached would panic in the library.
    command.build();
    blamed(error, command, arguments).unwrap_or_else(|| usage_line(error))
}

/// Clap's message about wrong usage, in one line and without the usage summary, which `--help` shows.
fn usage_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; --help lists them".to_owned();
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
        match is_about_a_negative_value(line) {
            true => said.push_str(NEGATIVE_VALUE),
            false => said.push_str(line.strip_prefix("error: ").unwrap_or(line)),
        }
    }
    if matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value == "--") {
        said.push_str("; ");
        said.push_str(NEGATIVE_VALUE);
    }
    format!("{}; see --help", in_words(said))
}

const NEGATIVE_VALUE: &str =
    "tip: a value that begins with `-` follows its flag after `=`, as in --flag=-5, not after `--`";

/// Whether clap advises to put a number behind `--`, where no flag takes it.
fn is_about_a_negative_value(line: &str) -> bool {
    let value = line.strip_prefix("tip: to pass '-").filter(|_| line.contains("as a value, use '-- "));
    value.is_some_and(|value| value.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// Replaces the standard library's messages about invalid values with messages for users.
fn in_words(mut said: String) -> String {
    for (from, to) in [
        ("invalid digit found in string", "expected a whole number"),
        ("number too large to fit in target type", "the number is too large"),
        ("number too small to fit in target type", "the number is too small"),
        ("invalid float literal", "expected a number"),
        ("invalid socket address syntax", "expected an address like 127.0.0.1:9000"),
        ("provided string was not `true` or `false`", "expected true or false"),
    ] {
        said = said.replace(from, to);
    }
    said
}

/// The variables of a command and its subcommands.
fn known(command: &Command) -> Vec<String> {
    variables(command).into_iter().map(|(_, name)| name).collect()
}

/// The variables of a command and its subcommands, each after its flag.
fn variables(command: &Command) -> Vec<(String, String)> {
    let own = command.get_arguments().filter_map(|argument| {
        Some((argument.get_long()?.to_owned(), argument.get_env()?.to_str()?.to_owned()))
    });
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

/// Clap's message about a value, attributed to the variable that it came from; `None` if it came from a flag.
fn blamed(error: &clap::Error, command: &Command, arguments: &[OsString]) -> Option<String> {
    let given = |flag: &str| {
        let is_flag =
            |given: &OsString| given.to_str().is_some_and(|given| given.split('=').next() == Some(flag));
        arguments.iter().any(is_flag)
    };
    if error.kind() == ErrorKind::InvalidUtf8 {
        // The error does not say which variable.
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
        (None, Some(possible)) => format!("use one of {possible}"),
        (None, None) => "the value is invalid".to_owned(),
    };
    let value = if argument.is_hide_env_values_set() { "…" } else { value.as_str() };
    Some(format!("{variable} is {value:?}: {}", in_words(why)))
}

/// The argument of a command or its subcommands that clap displays as `shown`.
fn find<'a>(command: &'a Command, shown: &str) -> Option<&'a Arg> {
    let own = command.get_arguments().find(|argument| argument.to_string() == shown);
    own.or_else(|| command.get_subcommands().find_map(|inner| find(inner, shown)))
}

/// Reports the first variable, by name, that is unknown but looks like one of the program's.
fn unknown(
    known: &[String],
    prefix: Option<&str>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Option<String> {
    let ours = |(name, value): (OsString, OsString)| {
        // A name that is not UTF-8 gets replacement characters and never equals one of ours.
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
            // One of the program's own variables without the program's name.
            return Some(misspelt(&name, known));
        }
        let foreign = rest.is_none_or(|rest| is_of_a_service(rest, &value));
        if foreign && distance > ALMOST {
            return None;
        }
        // A variable shared by all programs, with one program's prefix added.
        let shared = rest.map(|rest| format!("{SHARED}{rest}"));
        if let Some(known) = known.iter().find(|known| Some(*known) == shared.as_ref()) {
            (distance, nearest) = (0, known);
        }
        // A short name that differs in half of its letters is a different name.
        let is_near = distance <= NEAR && rest.is_none_or(|rest| 2 * distance <= rest.len());
        Some(match is_near {
            true => misspelt(&name, nearest),
            false => format!("unknown variable {name}: correct or remove it; --help lists all"),
        })
    };
    variables.filter_map(ours).min()
}

fn misspelt(name: &str, nearest: &str) -> String {
    format!("unknown variable {name}: did you mean {nearest}? Correct or remove it")
}

/// Whether a variable is one that Kubernetes, or Docker links, set for a service with this name.
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
