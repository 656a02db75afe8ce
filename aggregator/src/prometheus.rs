//! Prometheus' HTTP API under `/api/v1`, beside gRPC on the same port: for Grafana, vmalert and other tools.
//!
//! Data path of a request: `service` (role, method, body) → `endpoint` → `parameters` and `times` (what is asked for) →
//! `expressions`, `lists` (work for [`Promql`](crate::query::Promql), which runs it as a query of the operator) or
//! `fixed` → `json` (the answer, in chunks). `failure`: why there is none.

mod endpoint;
mod expressions;
mod failure;
mod fixed;
mod json;
mod lists;
mod parameters;
mod service;
mod times;

pub(crate) use self::{
    endpoint::ENDPOINTS,
    failure::STATUSES,
    service::{Api, not_found, router},
};
