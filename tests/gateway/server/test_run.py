import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys

import aiohttp
import pytest

from gateway_process import WAIT_S, GatewayProcess, model, post, tokens, until
from gateway_upstream import Upstream, Wire, streams
from pagelet_gateway.server.descriptors import clients_within

PATH = "/v1/chat/completions"
ASK = {"model": "m", "stream": True}
WORDS = [f"{i} " for i in range(10)]


async def open_stream(
    session: aiohttp.ClientSession, gateway: GatewayProcess, engine: Upstream
) -> "asyncio.Task[tuple[int, bytes, object]]":
    gateway.apply(model("m", {"m-1": (100, [engine.url])}))
    task = asyncio.create_task(post(session, gateway.url + PATH, ASK))
    await until(lambda: bool(engine.num_open))
    return task


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_streams_finish_and_ends_with_zero(tmp_path, session, number):
    with GatewayProcess(tmp_path) as gateway:
        async with Upstream(streams(*WORDS, pause_s=0.1)) as engine:
            stream = await open_stream(session, gateway, engine)
            gateway.process.send_signal(number)
            await asyncio.to_thread(gateway.wait_log, "draining")
            await asyncio.sleep(0.3)
            with pytest.raises(aiohttp.ClientConnectorError):
                async with aiohttp.ClientSession() as fresh:
                    await fresh.get(gateway.url + "/livez")
            assert tokens((await stream)[1]) == "".join(WORDS)
            assert await asyncio.to_thread(gateway.process.wait, WAIT_S) == 0


async def test_during_the_drain_delay_it_is_not_ready_but_serves(tmp_path, session):
    with GatewayProcess(tmp_path, "--drain-delay", "1.5") as gateway:
        async with Upstream(streams(*WORDS)) as engine:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(gateway.wait_log, "draining")
            async with session.get(gateway.url + "/readyz") as answer:
                assert answer.status == 503
                assert (await answer.json())["error"]["code"] == "draining"
            status, body, headers = await post(session, gateway.url + PATH, ASK)
            assert (status, tokens(body)) == (200, "".join(WORDS))
            assert headers["connection"] == "close"
            assert await asyncio.to_thread(gateway.process.wait, WAIT_S) == 0


async def test_the_drain_timeout_ends_streams_with_an_error_event_and_one(tmp_path, session):
    async def endless(wire: Wire) -> None:
        await wire.start_stream()
        while True:
            await wire.token("x")
            await asyncio.sleep(0.05)

    with GatewayProcess(tmp_path, "--drain-timeout", "0.5") as gateway:
        async with Upstream(endless) as engine:
            stream = await open_stream(session, gateway, engine)
            gateway.process.send_signal(signal.SIGTERM)
            _, body, _ = await stream
            assert b"[DONE]" not in body
            error = json.loads(body.strip().split(b"data: ")[-1])["error"]
            assert error["code"] == "stream_drain_timeout"
            assert await asyncio.to_thread(gateway.process.wait, WAIT_S) == 1


async def test_a_second_signal_ends_it_at_once(tmp_path, session):
    async def stalls(wire: Wire) -> None:
        await asyncio.sleep(60)

    with GatewayProcess(tmp_path) as gateway:
        async with Upstream(stalls) as engine:
            stream = await open_stream(session, gateway, engine)
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(gateway.wait_log, "draining")
            await asyncio.sleep(0.7)
            gateway.process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(gateway.process.wait, WAIT_S)
            assert code == 128 + signal.SIGTERM
            with pytest.raises(aiohttp.ClientError):
                await stream


async def test_ctrl_c_that_arrives_twice_at_once_is_one_wish(tmp_path, session):
    with GatewayProcess(tmp_path) as gateway:
        async with Upstream(streams(*WORDS, pause_s=0.1)) as engine:
            stream = await open_stream(session, gateway, engine)
            gateway.process.send_signal(signal.SIGINT)
            gateway.process.send_signal(signal.SIGTERM)
            assert tokens((await stream)[1]) == "".join(WORDS)
            assert await asyncio.to_thread(gateway.process.wait, WAIT_S) == 0


async def test_without_a_table_it_waits_says_so_and_then_serves(tmp_path, session):
    with GatewayProcess(tmp_path) as gateway:
        async with session.get(gateway.url + "/livez") as answer:
            assert answer.status == 200
        for path in ("/readyz", "/v1/models"):
            async with session.get(gateway.url + path) as answer:
                assert answer.status == 503
                assert (await answer.json())["error"]["code"] == "no_route_table"
        status, body, headers = await post(session, gateway.url + PATH, ASK)
        assert (status, json.loads(body)["error"]["code"]) == (503, "no_route_table")
        assert headers["retry-after"] == "1"
        said = gateway.log("route table cannot be read; waiting for it")
        assert len(said) == 1
        assert str(gateway.table_path) in said[0]["reason"]
        async with Upstream(streams("a")) as engine:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            assert (await post(session, gateway.url + PATH, ASK))[0] == 200


async def test_a_bad_table_is_logged_counted_and_the_last_good_one_serves_on(tmp_path, session):
    with GatewayProcess(tmp_path) as gateway:
        async with Upstream(streams("a")) as engine:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            for number, bad in enumerate((b"{", b'{"schemaVersion": 9, "models": []}'), start=1):
                gateway.write(bad)
                refused = await asyncio.to_thread(gateway.wait_log, "route table refused", number)
                assert refused["reason"].startswith("$")
                assert (await post(session, gateway.url + PATH, ASK))[0] == 200
            gateway.table_path.unlink()
            await asyncio.to_thread(
                gateway.wait_log, "route table cannot be read; waiting for it", 2
            )
            assert (await post(session, gateway.url + PATH, ASK))[0] == 200
            async with session.get(gateway.url + "/metrics") as answer:
                text = await answer.text()
            assert "pagelet_gateway_route_table_errors_total 2.0" in text
            assert "pagelet_gateway_route_table_updates_total 1.0" in text


def test_a_port_in_use_is_exit_code_two_and_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        command = [sys.executable, "-m", "pagelet", "gateway", "--route-table"]
        ended = subprocess.run(
            [*command, str(tmp_path / "x.json"), "--port", port],
            capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert f"Port {port} on 127.0.0.1 is in use" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_no_stream_leaves_a_socket_behind(tmp_path, session):
    async def breaks(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("a")
        wire.reset()

    with GatewayProcess(tmp_path) as gateway:
        folder = f"/proc/{gateway.process.pid}/fd"
        async with Upstream(breaks) as engine:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            await post(session, gateway.url + PATH, ASK)
            before = len(os.listdir(folder))
            for _ in range(5):
                await asyncio.gather(*(post(session, gateway.url + PATH, ASK) for _ in range(10)))
        # Kept-alive client connections stay: at most the ten that ran at once.
        await until(lambda: len(os.listdir(folder)) <= before + 10)


def test_it_takes_all_the_descriptors_it_may_have_and_says_how_many_clients_fit(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        with GatewayProcess(tmp_path) as gateway:
            told = gateway.log("file descriptors")[-1]
            of_process = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert of_process == (hard, hard)
    assert told["before"] == 512
    assert told["clients"] == clients_within(hard)
    assert told["now"] == told["hard"]
