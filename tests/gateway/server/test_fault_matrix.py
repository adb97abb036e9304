"""Every fault of an engine, without a fallback, with one, with one elsewhere, with both down."""

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from gateway_faults import FAULTS, IN_THE_STREAM
from gateway_in_process import gateway_in_process, num_sockets
from gateway_process import WAIT_S, model, tokens, until
from gateway_upstream import Upstream, answers

RUNS = 20
MODES = ("alone", "fallback", "elsewhere", "both down")
TEXT = "one two three four five"
HONEST = {500: {"internal_error"}, 502: {"bad_upstream"}, 504: {"upstream_timeout"}} | {
    503: {"no_capacity", "circuit_open", "queue_full"}
}
CUTS = {"stream_upstream_died", "stream_stalled", "stream_incomplete", "stream_oversized_event"} | {
    "service_unavailable"  # the engine's own error event
}


@dataclass(slots=True)
class Cell:
    """One fault in one mode: its engines, and how its runs ended."""

    fault: str
    mode: str
    primary: Upstream
    second: Upstream | None
    ends: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return f"{self.fault}, {self.mode}"

    @property
    def num_received(self) -> int:
        return sum(len(engine.received) for engine in (self.primary, self.second) if engine)

    def models(self) -> list[dict[str, Any]]:
        """Its part of the table. Endpoints' URLs are unique per cell, and so are circuits."""
        fields: dict[str, Any] = {"requestTimeoutSeconds": 2.0}
        if self.second is None:
            return [model(self.name, {"r": (100, [self.primary.url])}, **fields)]
        if self.mode == "elsewhere":
            link = {"url": f"{self.second.url}/v1", "urlModel": "big", "apiKey": "sk-theirs"}
            extra = []
        else:
            link = {"model": f"{self.name}, second"}
            extra = [model(link["model"], {"r": (100, [self.second.url])}, **fields)]
        first = model(self.name, {"r": (100, [self.primary.url])}, **fields, fallback=[link])
        return [first, *extra]


