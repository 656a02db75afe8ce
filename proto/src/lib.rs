//! placeholder
#[allow(missing_docs)]
pub mod wire { tonic::include_proto!("catchment.v1"); }
