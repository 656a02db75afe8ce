"""Parses the gateway's responses (JSON lines) from untrusted bytes, and computes pauses between attempts. Pure."""

from __future__ import annotations

import json
import random
from typing import NamedTuple, Union

from ._errors import ProtocolError

# Responses are shorter: the texts of refusals have at most some hundred bytes.
ANSWER_BYTES_MAX = 64 * 1024


class Welcome(NamedTuple):
    """Response to a hello."""

    epoch: str
    ack: int


class Ack(NamedTuple):
    """Everything up to this number is durable."""

    ack: int


class Refusal(NamedTuple):
    """A refused message, or a refused reading of one."""

    code: str
    text: str
    line: int | None
    seq: int | None


Answer = Union[Welcome, Ack, Refusal]


def hello(epoch: str) -> bytes:
    """Encode the line that begins a numbered connection."""
    return json.dumps({"hello": {"epoch": epoch}}).encode() + b"\n"


class Answers:
    """Parses received bytes into responses; buffers at most one unfinished line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Answer]:
        """Return the complete responses; raise ``ProtocolError`` if one is invalid."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > ANSWER_BYTES_MAX:
            raise ProtocolError("the peer sends an endless line: is it a gateway?")
        answers = (_answer(line) for line in lines if line.strip())
        return [answer for answer in answers if answer is not None]


def _answer(line: bytes) -> Answer | None:
    """Parse one response; return ``None`` for a kind that this version does not know."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ProtocolError(f"not a response of a gateway: {line[:64]!r}")
    if "ack" in value:
        return Ack(_number(value["ack"], line))
    welcome, error = value.get("welcome"), value.get("error")
    if isinstance(welcome, dict):
        return Welcome(str(welcome.get("epoch")), _number(welcome.get("ack"), line))
    if isinstance(error, dict):
        at, seq = (number if _is_number(number := error.get(key)) else None for key in ("line", "seq"))
        return Refusal(str(error.get("code")), str(error.get("message")), at, seq)
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _number(value: object, line: bytes) -> int:
    if isinstance(value, int) and _is_number(value):
        return value
    raise ProtocolError(f"not a response of a gateway: {line[:64]!r}")


class Backoff:
    """Pauses that double from ``least`` to ``most`` seconds, each minus a random part of up to half.

    The jitter keeps a site's devices from reconnecting all at once after an outage of the gateway.
    """

    def __init__(self, least: float, most: float, chance: random.Random | None = None) -> None:
        self._least = least
        self._most = most
        self._chance = chance or random.Random()
        self._next = least

    def reset(self) -> None:
        """Restart at the shortest pause, after progress."""
        self._next = self._least

    def pause(self) -> float:
        """Return the next pause in seconds."""
        pause = min(self._next, self._most)
        self._next = min(self._next * 2, self._most)
        return pause * self._chance.uniform(0.5, 1.0)
