//! Refused variables, and the texts of the refusals.

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
fn unknown_and_misspelt_variables_are_refused_by_name() {
    let gateway = |name: &str| refused(Some("CATCHMENT_GATEWAY_"), name, "1");
    for known in ["CATCHMENT_GATEWAY_LISTEN", "CATCHMENT_LOG", "CATCHMENT_AGGREGATOR_LISTEN", "PATH"] {
        assert_eq!(gateway(known), None, "{known}");
    }
    // Variables of the tool and of tests.
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
        ("CATCHMENT_GATEWAY_LOG", "did you mean CATCHMENT_LOG?"),
        ("catchment_gateway_listen", "did you mean CATCHMENT_GATEWAY_LISTEN?"),
        ("Catchment_Gateway_Listn", "did you mean CATCHMENT_GATEWAY_LISTEN?"),
        ("catchment_log", "did you mean CATCHMENT_LOG?"),
        ("CATCHMENT_LISTEN", "did you mean CATCHMENT_GATEWAY_LISTEN?"),
        ("CATCHMENT_GATEWAY_JSON", "--help"),
    ] {
        let line = gateway(wrong).unwrap_or_else(|| panic!("{wrong} passes"));
        assert!(line.contains(wrong) && line.contains(nearest), "{line}");
    }
    let line = gateway("CATCHMENT_GATEWAY_SOMETHING_ELSE").unwrap();
    assert!(line.ends_with(": correct or remove it; --help lists all"), "{line}");
    assert_eq!(gateway("catchment_gateway_something_else"), None, "it may belong to another program");
    assert!(refused(None, "CATCHMENT_LGO", "1").is_some());
    assert_eq!(refused(None, "CATCHMENT_GATEWAY_SOMETHING_ELSE", "1"), None);
}

#[test]
fn invalid_values_are_reported_in_words_for_users() {
    let mut command = Options::command();
    for (value, why) in [("much", "expected a whole number"), ("5000000000", "not in 0..=4294967295")] {
        let arguments: Vec<OsString> =
            ["x".into(), format!("--connections-max={value}")].map(OsString::from).into();
        let error = command.try_get_matches_from_mut(&arguments).unwrap_err();
        let line = explained(&error, &mut command, &arguments);
        assert!(line.contains(why) && !line.contains("in string"), "{line}");
    }
    assert_eq!(in_words("invalid socket address syntax".into()), "expected an address like 127.0.0.1:9000");
}

#[test]
fn variables_of_a_service_with_the_same_name_pass() {
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
fn a_wrong_value_is_attributed_to_the_flag_only_if_the_flag_was_given() {
    let arguments: Vec<OsString> = ["x", "--connections-max=much"].map(Into::into).into();
    let mut command = Options::command();
    let error = command.try_get_matches_from_mut(&arguments).unwrap_err();
    assert_eq!(blamed(&error, &command, &arguments), None);
    // As if the value had come from the variable.
    let line = blamed(&error, &command, &["x".into()]).unwrap();
    assert!(line.starts_with("CATCHMENT_GATEWAY_CONNECTIONS_MAX is \"much\": "), "{line}");
    let arguments: Vec<OsString> = ["x", "--connections-max="].map(Into::into).into();
    let error = command.try_get_matches_from_mut(&arguments).unwrap_err();
    let line = blamed(&error, &command, &["x".into()]).unwrap();
    assert_eq!(line, "CATCHMENT_GATEWAY_CONNECTIONS_MAX is empty: give it a value, or remove it");
    let sources =
        Sources([("connections_max".to_owned(), "CATCHMENT_GATEWAY_CONNECTIONS_MAX".to_owned())].into());
    let error = sources.blame(Some("connections_max"), anyhow::anyhow!("0 is out of range"));
    assert_eq!(error.to_string(), "CATCHMENT_GATEWAY_CONNECTIONS_MAX: 0 is out of range");
    assert!(error.downcast_ref::<UsageError>().is_some());
    assert_eq!(sources.blame(Some("listen"), anyhow::anyhow!("missing")).to_string(), "missing");
}

#[test]
fn wrong_usage_is_one_line_that_says_what_is_missing() {
    for (arguments, expected) in [
        (
            &["x", "--lisen", "a"][..],
            "unexpected argument '--lisen' found; tip: a similar argument exists: '--listen'; see --help",
        ),
        (
            &["x", "--connections-max"],
            "a value is required for '--connections-max <N>' but none was supplied; see --help",
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
fn negative_values_go_after_the_equals_sign_of_their_flag() {
    #[derive(Debug, Parser)]
    struct Query {
        _selector: String,
        #[arg(long, allow_hyphen_values = true)]
        _from: Option<i64>,
        #[arg(long)]
        _last: Option<u64>,
    }
    for wrong in
        [&["x", "s", "--from", "--", "-1000000"][..], &["x", "s", "--last", "-15"], &["x", "s", "-1"]]
    {
        let line = usage_line(&Query::try_parse_from(wrong).unwrap_err());
        assert!(line.contains("--flag=-5") && !line.contains("use '-- "), "{wrong:?}: {line}");
    }
    for right in [&["x", "s", "--from=-1000000"][..], &["x", "s", "--from", "-1000000"]] {
        assert_eq!(Query::try_parse_from(right).unwrap()._from, Some(-1_000_000));
    }
    let line = usage_line(&Query::try_parse_from(["x", "s", "--form", "1"]).unwrap_err());
    assert!(!line.contains("--flag"), "{line}");
}

#[test]
fn a_message_about_a_flag_names_the_variable_that_gave_the_value() {
    let sources = Sources([("log_format".to_owned(), "CATCHMENT_LOG_FORMAT".to_owned())].into());
    assert_eq!(sources.named("--log-format: no such form"), "CATCHMENT_LOG_FORMAT: no such form");
    assert_eq!(sources.named("--log-format-x: no such form"), "--log-format-x: no such form");
    assert_eq!(sources.named("--log: no filter"), "--log: no filter");
}

#[test]
fn a_wrong_value_of_one_subcommand_is_reported_despite_other_subcommands() {
    #[derive(Debug, Parser)]
    #[allow(dead_code)]
    enum Commands {
        /// Has its own argument
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
    assert!(line.contains("number") && line.ends_with("see --help"), "{line}");
}

#[test]
fn variables_of_subcommands_are_sources_too() {
    let command =
        Command::new("x").subcommand(Command::new("ask").arg(Arg::new("path").long("path").env("PATH")));
    let matches = command.clone().get_matches_from(["x", "ask"]);
    assert_eq!(Sources::of(&command, &matches).named("--path: bad"), "PATH: bad");
    let matches = command.clone().get_matches_from(["x", "ask", "--path", "y"]);
    assert_eq!(Sources::of(&command, &matches).named("--path: bad"), "--path: bad");
}

#[test]
fn variables_that_are_empty_or_not_utf8_are_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let broken = OsStr::from_bytes(b"a\xff");
    assert_eq!(unusable("X", OsStr::new(""), false).unwrap(), "X is empty: give it a value, or remove it");
    assert_eq!(unusable("X", broken, true).unwrap(), "X is not valid UTF-8");
    assert_eq!(unusable("X", broken, false), None, "a path of the tool");
    assert_eq!(unusable("X", OsStr::new("a"), true), None);
}
