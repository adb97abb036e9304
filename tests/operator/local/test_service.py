import asyncio
import os
import signal
import socket
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_processes import engine_args, is_alive, until
from pagelet_operator.local import service as module
from pagelet_operator.local.probe import HttpProbe
from pagelet_operator.local.process import Command
from pagelet_operator.local.service import Service, restart_delay_s


@asynccontextmanager
async def service(tmp_path, script="", **options):
    said = []
    env = {**os.environ, "SCRIPT": script}
    async with HttpProbe() as probe:
        made = Service(
            "one",
            command=lambda port: Command(engine_args(port), env),
            probe=probe,
            probe_path="/readyz",
            log=tmp_path / "one.log",
            listener=lambda reason, text: said.append((reason, text)),
            **{"restart_delay": lambda exits: 0.05, **options},
        )
        made.said = said
        made.start()
        try:
            yield made
        finally:
            await made.stop(0.0)
            made.check()


async def ready(made):
    return await until(lambda: made.endpoint)


async def order(url, **what):
    async with aiohttp.ClientSession() as session:
        try:
            async with session.post(f"{url}/order", json=what) as answer:
                await answer.read()
        except aiohttp.ClientError:
            assert "exit" in what


async def test_it_has_an_endpoint_once_it_is_ready_and_none_before(tmp_path):
    async with service(tmp_path) as made:
        assert made.endpoint is None
        url = await ready(made)
        assert made.said == [("Ready", f"one is ready at {url}")]


async def test_one_that_is_never_ready_has_no_endpoint(tmp_path):
    async with service(tmp_path, "never-ready") as made:
        log = tmp_path / "one.log"
        await until(lambda: log.exists() and "ready" in log.read_text())
        await asyncio.sleep(4 * module.PROBE_INTERVAL_S)
        assert made.endpoint is None
        assert made.said == []


@pytest.mark.parametrize("how", [{"ready": False}, {"silent": True}])
async def test_lost_readiness_takes_the_endpoint_away_and_its_return_brings_it_back(
    tmp_path, how, monkeypatch
):
    monkeypatch.setattr("pagelet_operator.local.probe.TIMEOUT_S", 0.3)
    async with service(tmp_path) as made:
        url, pid = await ready(made), made.pid
        await order(url, **how)
        await until(lambda: made.endpoint is None)
        assert made.said[-1][0] == "NotReady"
        await order(url, ready=True, silent=False)
        assert await ready(made) == url
        assert made.pid == pid


async def test_one_slow_probe_takes_nothing_away(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SILENT_PROBES", 1000)
    monkeypatch.setattr("pagelet_operator.local.probe.TIMEOUT_S", 0.2)
    async with service(tmp_path) as made:
        url = await ready(made)
        await order(url, silent=True)
        await asyncio.sleep(1.0)
        assert made.endpoint == url
        await order(url, silent=False)


async def test_a_killed_child_is_started_again_on_a_new_port(tmp_path):
    async with service(tmp_path) as made:
        url, pid = await ready(made), made.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: made.endpoint not in (url, None))
        assert not is_alive(pid)
        assert made.restarts == 1
        reason, text = made.said[1]
        assert reason == "Restarting"
        assert "signal 9" in text


async def test_a_child_that_crashes_at_its_start_is_tried_again_later_and_later(tmp_path):
    asked = []

    def delay(exits):
        asked.append(exits)
        return 0.01

    async with service(tmp_path, "crash", restart_delay=delay) as made:
        await until(lambda: made.restarts >= 3)
        assert asked[:3] == [1, 2, 3]
        assert made.failure is None
        assert "something broke" in made.said[0][1]


async def test_a_configuration_error_is_for_good_and_in_its_own_words(tmp_path):
    async with service(tmp_path, "config-error") as made:
        await until(lambda: made.failure)
        assert made.failure == "spec.model.source: there is no such model."
        assert [reason for reason, _ in made.said] == ["Failed"]
        await asyncio.sleep(0.2)
        assert made.pid is None
        assert made.restarts == 0


async def test_what_has_served_is_started_again_whatever_its_exit_code(tmp_path):
    async with service(tmp_path) as made:
        url = await ready(made)
        await order(url, exit=2)
        await until(lambda: made.endpoint not in (url, None))
        assert made.failure is None


async def test_a_port_that_somebody_took_first_is_replaced(tmp_path, monkeypatch):
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen(1)
        taken, real = thief.getsockname()[1], module.free_port
        chosen = iter([taken])
        monkeypatch.setattr(module, "free_port", lambda host: next(chosen, None) or real(host))
        async with service(tmp_path) as made:
            url = await ready(made)
            assert not url.endswith(f":{taken}")
            assert made.failure is None


async def test_a_fixed_port_that_is_taken_is_a_failure(tmp_path):
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen(1)
        taken = thief.getsockname()[1]
        async with service(tmp_path, port=taken) as made:
            await until(lambda: made.failure)
            assert made.failure == f"port {taken} is in use."


async def test_stop_lets_requests_in_flight_finish(tmp_path):
    async with service(tmp_path) as made:
        url = await ready(made)
        async with aiohttp.ClientSession() as session:
            body = {"stream": True, "max_tokens": 20}
            async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                await answer.content.readline()
                stopping = asyncio.create_task(made.stop(20.0))
                await asyncio.sleep(0)
                assert made.endpoint is None
                text = await answer.text()
        assert text.endswith("data: [DONE]\n\n")
        await stopping
        assert made.exit_code == 0


async def test_stop_kills_what_does_not_end_in_time(tmp_path):
    async with service(tmp_path, "stubborn") as made:
        await ready(made)
        pid = made.pid
        await made.stop(0.2)
        assert not is_alive(pid)
        assert made.exit_code == -9


async def test_a_second_stop_with_less_patience_wins_and_sends_no_second_sigterm(tmp_path):
    async with service(tmp_path, "stubborn") as made:
        await ready(made)
        patient = asyncio.create_task(made.stop(600.0))
        await asyncio.sleep(0)
        await made.stop(0.2)
        await asyncio.wait_for(patient, 5.0)
        assert made.exit_code == -9


async def test_stop_does_not_wait_for_a_restart(tmp_path):
    async with service(tmp_path, "crash", restart_delay=lambda exits: 600.0) as made:
        await until(lambda: made.said)
        started = time.monotonic()
        await made.stop(300.0)
        assert time.monotonic() - started < 60
        assert made.pid is None


async def test_stop_while_it_is_being_started_reaches_it_as_soon_as_it_exists(tmp_path):
    for yields in range(6):
        async with service(tmp_path) as made:
            for _ in range(yields):
                await asyncio.sleep(0)
            await asyncio.wait_for(made.stop(600.0), 20.0)
            assert made.pid is None


async def test_a_log_that_cannot_be_written_is_said_and_tried_again(tmp_path):
    (tmp_path / "file").write_text("")
    async with service(tmp_path / "file") as made:
        await until(lambda: made.restarts >= 2)
        assert "cannot be started" in made.said[0][1]
        assert made.failure is None


@given(st.integers(0, 10_000))
def test_the_wait_doubles_from_one_second_to_a_minute(exits):
    delay = restart_delay_s(exits)
    assert 1.0 <= delay <= 60.0
    assert delay <= restart_delay_s(exits + 1) <= 2 * delay
    assert restart_delay_s(1) == 1.0
