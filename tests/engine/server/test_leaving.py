"""A thousand clients leave, each over a socket of its own, and nothing of them is left behind.

The API process and the engine process are the real ones around a small random model. The test
deals out the engine's steps one by one, so that it knows where each sequence is when its client
leaves, and how many steps it takes until its blocks are free.
"""

import json
import os
import random
import signal
import socket
import sys
import time
from urllib.parse import urlsplit

import pytest

from server_client import request
from server_process import ServerProcess

NUM_ROUNDS, NUM_DECODING, NUM_QUEUED = 50, 11, 8
"""In each round one more client is in its prompt, and all leave together."""
HELD_EVERY, NUM_HELD = 10, 20
"""In some rounds all are held back instead."""
PATIENCE_S = 60
PROMPT = [7 + n % 200 for n in range(480)]
"""Several steps long, at 64 tokens a step."""

ENGINE = """
import os, sys
from pagelet_engine import process
from pagelet_engine.runner.model_runner import ModelRunner
steps, compute = os.open(sys.argv.pop(1), os.O_RDWR), ModelRunner.run
def run(self, plan):
    os.read(steps, 1)
    return compute(self, plan)
ModelRunner.run = run
sys.exit(process.main())
"""
SERVER = """
import asyncio, json, signal, sys
from pagelet_engine.config import EngineConfig, ServerConfig
from pagelet_engine.server.run import serve
config, program, steps = json.loads(sys.argv[1])
def tell(number, frame):
    number = len(asyncio.all_tasks(asyncio.get_running_loop()))
    print(json.dumps({"event": "tasks", "number": number}), file=sys.stderr, flush=True)
signal.signal(signal.SIGUSR1, tell)
command = [sys.executable, "-c", program, steps, "--config", json.dumps(config)]
raise SystemExit(serve(EngineConfig(**config), ServerConfig(port=0), command))
"""
CONFIG = {
    "model": "dummy://tiny",
    "served_model_name": "tiny",
    "max_num_seqs": 16,
    "max_num_batched_tokens": 64,
    "kv_cache_bytes": 8 << 20,
    "num_threads": 1,
    "prefix_caching": False,
}
SERIES = {
    "steps": "pagelet_engine_steps_total",
    "open": "pagelet_engine_open_sequences",
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "usage": "vllm:kv_cache_usage_perc",
}
SERIES = {name: f'{series}{{model_name="tiny"}}' for name, series in SERIES.items()}
SERIES["aborted"] = 'pagelet_engine_requests_total{model_name="tiny",outcome="aborted"}'
NOTHING = {"open": 0, "running": 0, "waiting": 0, "usage": 0}


class Steps:
    """Lets the engine take steps, one for each byte in a pipe."""

    def __init__(self, path):
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def allow(self, number=1):
        os.write(self._pipe, b"." * number)

    def stop(self):
        try:
            while os.read(self._pipe, 65536):
                pass
        except BlockingIOError:
            return

    def close(self):
        os.close(self._pipe)


