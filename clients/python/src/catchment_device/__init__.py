"""Sends a device's readings to a Catchment gateway; each is counted exactly once.

``Device`` numbers messages, keeps them in a bounded buffer and resends them until the gateway acknowledges that they
are durable. See this package's README for examples and Catchment's ``docs/delivery.md`` for the guarantees.
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
