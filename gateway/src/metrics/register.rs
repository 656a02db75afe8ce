//! Registering metrics, and the labels that they have.

use prometheus_client::{
    encoding::EncodeLabelSet,
    registry::{Metric, Registry},
};

/// Registers a metric, and returns it.
pub(super) fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// One label named `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    pub(super) reason: &'static str,
}

/// One label named `protocol`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProtocolLabel {
    pub(super) protocol: &'static str,
}
