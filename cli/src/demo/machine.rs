//! This machine as a device: its real processor, memory, load, disk and network metrics.

use std::{path::Path, time::Instant};

use sysinfo::{DiskRefreshKind, Disks, Networks, System};

use crate::device::{Value, Values};

/// Every metric that this machine may report.
pub(super) const METRICS: [&str; 6] = [
    "cpu_percent",
    "memory_percent",
    "load_1m",
    "disk_percent",
    "network_received_bytes_per_second",
    "network_sent_bytes_per_second",
];

/// Reads this machine's metrics.
#[derive(Debug)]
pub(super) struct Machine {
    system: System,
    disks: Disks,
    networks: Networks,
    read_at: Instant,
}

impl Machine {
    /// Starts measuring; rates count from here on.
    ///
    /// # Errors
    /// A system that does not report these metrics.
    pub(super) fn new() -> Result<Self, sysinfo::Error> {
        let mut system = System::new()?;
        system.refresh_cpu_usage();
        let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage())?;
        let networks = Networks::new_with_refreshed_list()?;
        Ok(Self { system, disks, networks, read_at: Instant::now() })
    }

    /// The name of this machine as a device: its host name, with `-` in place of characters that a name cannot have.
    pub(super) fn name() -> String {
        device_name(&System::host_name().unwrap_or_default())
    }

    /// The current values. Blocks for some milliseconds.
    pub(super) fn sample(&mut self, now_ms: i64) -> Values {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.networks.refresh(true);
        self.disks.refresh_specifics(false, DiskRefreshKind::nothing().with_storage());
        let seconds = self.read_at.elapsed().as_secs_f64().max(0.001);
        self.read_at = Instant::now();
        let sum =
            |bytes: fn(&sysinfo::NetworkData) -> u64| self.networks.values().map(bytes).sum::<u64>() as f64;
        let mut readings = vec![
            ("cpu_percent", f64::from(self.system.global_cpu_usage())),
            ("network_received_bytes_per_second", sum(sysinfo::NetworkData::received) / seconds),
            ("network_sent_bytes_per_second", sum(sysinfo::NetworkData::transmitted) / seconds),
        ];
        if let Some(percent) = percent(self.system.used_memory(), self.system.total_memory()) {
            readings.push(("memory_percent", percent));
        }
        if let Ok(load) = System::load_average() {
            readings.push(("load_1m", load.one));
        }
        let root = self.disks.iter().find(|disk| disk.mount_point() == Path::new("/")).or(self.disks.first());
        let disk = root.and_then(|disk| {
            let total = disk.total_space();
            percent(total.saturating_sub(disk.available_space()), total)
        });
        readings.extend(disk.map(|percent| ("disk_percent", percent)));
        let finite = readings.into_iter().filter(|(_, value)| value.is_finite());
        let readings = finite.map(|(metric, value)| (metric.to_owned(), Value::Number(value))).collect();
        Values { time_ms: now_ms, labels: Vec::new(), readings }
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

fn device_name(host: &str) -> String {
    let name: String = host
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(63)
        .collect();
    if name.is_empty() { "this-machine".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_become_device_names() {
        assert_eq!(device_name("büro.local"), "b-ro.local");
        assert_eq!(device_name("-_x"), "x");
        assert_eq!(device_name(""), "this-machine");
        assert_eq!(device_name(&"x".repeat(100)).len(), 63);
    }

    #[test]
    fn a_machine_has_memory_in_use() {
        let mut machine = Machine::new().unwrap();
        let values = machine.sample(5);
        let memory =
            values.readings.iter().find(|(metric, _)| metric == "memory_percent").unwrap().1.number();
        assert!(memory > 0.0 && memory <= 100.0, "{memory}");
        assert!(values.readings.iter().any(|(metric, _)| metric == "cpu_percent"));
        assert!(values.readings.iter().all(|(metric, _)| METRICS.contains(&metric.as_str())));
    }
}
