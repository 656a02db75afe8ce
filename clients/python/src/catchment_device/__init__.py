"""Sends a device's readings to a Catchment gateway, each counted exactly once.

``Device`` numbers messages, keeps them in a bounded buffer and sends them again until the gateway says that they
are durable. See the README of this package for examples and ``docs/delivery.md`` of Catchment for what is promised.
"""

from ._device import Device
from ._errors import (
    BufferFull,
    Closed,
    ConnectionFailed,
    DeviceError,
    EpochConflict,
    IdentityError,
    InvalidReading,
    NotDelivered,
    ProtocolError,
    Refused,
    StateError,
    StateLocked,
)

__all__ = [
    "BufferFull",
    "Closed",
    "ConnectionFailed",
    "Device",
    "DeviceError",
    "EpochConflict",
    "IdentityError",
    "InvalidReading",
    "NotDelivered",
    "ProtocolError",
    "Refused",
    "StateError",
    "StateLocked",
]

__version__ = "0.1.0"
