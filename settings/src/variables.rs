//! Environment variables beside the command line: unknown names are refused, and a wrong value is blamed on its variable.
//!
//! A misspelt variable would pass without a word, and the server would run with a default. So every variable under
//! the program's prefix must be one of its own, and so must every name that is almost one of them. Variables of the other
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
    exit::{Usage, one_line},
    text::distance,
};

/// Names that differ in so many letters are taken for a misspelling, wherever the letters are.
const ALMOST: usize = 2;
/// A nearest name is suggested up to this distance.
const NEAR: usize = 5;
/// What names that may be a misspelling of ours begin with.
const FAMILY: &str = "CATCH";

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
        Usage::wrap(match variable {
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
        return Err(Usage::wrap(anyhow::anyhow!(line)));
    }
    let matches = match parsed {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            return Err(Usage::wrap(anyhow::anyhow!(explained(&error, &mut command, &arguments))));
        }
        Err(error) => error.exit(),
    };
    let sources = Sources::of(&command, &matches);
    let parsed = T::from_arg_matches(&matches).map_err(|error| {
        let error = error.format(&mut command);
        Usage::wrap(anyhow::anyhow!(usage_line(&error)))
    })?;
    Ok((parsed, sources))
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
    format!("{said}; --help tells more")
}

/// The variables of a command and its subcommands.
fn known(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(known)).collect()
}

