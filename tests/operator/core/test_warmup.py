"""Warm-up: every request has to succeed, and the first one's time is told."""

import pytest

from pagelet_operator.core.gates import GateStatus
from pagelet_operator.core.warmup import judge


@pytest.mark.parametrize(
    ("figures", "status", "told"),
    [
        ({}, GateStatus.ERROR, "no request was sent"),
        ({"requests": 3.0, "failed": 1.0}, GateStatus.FAILED, "1 of 3 requests failed"),
        ({"requests": 1.0, "firstTtft": 0.25}, GateStatus.PASSED, "TTFT 250 ms of the first"),
    ],
)
def test_the_result_follows_the_requests(figures, status, told):
    result = judge(figures)
    assert result.status is status
    assert told in result.message
