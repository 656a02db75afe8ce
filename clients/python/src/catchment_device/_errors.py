"""What can go wrong. Every exception of this package is a ``DeviceError``."""

from __future__ import annotations


class DeviceError(Exception):
    """Base of all exceptions of this package."""


class InvalidReading(DeviceError, ValueError):
    """A reading that no gateway would take; it was not put into the buffer."""


class IdentityError(DeviceError, ValueError):
    """The identity folder or the gateway's address cannot be used."""


class BufferFull(DeviceError):
    """There was no room in the buffer; the message was not taken."""


class Closed(DeviceError):
    """The device was closed; the message was not taken."""


class NotDelivered(DeviceError, TimeoutError):
    """The time was over before everything was acknowledged.

    ``pending``: how many messages were not acknowledged.
    """

    def __init__(self, message: str, pending: int) -> None:
        super().__init__(message)
        self.pending = pending


class StateError(DeviceError):
    """The state file cannot be used, or what was to be written could not be."""


class StateLocked(StateError):
    """The state file is in use by another device object, here or in another process."""


class ConnectionFailed(DeviceError):
    """A connection could not be made, or it broke. The device tries again by itself."""


class ProtocolError(ConnectionFailed):
    """The other side does not speak as a gateway does. The device tries again by itself."""


class EpochConflict(DeviceError):
    """Another sender numbers messages of the same epoch: delivery has stopped, nothing more is sent."""


class Refused(DeviceError):
    """The gateway refused a message or some of its readings. This is final; the message counts as acknowledged.

    ``code`` is listed in ``docs/protocols.md``, Refusals (``too_old``, ``bad_label``, …), ``text`` says why, ``seq`` is the
    message's number and ``body`` the message itself as JSON; both are ``None`` where they are not known any more.
    """

    def __init__(self, code: str, text: str, seq: int | None, body: str | None) -> None:
        super().__init__(f"refused: {text} ({code})")
        self.code = code
        self.text = text
        self.seq = seq
        self.body = body
