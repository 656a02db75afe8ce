//! The dashboard's page in headless Chromium: every view at two widths, dark and light, by keyboard, live, and with a cut
//! aggregator.

use catchment_tests::{
    browser::Browser,
    connection::Protocol,
    device::Sample,
    eventually::wait_limit,
    model::{QueryRequest, labels},
    now_ms,
    process::Process,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::dashboard::{link, started};

/// A browser at a dashboard, at one width.
pub(crate) struct Visitor<'a> {
    browser: Browser,
    dashboard: &'a Process,
    pub(crate) wide: u32,
    pub(crate) dark: bool,
}

impl<'a> Visitor<'a> {
    /// At 1,440 pixels, in the light scheme; `None`: there is no browser.
    pub(crate) fn at(dashboard: &'a Process) -> Option<Self> {
        Some(Self { browser: block_in_place(Browser::start)?, dashboard, wide: 1440, dark: false })
    }

    fn url(&self, fragment: &str) -> String {
        format!("http://{}/#{fragment}", self.dashboard.addr)
    }

    /// Does a step; nothing is missing, harmed, reported, asked for elsewhere, wider than the window or against axe-core's
    /// rules.
    pub(crate) fn step(&mut self, mut step: Value) -> Value {
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

    pub(crate) fn go(&mut self, fragment: &str, words: &[&str]) {
        let url = self.url(fragment);
        self.step(json!({"url": url, "words": words}));
    }

    /// The value of an expression.
    fn value(&mut self, script: &str) -> Value {
        self.step(json!({"script": script}))["value"].take()
    }

    fn press(&mut self, keys: &[&str], words: &[&str]) {
        self.step(json!({"keys": keys, "words": words}));
    }
}

const STILL: &str = "explore?selector=temperature&by=room&from=now-10m&live=0";

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_shown_in_a_browser_and_a_hostile_label_is_text() {
    let (_world, dashboard) = started().await;
    let Some(mut visitor) = Visitor::at(&dashboard) else { return };
    visitor.step(json!({"url": link(&dashboard), "words": ["gateways", "silent for 5 min", "Sites"]}));
    for (wide, dark) in [(360, false), (1440, true), (360, true), (1440, false)] {
        (visitor.wide, visitor.dark) = (wide, dark);
        visitor.go("fleet", &["gateways", "silent for 5 min", "Sites"]);
        let header = visitor.value("document.querySelector('header').offsetHeight");
        assert!(header.as_u64().is_some_and(|height| height < 200), "{header} at {wide}");
        visitor.press(&["g", "g"], &["Complete until", "berlin", "1–1 of 1"]);
        visitor.press(&["g", "d"], &["press-17", "1–1 of 1"]);
        visitor.press(&["/", "z", "z"], &["No device is found."]);
        visitor.go("explore", &["Write a selector"]);
        visitor.go("explore?selector=temprature", &["did you mean temperature?"]);
        let drawn = ["· UTC", "band s0", "room=&lt;img src=x", "Last values", "· Catchment</title>"];
        visitor.go(STILL, &drawn);
        // The selector has the keyboard, as in the view before.
        visitor.press(&["Escape", "?"], &["aria-labelledby=\"help-title\" open"]);
        visitor.press(&["Escape"], &["data-state=\"paused\""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_reaches_everything() {
    let (_world, dashboard) = started().await;
    let Some(mut visitor) = Visitor::at(&dashboard) else { return };
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    visitor.go(STILL, &["Last values"]);
    let tabs = visitor.step(json!({"tabs": 21, "reduced": true}));
    let focused: Vec<&str> = tabs["focused"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let header = ["skip", "Fleet", "Gateways", "Devices", "Explore", "help-button"];
    let form = ["selector", "agg", "by", "from", "to", "step", "zone", "show"];
    assert!(focused.starts_with(&[&header[..], &form].concat()), "{focused:?}");
    let after =
        ["Save as CSV", "other", "Chart of 1 series.", "Values at the crosshair", "Values as a table"];
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
    let (mut world, dashboard) = started().await;
    let Some(mut visitor) = Visitor::at(&dashboard) else { return };
    let mut device = world.device(0, "press-18", Protocol::Json);
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    visitor.go("explore?selector=temperature&by=device&agg=max", &["data-state=\"live\"", "device=press-17"]);
    // A series that was not there when the chart was asked for.
    device.send(&Sample::one(now_ms(), "temperature", 77.25)).await;
    device.settle().await;
    visitor.press(&[], &["device=press-18", "77.25"]);
    // The chart that has the keyboard is not another one after what is pushed.
    visitor.step(json!({"focus": ".chart", "script": "window.kept = document.activeElement, 0"}));

    visitor.press(&["p"], &["data-state=\"paused\""]);
    device.send(&Sample::one(now_ms() + 1_000, "temperature", 78.25)).await;
    device.settle().await;
    visitor.press(&["p"], &["data-state=\"live\"", "78.25"]);
    assert_eq!(visitor.value("document.activeElement === window.kept"), json!(true));

    world.aggregator.stop().await;
    visitor.press(&[], &["data-state=\"stale\"", "Disconnected, retrying", "Stale since", "78.25"]);
    device.send(&Sample::one(now_ms() + 2_000, "temperature", 79.25)).await;
    device.settle().await;
    world.aggregator.start().await;
    visitor.press(&[], &["data-state=\"live\"", "79.25"]);
    // A page that is left is served no more: the dashboard ends at once.
    assert!(dashboard.terminate().success());
}

/// Notes in the page when a list was asked for twice more, and what has the keyboard now.
const REFRESHED: &str = "window.kept = document.activeElement; document.querySelector('.scroll').scrollLeft = 40;
    const asked = () => performance.getEntriesByType('resource').filter(({ name }) => name.includes('/data/')).length;
    const until = asked() + 2;
    const look = () => asked() < until ? setTimeout(look, 50) : setTimeout(() => { document.body.id = 'refreshed'; }, 100);
    look()";

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_stays_where_it_is_while_a_view_is_refreshed_or_asked_for_anew() {
    let (_world, dashboard) = started().await;
    let Some(mut visitor) = Visitor::at(&dashboard) else { return };
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    visitor.wide = 360;
    visitor.go("devices", &["press-17"]);
    visitor.step(json!({"focus": "td a", "script": REFRESHED}));
    visitor.step(json!({"selector": "#refreshed"}));
    let kept = "[document.activeElement === window.kept, document.querySelector('.scroll').scrollLeft]";
    assert_eq!(visitor.value(kept), json!([true, 40]));
    visitor.step(
        json!({"focus": ".panel button", "keys": [" "], "words": ["data-state=\"paused\"", "Continue"]}),
    );
    visitor.press(&[" "], &["data-state=\"ready\"", "Pause"]);

    visitor.wide = 1440;
    visitor.go(STILL, &["Last values"]);
    // Zoomed twice, at the crosshair.
    for _ in 0..2 {
        visitor.step(json!({"focus": ".chart", "keys": ["ArrowLeft"], "words": ["<p>At "]}));
        visitor.step(json!({"script": "document.body.dataset.before = location.hash"}));
        visitor.step(json!({"keys": ["+"], "selector": ".chart:focus", "words": ["<p>At "]}));
        assert_eq!(visitor.value("document.body.dataset.before !== location.hash"), json!(true));
    }
    let keys = ["End", ",", "s", "u", "m", "Enter"];
    visitor.step(json!({"focus": "#agg", "keys": keys, "words": [">sum</th>"], "selector": "#agg:focus"}));
    // A checkbox takes no letters.
    visitor.step(json!({"focus": ".switch input", "keys": ["g", "f"], "words": ["Sites"]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_for_those_who_want_no_motion() {
    let (_world, dashboard) = started().await;
    let Some(mut visitor) = Visitor::at(&dashboard) else { return };
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    visitor.go(STILL, &["Last values"]);
    let moving = "[...document.querySelectorAll('*')].flatMap((node) => {
        const { transitionDuration, animationName, scrollBehavior } = getComputedStyle(node);
        const still = /^0s(, 0s)*$/.test(transitionDuration) && animationName === 'none' && scrollBehavior === 'auto';
        return still ? [] : [node.className];
    }).concat(document.getAnimations().map(() => 'animation'))";
    let moves = |visitor: &mut Visitor<'_>, reduced| {
        visitor.step(json!({"reduced": reduced, "script": moving}))["value"].take()
    };
    assert_eq!(moves(&mut visitor, true), json!([]));
    assert_eq!(moves(&mut visitor, false), json!(["body"]), "the check above finds what moves");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_turn_calculate_or_fill_the_page_are_harmless() {
    let (world, dashboard) = started().await;
    let Some(mut visitor) = Visitor::at(&dashboard) else { return };
    let long = "x".repeat(256);
    let own = labels(&[("formula", "=1+1"), ("turned", "a\u{202e}b"), ("quoted", "a\"b,c"), ("long", &long)]);
    let mut device = world.device(0, "press-18", Protocol::Json);
    let values = vec![("pressure".to_owned(), -2.5)];
    let time_ms = now_ms() - 30_000;
    device.send(&Sample { time_ms, labels: own, values }).await;
    device.settle().await;
    world.complete(&QueryRequest::new("pressure", time_ms - 60_000, now_ms()), time_ms + 2_000).await;
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    let query = "selector=pressure&by=formula,turned,quoted,long&from=now-10m";
    for wide in [360, 1440] {
        visitor.wide = wide;
        visitor.go(&format!("explore?{query}&live=0"), &["turned=a\u{fffd}b", "formula==1+1", "Last values"]);
        assert_eq!(visitor.value("document.body.innerText.includes('\\u202e')"), json!(false));
    }
    let script = format!(
        "Promise.all([import('/values.js'), fetch('/data/explore?{query}&agg=mean').then((answer) => answer.json())])
            .then(([values, answer]) => values.csv(answer).split('\\r\\n'))"
    );
    let lines = visitor.value(&script);
    assert_eq!(lines[0], "time,formula,long,quoted,turned,mean");
    let line = lines[1].as_str().unwrap();
    let expected = format!(",'=1+1,{long},\"a\"\"b,c\",a\u{fffd}b,-2.5");
    assert!(line.ends_with(&expected), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn axes_have_round_times_when_clocks_are_set_and_hold_any_number() {
    let (_world, dashboard) = started().await;
    let Some(mut visitor) = Visitor::at(&dashboard) else { return };
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    let times = "Promise.all([import('/scale.js'), import('/format.js')]).then(([scale, format]) => {
        const zone = 'Europe/Berlin';
        const from = Date.UTC(2026, 9, 24);
        const { list, apart } = scale.timeTicks(from, from + 3 * 86400000, 8, zone);
        return list.map((at) => format.tick(at, apart, zone)).join(' ');
    })";
    assert_eq!(visitor.value(times), json!("12:00 10-25 12:00 10-26 12:00 10-27"));
    let numbers = "Promise.all([import('/chart.js'), import('/scale.js'), import('/format.js')])
        .then(([{ chart }, { ticks, extent }, { mark }]) => {
        const marks = (...values) => {
            const { list, apart } = ticks(...extent([values]), 4);
            const answer = { from_ms: 0, to_ms: 9000, step_ms: 1000, expected: 0, gaps: [], aggregates: ['mean'],
                series: [{ labels: {}, start_ms: values.map((_, index) => index * 1000), columns: [values] }] };
            const { node } = chart(answer, { width: 400, height: 300, zone: 'UTC' });
            if (/NaN|Infinity/.test(node.outerHTML)) throw node.outerHTML;
            return list.map((value) => mark(value, apart)).join(' ');
        };
        return [marks(0.1, 0.35), marks(1e6, 1e6 + 0.02), marks(0, 2.5e9), marks(-1.7e308, 1.7e308), marks(5), marks(5e-324, 0),
            marks(12345678, 12345686), marks(1796100000, 1796100040)];
    })";
    let marks = visitor.value(numbers);
    let marks: Vec<&str> = marks.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(marks[..3], ["0.1 0.2 0.3", "1000000.00 1000000.01 1000000.02", "0 1e9 2e9"], "{marks:?}");
    assert_eq!((marks.len(), marks[3]), (8, "-1e308 0 1e308"), "{marks:?}");
    assert_eq!(marks[6..], ["12345680 12345685", "1796100000 1796100020 1796100040"], "{marks:?}");
    let read = "import('/format.js').then(({ number }) => [12345692.71, 0.123456789, 1e300, 123456.78].map(number).join(' '))";
    assert_eq!(visitor.value(read), json!("12345692.7 0.123457 1e+300 123456.8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_read_once_in_a_window_is_drawn() {
    let (_world, dashboard) = started().await;
    let Some(mut visitor) = Visitor::at(&dashboard) else { return };
    visitor.step(json!({"url": link(&dashboard), "words": ["Sites"]}));
    // A single reading takes no time, so its state has no share.
    let drawn = "import('/timeline.js').then(({ stateColumns, timeline }) => {
        const answer = { from_ms: 0, to_ms: 3000, step_ms: 1000, expected: 0, gaps: [],
            aggregates: ['state_shares', 'last_state', 'state_count'], series: [{ labels: {}, start_ms: [0, 1000, 2000],
            columns: [[null, [['eco', 0.75], ['off', 0.25]], null], ['eco', 'off', 'auto'], [1, 4, 1]] }] };
        const { node } = timeline(answer, { width: 400, zone: 'UTC' }, stateColumns(answer));
        return [...node.querySelectorAll('.state title')].map((title) => title.textContent.split(',')[0]).join(' ');
    })";
    assert_eq!(visitor.value(drawn), json!("eco auto"));
}
