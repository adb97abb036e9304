"""A thousand clients leave, each over a socket of its own, and nothing of them is left behind.

The API process and the engine process are the real ones around a small random model. The test
deals out the engine's steps one by one and is told what the engine takes in, so that it knows where
each sequence is when its client leaves, and that one step later its blocks are free. Nothing here
depends on how fast anything is.
"""

import contextlib
import json
import os
import random
import select
import signal
import socket
import sys
import time
from collections import Counter, deque
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
import os, queue, sys, types
from pagelet_engine import process
from pagelet_engine.messages import Abort, Hold
from pagelet_engine.runner.model_runner import ModelRunner
steps, said = (os.open(path, os.O_RDWR) for path in sys.argv.pop(1).split())
compute = ModelRunner.run
def run(self, plan):
    os.write(said, b"s")
    os.read(steps, 1)
    return compute(self, plan)
class Inbox(queue.SimpleQueue):
    def put(self, command):
        super().put(command)
        match command:
            case Abort(): os.write(said, b"a")
            case Hold(is_held=True): os.write(said, b"h")
            case Hold(): os.write(said, b"r")
ModelRunner.run = run
process.queue = types.SimpleNamespace(SimpleQueue=Inbox, Empty=queue.Empty)
sys.exit(process.main())
"""
SERVER = """
import asyncio, json, signal, sys
from pagelet_engine.config import EngineConfig, ServerConfig
from pagelet_engine.server.run import serve
config, program, pipes = json.loads(sys.argv[1])
def tell(number, frame):
    number = len(asyncio.all_tasks(asyncio.get_running_loop()))
    print(json.dumps({"event": "tasks", "number": number}), file=sys.stderr, flush=True)
signal.signal(signal.SIGUSR1, tell)
command = [sys.executable, "-c", program, pipes, "--config", json.dumps(config)]
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
    """Lets the engine take steps, one for each byte in a pipe, and hears of each what it does."""

    def __init__(self, folder):
        self.paths = [str(folder / name) for name in ("steps", "said")]
        for path in self.paths:
            os.mkfifo(path)
        self._steps, self._said = (os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in self.paths)
        self._num_taken = 0
        self._heard = Counter()

    def allow(self, number=1):
        self._num_taken += os.write(self._steps, b"." * number)

    def stop(self):
        self._num_taken -= len(drained(self._steps))

    def heard(self):
        """Return how many steps it asked for (s), aborts (a), holds (h) and resumes (r) it got."""
        self._heard.update(drained(self._said).decode())
        return self._heard

    def num_held(self):
        """Return how many sequences were held and never let go on, those that ended included."""
        return self.heard()["h"] - self.heard()["r"]

    def is_wanted(self):
        """Whether the engine stands still before a step that it may not take."""
        num_wanted = self.heard()["s"]  # first: it can only have grown since
        return num_wanted > self._num_taken and not select.select([self._steps], [], [], 0)[0]

    def close(self):
        os.close(self._steps)
        os.close(self._said)


def drained(pipe):
    """Return all that lies in a pipe."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(pipe, 65536):
            data += piece
    return data


class Service:
    """The server, and what its processes and its metrics say of it."""

    def __init__(self, server, steps):
        self.server, self.steps = server, steps
        self.url = server.url

    def metrics(self):
        lines = request(self.url, "GET", "/metrics").body.decode().splitlines()
        seen = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(seen.get(series, 0)) for name, series in SERIES.items()}

    def wait(self, **expected):
        """Poll until the named metrics have these values; return all."""
        return until(lambda: expected.items() <= (seen := self.metrics()).items() and seen)

    def step_until(self, **expected):
        """Let steps through, one by one, until the named metrics have these values."""
        while not expected.items() <= (seen := self.metrics()).items():
            self.steps.allow()
            self.wait(steps=seen["steps"] + 1)

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


def until(met):
    """Poll until `met` returns something true, and return that."""
    deadline = time.monotonic() + PATIENCE_S
    while not (seen := met()):
        assert time.monotonic() < deadline, "this never happened"
    return seen


@pytest.fixture
def service(tmp_path):
    steps = Steps(tmp_path)
    settings = json.dumps([CONFIG, ENGINE, " ".join(steps.paths)])
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
    service.wait(open=NUM_DECODING)
    service.step_until(running=NUM_DECODING)
    wires.append(service.send({"prompt": PROMPT, "max_tokens": 9}))
    service.wait(open=len(wires))
    service.step_until(running=NUM_DECODING + 1)
    wires += [service.send({"prompt": PROMPT, "max_tokens": 9}) for _ in range(NUM_QUEUED)]
    service.wait(open=len(wires))
    service.step_until(waiting=NUM_QUEUED)
    return wires


def held_back(service):
    """Open streams that nobody reads, and wait until the engine produces no more of them."""
    message = {"role": "user", "content": "a"}
    body = {"messages": [message], "max_tokens": 400, "logprobs": True, "top_logprobs": 20}
    wires = [service.send(body, "/v1/chat/completions", 4096) for _ in range(NUM_HELD)]
    before, held_before = service.wait(open=NUM_HELD)["steps"], service.steps.num_held()
    service.steps.allow(4000)
    recent = deque(maxlen=10)

    def stands_still():
        recent.append(seen := service.metrics())
        is_held = service.steps.num_held() - held_before == seen["running"] == NUM_HELD
        # The kernel holds as many events; then their writers stop, and later the engine.
        return is_held and seen["steps"] >= before + 60 and recent.count(seen) == 10

    until(stands_still)
    service.steps.stop()
    return wires


def leave(service, wires, draw):
    """Close all connections; one step later nothing may be held for any of them."""
    num_aborts = service.steps.heard()["a"]
    draw.shuffle(wires)
    for wire in wires:
        wire.close()
    service.wait(open=0)
    until(lambda: service.steps.heard()["a"] >= num_aborts + len(wires))
    service.steps.allow()  # a step that is under way cannot be called back
    until(lambda: NOTHING.items() <= service.metrics().items() or service.steps.is_wanted())
    assert not service.steps.is_wanted(), "the engine computes for somebody who has left"
    service.steps.stop()
    assert service.steps.heard()["a"] == num_aborts + len(wires)


def test_a_thousand_who_leave_leave_nothing_behind(service):
    draw = random.Random(1)
    for open_some in (in_every_state, held_back):
        leave(service, open_some(service), draw)  # what is made once and kept is made now
    before, told = service.leftovers(), service.metrics()["aborted"]
    for round_ in range(NUM_ROUNDS):
        open_some = in_every_state if round_ % HELD_EVERY else held_back
        leave(service, open_some(service), draw)
    assert service.metrics()["aborted"] - told == 1000
    until(lambda: service.leftovers() == before)  # a closed connection is noticed a moment later
    assert not [line for line in service.server.lines if "Traceback" in line]
