//! The dashboard's page in headless Chromium: every view at two widths, dark and light, by keyboard, live, and with a cut
//! aggregator.

use catchment_tests::{
    browser::Browser, connection::Protocol, device::Sample, eventually::wait_limit, now_ms, process::Process,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::dashboard::{link, started};

/// A browser at a dashboard, at one width.
struct Visitor<'a> {
    browser: Browser,
    dashboard: &'a Process,
    wide: u32,
    dark: bool,
}

impl Visitor<'_> {
    fn url(&self, fragment: &str) -> String {
        format!("http://{}/#{fragment}", self.dashboard.addr)
    }

    /// Does a step; nothing is missing, harmed, reported, asked for elsewhere, wider than the window or against axe-core's
    /// rules.
    fn step(&mut self, mut step: Value) -> Value {
        step["width"] = self.wide.into();
        step["dark"] = self.dark.into();
        step["axe"] = true.into();
        step["wait"] = wait_limit().as_secs().into();
        let result = block_in_place(|| self.browser.step(&step));
        for what in ["missing", "errors", "violations"] {
            assert_eq!(result[what], json!([]), "{what} at {} px: {step}: {result}", self.wide);
        }
        let html = result["html"].as_str().unwrap();
        assert!(!html.contains("<img") && !html.contains("<title>harmed"), "{html}");
        let wide = result["wide"].as_u64().unwrap();
        assert!(wide <= u64::from(self.wide), "{step} needs {wide} px of {}", self.wide);
        let own = format!("http://{}/", self.dashboard.addr);
        let requests = result["requests"].as_array().unwrap().iter().filter_map(Value::as_str);
        let elsewhere: Vec<&str> = requests.filter(|url| !url.starts_with(&own)).collect();
        assert!(elsewhere.is_empty(), "{step}: {elsewhere:?}");
        result
    }

    fn go(&mut self, fragment: &str, words: &[&str]) {
        let url = self.url(fragment);
        self.step(json!({"url": url, "words": words}));
    }

    fn press(&mut self, keys: &[&str], words: &[&str]) {
        self.step(json!({"keys": keys, "words": words}));
    }
}

const STILL: &str = "explore?selector=temperature&by=room&from=now-10m&live=0";

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_shown_in_a_browser_and_a_hostile_label_is_text() {
    let Some(browser) = block_in_place(Browser::start) else { return };
    let (_world, dashboard) = started().await;
    let mut visitor = Visitor { browser, dashboard: &dashboard, wide: 0, dark: false };
    visitor.wide = 1440;
    visitor.step(json!({"url": link(&dashboard), "words": ["gateways", "silent for 5 min", "Sites"]}));
    for (wide, dark) in [(360, false), (1440, true), (360, true), (1440, false)] {
        (visitor.wide, visitor.dark) = (wide, dark);
        visitor.go("fleet", &["gateways", "silent for 5 min", "Sites"]);
        visitor.press(&["g", "g"], &["Complete until", "berlin", "1–1 of 1"]);
        visitor.press(&["g", "d"], &["press-17", "1–1 of 1"]);
        visitor.press(&["/", "z", "z"], &["No device is found."]);
        visitor.go("explore", &["Write a selector"]);
        visitor.go("explore?selector=temprature", &["did you mean temperature?"]);
        let drawn = ["· UTC", "band s0", "room=&lt;img src=x", "Last values", "· Catchment</title>"];
        visitor.go(STILL, &drawn);
        visitor.press(&["?"], &["aria-labelledby=\"help-title\" open"]);
        visitor.press(&["Escape"], &["data-state=\"paused\""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_reaches_everything() {
    let Some(browser) = block_in_place(Browser::start) else { return };
    let (_world, dashboard) = started().await;
    let mut visitor = Visitor { browser, dashboard: &dashboard, wide: 1440, dark: false };
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    visitor.go(STILL, &["Last values"]);
    let tabs = visitor.step(json!({"tabs": 21, "reduced": true}));
    let focused: Vec<&str> = tabs["focused"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let header = ["skip", "Fleet", "Gateways", "Devices", "Explore", "help-button"];
    let form = ["selector", "agg", "by", "from", "to", "step", "zone", "Show"];
    assert!(focused.starts_with(&[&header[..], &form].concat()), "{focused:?}");
    let after =
        ["Save as CSV", "Show states", "Chart of 1 series.", "Values at the crosshair", "Values as a table"];
    for name in after {
        assert!(focused.iter().any(|one| one.starts_with(name)), "{name}: {focused:?}");
    }
    visitor.step(json!({"focus": ".chart", "keys": ["ArrowLeft"], "words": ["<p>At ", "class=\"chosen\""]}));
    // Read out: the time, the series and its values.
    visitor.step(json!({"keys": ["Home"], "words": ["role=\"status\">20", "mean 20"]}));
    visitor.step(json!({"focus": "summary", "keys": ["Enter"], "words": ["1–60 of 60"]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_chart_is_pushed_what_comes_and_continues_after_a_cut() {
    let Some(browser) = block_in_place(Browser::start) else { return };
    let (mut world, dashboard) = started().await;
    let mut device = world.device(0, "press-18", Protocol::Json);
    let mut visitor = Visitor { browser, dashboard: &dashboard, wide: 1440, dark: false };
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    visitor.go("explore?selector=temperature&by=device&agg=max", &["data-state=\"live\"", "device=press-17"]);
    // A series that was not there when the chart was asked for.
    device.send(&Sample::one(now_ms(), "temperature", 77.25)).await;
    device.settle().await;
    visitor.press(&[], &["device=press-18", "77.25"]);

    visitor.press(&["p"], &["data-state=\"paused\""]);
    device.send(&Sample::one(now_ms() + 1_000, "temperature", 78.25)).await;
    device.settle().await;
    visitor.press(&["p"], &["data-state=\"live\"", "78.25"]);

    world.aggregator.stop().await;
    visitor.press(&[], &["data-state=\"stale\"", "Disconnected, retrying", "Stale since", "78.25"]);
    device.send(&Sample::one(now_ms() + 2_000, "temperature", 79.25)).await;
    device.settle().await;
    world.aggregator.start().await;
    visitor.press(&[], &["data-state=\"live\"", "79.25"]);
    // A page that is left is served no more: the dashboard ends at once.
    assert!(dashboard.terminate().success());
}
