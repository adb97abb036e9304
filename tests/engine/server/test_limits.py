"""What may wait, for how long, and what who may not is told: over HTTP, with a real engine."""

import json
import sys
from contextlib import contextmanager

import pytest

from server_client import request, stream
from server_process import echo_server

TEXT = "/v1/completions"
GATEWAY = "sk-is-the-gateway---"
BLOCKERS = 8
TRIES = 50


@contextmanager
def serving(listen=None, **model):
    """Run a small random model, one sequence at a time."""
    config = {"model": "dummy://tiny", "served_model_name": "tiny", "num_threads": 1}
    config |= {"max_num_seqs": 1} | model
    command = [sys.executable, "-m", "pagelet_engine.process", "--config", json.dumps(config)]
    with echo_server(model=config, listen=listen, command=command) as server:
        server.wait_ready()
        yield server


def body(**fields):
    return {"model": "tiny", "prompt": "a", "max_tokens": 2, "ignore_eos": True} | fields


@contextmanager
def busy(url):
    """Keep the only place taken by several sequences, one after the other."""
    with stream(url, TEXT, body(max_tokens=500, n=BLOCKERS)) as running:
        next(running)
        yield


def gauges(url):
    lines = request(url, "GET", "/metrics").body.decode().splitlines()
    names = ("vllm:kv_cache_usage_perc", "vllm:num_requests_running", "vllm:num_requests_waiting")
    found = [line.rsplit(" ", 1) for line in lines if line.startswith(names)]
    return [float(value) for _, value in found]


def assert_refused(reply, says):
    assert reply.status == 429
    error = reply.json["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert says in error["message"]
    assert 1 <= int(reply.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"max_queued_requests": BLOCKERS}, "too many requests are waiting"),
        ({"max_concurrent_requests": BLOCKERS}, "too many requests are in progress"),
        ({"max_queued_tokens": 30}, "too many prompt tokens are waiting"),
    ],
)
def test_what_exceeds_a_limit_is_told_when_to_come_back(limit, says):
    with serving(**limit) as server:
        with busy(server.url):
            assert_refused(request(server.url, "POST", TEXT, body(prompt="x" * 40, n=2)), says)
        while gauges(server.url) != [0.0, 0.0, 0.0]:
            pass  # that the blocker has left takes a moment to be noticed
        assert request(server.url, "POST", TEXT, body()).status == 200


def test_who_waits_longer_than_the_queue_time_out_is_sent_away():
    # Places for all blockers, so that none of them waits itself.
    with serving(queue_timeout_s=0.05, max_num_seqs=BLOCKERS) as server:
        for _ in range(TRIES):  # on a busy machine the blockers may have gone before it comes
            with busy(server.url):
                reply = request(server.url, "POST", TEXT, body())
            if reply.status != 200:
                break
        assert_refused(reply, "Try again later")


def test_a_deadline_in_the_body_ends_a_queued_request_and_a_stream():
    with serving() as server:
        with busy(server.url):
            queued = request(server.url, "POST", TEXT, body(timeout=0.2))
            assert (queued.status, queued.json["error"]["code"]) == (504, "deadline_exceeded")
        late = stream(server.url, TEXT, body(max_tokens=500, n=BLOCKERS, timeout=0.5))
        with late as events:
            assert json.loads(list(events)[-1])["error"]["code"] == "deadline_exceeded"
        # The step that ended it has freed its blocks: what it sent says both.
        assert gauges(server.url) == [0.0, 0.0, 0.0]


def test_a_deadline_in_a_header_counts_only_from_the_gateway(tmp_path):
    keys, gateway = tmp_path / "keys", tmp_path / "gateway"
    keys.write_text("sk-anybody-may-call-\n")
    gateway.write_text(GATEWAY)
    listen = {"api_keys_file": str(keys), "gateway_key_file": str(gateway)}
    late = body(max_tokens=400)
    with serving(listen=listen) as server:
        for key, expected in ((GATEWAY, 504), ("sk-anybody-may-call-", 200)):
            headers = {"authorization": f"Bearer {key}", "x-pagelet-deadline-ms": "20"}
            reply = request(server.url, "POST", TEXT, late, headers=headers)
            assert reply.status == expected
