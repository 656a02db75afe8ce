"""Encodes protobuf fields: the few kinds that ``AggregateRequest`` has. Fields with default values are left out."""

from __future__ import annotations

_VARINT, _BYTES = 0, 2
_UINT64 = (1 << 64) - 1


def varint(number: int) -> bytes:
    """An integer of at most 64 bits; a negative one as its two's complement, as ``int64`` has it."""
    number &= _UINT64
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field: int, number: int) -> bytes:
    """A field of kind ``int64``, ``uint32``, ``bool`` or an enumeration."""
    return varint(field << 3 | _VARINT) + varint(number) if number else b""


def message(field: int, encoded: bytes) -> bytes:
    """A field that is a message, or one element of a repeated text; also if it is empty."""
    return varint(field << 3 | _BYTES) + varint(len(encoded)) + encoded


def text(field: int, value: str) -> bytes:
    """A field of kind ``string``."""
    return message(field, value.encode()) if value else b""


def texts(field: int, values: tuple[str, ...]) -> bytes:
    """A repeated field of kind ``string``."""
    return b"".join(message(field, value.encode()) for value in values)
