"""When requests are admitted, and when the server is done."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.server.errors import RefusedError
from pagelet_engine.server.lifecycle import Lifecycle, Phase

CALLS = ("serve", "drain", "fail")


def serving(max_requests=2):
    lifecycle = Lifecycle(max_requests=max_requests)
    lifecycle.serve()
    return lifecycle


@settings(deadline=None)
@given(calls=st.lists(st.sampled_from(CALLS), max_size=8))
def test_requests_are_admitted_only_while_serving(calls):
    lifecycle = Lifecycle(max_requests=1)
    for call in calls:
        getattr(lifecycle, call)()
    if set(calls) == {"serve"}:
        with lifecycle.admit():
            return
    with pytest.raises(RefusedError) as caught, lifecycle.admit():
        pass
    assert caught.value.draining == (lifecycle.phase in (Phase.DRAINING, Phase.BROKEN))


@settings(deadline=None)
@given(calls=st.lists(st.sampled_from(CALLS), max_size=8))
def test_the_end_is_never_taken_back(calls):
    lifecycle = Lifecycle(max_requests=1)
    order = [Phase.STARTING, Phase.SERVING, Phase.DRAINING, Phase.BROKEN]
    for call in calls:
        before = order.index(lifecycle.phase)
        getattr(lifecycle, call)()
        assert order.index(lifecycle.phase) >= before


def test_requests_in_flight_are_bounded_and_places_come_back():
    lifecycle = serving(max_requests=2)
    with lifecycle.admit():
        with lifecycle.admit(), pytest.raises(RefusedError) as caught, lifecycle.admit():
            pass
        assert caught.value.status == 429
        with lifecycle.admit():
            assert lifecycle.num_in_flight == 2
    assert lifecycle.num_in_flight == 0


async def test_idle_means_every_request_has_ended_even_by_an_error():
    lifecycle = serving()
    with contextlib.suppress(ZeroDivisionError), lifecycle.admit():
        waiting = asyncio.create_task(lifecycle.wait_idle())
        await asyncio.sleep(0)
        assert not waiting.done()
        raise ZeroDivisionError
    await waiting