class Service:
    """The server, and what its processes and its metrics say of it."""

    def __init__(self, server, steps):
        self.server, self.steps = server, steps
        self.url = server.url

    def metrics(self):
        lines = request(self.url, "GET", "/metrics").body.decode().splitlines()
        seen = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(seen.get(series, 0)) for name, series in SERIES.items()}

    def wait(self, patience_s=PATIENCE_S, **expected):
        """Poll until the named metrics have these values; return all, or None if it lasts."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            seen = self.metrics()
            if expected.items() <= seen.items():
                return seen
        return None

    def step_until(self, **expected):
        """Let steps through, one by one, until the named metrics have these values."""
        while not expected.items() <= (seen := self.metrics()).items():
            self.steps.allow()
            assert self.wait(steps=seen["steps"] + 1), (expected, seen, self.metrics())

    def send(self, body, path="/v1/completions", receive_buffer=None):
        parts = urlsplit(self.url)
        data = json.dumps(body | {"model": "tiny", "ignore_eos": True, "stream": True}).encode()
        wire = socket.socket()
        if receive_buffer:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        wire.settimeout(PATIENCE_S)
        wire.connect((parts.hostname, parts.port))
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        wire.sendall(head.encode() + f"content-length: {len(data)}\r\n\r\n".encode() + data)
        return wire

    def leftovers(self):
        """Return how many files each process has open, and the tasks of the API process."""
        pids = [self.server.process.pid, *sorted(self.server.children())]
        self.server.signal(signal.SIGUSR1)
        num_tasks = self.server.wait_for("tasks")["number"]
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids], num_tasks


@pytest.fixture
def service(tmp_path):
    steps = Steps(tmp_path / "steps")
    settings = json.dumps([CONFIG, ENGINE, str(tmp_path / "steps")])
    server = ServerProcess([sys.executable, "-c", SERVER, settings])
    try:
        steps.allow(100)  # for its warm-up
        server.wait_ready()
        steps.stop()
        yield Service(server, steps)
    finally:
        server.close()
        steps.close()


def in_every_state(service):
    """Open a round's streams: decoding, one in its prompt, queued behind it."""
    wires = [service.send({"prompt": [5], "max_tokens": 400}) for _ in range(NUM_DECODING)]
    assert service.wait(open=NUM_DECODING)
    service.step_until(running=NUM_DECODING)
    wires.append(service.send({"prompt": PROMPT, "max_tokens": 9}))
    assert service.wait(open=len(wires))
    service.step_until(running=NUM_DECODING + 1)
    wires += [service.send({"prompt": PROMPT, "max_tokens": 9}) for _ in range(NUM_QUEUED)]
    assert service.wait(open=len(wires))
    service.step_until(waiting=NUM_QUEUED)
    return wires


def held_back(service):
    """Open streams that nobody reads, and wait until the engine produces no more of them."""
    message = {"role": "user", "content": "a"}
    body = {"messages": [message], "max_tokens": 400, "logprobs": True, "top_logprobs": 20}
    wires = [service.send(body, "/v1/chat/completions", 4096) for _ in range(NUM_HELD)]
    before = seen = service.wait(open=NUM_HELD)
    service.steps.allow(4000)
    num_same = 0
    while num_same < 10 or seen["steps"] < before["steps"] + 60:  # the kernel holds as many events
        num_same = num_same + 1 if seen == (seen := service.metrics()) else 0
    service.steps.stop()
    assert seen["running"] == seen["open"] == NUM_HELD
    return wires


def leave(service, wires, draw):
    """Close all connections; return the steps it takes until nothing is held for any of them."""
    draw.shuffle(wires)
    for wire in wires:
        wire.close()
    before = service.wait(open=0)
    assert before
    service.steps.allow()  # a step that is under way cannot be called back
    while not (seen := service.wait(patience_s=2, **NOTHING)):
        service.steps.allow()
    service.steps.stop()
    return seen["steps"] - before["steps"]


def test_a_thousand_who_leave_leave_nothing_behind(service):
    draw, num_steps = random.Random(1), []
    for open_some in (in_every_state, held_back):
        leave(service, open_some(service), draw)  # what is made once and kept is made now
    before, told = service.leftovers(), service.metrics()["aborted"]
    for round_ in range(NUM_ROUNDS):
        open_some = in_every_state if round_ % HELD_EVERY else held_back
        num_steps.append(leave(service, open_some(service), draw))
    # One: the step that was under way. A command may still lie in the pipe when that one ends.
    assert num_steps.count(2) <= NUM_ROUNDS / 10
    assert max(num_steps) <= 2
    assert service.metrics()["aborted"] - told == 1000
    deadline = time.monotonic() + PATIENCE_S
    while service.leftovers() != before:  # a closed connection is noticed a moment later
        assert time.monotonic() < deadline, (service.leftovers(), before)
    assert not [line for line in service.server.lines if "Traceback" in line]