@contextmanager
def unheard_port() -> Iterator[int]:
    """A port that nobody listens on and nobody else gets."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def cells(stack: AsyncExitStack) -> list[Cell]:
    made = []
    for fault, script in FAULTS.items():
        for mode in MODES:
            engines = []
            for is_faulty in (True,) if mode == "alone" else (True, mode == "both down"):
                chosen = script if is_faulty and script else answers
                if is_faulty and script is None:
                    engines.append(Upstream(port=stack.enter_context(unheard_port())))
                else:
                    engines.append(await stack.enter_async_context(Upstream(chosen)))
            made.append(Cell(fault, mode, engines[0], engines[1] if engines[1:] else None))
    return made


async def run(cell: Cell, session: aiohttp.ClientSession, url: str) -> None:
    """Ask one after the other, as one client would, and judge each answer."""
    for _ in range(RUNS):
        body = {"model": cell.name, "stream": True}
        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
            cell.ends[judge(cell, answer, await answer.read())] += 1


def judge(cell: Cell, answer: aiohttp.ClientResponse, body: bytes) -> str:
    name = answer.headers.get("x-pagelet-fallback")
    if answer.status != 200:
        error = json.loads(body)["error"]
        assert error["code"] in HONEST[answer.status], (cell.name, error)
        assert "127.0.0.1" not in error["message"]
        assert answer.status != 503 or int(answer.headers["retry-after"]) >= 1
        assert name is None
        return error["code"]
    if b"[DONE]" in body:
        assert cell.second is not None
        assert cell.mode != "both down", "a false [DONE]"
        assert tokens(body) == TEXT
        assert name == ("big" if cell.mode == "elsewhere" else f"{cell.name}, second")
        return "whole"
    last = json.loads(body.strip().split(b"\n\n")[-1].removeprefix(b"data: "))
    if last["error"]["code"] == "generation_failed":
        assert cell.fault == "error event first"
        assert name is None
    elif last["error"]["code"] != "stream_timeout":
        assert last["error"]["code"] in CUTS, (cell.name, body[-200:])
        assert cell.fault in IN_THE_STREAM
    return last["error"]["code"]


def check_ends(cell: Cell) -> None:
    """A fault is met until the circuit opens: at most five times in a row, then never again."""
    assert cell.ends.total() == RUNS
    cut = sum(cell.ends[code] for code in CUTS)
    late = cell.ends["stream_timeout"]  # a machine that is busy enough
    met = cut >= 1 if cell.fault in IN_THE_STREAM else cut == 0
    assert met, (cell.name, cell.ends)
    if cell.mode in ("fallback", "elsewhere"):
        assert cell.ends["whole"] >= RUNS - 6 - late, (cell.name, cell.ends)
        assert cut <= 5
    else:
        assert cell.ends["whole"] == 0


async def in_flight(session: aiohttp.ClientSession, url: str) -> float:
    async with session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    values = re.findall(r"^pagelet_gateway_requests_in_flight{.*} (\S+)$", text, re.M)
    assert len(values) >= len(FAULTS)
    return sum(map(float, values))


async def test_every_fault_ends_right_costs_little_and_leaks_nothing(tmp_path):
    async with AsyncExitStack() as stack:
        matrix = await cells(stack)
        tables = [entry for cell in matrix for entry in cell.models()]
        sockets_before, tasks_before = num_sockets(), len(asyncio.all_tasks())
        async with gateway_in_process(tmp_path, *tables, stream_idle_timeout_s=0.3) as url:
            timeout = aiohttp.ClientTimeout(total=WAIT_S)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                await until_serving(session, url)
                idle_tasks = len(asyncio.all_tasks())
                await asyncio.gather(*(run(cell, session, url) for cell in matrix))
                await until(lambda: all(not e.num_open for e in engines(matrix)))
                assert await in_flight(session, url) == 0
            await until(lambda: len(asyncio.all_tasks()) <= idle_tasks + num_connected(matrix))
        await until(lambda: num_sockets() <= sockets_before)
        await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
    for cell in matrix:
        check_ends(cell)
    num_runs = RUNS * len(matrix)
    num_received = sum(cell.num_received for cell in matrix)
    print("runs", num_runs, "received", num_received, sum((c.ends for c in matrix), Counter()))
    assert num_received <= 1.2 * num_runs
    with_fallback = [cell for cell in matrix if cell.second is not None]
    assert sum(c.num_received for c in with_fallback) <= 1.2 * RUNS * len(with_fallback)


def engines(matrix: list[Cell]) -> list[Upstream]:
    return [engine for cell in matrix for engine in (cell.primary, cell.second) if engine]


def num_connected(matrix: list[Cell]) -> int:
    """Tasks of the scripted engines: one per connection the gateway keeps."""
    return sum(engine.num_connected for engine in engines(matrix))


async def until_serving(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            async with session.get(f"{url}/readyz") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("mode", ["fallback", "elsewhere"])
async def test_nothing_of_ours_reaches_an_api_elsewhere_and_nothing_of_its_own_the_client(
    tmp_path, mode
):
    async def tells_all(wire: Any) -> None:
        await wire.head(
            200, content_type="application/json", content_length="2", openai_organization="acme",
            set_cookie="a=b", x_ratelimit_remaining_tokens="3", x_pagelet_tenant="t", x_thing="1",
        )  # fmt: skip
        await wire.raw(b"{}")

    async with Upstream(tells_all) as second:
        cell = Cell("connect refused", mode, Upstream(port=1), second)
        async with (
            gateway_in_process(tmp_path, *cell.models()) as url,
            aiohttp.ClientSession() as session,
        ):
            await until_serving(session, url)
            body = b'{"temperature": 1.10, "model": "connect refused, %b", "messages": []}'
            async with session.post(
                f"{url}/v1/chat/completions",
                data=body % mode.encode(),
                headers={"authorization": "Bearer client", "x-pagelet-tenant": "forged"},
            ) as answer:
                assert (answer.status, await answer.read()) == (200, b"{}")
                seen = {name.lower() for name in answer.headers}
        received = second.received[0]
        if mode == "elsewhere":
            assert received.path == "/v1/chat/completions"
            ours = {name for name in received.headers if name.startswith("x-")}
            assert ours == {"x-pagelet-hops"}
            assert received.headers["authorization"] == "Bearer sk-theirs"
            assert not seen & {"openai-organization", "set-cookie", "x-thing"}
            assert json.loads(received.body)["model"] == "big"
        else:
            assert "authorization" not in received.headers
            assert received.headers.get("x-pagelet-tenant") != "forged"
            assert json.loads(received.body)["model"] == f"{cell.name}, second"
        assert b'"temperature":1.10' in received.body.replace(b": ", b":")
        assert not seen & {"x-ratelimit-remaining-tokens", "x-pagelet-tenant"}
        assert "x-pagelet-fallback" in seen
