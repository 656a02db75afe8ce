//! Generated from `proto/catchment/v1/*.proto`; see those files for the meaning of each field.

#![allow(missing_docs, unused_qualifications, unreachable_pub, clippy::all, clippy::pedantic)]

tonic::include_proto!("catchment.v1");

/// The encoded descriptors of all services and messages, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/catchment.bin"));
