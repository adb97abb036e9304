"""Silence of the engine process, from the pure judgement to real processes that stop."""

import asyncio
import json
import os
import signal
import time

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.server.watchdog import (
    GRACE_S,
    RESTART_WINDOW_S,
    RESTARTS,
    ProgressWatch,
    RestartBudget,
    Verdict,
)
from pagelet_engine.testing_process import Fault
from server_client import request, stream
from server_process import PATIENCE_S, echo_server

TEXT = "/v1/completions"
SLOW = ("--step-seconds", "0.02")
LONG = {"model": "echo", "prompt": "hello", "max_tokens": 1000}
WATCHED = {"watchdog_s": 1.0}
LENIENCE_S = 20.0
"""On top of what is promised, as the machine may be busy; `verdicts` below has the exact times."""


def verdicts(limit_s, heard_at, until):
    """Look every interval up to `until`; return each change with its time."""
    watch, now, changes = ProgressWatch(limit_s, 0.0), 0.0, []
    while now < until:
        now += watch.interval_s
        last = max((at for at in heard_at if at <= now), default=0.0)
        verdict = watch.look(now, last)
        if not changes or changes[-1][1] is not verdict:
            changes.append((now, verdict))
    return changes


def test_silence_is_stuck_after_the_limit_and_hopeless_after_the_grace():
    _, (stuck_at, stuck), (hopeless_at, hopeless) = verdicts(60.0, [10.0], 90.0)
    assert (stuck, hopeless) == (Verdict.STUCK, Verdict.HOPELESS)
    assert 70.0 <= stuck_at <= 70.5
    assert 70.0 + GRACE_S <= hopeless_at <= 70.5 + GRACE_S


def test_an_engine_that_speaks_within_the_grace_is_fine_again():
    seen = [verdict for _, verdict in verdicts(2.0, [1.0, 4.0], 5.5)]
    assert seen == [Verdict.FINE, Verdict.STUCK, Verdict.FINE]


@given(st.floats(1, 100), st.lists(st.floats(0, 0.99), min_size=1, max_size=20))
def test_an_engine_that_never_is_silent_for_long_is_never_stuck(limit_s, gaps):
    heard, now = [], 0.0
    for gap in gaps:
        now += gap * limit_s * 0.7
        heard.append(now)
    assert {verdict for _, verdict in verdicts(limit_s, heard, now)} <= {Verdict.FINE}


def test_the_watchers_own_sleep_is_not_held_against_the_engine():
    watch = ProgressWatch(10.0, 0.0)
    assert watch.look(0.5, 0.4) is Verdict.FINE
    assert watch.look(1000.0, 0.4) is Verdict.FINE
    assert watch.look(1000.5, 0.4) is Verdict.FINE


def test_restarts_are_counted_within_a_window():
    budget = RestartBudget()
    assert all(budget.spend(float(now)) for now in range(RESTARTS))
    assert not budget.spend(RESTART_WINDOW_S - 1)
    assert budget.spend(RESTART_WINDOW_S)
    assert not budget.spend(RESTART_WINDOW_S)


def wait_status(url, path, status):
    deadline = time.monotonic() + PATIENCE_S
    while request(url, "GET", path).status != status:
        assert time.monotonic() < deadline, f"{path} never answered {status}"
        time.sleep(0.02)


def test_a_stopped_engine_is_out_of_traffic_then_its_requests_end_then_the_server():
    limit_s = WATCHED["watchdog_s"]
    with echo_server(*SLOW, listen=WATCHED) as server:
        url = server.wait_ready()
        (engine,) = server.children()
        with stream(url, TEXT, LONG) as events:
            next(events)
            stopped_at = time.monotonic()
            os.kill(engine, signal.SIGSTOP)
            wait_status(url, "/readyz", 503)
            assert time.monotonic() - stopped_at < limit_s + 2 + LENIENCE_S
            assert server.process.poll() is None
            *_, last = events
        assert json.loads(last)["error"]["code"] == "service_unavailable"
        assert "SIGKILL" in server.wait_for("engine_died")["reason"]
        assert server.exit_code() == 1
        assert time.monotonic() - stopped_at < limit_s + 10 + LENIENCE_S
        with pytest.raises(ProcessLookupError):
            os.kill(engine, 0)


def test_an_engine_that_comes_back_in_time_goes_on():
    with echo_server(*SLOW, listen=WATCHED) as server:
        url = server.wait_ready()
        (engine,) = server.children()
        with stream(url, TEXT, LONG | {"max_tokens": 60}) as events:
            next(events)
            os.kill(engine, signal.SIGSTOP)
            wait_status(url, "/readyz", 503)
            os.kill(engine, signal.SIGCONT)
            wait_status(url, "/readyz", 200)
            *_, last = events
        assert last == "[DONE]"


def test_a_step_without_end_is_ended():
    with echo_server(listen=WATCHED) as server:
        url = server.wait_ready()
        reply = request(url, "POST", TEXT, LONG | {"seed": int(Fault.HANG)})
        assert (reply.status, reply.json["error"]["code"]) == (503, "service_unavailable")
        assert server.exit_code() == 1


async def last_event(session, url, started):
    async with session.post(url + TEXT, json=LONG | {"stream": True}) as response:
        last, heard_at = "", 0.0
        async for line in response.content:
            if line.startswith(b"data: "):
                started.set()
                last, heard_at = line.decode().removeprefix("data: ").strip(), time.monotonic()
        return last, heard_at


async def test_every_stream_of_a_killed_engine_ends_in_an_error_and_none_in_done():
    with echo_server(*SLOW) as server:
        url = server.wait_ready()
        (engine,) = server.children()
        started = [asyncio.Event() for _ in range(40)]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            streams = [asyncio.create_task(last_event(session, url, each)) for each in started]
            await asyncio.gather(*(each.wait() for each in started))
            killed_at = time.monotonic()
            os.kill(engine, signal.SIGKILL)
            for last, heard_at in await asyncio.gather(*streams):
                assert json.loads(last)["error"]["code"] == "service_unavailable"
                assert heard_at - killed_at < 1 + LENIENCE_S
        assert server.exit_code() == 1


def test_by_policy_a_killed_engine_is_started_again_on_the_same_port(tmp_path):
    os.mkfifo(model := tmp_path / "model")
    listen = {"on_engine_death": "restart"}
    with echo_server(*SLOW, "--load-from", str(model), listen=listen) as server:
        model.write_bytes(b"")
        url = server.wait_ready()
        for _ in range(2):
            (engine,) = server.children()
            with stream(url, TEXT, LONG) as events:
                next(events)
                os.kill(engine, signal.SIGKILL)
                *_, last = events
            assert "error" in json.loads(last)
            server.wait_for("engine_died")
            refused = request(url, "POST", TEXT, LONG)
            assert refused.status == 503
            assert refused.headers["retry-after"]
            model.write_bytes(b"")
            assert server.wait_ready() == url
            assert request(url, "GET", "/readyz").status == 200
            assert request(url, "POST", TEXT, LONG | {"max_tokens": 5}).json["choices"]
        assert b"pagelet_engine_steps_total" in request(url, "GET", "/metrics").body
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
