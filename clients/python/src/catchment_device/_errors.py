"""The exceptions of this package. All are subclasses of ``DeviceError``."""

from __future__ import annotations


class DeviceError(Exception):
    """Base of all exceptions of this package."""


class InvalidReading(DeviceError, ValueError):
    """No gateway would accept the reading; it was not put into the buffer."""


class IdentityError(DeviceError, ValueError):
    """The identity folder or the gateway's address cannot be used."""


class BufferFull(DeviceError):
    """The buffer is full; the message was not accepted."""


class Closed(DeviceError):
    """The device is closed; the message was not accepted."""


class NotDelivered(DeviceError, TimeoutError):
    """The timeout expired before everything was acknowledged.

    ``pending``: the number of unacknowledged messages.
    """

    def __init__(self, message: str, pending: int) -> None:
        super().__init__(message)
        self.pending = pending


class StateError(DeviceError):
    """The state file cannot be used or written."""


class StateLocked(StateError):
    """Another device object, in this or another process, uses the state file."""


class ConnectionFailed(DeviceError):
    """A connection could not be made, or it broke. The device reconnects by itself."""


class ProtocolError(ConnectionFailed):
    """The peer violated the gateway's protocol. The device reconnects by itself."""


class EpochConflict(DeviceError):
    """Another sender uses the same epoch: delivery has stopped, and nothing more is sent."""


class Refused(DeviceError):
    """The gateway refused a message or some of its readings. This is final; the message counts as acknowledged.

    ``code`` is one of ``docs/protocols.md``, Refusals (``too_old``, ``bad_label``, …), ``text`` the reason, ``seq`` the
    message's number and ``body`` the message as JSON; the last two are ``None`` if no longer known.
    """

    def __init__(self, code: str, text: str, seq: int | None, body: str | None) -> None:
        super().__init__(f"refused: {text} ({code})")
        self.code = code
        self.text = text
        self.seq = seq
        self.body = body
