"""A gate's summary is believed only if it is one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gate_summary import read
from pagelet_operator.core.gates import GateStatus
from pagelet_operator.core.lengths import BUCKETS, NO_LENGTHS, Lengths


def told(**parts):
    return json.dumps({"schema": 1, "figures": {"requests": 3}, "message": ""} | parts).encode()


def test_figures_are_measured_and_not_judged():
    result = read(told(message="one failed"))
    assert result.status is GateStatus.MEASURED
    assert result.figures == {"requests": 3.0}
    assert result.message == "one failed"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "left no summary"),
        (b"[]", "left no summary"),
        (b"Killed", "left no summary"),
        (b'{"error": "cannot be reached"}', "cannot be reached"),
        (told(schema=2), "cannot be used"),
        (told(figures={"ttftP50": float("nan")}), "cannot be used"),
        (told(figures={"ttftP50": -1}), "cannot be used"),
        (told(figures={"ttftP50": "1"}), "cannot be used"),
        (told(figures=None), "cannot be used"),
        (told(message="x" * 5000), "left no summary"),
    ],
)
def test_anything_else_is_an_error_and_never_a_verdict(data, message):
    result = read(data)
    assert result.status is GateStatus.ERROR
    assert message in result.message


@given(st.binary(max_size=300))
def test_no_bytes_raise(data):
    assert read(data).status in (GateStatus.ERROR, GateStatus.MEASURED)


def test_the_lengths_of_a_load_test_are_read_and_odd_ones_left_out():
    ones = [1] * BUCKETS
    found = read(told(lengths={"prompt": ones, "output": ones})).lengths
    assert found == Lengths(prompt=tuple(ones), output=tuple(ones))
    for odd in (None, [], {"prompt": [1, 2]}, {"prompt": [-1] * BUCKETS}, {"output": [0.5] * 16}):
        assert read(told(lengths=odd)).lengths == NO_LENGTHS
