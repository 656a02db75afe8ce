//! The columns that a page of a list can be sorted by.

use std::cmp::Ordering;

use catchment_proto::{GatewayId, Name, wire};

use super::lists::DeviceState;

/// A device.
pub(super) type DeviceEntry = ((GatewayId, Name), DeviceState);

/// How two entries compare.
pub(super) type Compare<T> = fn(&T, &T) -> Ordering;

/// The order of devices by a column; `None`: there is no such column.
pub(super) fn of_devices(column: &str) -> Option<Compare<DeviceEntry>> {
    Some(match column {
        "" | "device" => |((_, a), _), ((_, b), _)| a.cmp(b),
        "site" => |((a, _), _), ((b, _), _)| a.site.cmp(&b.site),
        "gateway" => |((a, _), _), ((b, _), _)| a.name.cmp(&b.name),
        "last_seen" => |(_, a), (_, b)| a.last.cmp(&b.last),
        "series" => |(_, a), (_, b)| a.series.cmp(&b.series),
        "expires" => |(_, a), (_, b)| known(a.expires_s).cmp(&known(b.expires_s)),
        "worst" => |(_, a), (_, b)| (a.moved, a.last).cmp(&(b.moved, b.last)),
        _ => return None,
    })
}

/// The order of gateways by a column; `None`: there is no such column.
pub(super) fn of_gateways(column: &str) -> Option<Compare<wire::Gateway>> {
    Some(match column {
        "" | "site" => |a, b| a.site.cmp(&b.site),
        "gateway" => |a, b| a.gateway.cmp(&b.gateway),
        "connected" => |a, b| a.connected.cmp(&b.connected),
        // One that has never delivered lags most.
        "lag" => |a, b| a.lag_ms.unwrap_or(i64::MAX).cmp(&b.lag_ms.unwrap_or(i64::MAX)),
        "devices" => |a, b| a.devices.cmp(&b.devices),
        "series" => |a, b| a.series.cmp(&b.series),
        "version" => |a, b| a.version.cmp(&b.version),
        "worst" => |a, b| badness(b).cmp(&badness(a)),
        "expires" => |a, b| known(a.certificate_expires_s).cmp(&known(b.certificate_expires_s)),
        _ => return None,
    })
}

/// How bad a gateway is: those that deliver nothing or whose batches are not accepted, then those that lag; retired ones
/// are best.
fn badness(gateway: &wire::Gateway) -> (u8, i64) {
    let wire::Gateway { connected, contended, waits_for, clock_ahead_ms, .. } = gateway;
    let is_well = *connected && !contended && waits_for.is_empty() && clock_ahead_ms.is_none();
    let class = if gateway.retired { 0 } else { 1 + u8::from(!is_well) };
    (class, gateway.lag_ms.unwrap_or(i64::MAX))
}

/// An unknown end comes after all others.
fn known(expires_s: i64) -> i64 {
    if expires_s == 0 { i64::MAX } else { expires_s }
}
