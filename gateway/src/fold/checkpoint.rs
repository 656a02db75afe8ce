//! The state as bytes, so that a journal's beginning can be released.
//!
//! A protobuf message without a .proto file, like the entries. The due order is part of the state (it decides which
//! windows share a batch): each window carries the position by which it falls due, and the watermark says which are
//! late. Earlier versions wrote the whole order.

mod device;
mod device_encoder;
mod error;
mod state;

pub(super) use self::device::{DEVICES_TAG, DeviceMessage};
pub(super) use self::device_encoder::{DeviceEncoder, work};
pub use self::error::CheckpointError;
