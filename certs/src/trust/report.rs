//! What a server shows of its trust: conditions and metrics, the same for both servers.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use catchment_settings::{Conditions, KnownCondition, Severity};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use tokio::{sync::watch::Receiver, time::timeout};

use super::{Trust, TrustStatus};
use crate::anchors::Root;

/// There is no revocation list of a root, and one is required: no new peer is accepted.
pub const REVOCATION_LIST_MISSING: KnownCondition =
    KnownCondition { name: "revocation_list_missing", severity: Severity::Unready };
/// The roots' revocation lists are out of date, and one is required: no new peer is accepted.
pub const REVOCATION_LIST_OUTDATED: KnownCondition =
    KnownCondition { name: "revocation_list_outdated", severity: Severity::Unready };
/// A revocation list, of the roots or of a site, is in the last third of its time; a site's also when it is out of date.
pub const REVOCATION_LIST_ENDS: KnownCondition =
    KnownCondition { name: "revocation_list_ends", severity: Severity::Notice };
/// Peers refuse the server: its own certificate has expired, is not valid yet or is revoked, or its root does not count.
pub const CERTIFICATE_REFUSED: KnownCondition =
    KnownCondition { name: "certificate_refused", severity: Severity::Unready };
/// A root in `ca.pem` is outside its dates and does not count.
pub const ROOT_NOT_VALID: KnownCondition =
    KnownCondition { name: "root_not_valid", severity: Severity::Notice };
/// The revocation lists that count could not be written into the data folder.
pub const REVOCATIONS_NOT_KEPT: KnownCondition =
    KnownCondition { name: "revocations_not_kept", severity: Severity::Notice };
/// The server's own certificate ends soon.
pub const CERTIFICATE_ENDS: KnownCondition =
    KnownCondition { name: "certificate_ends", severity: Severity::Notice };
/// The files in the identity folder are not valid; what was loaded before them counts, so the server works.
pub const TRUST_NOT_LOADED: KnownCondition =
    KnownCondition { name: "trust_not_loaded", severity: Severity::Notice };

/// How often times are compared, besides at each change.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// A certificate that lives long is renewed this long before its end at the latest.
const CERTIFICATE_WARNING_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Warnings begin in this part of the time that a list or a certificate is valid.
const WARNING_PART: u32 = 3;

/// Raises and clears the conditions of this trust, until the future is dropped.
pub(super) async fn report(trust: &Trust, conditions: &Conditions) {
    let mut status = trust.subscribe();
    let required = trust.config().require_revocation_list;
    loop {
        for (name, reason) in conditions_of(&status.borrow_and_update(), required, SystemTime::now()) {
            if name == TRUST_NOT_LOADED.name {
                // The swap has logged it.
                conditions.set(name, reason);
            } else {
                conditions.report(name, reason);
            }
        }
        // The sender is part of `trust`, so this ends with a change or by the time.
        let _ = timeout(COMPARE_EVERY, status.changed()).await;
    }
}

