"""Readings that no gateway would accept are refused by ``send``."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from catchment_device import InvalidReading
from catchment_device._message import encode


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        None,
        [1],
        {"a": 1},
        1j,
        10**400,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("1e400"),
        b"1",
    ],
)
def test_values_that_are_no_readings_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="temperature: a value is a finite number, a boolean or a text") as told:
        encode({"fine": 1, "temperature": value})
    assert isinstance(told.value, InvalidReading)


@pytest.mark.parametrize("text", ["", "x" * 65, "é" * 33, "a\nb", "\x7f", "\x85", "\ud800"])
def test_invalid_states_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="mode: "):
        encode({"mode": text})


def test_texts_are_states() -> None:
    texts = ["auto", "x" * 64, "é" * 32, " ", '"\\', "21.5", "\u2028"]
    line = json.loads(encode({f"m{number}": text for number, text in enumerate(texts)}))
    assert list(line["values"].values()) == texts


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "a.b", "é", "a\n", "x" * 201, 7])
def test_invalid_names_are_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        encode({name: 1})
    with pytest.raises(ValueError, match="name"):
        encode({"x": 1}, labels={name: "1"})


@pytest.mark.parametrize(
    "labels",
    [
        {"site": "x"},
        {"device": "x"},
        {"__name__": "x"},
        {"room": 3},
        {"room": "é" * 129},
        {"room": "\ud800"},
        {f"l{number}": "x" for number in range(17)},
    ],
)
def test_invalid_labels_are_refused(labels: Any) -> None:
    with pytest.raises(ValueError, match="label"):
        encode({"x": 1}, labels=labels)


@pytest.mark.parametrize("ts", [float("nan"), True, "now", datetime(2026, 1, 1), 1_700_000_000_000_000_000])
def test_invalid_times_are_refused(ts: Any) -> None:
    with pytest.raises(ValueError, match="ts is"):
        encode({"x": 1}, ts)


def test_messages_beyond_the_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        encode({})
    with pytest.raises(ValueError, match="at most 10000 readings"):
        encode({f"m{number}": 1 for number in range(10_001)})
    with pytest.raises(ValueError, match="bytes"):
        encode({f"{'m' * 190}{number}": 1 for number in range(2_000)})


def test_all_kinds_of_numbers_are_accepted() -> None:
    values: dict[str, Any] = {
        "a": 1,
        "b": 2.5,
        "c": True,
        "d": False,
        "e": Decimal("0.1"),
        "f": Fraction(1, 4),
        "g": 2**70,
    }
    line = json.loads(encode(values, 1_700_000_000_000.25, {"room": "3 é", "empty": ""}))
    assert line["values"] == {"a": 1, "b": 2.5, "c": True, "d": False, "e": 0.1, "f": 0.25, "g": float(2**70)}
    assert line["values"]["c"] is True
    assert line["ts"] == 1_700_000_000_000.25
    assert line["labels"] == {"room": "3 é", "empty": ""}


def test_the_default_time_is_the_time_of_the_call() -> None:
    before = time.time_ns() // 1_000_000
    ts = json.loads(encode({"x": 1}))["ts"]
    assert before <= ts <= time.time_ns() // 1_000_000
    moment = datetime(2023, 11, 14, 23, 13, 20, 123000, tzinfo=timezone(timedelta(hours=1)))
    assert json.loads(encode({"x": 1}, moment))["ts"] == 1_700_000_000_123


def test_a_message_is_one_line_whatever_the_labels_contain() -> None:
    body = encode({"x": 1}, labels={"room": 'a\n\r"\\\u2028'})
    assert b"\n" not in body
    assert json.loads(body)["labels"] == {"room": 'a\n\r"\\\u2028'}
