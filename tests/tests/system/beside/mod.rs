//! The Prometheus API beside and under programs that others wrote: Debian's Prometheus with the same readings, its
//! `vmalert`, and the queries of Grafana.
//!
//! ```text
//! readings → gateways → aggregator ─ /api/v1 ─┐
//!         └→ samples, 1 ms later → Prometheus ─┴ compare
//! ```

mod answer;
mod differential;
mod expressions;
mod grafana;
mod readings;
mod vmalert;