/// Each condition, with its reason if it holds at `now`.
fn conditions_of(
    status: &TrustStatus,
    required: bool,
    now: SystemTime,
) -> [(&'static str, Option<String>); 7] {
    let list = status.revocations.root_list();
    let renew = "make a new one with `catchment-certs crl` and put crl.pem into the identity folder";
    let missing = (required && list.is_none()).then(|| {
        format!("there is no revocation list of a root, so no new peer is accepted: {renew}, or set require_revocation_list = false")
    });
    let outdated = list.filter(|list| list.next_update < now).map(|list| {
        let end = humantime::format_rfc3339_seconds(list.next_update);
        format!("revocation list {} was to be replaced by {end}", list.number)
    });
    let ends = list.filter(|list| is_late(list.this_update, list.next_update, Duration::MAX, now));
    let ends = ends.map(|list| {
        let end = humantime::format_rfc3339_seconds(list.next_update);
        format!("revocation list {} ends at {end}: {renew}", list.number)
    });
    let (closed, ends) = match outdated {
        Some(text) if required => (Some(format!("{text}, so no new peer is accepted: {renew}")), None),
        Some(text) => (None, Some(format!("{text}: {renew}"))),
        None => (None, ends),
    };
    let ends = match (ends, site_ends(status, now)) {
        (Some(root), Some(site)) => Some(format!("{root}; {site}")),
        (root, site) => root.or(site),
    };
    let peer = &status.peer;
    let refused = refused(status, now);
    let late = is_late(status.valid_from, peer.not_after, CERTIFICATE_WARNING_MAX, now);
    let certificate = (late && refused.is_none()).then(|| {
        let end = humantime::format_rfc3339_seconds(peer.not_after);
        format!("the certificate of {} ends at {end}: renew it with `catchment-certs renew`", peer.identity)
    });
    let root = status.roots.iter().find_map(|root| root.defect(now));
    let root = root.map(|root| {
        format!(
            "{root}: it does not count; remove it from ca.pem once nothing needs it, or put a renewed one there"
        )
    });
    [
        (CERTIFICATE_REFUSED.name, refused),
        (ROOT_NOT_VALID.name, root),
        (REVOCATION_LIST_MISSING.name, missing),
        (REVOCATION_LIST_OUTDATED.name, closed),
        (REVOCATION_LIST_ENDS.name, ends),
        (CERTIFICATE_ENDS.name, certificate),
        (TRUST_NOT_LOADED.name, status.problem.clone()),
    ]
}

/// Why peers refuse the server's own certificate, and what to do.
fn refused(status: &TrustStatus, now: SystemTime) -> Option<String> {
    let (peer, time) = (&status.peer, humantime::format_rfc3339_seconds);
    let who = &peer.identity;
    if status.revocations.names(peer) {
        return Some(format!(
            "the certificate of {who} is revoked, so every peer refuses it: issue it again, and put its files into the \
             identity folder"
        ));
    }
    if now > peer.not_after {
        let end = time(peer.not_after);
        return Some(format!(
            "the certificate of {who} has expired ({end}), so every peer refuses it: renew it with \
             `catchment-certs renew`, and put its files into the identity folder"
        ));
    }
    if now < status.valid_from {
        let start = time(status.valid_from);
        return Some(format!(
            "the certificate of {who} is not valid before {start}, so every peer refuses it: compare the clocks"
        ));
    }
    let own = |root: &&Root| peer.root.as_ref() == Some(&root.key);
    let root = status.roots.iter().filter(own).max_by_key(|root| root.valid_until)?.defect(now)?;
    Some(format!(
        "{root}, so every peer refuses the certificate of {who}, which it issued: have it issued below a root that is valid"
    ))
}

/// What is to be done about the list of a site that is out of date first.
fn site_ends(status: &TrustStatus, now: SystemTime) -> Option<String> {
    let list = status.revocations.site_list(now)?;
    let late = is_late(list.this_update, list.next_update, Duration::MAX, now);
    let site = list.site().filter(|_| late)?;
    let (number, end) = (list.number, humantime::format_rfc3339_seconds(list.next_update));
    let state = if list.next_update < now { "was to be replaced by" } else { "ends at" };
    Some(format!(
        "revocation list {number} of site {site} {state} {end}: make a new one with `catchment-certs crl` in the site's \
         folder, and put crl.pem into the identity folder"
    ))
}

/// Whether what is valid from `start` to `end` is in its last third, or the last `most` of it if that is less.
fn is_late(start: SystemTime, end: SystemTime, most: Duration, now: SystemTime) -> bool {
    let third = end.duration_since(start).unwrap_or_default() / WARNING_PART;
    end.checked_sub(third.min(most)).is_none_or(|warning| warning <= now)
}

/// The metrics of a trust, read at each scrape. Register it as a collector; clones share the trust.
#[derive(Clone, Debug, Default)]
pub struct TrustMetrics {
    status: Arc<OnceLock<Receiver<TrustStatus>>>,
}

impl TrustMetrics {
    /// Shows this trust; the first one stays.
    pub fn show(&self, trust: &Trust) {
        let _ = self.status.set(trust.subscribe());
    }
}

impl Collector for TrustMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(status) = self.status.get().map(|status| status.borrow().clone()) else { return Ok(()) };
        let now = SystemTime::now();
        let list = status.revocations.root_list();
        let first =
            list.into_iter().chain(status.revocations.site_list(now)).map(|list| list.next_update).min();
        let gauges = [
            (
                "certificate_seconds_left",
                "Seconds until the end of the server's own certificate; negative after it",
                seconds_left(status.peer.not_after, now),
            ),
            (
                "revocation_list_seconds_left",
                "Seconds until the root's revocation list is out of date; negative after it, 0 without a list",
                list.map_or(0, |list| seconds_left(list.next_update, now)),
            ),
            (
                "revocation_list_seconds_left_min",
                "The same for the first list that is out of date, of the root and of sites whose issuing certificate is valid",
                first.map_or(0, |end| seconds_left(end, now)),
            ),
            (
                "revocation_list_number",
                "Number of the root's revocation list that counts; 0 without a list",
                list.map_or(0, |list| i64::try_from(list.number).unwrap_or(i64::MAX)),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let help = "Changes of the identity folder that were found, by result";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = encoder.encode_descriptor("trust_reloads", help, None, kind)?;
        for (result, count) in [("taken", status.reloads.taken), ("refused", status.reloads.refused)] {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}

/// From `now` to `end`, rounded down.
fn seconds_left(end: SystemTime, now: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match end.duration_since(now) {
        Ok(left) => seconds(left),
        Err(error) => -seconds(error.duration()),
    }
}

#[cfg(test)]
mod tests;