/// What clap says of a value, said of the variable that it came from; `None`: it came from a flag.
fn blamed(error: &clap::Error, command: &Command, arguments: &[OsString]) -> Option<String> {
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
    let is_flag =
        |given: &OsString| given.to_str().is_some_and(|given| given.split('=').next() == Some(flag.as_str()));
    if arguments.iter().any(is_flag) {
        return None;
    }
    let why = match (std::error::Error::source(error), text(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(possible)) => format!("{possible} are possible"),
        (None, None) => "no such value is possible".to_owned(),
    };
    let value = if argument.is_hide_env_values_set() { "…" } else { value.as_str() };
    Some(format!("{variable} is {value:?}: {why}"))
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
        let name =
            name.into_string().ok().filter(|name| name.starts_with(FAMILY) && !known.contains(name))?;
        let (distance, nearest) = known.iter().map(|known| (distance(&name, known), known)).min()?;
        let rest = prefix.and_then(|prefix| name.strip_prefix(prefix));
        let foreign = rest.is_none_or(|rest| is_of_a_service(rest, &value));
        if foreign && distance > ALMOST {
            return None;
        }
        let advice = match distance <= NEAR {
            true => format!("did you mean {nearest}?"),
            false => "--help names all".to_owned(),
        };
        Some(format!("there is no variable {name}: {advice} Correct it, or remove it"))
    };
    variables.filter_map(ours).min()
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
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        /// A number
        #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_CONNECTIONS_MAX")]
        connections_max: Option<u32>,
        /// An address
        #[arg(long, env = "CATCHMENT_GATEWAY_LISTEN")]
        listen: Option<String>,
        /// A filter
        #[arg(long, env = "CATCHMENT_LOG")]
        log: Option<String>,
    }

    fn refused(prefix: Option<&str>, name: &str, value: &str) -> Option<String> {
        unknown(&known(&Options::command()), prefix, [(name.into(), value.into())].into_iter())
    }

    #[test]
    fn what_is_unknown_under_the_prefix_or_almost_known_is_refused_by_name() {
        let gateway = |name: &str| refused(Some("CATCHMENT_GATEWAY_"), name, "1");
        for known in ["CATCHMENT_GATEWAY_LISTEN", "CATCHMENT_LOG", "CATCHMENT_AGGREGATOR_LISTEN", "PATH"] {
            assert_eq!(gateway(known), None, "{known}");
        }
        // The tool's, and those of tests.
        for other in ["CATCHMENT_AGGREGATOR", "CATCHMENT_IDENTITY", "CATCHMENT_TEST_PATIENCE"] {
            assert_eq!(gateway(other), None, "{other}");
        }
        for (wrong, nearest) in [
            ("CATCHMENT_GATEWAY_LISTN", "did you mean CATCHMENT_GATEWAY_LISTEN?"),
            ("CATCHMENT_GATEWAY_CONNECTION_MAX", "did you mean CATCHMENT_GATEWAY_CONNECTIONS_MAX?"),
            ("CATCHMENT_GATWAY_LISTEN", "did you mean CATCHMENT_GATEWAY_LISTEN?"),
            ("CATCHMENT_LOGS", "did you mean CATCHMENT_LOG?"),
            ("CATCHMENT_GATEWAY_SOMETHING_ELSE", "--help"),
            ("CATCHMENT_GATEWAY_LISTEN_PORT", "did you mean CATCHMENT_GATEWAY_LISTEN?"),
        ] {
            let line = gateway(wrong).unwrap_or_else(|| panic!("{wrong} passes"));
            assert!(line.contains(wrong) && line.contains(nearest), "{line}");
        }
        assert!(refused(None, "CATCHMENT_LGO", "1").is_some());
        assert_eq!(refused(None, "CATCHMENT_GATEWAY_SOMETHING_ELSE", "1"), None);
    }

    #[test]
    fn variables_of_a_service_of_the_same_name_pass() {
        for (name, value) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "8443"),
            ("SERVICE_PORT_DEVICES", "8443"),
            ("PORT", "tcp://10.0.0.1:8443"),
            ("PORT_8443_TCP", "tcp://10.0.0.1:8443"),
            ("PORT_8443_TCP_ADDR", "10.0.0.1"),
            ("PORT_8443_TCP_PORT", "8443"),
            ("METRICS_SERVICE_HOST", "10.0.0.1"),
        ] {
            let name = format!("CATCHMENT_GATEWAY_{name}");
            assert_eq!(refused(Some("CATCHMENT_GATEWAY_"), &name, value), None, "{name}");
        }
    }

    #[test]
    fn a_wrong_value_is_blamed_on_the_flag_only_where_the_flag_was_given() {
        let arguments: Vec<OsString> = ["x", "--connections-max=much"].map(Into::into).into();
        let mut command = Options::command();
        let error = command.try_get_matches_from_mut(&arguments).unwrap_err();
        assert_eq!(blamed(&error, &command, &arguments), None);
        // As if the value had come from the variable.
        let line = blamed(&error, &command, &["x".into()]).unwrap();
        assert!(line.starts_with("CATCHMENT_GATEWAY_CONNECTIONS_MAX is \"much\": "), "{line}");
        let sources =
            Sources([("connections_max".to_owned(), "CATCHMENT_GATEWAY_CONNECTIONS_MAX".to_owned())].into());
        let error = sources.blame(Some("connections_max"), anyhow::anyhow!("0 is out of range"));
        assert_eq!(error.to_string(), "CATCHMENT_GATEWAY_CONNECTIONS_MAX: 0 is out of range");
        assert!(error.downcast_ref::<Usage>().is_some());
        assert_eq!(sources.blame(Some("listen"), anyhow::anyhow!("missing")).to_string(), "missing");
    }

    #[test]
    fn wrong_usage_is_one_line_that_says_what_is_missing() {
        for (arguments, expected) in [
            (
                &["x", "--lisen", "a"][..],
                "unexpected argument '--lisen' found; tip: a similar argument exists: '--listen'; --help tells more",
            ),
            (
                &["x", "--connections-max"],
                "a value is required for '--connections-max <N>' but none was supplied; --help tells more",
            ),
        ] {
            let error = Options::try_parse_from(arguments).unwrap_err();
            assert_eq!(usage_line(&error), expected);
        }
        #[derive(Debug, Parser)]
        struct Needs {
            /// Two that are needed
            #[arg(long)]
            _one: String,
            #[arg(long)]
            _two: String,
        }
        let line = usage_line(&Needs::try_parse_from(["x"]).unwrap_err());
        assert!(line.starts_with("the following required arguments were not provided: --"), "{line}");
        assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
    }

    #[test]
    fn a_message_that_begins_with_a_flag_names_the_variable_that_gave_the_value() {
        let sources = Sources([("log_format".to_owned(), "CATCHMENT_LOG_FORMAT".to_owned())].into());
        assert_eq!(sources.named("--log-format: no such form"), "CATCHMENT_LOG_FORMAT: no such form");
        assert_eq!(sources.named("--log-format-x: no such form"), "--log-format-x: no such form");
        assert_eq!(sources.named("--log: no filter"), "--log: no filter");
    }

    #[test]
    fn a_wrong_value_of_one_subcommand_is_told_whatever_others_there_are() {
        #[derive(Debug, Parser)]
        #[allow(dead_code)]
        enum Commands {
            /// Has an argument of its own
            First {
                /// Any
                #[arg(long, value_name = "ANY")]
                any: Option<String>,
            },
            /// Takes a number
            Second {
                /// The number
                #[arg(long)]
                number: Option<u32>,
            },
        }
        let arguments: Vec<OsString> = ["x", "second", "--number", "many"].map(Into::into).into();
        let mut command = Commands::command();
        let error = command.try_get_matches_from_mut(&arguments).unwrap_err();
        let line = explained(&error, &mut command, &arguments);
        assert!(line.contains("number") && line.ends_with("--help tells more"), "{line}");
    }

    #[test]
    fn variables_of_subcommands_are_known_as_sources() {
        let command =
            Command::new("x").subcommand(Command::new("ask").arg(Arg::new("path").long("path").env("PATH")));
        let matches = command.clone().get_matches_from(["x", "ask"]);
        assert_eq!(Sources::of(&command, &matches).named("--path: bad"), "PATH: bad");
        let matches = command.clone().get_matches_from(["x", "ask", "--path", "y"]);
        assert_eq!(Sources::of(&command, &matches).named("--path: bad"), "--path: bad");
    }
}
