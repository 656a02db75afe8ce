"""The JSON lines of the gateway's answers, from bytes that may be anything, and the pauses between attempts. Pure."""

from __future__ import annotations

import json
import random
from typing import NamedTuple, Union

from ._errors import ProtocolError

# No answer is as long: the texts of refusals have at most some hundred bytes.
ANSWER_BYTES_MAX = 64 * 1024


class Welcome(NamedTuple):
    """Answer to a hello."""

    epoch: str
    ack: int


class Ack(NamedTuple):
    """Everything up to the number is durable."""

    ack: int


class Refusal(NamedTuple):
    """A refused message or reading of it."""

    code: str
    text: str
    line: int | None
    seq: int | None


Answer = Union[Welcome, Ack, Refusal]


def hello(epoch: str) -> bytes:
    """Write the line that begins a numbered connection."""
    return json.dumps({"hello": {"epoch": epoch}}).encode() + b"\n"


class Answers:
    """Turns the received bytes into answers; holds at most one unfinished line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Answer]:
        """Return the answers that are complete; ``ProtocolError`` if they are none."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > ANSWER_BYTES_MAX:
            raise ProtocolError("the other side sends an endless line: is this a gateway?")
        answers = (_answer(line) for line in lines if line.strip())
        return [answer for answer in answers if answer is not None]


def _answer(line: bytes) -> Answer | None:
    """Read one answer; ``None`` for a kind that this version does not know."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ProtocolError(f"not an answer of a gateway: {line[:64]!r}")
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
    raise ProtocolError(f"not an answer of a gateway: {line[:64]!r}")


class Backoff:
    """Pauses that double from ``least`` to ``most`` seconds, each shortened at random by up to a half.

    The chance keeps the devices of a site from coming back all at once after its gateway was away.
    """

    def __init__(self, least: float, most: float, chance: random.Random | None = None) -> None:
        self._least = least
        self._most = most
        self._chance = chance or random.Random()
        self._next = least

    def reset(self) -> None:
        """Begin again at the least pause: there was progress."""
        self._next = self._least

    def pause(self) -> float:
        """Return the next pause in seconds."""
        pause = min(self._next, self._most)
        self._next = min(self._next * 2, self._most)
        return pause * self._chance.uniform(0.5, 1.0)
