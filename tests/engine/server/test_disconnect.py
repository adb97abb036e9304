"""Clients that leave take their sequences with them, wherever those are."""

import http.client
import json
import time

import pytest

from server_client import request, stream
from server_process import echo_server

TEXT = "/v1/completions"
LONG = {"model": "echo", "prompt": "hello", "max_tokens": 1000}
PATIENCE_S = 20


@pytest.fixture(scope="module")
def url():
    with echo_server("--step-seconds", "0.05", "--max-num-seqs", "1") as server:
        yield server.wait_ready()


def metrics(url):
    lines = request(url, "GET", "/metrics").body.decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


def open_sequences(url):
    return metrics(url)['pagelet_engine_open_sequences{model_name="echo"}']


def wait_for_open(url, number):
    """Poll: what a client's leaving does cannot be seen on any connection that is left."""
    deadline = time.monotonic() + PATIENCE_S
    while open_sequences(url) != number:
        assert time.monotonic() < deadline, f"{open_sequences(url)} sequences open, not {number}"
        time.sleep(0.01)


def test_a_stream_that_is_left_midway_is_aborted(url):
    before = metrics(url)
    with stream(url, TEXT, LONG) as events:
        next(events)
        assert open_sequences(url) == 1
    wait_for_open(url, 0)
    aborted = 'pagelet_engine_requests_total{model_name="echo",outcome="aborted"}'
    assert metrics(url)[aborted] == before.get(aborted, 0) + 1


def test_a_whole_answer_nobody_waits_for_is_aborted(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    headers = {"content-type": "application/json"}
    connection.request("POST", TEXT, json.dumps(LONG).encode(), headers)
    wait_for_open(url, 1)
    connection.close()
    wait_for_open(url, 0)


def test_a_queued_request_is_aborted_before_it_ever_runs(url):
    with stream(url, TEXT, LONG) as running:
        next(running)  # has the only place; the next request waits
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        data = json.dumps(LONG | {"stream": True}).encode()
        connection.request("POST", TEXT, data, {"content-type": "application/json"})
        wait_for_open(url, 2)
        connection.close()
        wait_for_open(url, 1)
        next(running)
    wait_for_open(url, 0)


def test_several_prompts_are_aborted_together(url):
    with stream(url, TEXT, LONG | {"prompt": ["a", "b", "c"]}) as events:
        next(events)
        wait_for_open(url, 3)
    wait_for_open(url, 0)
