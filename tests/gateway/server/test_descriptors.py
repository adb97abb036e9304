import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pagelet_gateway.server.descriptors import MAX_CONNECTIONS, clients_within, raise_limit


@pytest.mark.parametrize(
    ("descriptors", "clients"),
    [(0, 1), (64, 1), (1024, 448), (20_000, 8192), (resource.RLIM_INFINITY, MAX_CONNECTIONS)],
)
def test_each_client_has_a_descriptor_for_its_engine(descriptors, clients):
    assert clients_within(descriptors) == clients


@given(st.integers(256, 10**9))
def test_there_are_always_descriptors_to_spare(descriptors):
    assert 2 * clients_within(descriptors) + 64 <= descriptors


def test_a_limit_that_cannot_be_raised_does_not_keep_the_gateway_from_starting(monkeypatch):
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 200))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with capture_logs() as told:
        raise_limit()
    assert [line["reason"] for line in told if line["log_level"] == "warning"] == [
        "current limit exceeds maximum limit"
    ]
