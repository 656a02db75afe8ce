use std::io::Write as _;

use catchment_settings::{check_names, layered};
use clap::Args as _;

use super::*;

fn minimal() -> Options {
    Options {
        identity: Some("pki/aggregator/a".into()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        data: Some("data".into()),
        ..Options::default()
    }
}

#[test]
fn every_flag_has_a_variable_and_a_key() {
    let command = Options::augment_args(clap::Command::new("catchment-aggregator"));
    let keys = check_names(&command, "CATCHMENT_AGGREGATOR", &[]).unwrap();
    assert!(keys.len() >= 24, "{keys:?}");
    for key in keys {
        // A key that the file does not know would be refused as unknown; any other, for its type.
        let error = toml::from_str::<Options>(&format!("{key} = []")).unwrap_err().to_string();
        assert!(!error.contains("unknown field"), "{key}: {error}");
    }
}

#[test]
fn defaults_complete_the_required_settings() {
    let config = Config::try_from(minimal()).unwrap();
    assert_eq!(config.query, QueryLimits::default());
    assert_eq!(config.store, StoreConfig::default());
    assert_eq!(config.ingest_in_flight, 64);
    assert_eq!(config.clock_tolerance, Duration::from_secs(600));
    assert_eq!(config.stop_timeout, Duration::from_secs(10));
}

#[test]
fn flags_override_the_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"queries_max = 3\nstop_timeout = '2s'\nlisten = '127.0.0.1:7700'\n").unwrap();
    let given = Options { queries_max: Some(5), ..minimal() };
    let config = Config::try_from(layered(&given, Some(file.path())).unwrap()).unwrap();
    assert_eq!(config.query.queries_max, 5);
    assert_eq!(config.stop_timeout, Duration::from_secs(2));
    assert_eq!(config.listen.port(), 0);
}

#[test]
fn missing_and_out_of_range_settings_are_named() {
    type Spoil = fn(&mut Options);
    let cases: [(Spoil, &str); 29] = [
        (|o| o.identity = None, "identity is missing"),
        (|o| o.listen = None, "listen is missing"),
        (|o| o.data = None, "data is missing"),
        (|o| o.queries_max = Some(0), "queries_max is 0"),
        (|o| o.queries_per_operator_max = Some(2_000), "queries_per_operator_max is 2000"),
        (|o| o.queries_waiting_max = Some(0), "queries_waiting_max is 0"),
        (|o| o.query_threads = Some(257), "query_threads is 257"),
        (|o| o.query_memory = Some(ByteSize(5)), "query_memory is 5,"),
        (|o| o.query_read_timeout = Some(HumanDuration::secs(0)), "query_read_timeout is 0s"),
        (|o| o.ingest_in_flight = Some(5_000), "ingest_in_flight is 5000"),
        (|o| o.ingest_bytes_max = Some(ByteSize::mib(127)), "ingest_bytes_max is 127MiB"),
        (|o| o.ingest_bytes_per_gateway_max = Some(ByteSize::mib(31)), "from 32MiB"),
        (|o| o.epochs_per_gateway_max = Some(0), "epochs_per_gateway_max is 0"),
        (|o| o.query_points_max = Some(0), "query_points_max is 0"),
        (|o| o.watches_max = Some(0), "watches_max is 0"),
        (|o| o.watch_memory = Some(ByteSize(1 << 20)), "watch_memory is 1MiB"),
        (|o| o.clock_tolerance = Some(HumanDuration::secs(90_000)), "clock_tolerance is 1day 1h"),
        (|o| o.query_points_max = Some(u64::MAX), "query_points_max is 18446744073709551615"),
        (|o| o.series_per_site_max = Some(0), "series_per_site_max is 0"),
        (|o| o.stop_timeout = Some(HumanDuration::secs(0)), "stop_timeout is 0s"),
        (|o| o.handshake_timeout = Some(HumanDuration::secs(0)), "handshake_timeout is 0s"),
        (|o| o.keepalive = Some(HumanDuration::secs(0)), "keepalive is 0s"),
        (|o| o.query_timeout = Some(HumanDuration::secs(86_401)), "query_timeout is 1day 1s"),
        (|o| o.store_pack_every = Some(HumanDuration::secs(0)), "store_pack_every is 0s"),
        (|o| o.connections_per_peer_max = Some(0), "connections_per_peer_max is 0"),
        (|o| o.connection_age_max = Some(HumanDuration::secs(0)), "connection_age_max is 0s"),
        (|o| o.store_memory = Some(ByteSize(1)), "store_memory is 1,"),
        (|o| o.store_journal = Some(ByteSize::mib(2)), "store_journal is 2MiB"),
        (|o| o.store = Some("postgres://u:secret@db/x".into()), "exclude each other"),
    ];
    for (spoil, expected) in cases {
        let mut options = minimal();
        spoil(&mut options);
        let error = Config::try_from(options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_database_is_refused_without_printing_its_password() {
    let options = Options { data: None, store: Some("postgres://u:secret@db/x".into()), ..minimal() };
    let error = Config::try_from(options).unwrap_err().to_string();
    assert!(error.contains("not available in this version") && !error.contains("secret"), "{error}");
}

#[test]
fn what_is_accepted_can_be_opened() {
    let least = Options {
        store_journal: Some(ByteSize::mib(17)),
        store_memory: Some(ByteSize::mib(1)),
        store_live_memory: Some(ByteSize::mib(1)),
        store_cache: Some(ByteSize::mib(1)),
        store_series_max: Some(1),
        epochs_max: Some(1),
        ..minimal()
    };
    let most = Options {
        store_journal: Some(ByteSize(1 << 44)),
        store_memory: Some(ByteSize(1 << 44)),
        store_live_memory: Some(ByteSize(1 << 44)),
        store_cache: Some(ByteSize(1 << 44)),
        ..minimal()
    };
    for options in [least, most] {
        let data = tempfile::tempdir().unwrap();
        let config = Config::try_from(options).unwrap();
        assert!(config.store.flush_journal_bytes <= config.store.journal.bytes_max / 2);
        crate::store::EmbeddedStore::open(data.path(), config.store).unwrap();
    }
    for mib in [2, 16] {
        let options = Options { store_journal: Some(ByteSize::mib(mib)), ..minimal() };
        let error = Config::try_from(options).unwrap_err();
        assert_eq!(error.to_string(), format!("store_journal is {mib}MiB, it must be from 17MiB to 16TiB"));
    }
}
