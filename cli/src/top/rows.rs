//! What the aggregator lists, as rows of a view.

use std::collections::{BTreeMap, HashSet};

use catchment_proto::wire;

use super::state::Asked;
use crate::{args::View, expiry::is_expiring, moved::moved};

/// Most rows of a view.
pub(super) const ROWS_MAX: usize = 50_000;

/// What identifies a row within its view: site; site and gateway; site, gateway and device; metric.
pub(super) type Key = Vec<String>;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its names.
    pub(super) key: Key,
    /// What it is like.
    pub(super) body: Body,
}

/// What a row says besides its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// A site.
    Site {
        /// Gateways that are connected, and all that are not retired.
        connected: u32,
        gateways: u32,
        /// The worst of its gateways, milliseconds; `None`: one has never delivered.
        lag_ms: Option<i64>,
        devices: u64,
        series: u64,
    },
    /// A gateway.
    Gateway { state: &'static str, lag_ms: Option<i64>, devices: u32, series: u32, expires_s: i64 },
    /// A device. `expires_s`: when its certificate ends, Unix seconds; 0: not known.
    /// `moved`: another gateway of the site saw it later.
    Device { last_seen_ms: i64, series: u32, expires_s: i64, moved: bool },
    /// A metric.
    Metric { last_window_ms: i64, series: u64 },
}

/// Rows of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// In order of their keys; of a page, in the order that was asked for.
    pub(super) list: Vec<Row>,
    /// There are more than these.
    pub(super) cut: bool,
    /// They are a part of the view, which the aggregator searched and sorted; `None`: they are the whole view.
    pub(super) page: Option<Page>,
}

/// What a page is a part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The request that it answers.
    pub(super) asked: Asked,
    /// Number of rows that the search finds, and of all.
    pub(super) found: usize,
    pub(super) total: usize,
}

/// The plural of what the rows are.
pub(super) fn noun(view: View) -> &'static str {
    match view {
        View::Sites => "sites",
        View::Gateways => "gateways",
        View::Devices => "devices",
        View::Metrics => "metrics",
    }
}

/// Number of columns that are names.
pub(super) fn key_columns(view: View) -> usize {
    match view {
        View::Sites | View::Metrics => 1,
        View::Gateways => 2,
        View::Devices => 3,
    }
}

/// The names of all columns; the last two are the latest value and the sparkline.
pub(super) fn header(view: View) -> &'static [&'static str] {
    match view {
        View::Sites => &["site", "gateways", "lag", "devices", "series", "read/min", "last 15 min"],
        View::Gateways => {
            &["site", "gateway", "state", "lag", "cert", "devices", "series", "read/min", "last 15 min"]
        }
        View::Devices => &["site", "gateway", "device", "seen", "cert", "series", "read/min", "last 15 min"],
        View::Metrics => &["metric", "seen", "series", "mean", "last 15 min"],
    }
}

/// The widths of the columns that are no names.
pub(super) fn widths(view: View) -> &'static [u16] {
    match view {
        View::Sites => &[8, 7, 8, 8, 8, 15],
        View::Gateways => &[7, 5, 5, 7, 6, 8, 15],
        View::Devices => &[5, 5, 6, 8, 15],
        View::Metrics => &[5, 7, 9, 15],
    }
}

