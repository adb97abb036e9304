"""A real gateway process for tests, its route table and its log."""

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

WAIT_S = 20.0
"""Longest wait for anything in a test; generous, the machine is shared."""


def model(
    name: str, revisions: Mapping[str, tuple[int, Iterable[str]]], **fields: Any
) -> dict[str, Any]:
    """A model of a route table; the first revision is stable, the others canaries."""
    entries = [
        {
            "name": revision,
            "role": "canary" if index else "stable",
            "weight": weight,
            "endpoints": [{"url": url} for url in urls],
        }
        for index, (revision, (weight, urls)) in enumerate(revisions.items())
    ]
    return {
        "name": name,
        "resource": f"default/{name}",
        "generation": 1,
        "revisions": entries,
    } | fields


def table(*models: dict[str, Any]) -> dict[str, Any]:
    return {"schemaVersion": 1, "models": list(models)}


class GatewayProcess:
    """`pagelet gateway` on a free port; `with GatewayProcess(tmp_path) as gateway`."""

    def __init__(self, folder: Path, *options: str, named: str = "--config") -> None:
        self.table_path = folder / "routes.json"
        self._named = named
        self._options = options
        self._log: list[dict[str, Any]] = []
        self._grew = threading.Condition()
        self.url = ""

    def __enter__(self) -> "GatewayProcess":
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "pagelet", "gateway",
                *self._source(), "--port", "0", *self._options,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()
        self.url = self.wait_log("gateway listens")["url"]
        return self

    def _source(self) -> list[str]:
        follows = "--kubernetes" in self._options
        return [] if follows else [self._named, str(self.table_path)]

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                entry = json.loads(line) if line.startswith("{") else {"event": line}
                with self._grew:
                    self._log.append(entry)
                    self._grew.notify_all()

    def log(self, event: str) -> list[dict[str, Any]]:
        with self._grew:
            return [entry for entry in self._log if entry["event"] == event]

    def wait_log(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`-th entry of an event."""
        deadline = time.monotonic() + WAIT_S
        with self._grew:
            while True:
                found = [entry for entry in self._log if entry["event"] == event]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                assert left > 0, f"no {event!r} in {self._log}"
                self._grew.wait(min(left, 0.2))
                assert self.process.poll() is None or found, f"the gateway ended: {self._log}"

    def write(self, content: object) -> None:
        """Replace the table file atomically, without waiting."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        fresh = self.table_path.with_suffix(".new")
        fresh.write_bytes(data)
        os.replace(fresh, self.table_path)

    def apply(self, *models: dict[str, Any]) -> None:
        """Replace the table and wait until it is obeyed."""
        seen = len(self.log("route table obeyed"))
        self.write(table(*models))
        self.wait_log("route table obeyed", seen + 1)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition of another process or task holds."""
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event here
            await asyncio.sleep(0.01)


async def post(
    session: aiohttp.ClientSession, url: str, body: object, **headers: str
) -> tuple[int, bytes, Mapping[str, str]]:
    """POST and read the whole answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.post(url, data=io.BytesIO(data), headers=named) as response:
        return response.status, await response.read(), response.headers.copy()


async def samples(
    session: aiohttp.ClientSession, gateway: GatewayProcess, name: str
) -> Counter[str]:
    """A metric's values by model and outcome, reason or phase, once nothing is in flight.

    A client has its last byte a moment before the request is counted as ended.
    """
    async with asyncio.timeout(WAIT_S):
        while True:
            async with session.get(gateway.url + "/metrics") as answer:
                text = await answer.text()
            if not re.search(r"^pagelet_gateway_requests_in_flight{.*} [1-9]", text, re.M):
                break
    found: Counter[str] = Counter()
    for labels, value in re.findall(rf"^pagelet_gateway_{name}{{(.*)}} (\S+)$", text, re.M):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        key = named.get("outcome") or named.get("reason") or named.get("phase") or ""
        found[f"{named.get('model', '')}:{key}"] += float(value)
    return found


def tokens(stream: bytes) -> str:
    """The text of a whole event stream; fails unless it ends with [DONE]."""
    payloads = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: ")]
    assert payloads[-1:] == [b"[DONE]"], stream[-300:]
    return "".join(json.loads(item)["choices"][0]["delta"]["content"] for item in payloads[:-1])
