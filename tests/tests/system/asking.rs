//! `catchment query` as people run it: calendar steps in time zones, several selectors, orders, filled points,
//! arithmetic.

use std::process::Output;

use catchment_certs::Role;
use catchment_partial::{Partial, Timestamp};
use catchment_tests::{delivery::Delivery, process::run, query, world::World};

/// 2026-03-28T23:00:00Z, when the 29th of March began in Berlin: a day of 23 hours.
const MIDNIGHT: i64 = 1_774_738_800_000;
const HOUR: i64 = 3_600_000;

/// Readings of three devices: hours after midnight in Berlin, and how many readings in that second.
const READINGS: [(&str, i64, u64); 8] = [
    ("a", -1, 1),
    ("a", 0, 2),
    ("b", 22, 4),
    ("b", 23, 8),
    ("c", 46, 16),
    ("c", 47, 32),
    ("b", 72, 64),
    ("a", 24 * 4, 128),
];

async fn delivered(world: &World) {
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let channel = query::channel(world.aggregator.addr(), &identity);
    let mut delivery = Delivery::start(channel, 9, MIDNIGHT).await;
    for (device, hour, count) in READINGS {
        let time_ms = MIDNIGHT + hour * HOUR;
        for metric in ["energy", "power"] {
            let mut partial = Partial::empty();
            for number in 0..count {
                partial.push(Timestamp::from_millis(time_ms).unwrap(), number as f64);
            }
            delivery.deliver_partial(device, metric, time_ms, &partial, MIDNIGHT).await;
        }
    }
}

struct Asking {
    url: String,
    identity: String,
}

impl Asking {
    async fn run(&self, arguments: &str) -> Output {
        let connection = ["--aggregator", &self.url, "--identity", &self.identity];
        let arguments = std::iter::once("query").chain(arguments.split_whitespace()).chain(connection);
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        let run = move || run("catchment", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// The lines that a query prints.
    async fn lines(&self, arguments: &str) -> Vec<String> {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// The message of a query that is refused.
    async fn refused(&self, arguments: &str) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test]
async fn days_weeks_and_months_of_a_zone() {
    let world = World::builder().start().await;
    delivered(&world).await;
    let url = format!("https://{}", world.aggregator.addr());
    let asking = Asking { url, identity: world.pki.operator().to_str().unwrap().to_owned() };
    let range = "energy --from 2026-03-28 --to 2026-05-01 --tz Europe/Berlin --agg count --format csv";

    let days = asking.lines(&format!("{range} --step 1d")).await;
    assert_eq!(
        days,
        [
            "t,count",
            "2026-03-27T23:00:00Z,1",
            "2026-03-28T23:00:00Z,6",
            "2026-03-29T22:00:00Z,24",
            "2026-03-30T22:00:00Z,32",
            "2026-03-31T22:00:00Z,64",
            "2026-04-01T22:00:00Z,128",
        ]
    );
    assert_eq!(asking.lines(&format!("{range} --step 1d --from-windows")).await, days);
    let weeks = asking.lines(&format!("{range} --step 1w")).await;
    assert_eq!(weeks[1..], ["2026-03-22T23:00:00Z,7", "2026-03-29T22:00:00Z,248"]);
    let months = asking.lines(&format!("{range} --step 1mo")).await;
    assert_eq!(months[1..], ["2026-02-28T23:00:00Z,63", "2026-03-31T22:00:00Z,192"]);
    let utc =
        asking.lines("energy --from 2026-03-28 --to 2026-03-31 --step 1d --agg count --format csv").await;
    assert_eq!(utc[1..], ["2026-03-28T00:00:00Z,3", "2026-03-29T00:00:00Z,12", "2026-03-30T00:00:00Z,48"]);
    assert_eq!(
        utc,
        asking.lines("energy --from 2026-03-28 --to 2026-03-31 --step 24h --agg count --format csv").await
    );
    let filled = asking
        .lines("energy --from 2026-04-01 --to 2026-04-04 --step 1d --agg count,max --fill zero --format csv")
        .await;
    let expected = ["2026-04-01T00:00:00Z,128,127", "2026-04-02T00:00:00Z,0,0", "2026-04-03T00:00:00Z,0,0"];
    assert_eq!(filled[1..], expected);
}

#[tokio::test]
async fn orders_selectors_and_what_is_refused() {
    let world = World::builder().start().await;
    delivered(&world).await;
    let url = format!("https://{}", world.aggregator.addr());
    let asking = Asking { url, identity: world.pki.operator().to_str().unwrap().to_owned() };
    let range = "--from 2026-03-28 --to 2026-05-01 --format csv";

    let top = asking.lines(&format!("energy {range} --by device --agg count,sum/count --top 2")).await;
    let mean = |counts: &[u64]| {
        let (sum, count) = counts.iter().fold((0, 0), |(sum, all), n| (sum + n * (n - 1) / 2, all + n));
        sum as f64 / count as f64
    };
    assert_eq!(top[0], "device,t,count,sum/count");
    let rows: Vec<Vec<&str>> = top[1..].iter().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.iter().map(|row| (row[0], row[2])).collect::<Vec<_>>(), [("a", "131"), ("b", "76")]);
    assert_eq!(rows[0][3].parse::<f64>().unwrap(), mean(&[1, 2, 128]));
    let least = asking
        .lines(&format!("energy {range} --without gateway,site,__name__ --agg max --order count --ascending"))
        .await;
    assert_eq!(least[1..].iter().map(|line| &line[..1]).collect::<Vec<_>>(), ["c", "b", "a"]);

    let both = asking
        .lines("energy power{device=\"a\"} --from 2026-03-28 --to 2026-05-01 --agg count --format json")
        .await;
    let both: serde_json::Value = serde_json::from_str(&both[0]).unwrap();
    let series = both["series"].as_array().unwrap();
    let shown: Vec<_> = series.iter().map(|of| (&of["selector"], &of["points"][0]["count"])).collect();
    assert_eq!(shown, [(&"energy".into(), &255.into()), (&"power{device=\"a\"}".into(), &131.into())]);

    for (arguments, part) in [
        ("energy --step 1M", "1mo"),
        ("energy --step 1d --tz Europe/Berln", "did you mean Europe/Berlin?"),
        ("energy --agg sum/histogram(1)", "one number"),
        ("energy --top 3 --order last_state", "no single number"),
        ("energy --last 200y --step 1d", "36600 calendar steps"),
    ] {
        let message = asking.refused(arguments).await;
        assert!(message.contains(part), "{arguments}: {message}");
    }
}