/// A length of time in few characters.
pub(super) fn short_span(ms: i64) -> String {
    match ms.max(0) / 1000 {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// The end of a certificate, Unix seconds, in few characters: how long it is still valid.
fn short_end(expires_s: i64, now_ms: i64) -> String {
    match (expires_s, expires_s.saturating_mul(1_000).saturating_sub(now_ms)) {
        (0, _) => "-".to_owned(),
        (_, ..=0) => "ended".to_owned(),
        (_, left) => short_span(left),
    }
}

/// A number in few characters.
pub(super) fn short_number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e15 || size > 0.0 && size < 1e-3 => format!("{value:.1e}"),
        size if size >= 1e12 => format!("{:.1}T", value / 1e12),
        size if size >= 1e9 => format!("{:.1}G", value / 1e9),
        size if size >= 1e6 => format!("{:.1}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        _ if value.fract() == 0.0 => format!("{value}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

impl Row {
    /// Whether it belongs to those whose names contain a text in lower case.
    pub(super) fn matches(&self, filter: &str) -> bool {
        filter.is_empty() || self.key.join("/").to_lowercase().contains(filter)
    }

    /// The cells between names and sparkline.
    pub(super) fn cells(&self, now_ms: i64) -> Vec<String> {
        let age = |ms: i64| short_span(now_ms.saturating_sub(ms));
        let lag = |lag_ms: Option<i64>| lag_ms.map_or_else(|| "never".to_owned(), short_span);
        match &self.body {
            Body::Site { connected, gateways, lag_ms, devices, series } => {
                vec![format!("{connected}/{gateways}"), lag(*lag_ms), devices.to_string(), series.to_string()]
            }
            Body::Gateway { state, lag_ms, devices, series, expires_s } => {
                let end = short_end(*expires_s, now_ms);
                vec![(*state).to_owned(), lag(*lag_ms), end, devices.to_string(), series.to_string()]
            }
            Body::Device { last_seen_ms, series, expires_s, moved } => {
                let seen = if *moved { "moved".to_owned() } else { age(*last_seen_ms) };
                vec![seen, short_end(*expires_s, now_ms), series.to_string()]
            }
            Body::Metric { last_window_ms, series } => vec![age(*last_window_ms), series.to_string()],
        }
    }

    /// How bad it is: the greater, the worse.
    pub(super) fn badness(&self) -> i64 {
        let lag = |lag_ms: Option<i64>| lag_ms.unwrap_or(i64::MAX / 4);
        // One that is not connected is worse than any that lags.
        let down = |down: bool| if down { i64::MAX / 2 } else { 0 };
        match &self.body {
            Body::Site { connected, gateways, lag_ms, .. } => {
                lag(*lag_ms).saturating_add(down(connected < gateways))
            }
            Body::Gateway { state: "retired", .. } => -1,
            Body::Gateway { state, lag_ms, .. } => lag(*lag_ms).saturating_add(down(*state != "up")),
            Body::Device { moved: true, .. } => i64::MIN,
            Body::Device { last_seen_ms: last, .. } | Body::Metric { last_window_ms: last, .. } => {
                last.saturating_neg()
            }
        }
    }

    /// Its number of series.
    pub(super) fn series(&self) -> u64 {
        match &self.body {
            Body::Site { series, .. } | Body::Metric { series, .. } => *series,
            Body::Gateway { series, .. } | Body::Device { series, .. } => u64::from(*series),
        }
    }

    /// Whether something is wrong with it that is not a matter of opinion.
    pub(super) fn is_problem(&self, now_ms: i64) -> bool {
        match &self.body {
            Body::Site { connected, gateways, .. } => connected < gateways,
            Body::Gateway { state: "retired", .. } | Body::Metric { .. } => false,
            Body::Gateway { state, expires_s, .. } => *state != "up" || is_expiring(*expires_s, now_ms),
            Body::Device { expires_s, moved, .. } => !moved && is_expiring(*expires_s, now_ms),
        }
    }
}

/// The state of a gateway in a word.
fn state(gateway: &wire::Gateway) -> &'static str {
    match gateway {
        wire::Gateway { retired: true, .. } => "retired",
        wire::Gateway { contended: true, .. } => "twice",
        wire::Gateway { connected: false, .. } => "down",
        wire::Gateway { waits_for, .. } if !waits_for.is_empty() => "waits",
        wire::Gateway { clock_ahead_ms: Some(_), .. } => "clock",
        _ => "up",
    }
}

fn gateway_row(gateway: &wire::Gateway) -> Row {
    let body = Body::Gateway {
        state: state(gateway),
        lag_ms: gateway.lag_ms,
        devices: gateway.devices,
        series: gateway.series,
        expires_s: gateway.certificate_expires_s,
    };
    Row { key: vec![gateway.site.clone(), gateway.gateway.clone()], body }
}

fn device_row(device: wire::Device) -> Row {
    let wire::Device { site, gateway, device, series, last_seen_ms, certificate_expires_s, moved } = device;
    let body = Body::Device { last_seen_ms, series, expires_s: certificate_expires_s, moved };
    Row { key: vec![site, gateway, device], body }
}

/// Gateways as rows.
pub(super) fn of_gateways(list: &[wire::Gateway]) -> Rows {
    sorted(list.iter().take(ROWS_MAX).map(gateway_row).collect(), list.len() > ROWS_MAX)
}

/// A page of gateways as rows.
pub(super) fn of_gateway_page(page: &wire::GatewayPage, asked: Asked) -> Rows {
    of_page(page.gateways.iter().map(gateway_row).collect(), asked, page.found, page.total)
}

/// A page of devices as rows.
pub(super) fn of_device_page(page: wire::DevicePage, asked: Asked) -> Rows {
    let (found, total) = (page.found, page.total);
    of_page(page.devices.into_iter().map(device_row).collect(), asked, found, total)
}

fn of_page(mut list: Vec<Row>, asked: Asked, found: u64, total: u64) -> Rows {
    // Two of one name would be one place of the screen.
    let mut seen = HashSet::new();
    list.retain(|row| seen.insert(row.key.clone()));
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Rows { list, cut: false, page: Some(Page { asked, found: count(found), total: count(total) }) }
}

/// The sites of a summary as rows.
pub(super) fn of_summary(summary: &wire::FleetSummary) -> Rows {
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let row = |site: &wire::SiteSummary| {
        let gateways = site.gateways.saturating_sub(site.retired);
        let lag_ms = if gateways == 0 { Some(0) } else { site.lag_ms };
        let (connected, gateways) = (count(gateways.saturating_sub(site.down)), count(gateways));
        let body = Body::Site { connected, gateways, lag_ms, devices: site.devices, series: site.series };
        Row { key: vec![site.site.clone()], body }
    };
    sorted(summary.sites.iter().map(row).collect(), summary.sites_total > summary.sites.len() as u64)
}

/// The sites of gateways as rows.
pub(super) fn of_sites(list: &[wire::Gateway]) -> Rows {
    let mut sites: BTreeMap<&str, (u32, u32, Option<i64>, u64, u64)> = BTreeMap::new();
    for gateway in list {
        let (connected, gateways, lag_ms, devices, series) =
            sites.entry(&gateway.site).or_insert((0, 0, Some(0), 0, 0));
        *devices += u64::from(gateway.devices);
        *series += u64::from(gateway.series);
        if gateway.retired {
            continue;
        }
        *gateways += 1;
        *connected += u32::from(gateway.connected);
        *lag_ms = lag_ms.zip(gateway.lag_ms).map(|(worst, lag)| worst.max(lag));
    }
    let cut = sites.len() > ROWS_MAX;
    let rows =
        sites.into_iter().take(ROWS_MAX).map(|(site, (connected, gateways, lag_ms, devices, series))| Row {
            key: vec![site.to_owned()],
            body: Body::Site { connected, gateways, lag_ms, devices, series },
        });
    Rows { list: rows.collect(), cut, page: None }
}

/// Collects devices, and metrics of series, one by one.
#[derive(Debug, Default)]
pub(super) struct Collector {
    list: Vec<Row>,
    /// By metric: the newest window, and the number of series.
    metrics: BTreeMap<String, (i64, u64)>,
    cut: bool,
}

impl Collector {
    /// Adds a device; returns whether another one has room.
    pub(super) fn device(&mut self, device: wire::Device) -> bool {
        self.cut = self.list.len() >= ROWS_MAX;
        if !self.cut {
            self.list.push(device_row(device));
        }
        !self.cut
    }

    /// Adds a series to its metric; returns whether another one has room.
    pub(super) fn series(&mut self, series: wire::Series) -> bool {
        if let Some((newest, count)) = self.metrics.get_mut(&series.metric) {
            (*newest, *count) = ((*newest).max(series.last_window_ms), *count + 1);
            return true;
        }
        self.cut = self.metrics.len() >= ROWS_MAX;
        if !self.cut {
            self.metrics.insert(series.metric, (series.last_window_ms, 1));
        }
        !self.cut
    }

    /// Marks devices that have moved: an older aggregator does not.
    fn mark_moved(&mut self) {
        let seen = self.list.iter().map(|row| match (&*row.key, &row.body) {
            ([site, gateway, device], Body::Device { last_seen_ms, .. }) => {
                (site.as_str(), gateway.as_str(), device.as_str(), *last_seen_ms)
            }
            _ => ("", "", "", 0),
        });
        let marks = moved(seen);
        for (row, is_moved) in self.list.iter_mut().zip(marks) {
            if let Body::Device { moved, .. } = &mut row.body {
                *moved = is_moved;
            }
        }
    }

    /// All rows.
    pub(super) fn finish(mut self) -> Rows {
        self.mark_moved();
        let metrics = self.metrics.into_iter().map(|(metric, (last_window_ms, series))| Row {
            key: vec![metric],
            body: Body::Metric { last_window_ms, series },
        });
        self.list.extend(metrics);
        sorted(self.list, self.cut)
    }
}

fn sorted(mut list: Vec<Row>, cut: bool) -> Rows {
    list.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    // Two of one name would be one place of the screen.
    list.dedup_by(|a, b| a.key == b.key);
    Rows { list, cut, page: None }
}
