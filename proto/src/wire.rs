//! Code generated from `proto/catchment/v1/*.proto`; those files document each field.

#![allow(missing_docs, unused_qualifications, unreachable_pub, clippy::all, clippy::pedantic)]

tonic::include_proto!("catchment.v1");

/// The encoded descriptors of all services and messages, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/catchment.bin"));
