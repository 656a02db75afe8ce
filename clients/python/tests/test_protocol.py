"""Responses in fragments, and pauses between attempts."""

from __future__ import annotations

import random

import pytest

from catchment_device._protocol import Ack, Answers, Backoff, Refusal, Welcome


@pytest.mark.parametrize("size", range(1, 40))
def test_responses_are_parsed_from_any_fragments(size: int) -> None:
    data = (
        b'{"welcome":{"epoch":"\xc3\xa9","ack":3}}\n{"ack":4}\r\n\n{"other":{}}\n'
        b'{"error":{"code":"too_old","message":"x","line":7}}\n{"error":{"seq":9,"line":true}}\n{"ack":'
    )
    answers = Answers()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [answer for piece in pieces for answer in answers.feed(piece)] == [
        Welcome("é", 3),
        Ack(4),
        Refusal("too_old", "x", 7, None),
        Refusal("None", "None", None, 9),
    ]
    assert answers.feed(b"5}\n") == [Ack(5)]


def test_pauses_double_up_to_the_maximum_and_vary() -> None:
    backoff = Backoff(0.1, 3.0, random.Random(1))
    for _ in range(3):
        for most in (0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0):
            assert most / 2 <= backoff.pause() <= most
        backoff.reset()
    pauses = {Backoff(1.0, 1.0, random.Random(seed)).pause() for seed in range(20)}
    assert len(pauses) == 20
